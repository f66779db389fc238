//! The claims as a page and as the tables of the documents: measures, or takes a run, and has bench-suite render it.

use crate::claims;
use crate::shell::{cargo, check};
use std::path::{Path, PathBuf};

/// Which run is rendered, and where it goes.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Render this run, which `cargo xtask claims --json FILE` wrote, and measure nothing.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Measure the curves over the number of threads as well.
    #[arg(long)]
    scaling: bool,
    /// Make the run the one that README.md and docs/BENCHMARKS.md show.
    #[arg(long)]
    publish: bool,
    /// What `claims` is asked for, `--quick` or `--only PREFIX` for instance.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

const FOLDER: &str = "target/report";

/// Measures or reads a run and renders it into `target/report`.
pub(crate) fn run(root: &Path, options: &Options) -> anyhow::Result<()> {
    let run = match &options.from {
        Some(file) => std::path::absolute(file)?,
        None => {
            let file = root.join(FOLDER).join("claims.json");
            std::fs::create_dir_all(root.join(FOLDER))?;
            let mut arguments = vec!["--json".to_owned(), file.display().to_string()];
            arguments.extend(options.arguments.iter().cloned());
            claims::run(root, &arguments)?;
            file
        }
    };
    if options.scaling {
        let file = run.with_file_name("scaling.json").display().to_string();
        claims::run(root, &["--scaling".into(), "--json".into(), file])?;
    }
    let run = run.display().to_string();
    render(root, &[&run, FOLDER])?;
    if options.publish {
        render(root, &["--publish", &run])?;
    }
    Ok(())
}

fn render(root: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let build = [
        "run",
        "--quiet",
        "--release",
        "-p",
        "bench-suite",
        "--features",
        "peers",
        "--bin",
        "report",
        "--",
    ];
    check(cargo(root, &build).args(arguments))
}
