//! Profile-guided optimisation: records the syscall-like workload, builds by what it did, measures what that is worth.

use crate::shell::{cargo, check, command};
use anyhow::{Context, bail};
use std::path::{Path, PathBuf};

/// What is recorded, or taken as recorded.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Build by this merged profile instead of recording one.
    #[arg(long, value_name = "FILE")]
    merged: Option<PathBuf>,
    /// Record and merge, and stop there.
    #[arg(long, conflicts_with = "merged")]
    record: bool,
}

const FOLDER: &str = "target/pgo";
/// Runs of each binary, one after the other in turn.
const ROUNDS: usize = 5;

/// Records or takes a profile, builds with it and without, and prints both figures of `workload.time`.
pub(crate) fn run(root: &Path, options: &Options) -> anyhow::Result<()> {
    let folder = root.join(FOLDER);
    std::fs::create_dir_all(&folder)?;
    let merged = match &options.merged {
        Some(file) => std::path::absolute(file)?,
        None => record(root, &folder)?,
    };
    if options.record {
        println!("{}", merged.display());
        return Ok(());
    }
    let plain = build(root, "plain", "")?;
    let guided = build(root, "guided", &format!("-Cprofile-use={}", merged.display()))?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        without.push(measure(root, &folder, &plain)?);
        with.push(measure(root, &folder, &guided)?);
    }
    let (without, with) = (median(without), median(with));
    println!(
        "workload.time: {without:.1} ns without a profile, {with:.1} with one ({:+.1} %), medians of {ROUNDS} runs each in turn",
        (with / without - 1.0) * 100.0
    );
    Ok(())
}

/// Builds with counters in every branch, runs the workload, merges what it wrote.
fn record(root: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let merge = merger(root);
    let raw = folder.join("raw");
    if raw.exists() {
        std::fs::remove_dir_all(&raw)?;
    }
    let counting = build(root, "counting", &format!("-Cprofile-generate={}", raw.display()))?;
    check(
        command(
            root,
            &counting.to_string_lossy(),
            &["--only", "workload.time", "--quick"],
        )
        .env("LLVM_PROFILE_FILE", raw.join("%p-%m.profraw")),
    )?;
    let merge = merge.with_context(|| {
        format!(
            "the raw profile is in {}; merge it where the tool is and pass it by --merged",
            raw.display()
        )
    })?;
    let merged = folder.join("merged.profdata");
    let files: Vec<_> = std::fs::read_dir(&raw)?
        .map(|entry| entry.map(|entry| entry.path().display().to_string()))
        .collect::<Result<_, _>>()?;
    let to = merged.display().to_string();
    let mut command = command(root, &merge.to_string_lossy(), &["merge", "-o", &to]);
    check(command.args(files))?;
    Ok(merged)
}

/// The tool that merges profiles: the compiler's own, since the format is that of one LLVM.
fn merger(root: &Path) -> anyhow::Result<PathBuf> {
    let said = |arguments: &[&str]| -> anyhow::Result<String> {
        let output = command(root, "rustc", arguments)
            .output()
            .context("cannot run rustc")?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let sysroot = said(&["--print", "sysroot"])?;
    let version = said(&["-vV"])?;
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("rustc does not name its host")?;
    let tool = Path::new(sysroot.trim())
        .join("lib/rustlib")
        .join(host)
        .join("bin/llvm-profdata");
    if !tool.exists() {
        bail!(
            "{} is missing: add the toolchain's component `llvm-tools`; another LLVM's tool does not read this compiler's profiles",
            tool.display()
        );
    }
    Ok(tool)
}

/// Builds bench-suite's `claims` as it would ship, with these flags besides, in a target of its own.
fn build(root: &Path, name: &str, flags: &str) -> anyhow::Result<PathBuf> {
    let target = root.join(FOLDER).join(name);
    let folder = target.display().to_string();
    let arguments = [
        "build",
        "--quiet",
        "--profile",
        "dist",
        "-p",
        "bench-suite",
        "--bin",
        "claims",
        "--target-dir",
        &folder,
    ];
    check(cargo(root, &arguments).env("RUSTFLAGS", flags))?;
    Ok(target.join("dist/claims"))
}

/// Our figure of one run.
fn measure(root: &Path, folder: &Path, binary: &Path) -> anyhow::Result<f64> {
    let json = folder.join("run.json");
    let arguments = ["--only", "workload.time", "--json", &json.display().to_string()];
    check(command(root, &binary.to_string_lossy(), &arguments).stdout(std::process::Stdio::null()))?;
    let rows: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&json)?)?;
    rows[0]["ours"].as_f64().context("the run has no figure")
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
