//! What is asked for in vain.

use crate::kit::{dir, is_empty, refused, run};
use std::fs;
use std::process::Command;

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
        (["--static", "0"], ["--static 0", "1 to 16384"]),
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
        (["--depth", "-1"], ["'-1' for '--static", "--help"]),
        (["--target-p99", "0"], ["--target-p99 0", "such as 2"]),
        (["--target-p99", "NaN"], ["--target-p99 NaN", "such as 2"]),
        (["--rw", "sideways"], ["'sideways'", "mix:70"]),
        (["--rw", "mix:101"], ["'mix:101'", "mix:70"]),
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

#[test]
fn options_that_contradict_each_other_are_refused_with_a_remedy() {
    for (args, words) in [
        (
            &["--static", "8", "--target-p99", "2"][..],
            &["--static", "--target-p99", "cannot be used with"][..],
        ),
        (
            &["--static", "8", "--sweep"],
            &["--static", "--sweep", "cannot be used with"],
        ),
        (&["--depth", "8", "--sweep"], &["--sweep", "cannot be used with"]),
        (
            &["--rw", "randwrite", "--file", "/proc/self/exe"],
            &["a file of yours is never written", "leave --file out"],
        ),
    ] {
        let args: Vec<&str> = ["bench"].iter().chain(args).copied().collect();
        refused(&run(&args), words);
    }
}
