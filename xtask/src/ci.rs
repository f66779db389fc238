//! Everything that must pass, in the order in which it fails fastest.

use crate::shell::{answers, cargo, check};
use crate::{instructions, models, mutants, sim, tidy};
use anyhow::bail;
use std::path::Path;
use std::time::Instant;

/// Libraries, in the order of their arrows.
pub(crate) const LIBRARIES: [&str; 8] = [
    "sync-base",
    "inline-error",
    "rcu-map",
    "flat-combine",
    "seqstats",
    "epoch-fdtable",
    "pooled-vec",
    "uring-core",
];

type Step = (&'static str, fn(&Path) -> anyhow::Result<()>);

const STEPS: [Step; 13] = [
    ("format", format),
    ("tidy", tidy::run),
    ("clippy", clippy),
    ("test", test),
    ("docs", docs),
    ("sim", storm),
    ("models", quick_models),
    ("downstream", downstream),
    ("schedules", schedules),
    ("mutants", short_mutants),
    ("fuzz", replay_fuzz_corpus),
    ("instructions", count_instructions),
    ("package", package),
];

/// Which steps are run.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Begin at this step, after mending what failed there.
    #[arg(long, value_name = "STEP")]
    from: Option<String>,
}

/// Runs every step, stops at the first that fails, prints what each took.
pub(crate) fn run(root: &Path, options: &Options) -> anyhow::Result<()> {
    let from = options.from.as_deref().unwrap_or(STEPS[0].0);
    let Some(first) = STEPS.iter().position(|(name, _)| *name == from) else {
        let names: Vec<_> = STEPS.iter().map(|(name, _)| *name).collect();
        bail!("no step `{from}`; there are {}", names.join(", "));
    };
    let mut times = Vec::new();
    for (name, step) in &STEPS[first..] {
        println!("\n== {name}");
        let start = Instant::now();
        step(root).map_err(|why| why.context(format!("step `{name}`")))?;
        times.push((name, start.elapsed().as_secs()));
    }
    let all = if first == 0 {
        "all steps"
    } else {
        "the steps from there on"
    };
    println!("\n== {all} passed");
    for (name, seconds) in times {
        println!("{name:<12} {seconds:>5} s");
    }
    Ok(())
}

fn format(root: &Path) -> anyhow::Result<()> {
    check(&mut cargo(root, &["fmt", "--all", "--check"]))
}

fn clippy(root: &Path) -> anyhow::Result<()> {
    check(&mut cargo(
        root,
        &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
    ))?;
    check(&mut cargo(
        root,
        &[
            "clippy",
            "--workspace",
            "--all-targets",
            "--all-features",
            "--",
            "-D",
            "warnings",
        ],
    ))
}

/// Every test and doc test of the workspace, with every feature but bench-suite's peers.
pub(crate) fn test(root: &Path) -> anyhow::Result<()> {
    let most = ["--workspace", "--exclude", "bench-suite", "--all-features"];
    if answers("cargo", &["nextest", "--version"]) {
        check(cargo(root, &["nextest", "run", "--no-fail-fast"]).args(most))?;
        check(&mut cargo(root, &["nextest", "run", "-p", "bench-suite"]))?;
    } else {
        println!("notice: cargo-nextest is not installed; using cargo test");
        check(cargo(root, &["test", "--lib", "--bins", "--tests", "--no-fail-fast"]).args(most))?;
        check(&mut cargo(
            root,
            &["test", "-p", "bench-suite", "--lib", "--bins", "--tests"],
        ))?;
    }
    check(cargo(root, &["test", "--doc", "--no-fail-fast"]).args(most))?;
    check(&mut cargo(root, &["test", "--doc", "-p", "bench-suite"]))?;
    // What happens without a heap has tests of its own.
    check(&mut cargo(
        root,
        &["test", "-p", "inline-error", "--no-default-features"],
    ))
}

fn docs(root: &Path) -> anyhow::Result<()> {
    let mut command = cargo(root, &["doc", "--workspace", "--no-deps", "--all-features"]);
    check(command.env("RUSTDOCFLAGS", "-D warnings"))
}

fn storm(root: &Path) -> anyhow::Result<()> {
    sim::run(root, &sim::Options::default())
}

fn quick_models(root: &Path) -> anyhow::Result<()> {
    models::run(root, &models::Options::default())
}

/// A crate outside the workspace runs its own tests, and its own loom model through three of our crates.
fn downstream(root: &Path) -> anyhow::Result<()> {
    const MANIFEST: &str = "loom-tests/downstream/Cargo.toml";
    check(&mut cargo(root, &["test", "--manifest-path", MANIFEST]))?;
    check(&mut models::loom_command(
        root,
        &["test", "--profile", "model", "--manifest-path", MANIFEST],
    ))
}

/// The tests that need shuttle's scheduler: more threads than loom, logic alone.
fn schedules(root: &Path) -> anyhow::Result<()> {
    let mut command = cargo(
        root,
        &[
            "test",
            "--profile",
            "model",
            "-p",
            "loom-tests",
            "--tests",
            "--no-fail-fast",
        ],
    );
    check(
        command
            .env("RUSTFLAGS", "--cfg shuttle")
            .env("CARGO_TARGET_DIR", root.join("target/shuttle")),
    )
}

fn short_mutants(root: &Path) -> anyhow::Result<()> {
    // One crate, evenly sampled; `cargo xtask mutants` runs them all.
    let options = mutants::Options {
        crates: vec!["seqstats".to_string()],
        sample: Some(24),
        ..Default::default()
    };
    mutants::run(root, &options)
}

/// The fuzz targets over their committed corpus; looking for new inputs needs nightly and cargo-fuzz.
fn replay_fuzz_corpus(root: &Path) -> anyhow::Result<()> {
    check(&mut cargo(root, &["test", "--manifest-path", "fuzz/Cargo.toml"]))
}

fn count_instructions(root: &Path) -> anyhow::Result<()> {
    instructions::run(root, &instructions::Options::default())
}

/// One call packages every library, so that they stand alone and agree on each other's versions.
pub(crate) fn package(root: &Path) -> anyhow::Result<()> {
    // Packages verify against each other through a registry that cargo makes in the target directory and remembers by its
    // place: at a place used before, it would verify against packages of then. So each run has a place of its own.
    let nanos = std::time::UNIX_EPOCH
        .elapsed()
        .map_or(0, |since| since.as_nanos());
    let place = root.join(format!("target/packaging-{nanos}"));
    let mut command = cargo(root, &["package", "--quiet", "--allow-dirty"]);
    command.env("CARGO_TARGET_DIR", &place);
    for library in LIBRARIES {
        command.args(["-p", library]);
    }
    let outcome = check(&mut command);
    let _ = std::fs::remove_dir_all(&place);
    outcome
}
