//! Runs that are interrupted, killed, watched on a terminal.

use crate::kit::{dir, is_empty, rings, uring};
use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Waits until the child has at least this many threads.
fn threads_of(child: &Child, count: usize) -> bool {
    let tasks = format!("/proc/{}/task", child.id());
    wait_for(|| fs::read_dir(&tasks).is_ok_and(|tasks| tasks.count() >= count))
}

fn wait_for(ready: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !ready() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

fn signal(child: &Child, signal: i32) {
    // SAFETY: a signal to a child that has not been waited for.
    assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
}

/// Whether the child has a file open whose name in `dir` is gone, or never was.
fn holds_nameless(child: &Child, dir: &Path) -> bool {
    let fds = fs::read_dir(format!("/proc/{}/fd", child.id()));
    fds.into_iter().flatten().flatten().any(|fd| {
        fs::read_link(fd.path())
            .is_ok_and(|to| to.starts_with(dir) && to.to_string_lossy().ends_with("(deleted)"))
    })
}

#[test]
fn an_interrupted_run_ends_with_status_130_and_leaves_no_file() {
    if !rings() {
        return;
    }
    for signal_number in [libc::SIGINT, libc::SIGTERM] {
        let home = dir();
        let json = home.path().join("out.json");
        let place = home.path().to_str().unwrap();
        let mut child = uring(&["bench", "--dir", place, "--size", "4MiB", "--seconds", "600"])
            .args(["--json", json.to_str().unwrap()])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        assert!(threads_of(&child, 2), "the readers never started");
        assert!(holds_nameless(&child, home.path()));
        assert_eq!(
            fs::read_dir(home.path()).unwrap().count(),
            1,
            "out.json, and no data file"
        );
        signal(&child, signal_number);
        let status = child.wait().unwrap();
        let mut line = String::new();
        std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut line).unwrap();
        assert_eq!(status.code(), Some(130), "{line}");
        assert_eq!(line, "uring: interrupted: no file is left behind\n");
        assert!(is_empty(home.path()));
    }
}

#[test]
fn an_interruption_while_the_file_is_made_leaves_no_file() {
    let home = dir();
    let place = home.path().to_str().unwrap();
    let mut child = uring(&["bench", "--dir", place, "--size", "1GiB", "--seconds", "600"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    assert!(wait_for(|| holds_nameless(&child, home.path())));
    signal(&child, libc::SIGINT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(is_empty(home.path()));
}

#[test]
fn a_killed_run_leaves_no_file() {
    let home = dir();
    let place = home.path().to_str().unwrap();
    let mut child = uring(&["bench", "--dir", place, "--size", "4MiB", "--seconds", "600"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    assert!(wait_for(|| holds_nameless(&child, home.path())));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(is_empty(home.path()));
}

#[test]
fn a_file_that_changes_under_the_run_is_found_out() {
    if !rings() {
        return;
    }
    let home = dir();
    let file = home.path().join("mine");
    fs::write(&file, vec![7; 1 << 20]).unwrap();
    let child = uring(&["bench", "--file", file.to_str().unwrap(), "--seconds", "600"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    assert!(threads_of(&child, 2), "the readers never started");
    fs::write(&file, vec![8; 1 << 20]).unwrap();
    let output = child.wait_with_output().unwrap();
    let line = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{line}");
    assert!(line.contains("offset"), "{line}");
}

#[test]
fn a_terminal_shows_progress() {
    if !rings() {
        return;
    }
    let (mut ours, mut theirs) = (-1, -1);
    let none = std::ptr::null_mut();
    // SAFETY: writes two descriptors; no name and no settings are asked for.
    let made = unsafe { libc::openpty(&mut ours, &mut theirs, none, none.cast(), none.cast()) };
    if made != 0 {
        eprintln!("skipped: no pseudo-terminal here");
        return;
    }
    // SAFETY: both were just opened, and nobody else has them.
    let (ours, theirs) = unsafe { (OwnedFd::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) };
    let home = dir();
    let place = home.path().to_str().unwrap();
    let mut child = uring(&[
        "bench",
        "--dir",
        place,
        "--size",
        "1MiB",
        "--seconds",
        "0.3",
        "--depth",
        "4",
    ])
    .stdout(Stdio::null())
    .stderr(theirs)
    .spawn()
    .unwrap();
    let mut shown = Vec::new();
    let mut chunk = [0u8; 4096];
    loop {
        // SAFETY: reads into a buffer of the length said. At the child's end the terminal gives an error.
        let got = unsafe { libc::read(ours.as_raw_fd(), chunk.as_mut_ptr().cast(), chunk.len()) };
        if got <= 0 {
            break;
        }
        shown.extend_from_slice(&chunk[..got as usize]);
    }
    assert!(child.wait().unwrap().success());
    let shown = String::from_utf8_lossy(&shown);
    assert!(
        shown.contains("\r\u{1b}[K") && shown.contains("op/s") && shown.contains("in flight"),
        "{shown}"
    );
    assert!(shown.ends_with("\r\u{1b}[K"), "the line is cleared at the end");
}
