//! Measurements in a process of their own, for figures in which everything that a process did before would show.

use crate::Invalid;
use crate::claims::cow;
use std::process::{Command, Stdio};

/// Takes the figures of the claim `id` in this process, in which nothing else is measured.
///
/// # Errors
/// A claim that is measured beside others, or the measurement's own failure.
pub fn measure_alone(id: &str) -> Result<Vec<u64>, Invalid> {
    match id {
        "cow.save" => cow::images(),
        _ => Err(Invalid(format!("`{id}` is not measured in a process of its own"))),
    }
}

/// Runs this program again, for these figures alone.
pub(crate) fn in_fresh_process(id: &str) -> Result<Vec<u64>, Invalid> {
    let output = Command::new(std::env::current_exe()?)
        .args(["--alone", id])
        .stdin(Stdio::null())
        .output()?;
    let (told, failed) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    if !output.status.success() {
        return Err(Invalid(format!("in a process of its own: {}", failed.trim())));
    }
    let figures: Result<Vec<u64>, _> = told.split_whitespace().map(str::parse).collect();
    figures.map_err(|_| Invalid(format!("in a process of its own it said {told:?}")))
}
