//! Measuring the claims: builds bench-suite with its peers and runs it.

use crate::shell::{cargo, check};
use std::path::Path;

/// Runs bench-suite's `claims` with the peers built in.
pub(crate) fn run(root: &Path, arguments: &[String]) -> anyhow::Result<()> {
    let mut command = cargo(
        root,
        &[
            "run",
            "--quiet",
            "--release",
            "-p",
            "bench-suite",
            "--features",
            "peers",
        ],
    );
    check(command.args(["--bin", "claims", "--"]).args(arguments))
}
