//! What the probe tells.

use crate::kit::{dir, run};
use std::fs;
use std::process::Command;

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
fn e14_what_the_probe_advises_stands_in_the_checklist() {
    let checklist = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/DEPLOYMENT.md");
    let Ok(checklist) = fs::read_to_string(checklist) else {
        eprintln!("skipped: the package stands alone, without the workspace's documents");
        return;
    };
    // What the probe can tell a machine to change, each by the words that both use.
    let output = Command::new("sh")
        .args([
            "-c",
            "ulimit -n 64; ulimit -l 64; exec \"$0\" probe",
            env!("CARGO_BIN_EXE_uring"),
        ])
        .output()
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    for word in ["ulimit -n", "ulimit -l"] {
        assert!(told.contains(word) && checklist.contains(word), "{word}");
    }
    for word in [
        "kernel.io_uring_disabled",
        "seccomp",
        "cpupower frequency-set -g performance",
        "poll_queues",
    ] {
        assert!(checklist.contains(word), "{word}");
    }
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
