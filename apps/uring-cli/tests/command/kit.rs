//! The command as a user runs it, and what is asserted of a refusal.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// The command; its process ends with the thread that started it, however that ends.
pub(crate) fn uring(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_uring"));
    command.args(args).stdin(Stdio::null());
    // SAFETY: between fork and exec only this system call is made, which is safe there.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        })
    };
    command
}

pub(crate) fn run(args: &[&str]) -> Output {
    uring(args).output().unwrap()
}

/// A directory on whatever the system's temporary directory is on.
pub(crate) fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

pub(crate) fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).unwrap().next().is_none()
}

/// Whether rings can be had here; says so if not.
pub(crate) fn rings() -> bool {
    let refused = uring_core::probe().refused;
    if let Some(errno) = refused {
        eprintln!("skipped: io_uring is refused here (error {errno})");
    }
    refused.is_none()
}

/// Asserts a refusal: status 2, one line that holds all of `words`, nothing on standard output.
#[track_caller]
pub(crate) fn refused(output: &Output, words: &[&str]) {
    let line = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{line}");
    assert_eq!(line.trim_end().lines().count(), 1, "{line}");
    assert!(line.starts_with("uring: "), "{line}");
    for word in words {
        assert!(line.contains(word), "`{word}` is not in: {line}");
    }
    assert!(output.stdout.is_empty());
}
