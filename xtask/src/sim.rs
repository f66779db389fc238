//! The storm on simulated rings: how many operations a run of it does.

use crate::shell::{cargo, check};
use std::path::Path;

/// How long the storm lasts.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// A hundred million operations instead of ten.
    #[arg(long)]
    pub(crate) deep: bool,
    /// The world of this seed alone, as a failure names it.
    #[arg(long, value_name = "SEED")]
    pub(crate) seed: Option<u64>,
}

/// Runs the storm optimised, with the assertions and the ledger of debug builds.
pub(crate) fn run(root: &Path, options: &Options) -> anyhow::Result<()> {
    const TEST: &str = "d7_simulated_storm_loses_duplicates_misattributes_and_leaks_nothing";
    let mut command = cargo(
        root,
        &[
            "test",
            "--profile",
            "model",
            "-p",
            "uring-core",
            "--test",
            "sim_storm",
            "--",
            "--exact",
            TEST,
            "--nocapture",
        ],
    );
    let operations = if options.deep { 100_000_000u64 } else { 10_000_000 };
    command.env("URING_SIM", operations.to_string());
    if let Some(seed) = options.seed {
        command.env("URING_SIM_SEED", seed.to_string());
    }
    check(&mut command)
}
