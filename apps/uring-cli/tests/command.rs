//! The binary as a user runs it.
#![cfg(not(any(loom, shuttle)))]

use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The command; its process ends with the thread that started it, however that ends.
fn uring(args: &[&str]) -> Command {
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

fn run(args: &[&str]) -> Output {
    uring(args).output().unwrap()
}

/// A directory on whatever the system's temporary directory is on.
fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).unwrap().next().is_none()
}

/// Whether rings can be had here; says so if not.
fn rings() -> bool {
    let refused = uring_core::probe().refused;
    if let Some(errno) = refused {
        eprintln!("skipped: io_uring is refused here (error {errno})");
    }
    refused.is_none()
}

/// Asserts a refusal: status 2, one line that holds all of `words`, nothing on standard output.
#[track_caller]
fn refused(output: &Output, words: &[&str]) {
    let line = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{line}");
    assert_eq!(line.trim_end().lines().count(), 1, "{line}");
    assert!(line.starts_with("uring: "), "{line}");
    for word in words {
        assert!(line.contains(word), "`{word}` is not in: {line}");
    }
    assert!(output.stdout.is_empty());
}

#[test]
fn c12_mimalloc_is_a_feature_that_is_off_by_default() {
    let listing = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let listing: serde_json::Value = serde_json::from_slice(&listing.stdout).unwrap();
    let packages = listing["packages"].as_array().unwrap();
    let cli = packages.iter().find(|p| p["name"] == "uring-cli").unwrap();
    assert!(cli["features"]["mimalloc"].is_array());
    assert!(
        cli["features"]["default"].is_null(),
        "no feature is on by default"
    );
    let dependencies = cli["dependencies"].as_array().unwrap();
    let allocator = dependencies.iter().find(|d| d["name"] == "mimalloc").unwrap();
    assert_eq!(allocator["optional"], true);
}

#[test]
fn an_unknown_flag_is_one_line_and_status_two() {
    refused(
        &run(&["bench", "--frobnicate"]),
        &["--frobnicate", "uring bench --help"],
    );
    refused(
        &run(&["bench", "--sise", "4096"]),
        &["--sise", "did you mean `--size`"],
    );
    refused(&run(&["brench"]), &["brench", "did you mean `bench`"]);
    refused(&run(&[]), &["uring bench", "uring probe"]);
}

#[test]
fn sizes_that_make_no_sense_are_refused_with_a_remedy() {
    for (args, words) in [
        (["--size", "0"], ["nothing to read", "512MiB"]),
        (["--size", "100"], ["less than one block", "at least"]),
        (["--size", "12parsec"], ["12parsec", "64KiB"]),
        (["--bs", "1000"], ["--bs 1000", "power of two"]),
        (["--bs", "0"], ["--bs 0", "power of two"]),
        (["--depth", "0"], ["--depth 0", "1 to 16384"]),
        (["--cores", "0"], ["--cores 0", "give 1 to"]),
        (["--cores", "100000"], ["--cores 100000", "give 1 to"]),
        (["--seconds", "0"], ["--seconds 0", "0.05"]),
        (["--seconds", "NaN"], ["--seconds NaN", "0.05"]),
        (
            ["--seconds", "-1"],
            ["--seconds -1: out of range", "0.05 to 86400"],
        ),
        (["--seconds", "1e300"], ["--seconds 1e300: out of range", "86400"]),
        (["--size", "-1"], ["'-1' for '--size", "512MiB"]),
        (["--depth", "-1"], ["'-1' for '--depth", "--help"]),
        (
            ["--size", "15000000TiB"],
            ["more than any file can hold", "smaller --size"],
        ),
        (
            ["--dir", "/proc"],
            ["--dir /proc: proc takes no files", "on a disk"],
        ),
    ] {
        refused(&run(&["bench", args[0], args[1]]), &words);
    }
}

#[test]
fn a_directory_that_is_not_there_or_is_no_directory_is_refused() {
    let home = dir();
    let missing = home.path().join("missing");
    refused(
        &run(&["bench", "--dir", missing.to_str().unwrap()]),
        &["no such file or directory", "make it or choose another"],
    );
    let file = home.path().join("file");
    fs::write(&file, "x").unwrap();
    refused(
        &run(&["bench", "--dir", file.to_str().unwrap()]),
        &["not a directory", "choose one"],
    );
    refused(
        &run(&["bench", "--dir", ".", "--file", "x"]),
        &["cannot be used with"],
    );
}

#[test]
fn a_file_that_cannot_be_read_is_refused_and_left_alone() {
    let home = dir();
    let path = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    refused(
        &run(&["bench", "--file", &path("missing")]),
        &["no such file", "name a file"],
    );
    refused(&run(&["bench", "--file", &path(".")]), &["not a regular file"]);
    fs::write(path("short"), "too short").unwrap();
    refused(
        &run(&["bench", "--file", &path("short")]),
        &["9 bytes", "less than one block"],
    );
    assert_eq!(fs::read(path("short")).unwrap(), b"too short");
}

#[test]
fn results_that_cannot_be_written_are_refused_before_the_run() {
    let home = dir();
    let missing = home.path().join("missing/out.json");
    for flag in ["--json", "--report"] {
        // Were the file made first, its size would be what is refused.
        let output = run(&["bench", "--size", "1TiB", flag, missing.to_str().unwrap()]);
        refused(&output, &[flag, "no such file or directory", "name a file"]);
        refused(
            &run(&["bench", flag, home.path().to_str().unwrap()]),
            &[flag, "is a directory"],
        );
    }
    refused(
        &run(&["probe", "--json", missing.to_str().unwrap()]),
        &["--json", "no such file"],
    );
}

#[test]
fn a_refusal_leaves_nothing_behind() {
    let home = dir();
    let json = home.path().join("out.json");
    let place = home.path().to_str().unwrap();
    refused(
        &run(&[
            "bench",
            "--size",
            "0",
            "--dir",
            place,
            "--json",
            json.to_str().unwrap(),
        ]),
        &["--size 0"],
    );
    assert!(is_empty(home.path()));
    // What was there before stays as it was.
    fs::write(&json, "old").unwrap();
    refused(
        &run(&["bench", "--size", "0", "--json", json.to_str().unwrap()]),
        &["--size 0"],
    );
    assert_eq!(fs::read(&json).unwrap(), b"old");
}

/// A tmpfs of one mebibyte, for as long as the value lives.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount(options: &str) -> Option<Self> {
        let home = dir();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(home.path())
            .stderr(Stdio::null())
            .status();
        if !mount.is_ok_and(|status| status.success()) {
            eprintln!("skipped: this user may not mount a small tmpfs");
            return None;
        }
        Some(Self(home))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a ring that is gone may hold its file for a moment longer.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_refused_and_stays_empty() {
    let Some(disk) = SmallDisk::mount("size=1m") else {
        return;
    };
    let place = disk.0.path().to_str().unwrap();
    refused(
        &run(&["bench", "--dir", place, "--size", "8MiB"]),
        &["no space for 8 MiB", "smaller --size"],
    );
    assert!(is_empty(disk.0.path()));
    // A disk with room for the results' name alone.
    let json = disk.0.path().join("out.json");
    let output = run(&[
        "bench",
        "--dir",
        place,
        "--size",
        "8MiB",
        "--json",
        json.to_str().unwrap(),
    ]);
    refused(&output, &["no space"]);
    assert!(is_empty(disk.0.path()));
}

#[test]
fn a_default_directory_is_not_blamed_on_an_option_that_was_not_given() {
    let Some(disk) = SmallDisk::mount("size=1m") else {
        return;
    };
    let size = ["bench", "--size", "4000000TiB"];
    let output = uring(&size).env("TMPDIR", disk.0.path()).output().unwrap();
    let line = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{line}");
    assert!(!line.starts_with("uring: --dir"), "{line}");
    assert!(line.contains("--size"), "{line}");
}

#[test]
fn a_directory_that_takes_no_files_is_refused() {
    let Some(disk) = SmallDisk::mount("size=1m,ro") else {
        return;
    };
    let place = disk.0.path().to_str().unwrap();
    refused(
        &run(&["bench", "--dir", place, "--size", "64KiB"]),
        &[
            "read-only file system",
            "choose a directory that you may write to",
        ],
    );
    let json = disk.0.path().join("out.json");
    refused(
        &run(&["bench", "--json", json.to_str().unwrap()]),
        &["--json", "read-only file system"],
    );
}

#[test]
fn memory_is_not_taken_for_a_disk() {
    if !rings() {
        return;
    }
    let Some(disk) = SmallDisk::mount("size=4m") else {
        return;
    };
    let place = disk.0.path().to_str().unwrap();
    let output = run(&["bench", "--dir", place, "--size", "1MiB", "--seconds", "0.1"]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    assert!(
        told.contains("O_DIRECT left out: tmpfs is memory: choose a --dir on a disk"),
        "{told}"
    );
}

#[test]
fn a_run_prints_figures_writes_results_and_is_silent_in_a_pipe() {
    if !rings() {
        return;
    }
    let (home, out) = (dir(), dir());
    let path = |name: &str| out.path().join(name).to_str().unwrap().to_owned();
    let (json, html) = (path("out.json"), path("out.html"));
    fs::write(&json, "x".repeat(1 << 20)).unwrap();
    let place = home.path().to_str().unwrap();
    let output = run(&[
        "bench",
        "--dir",
        place,
        "--size",
        "4MiB",
        "--seconds",
        "0.2",
        "--depth",
        "8",
        "--json",
        &json,
        "--report",
        &html,
    ]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.stderr.is_empty(), "silent in a pipe");
    for word in [
        "page cache",
        "io_uring x",
        "pread x",
        "p99.9",
        "CPU ns/op",
        "calls/op",
        "in flight",
        "0 failed, 0 wrong",
    ] {
        assert!(told.contains(word), "`{word}` is not in:\n{told}");
    }
    assert!(is_empty(home.path()));
    let json: serde_json::Value = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
    for row in json["rows"].as_array().unwrap() {
        assert!(row["ops"].as_u64().unwrap() > 0);
        assert!(row["verified"].as_u64() <= row["ops"].as_u64());
        for figure in [
            "ops_per_s",
            "p50_us",
            "p99_us",
            "p999_us",
            "cpu_ns_per_op",
            "syscalls_per_op",
            "in_flight",
        ] {
            assert!(row[figure].as_f64().unwrap() > 0.0, "{figure} in {row}");
        }
    }
    let html = fs::read_to_string(html).unwrap();
    for title in [
        "Throughput over time",
        "p99 latency over time",
        "Reads in flight over time",
        "Latency histogram",
        "Latency distribution",
    ] {
        assert!(html.contains(title));
    }
}

#[test]
fn a_file_of_ones_own_is_read_checked_and_not_touched() {
    if !rings() {
        return;
    }
    let home = dir();
    let file = home.path().join("mine");
    let mut bytes = vec![0u8; 1 << 20];
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = (i / 7) as u8;
    }
    fs::write(&file, &bytes).unwrap();
    let mut readonly = fs::metadata(&file).unwrap().permissions();
    readonly.set_readonly(true);
    fs::set_permissions(&file, readonly).unwrap();
    let output = run(&[
        "bench",
        "--file",
        file.to_str().unwrap(),
        "--seconds",
        "0.1",
        "--depth",
        "4",
    ]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(fs::read(&file).unwrap(), bytes);
}

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

#[test]
fn e14_probe_tells_every_flag_feature_and_operation() {
    let out = dir();
    let json = out.path().join("probe.json");
    let output = run(&["probe", "--json", json.to_str().unwrap()]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    for word in [
        "DEFER_TASKRUN",
        "NODROP",
        "READ_FIXED",
        "RLIMIT_MEMLOCK",
        "RLIMIT_NOFILE",
        "io_uring_disabled",
        "seccomp",
    ] {
        assert!(told.contains(word), "`{word}` is not in:\n{told}");
    }
    let json: serde_json::Value = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
    assert!(json["operations"].as_array().unwrap().len() > 40);
    assert_eq!(
        json["refused_errno"].is_null(),
        uring_core::probe().refused.is_none()
    );
}

#[test]
fn e14_probe_tells_how_to_raise_a_limit() {
    let output = Command::new("sh")
        .args([
            "-c",
            "ulimit -n 64; ulimit -l 64; exec \"$0\" probe",
            env!("CARGO_BIN_EXE_uring"),
        ])
        .output()
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(
        told.contains("ulimit -n 65536") && told.contains("ulimit -l unlimited"),
        "{told}"
    );
}
