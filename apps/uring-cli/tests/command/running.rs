//! What runs print, write and check.

use crate::kit::{dir, is_empty, rings, run};
use std::fs;

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

/// What a run wrote as JSON.
fn figures(args: &[&str]) -> (String, serde_json::Value) {
    let (home, out) = (dir(), dir());
    let json = out.path().join("out.json");
    let (place, json) = (home.path().to_str().unwrap(), json.to_str().unwrap());
    let common = ["bench", "--dir", place, "--size", "4MiB", "--json", json];
    let args: Vec<&str> = common.iter().chain(args).copied().collect();
    let output = run(&args);
    let (told, complaint) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert!(output.status.success(), "{complaint}");
    assert!(is_empty(home.path()));
    (
        told,
        serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap(),
    )
}

#[test]
fn e14_the_depth_finds_its_place_where_none_is_given() {
    if !rings() {
        return;
    }
    let (told, json) = figures(&["--seconds", "0.4"]);
    assert!(told.contains("io_uring x") && told.contains(" auto"), "{told}");
    let rows = json["rows"].as_array().unwrap();
    let cached = rows.iter().find(|row| row["lane"] == "io_uring").unwrap();
    assert_eq!(cached["depth"], "auto");
    let depths: Vec<u64> = cached["samples"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["depth"].as_u64().unwrap())
        .collect();
    assert!(
        depths.iter().any(|depth| *depth > 4),
        "the window opens: {depths:?}"
    );
    assert!(told.contains("the depth"), "{told}");
}

#[test]
fn a_sweep_says_how_much_of_the_best_static_depth_is_found() {
    if !rings() {
        return;
    }
    let out = dir();
    let html = out.path().join("out.html");
    let (told, json) = figures(&[
        "--seconds",
        "0.1",
        "--sweep",
        "--cores",
        "1",
        "--report",
        html.to_str().unwrap(),
    ]);
    assert!(told.contains("% of the best static depth"), "{told}");
    let depths: Vec<String> = json["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["depth"].to_string())
        .collect();
    assert_eq!(depths, ["1", "2", "4", "8", "16", "32", "64", "128", "\"auto\""]);
    let html = fs::read_to_string(html).unwrap();
    for title in ["Throughput by depth", "p99 latency by depth", "Depth over time"] {
        assert!(html.contains(title), "{title}");
    }
}

#[test]
fn writes_and_mixes_are_checked_and_read_back() {
    if !rings() {
        return;
    }
    for (work, words) in [
        ("write", "sequential writes"),
        ("randwrite", "random writes"),
        ("mix:50", "50 reads of a hundred"),
        ("read", "sequential reads"),
    ] {
        let (told, json) = figures(&["--rw", work, "--seconds", "0.1", "--static", "4", "--bs", "8KiB"]);
        assert!(
            told.contains(words) && told.contains("0 failed, 0 wrong"),
            "{told}"
        );
        let plain = |call: &str| {
            told.lines()
                .any(|line| line.starts_with("page cache  ") && line.contains(call))
        };
        if work.ends_with("write") {
            assert!(plain("pwrite x") && !told.contains("pread"), "{told}");
            assert!(!told.contains(" reads"), "{told}");
        }
        if work == "read" {
            assert!(plain("pread x") && !told.contains("write"), "{told}");
        }
        for row in json["rows"].as_array().unwrap() {
            assert!(
                row["ops"].as_u64().unwrap() > 0 && row["wrong"] == 0,
                "{work}: {row}"
            );
        }
    }
}

#[test]
fn a_dash_is_standard_output_and_the_text_goes_to_standard_error() {
    let home = dir();
    let there = |args: &[&str]| crate::kit::uring(args).current_dir(home.path()).output().unwrap();
    let place = home.path().to_str().unwrap();
    let mut runs = vec![(vec!["probe", "--json", "-"], "kernel ")];
    if rings() {
        let bench = [
            "bench",
            "--dir",
            place,
            "--size",
            "1MiB",
            "--seconds",
            "0.1",
            "--static",
            "2",
            "--json",
            "-",
        ];
        runs.push((bench.to_vec(), "verified: "));
    }
    for (args, word) in runs {
        let output = there(&args);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && text.contains(word), "{text}");
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("nothing but JSON");
        assert!(json.is_object());
        assert!(is_empty(home.path()), "no file is made");
    }
    let both = there(&["bench", "--dir", place, "--json", "-", "--report", "-"]);
    crate::kit::refused(&both, &["--json", "--report", "the same file"]);
}

#[test]
fn several_files_are_read_as_one_and_each_is_checked() {
    if !rings() {
        return;
    }
    let home = dir();
    let paths: Vec<String> = (0..3u8)
        .map(|n| {
            let path = home.path().join(n.to_string());
            fs::write(&path, vec![n; (usize::from(n) + 1) * 64 * 1024]).unwrap();
            path.to_str().unwrap().to_owned()
        })
        .collect();
    let mut args = vec!["bench", "--seconds", "0.1", "--static", "4"];
    paths.iter().for_each(|path| args.extend(["--file", path]));
    let output = run(&args);
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        paths.iter().all(|path| told.contains(path)) && told.contains("0 wrong"),
        "{told}"
    );
}
