//! The house rules, each a function from text to violations, so that each is tested by planting one.

mod arrows;
mod coverage;
mod orderings;
mod shape;
mod words;

use crate::shell::command;
use crate::source::Source;
use anyhow::{Context, bail};
use std::path::Path;

/// A broken rule, or a warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// `path:line`, or what else names the place.
    pub(crate) place: String,
    /// What is wrong and what to do.
    pub(crate) what: String,
}

impl Violation {
    fn new(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            what: what.into(),
        }
    }
}

/// Directories that hold Rust sources of ours.
pub(crate) const SOURCE_DIRS: [&str; 13] = [
    "sync-base",
    "rcu-map",
    "flat-combine",
    "seqstats",
    "epoch-fdtable",
    "pooled-vec",
    "inline-error",
    "uring-core",
    "bench-suite",
    "loom-tests",
    "apps",
    "xtask",
    "fuzz",
];

/// Crates whose shipped sources must go through the facade and name what each ordering pairs with.
pub(crate) const CHECKED: [&str; 7] = [
    "sync-base",
    "rcu-map",
    "flat-combine",
    "seqstats",
    "epoch-fdtable",
    "pooled-vec",
    "uring-core",
];

/// Reads the workspace and fails on any violation; warnings are printed.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    let mut all = Vec::new();
    for dir in SOURCE_DIRS {
        all.extend(Source::below(root, dir)?);
    }
    let mut violations = arrows::packages(&arrows::read_metadata(root)?);
    let (mut warnings, mut sites) = (Vec::new(), 0);
    for source in &all {
        let shipped = CHECKED
            .iter()
            .any(|dir| source.path.starts_with(&format!("{dir}/src/")));
        if shipped {
            sites += source.sites()?.len();
            // The checkers' own worlds are what the models stand on, and order nothing that ships.
            if !source.path.starts_with("sync-base/src/facade/") {
                violations.extend(orderings::comments(source)?);
            }
            violations.extend(orderings::facade(source)?);
            violations.extend(orderings::renamed(source)?);
        }
        violations.extend(arrows::layers(source)?);
        violations.extend(shape::lib_holds_no_logic(source)?);
        violations.extend(shape::open_ends(source)?);
        warnings.extend(shape::sizes(source)?);
    }
    let coverage = root.join("docs/COVERAGE.md");
    let text =
        std::fs::read_to_string(&coverage).with_context(|| format!("cannot read {}", coverage.display()))?;
    violations.extend(coverage::check(&text, &coverage::Names::read(&all)));
    for (path, text) in tracked_texts(root)? {
        violations.extend(words::check(&path, &text));
    }
    for warning in &warnings {
        println!("warning: {}: {}", warning.place, warning.what);
    }
    for violation in &violations {
        println!("error: {}: {}", violation.place, violation.what);
    }
    if !violations.is_empty() {
        bail!("tidy: {} violations", violations.len());
    }
    println!(
        "tidy: {} files, {sites} ordering sites, {} warnings, no violation",
        all.len(),
        warnings.len()
    );
    Ok(())
}

/// Every text file that git tracks or would.
fn tracked_texts(root: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let listing = command(
        root,
        "git",
        &["ls-files", "--cached", "--others", "--exclude-standard"],
    )
    .output()?;
    let names = String::from_utf8_lossy(&listing.stdout).into_owned();
    let texts = names
        .lines()
        .filter_map(|name| Some((name.to_string(), std::fs::read_to_string(root.join(name)).ok()?)));
    Ok(texts.collect())
}
