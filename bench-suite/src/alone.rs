//! Measurements in a process of their own, for figures in which everything that a process did before would show.

use crate::Invalid;
use crate::claims::{cow, workload};
use std::process::{Command, Stdio};

/// Takes the figures of the claim `id` in this process, in which nothing else is measured.
///
/// # Errors
/// A claim that is measured beside others, or the measurement's own failure.
pub fn measure_alone(id: &str) -> Result<Vec<u64>, Invalid> {
    match id.split_once('/') {
        None if id == "cow.save" => cow::images(),
        Some(("workload.misses", which)) => workload::alone(which),
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

/// Runs this program again for these figures under cachegrind; misses of the first-level data cache, or `None` where
/// valgrind is not at hand.
pub(crate) fn under_cachegrind(id: &str) -> Result<Option<u64>, Invalid> {
    let output = Command::new("valgrind")
        .args([
            "--tool=cachegrind",
            "--cache-sim=yes",
            "--cachegrind-out-file=/dev/null",
        ])
        .arg(std::env::current_exe()?)
        .args(["--alone", id])
        .stdin(Stdio::null())
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let told = String::from_utf8_lossy(&output.stderr);
    let misses = told.lines().find_map(|line| {
        let figures = line.split_once("D1")?.1.split_once("misses:")?.1;
        let digits: String = figures
            .split('(')
            .next()?
            .chars()
            .filter(char::is_ascii_digit)
            .collect();
        digits.parse().ok()
    });
    match (output.status.success(), misses) {
        (true, Some(misses)) => Ok(Some(misses)),
        _ => Err(Invalid(format!("cachegrind said: {}", told.trim()))),
    }
}
