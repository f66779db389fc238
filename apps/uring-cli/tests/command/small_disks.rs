//! Disks that are small, full, read-only or memory.

use crate::kit::{dir, is_empty, refused, rings, run, uring};
use std::process::{Command, Stdio};
use tempfile::TempDir;

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
fn direct_alone_is_refused_where_it_cannot_be() {
    let Some(disk) = SmallDisk::mount("size=4m") else {
        return;
    };
    let place = disk.0.path().to_str().unwrap();
    refused(
        &run(&["bench", "--dir", place, "--size", "1MiB", "--direct"]),
        &["--direct", "tmpfs is memory", "leave --direct out"],
    );
}
