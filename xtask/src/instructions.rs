//! The regression gate: instructions per operation, counted by callgrind, against the committed counts.
//!
//! Counts repeat exactly for one compiler and one binary, however noisy the machine, so that 3 % is a margin and not a
//! hope. A change beyond it turns the gate red until `--bless` writes the new counts into the commit that makes it.

use crate::shell::{answers, cargo, check, command};
use anyhow::{Context, bail};
use std::collections::BTreeMap;
use std::path::Path;

/// How the counts are taken.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Write the counts instead of comparing with them.
    #[arg(long)]
    pub(crate) bless: bool,
}

const COMMITTED: &str = "bench-suite/instructions.json";
/// Most that a count may change unacknowledged.
const MARGIN: f64 = 0.03;
const SHORT: u64 = 2_000;
const LONG: u64 = 12_000;

/// Counts every kernel and compares.
pub(crate) fn run(root: &Path, options: &Options) -> anyhow::Result<()> {
    if !answers("valgrind", &["--version"]) {
        println!("notice: valgrind is not installed; instructions were not counted");
        return Ok(());
    }
    let compiler = compiler(root)?;
    let committed = committed(root)?;
    if !options.bless && committed.get("rustc").and_then(|v| v.as_str()) != Some(compiler.as_str()) {
        println!(
            "notice: the committed counts are another compiler's ({compiler} here); instructions were not compared"
        );
        return Ok(());
    }
    check(&mut cargo(
        root,
        &["build", "--release", "-p", "bench-suite", "--bin", "instructions"],
    ))?;
    let counts = count_all(root)?;
    if options.bless {
        let text = serde_json::json!({ "rustc": compiler, "instructions_per_operation": counts });
        std::fs::write(root.join(COMMITTED), format!("{:#}\n", text))?;
        println!("wrote {COMMITTED}");
        return Ok(());
    }
    let expected = committed["instructions_per_operation"].clone();
    let expected: BTreeMap<String, f64> = serde_json::from_value(expected).context("bad counts")?;
    let changed = compare(&expected, &counts);
    for line in &changed {
        println!("error: {line}");
    }
    if !changed.is_empty() {
        bail!(
            "instructions changed by over 3 %: mend it, or acknowledge it with `cargo xtask instructions --bless`"
        );
    }
    Ok(())
}

fn compiler(root: &Path) -> anyhow::Result<String> {
    let output = command(root, "rustc", &["--version"])
        .output()
        .context("cannot run rustc")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_string())
}

fn committed(root: &Path) -> anyhow::Result<serde_json::Value> {
    match std::fs::read_to_string(root.join(COMMITTED)) {
        Ok(text) => Ok(serde_json::from_str(&text)?),
        Err(_) => Ok(serde_json::Value::Null),
    }
}

fn count_all(root: &Path) -> anyhow::Result<BTreeMap<String, f64>> {
    let binary = root.join("target/release/instructions");
    let listing = command(root, &binary.to_string_lossy(), &[])
        .output()
        .context("cannot run the kernels")?;
    let mut counts = BTreeMap::new();
    for kernel in String::from_utf8_lossy(&listing.stdout).lines() {
        let (short, long) = (
            count(root, &binary, kernel, SHORT)?,
            count(root, &binary, kernel, LONG)?,
        );
        let each = (long - short) as f64 / (LONG - SHORT) as f64;
        println!("{kernel:<16} {each:>8.2} instructions");
        counts.insert(kernel.to_string(), (each * 100.0).round() / 100.0);
    }
    Ok(counts)
}

/// Instructions of one whole run.
fn count(root: &Path, binary: &Path, kernel: &str, times: u64) -> anyhow::Result<u64> {
    let (binary, times) = (binary.to_string_lossy(), times.to_string());
    let arguments = [
        "--tool=callgrind",
        "--callgrind-out-file=/dev/null",
        &binary,
        kernel,
        &times,
    ];
    let output = command(root, "valgrind", &arguments)
        .output()
        .context("cannot run valgrind")?;
    if !output.status.success() {
        bail!(
            "{kernel} failed under valgrind: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    collected(&String::from_utf8_lossy(&output.stderr)).with_context(|| format!("no count of {kernel}"))
}

/// The number behind "Collected :" in callgrind's words.
fn collected(words: &str) -> Option<u64> {
    words
        .lines()
        .find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok())
}

fn compare(expected: &BTreeMap<String, f64>, counts: &BTreeMap<String, f64>) -> Vec<String> {
    let mut changed = Vec::new();
    for (kernel, now) in counts {
        match expected.get(kernel) {
            None => changed.push(format!("{kernel}: {now}, not committed yet")),
            Some(then) if (now - then).abs() > then * MARGIN => {
                changed.push(format!(
                    "{kernel}: {then} -> {now} instructions ({:+.1} %)",
                    (now / then - 1.0) * 100.0
                ));
            }
            Some(_) => {}
        }
    }
    let gone = expected.keys().filter(|kernel| !counts.contains_key(*kernel));
    changed.extend(gone.map(|kernel| format!("{kernel}: committed, but no longer counted")));
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pairs: &[(&str, f64)]) -> BTreeMap<String, f64> {
        pairs.iter().map(|(name, n)| (name.to_string(), *n)).collect()
    }

    #[test]
    fn a_planted_slowdown_of_a_fifth_turns_the_gate_red() {
        let then = counts(&[("a", 20.0), ("b", 8.0)]);
        assert!(compare(&then, &counts(&[("a", 20.5), ("b", 7.9)])).is_empty());
        assert_eq!(compare(&then, &counts(&[("a", 24.0), ("b", 8.0)])).len(), 1);
        assert_eq!(
            compare(&then, &counts(&[("a", 16.0), ("b", 8.0)])).len(),
            1,
            "a gain is acknowledged too"
        );
    }

    #[test]
    fn kernels_that_come_and_go_are_told() {
        assert_eq!(compare(&counts(&[("a", 1.0)]), &counts(&[("b", 1.0)])).len(), 2);
    }

    #[test]
    fn the_count_is_read_from_callgrinds_words() {
        assert_eq!(
            collected("==1== Events    : Ir\n==1== Collected : 12345\n"),
            Some(12345)
        );
        assert_eq!(collected("==1== nothing\n"), None);
    }
}
