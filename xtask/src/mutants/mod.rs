//! Ordering mutation: weaken each ordering by one step, drop each fence, and run the models on what is left.
//!
//! The workspace is copied to a scratch tree in which every site asks, at run time, whether it is the mutant of this
//! run. One build then serves all mutants. A mutant is *killed* when a model of its crate fails, *survives* when all
//! pass, *times out* when a model runs far longer than unmutated, and is *not reached* when no model of its crate
//! executes the site. A survivor is explained by a comment at the site: `weaken-ok(Acquire->Relaxed): reason`.

mod rewrite;
mod scratch;
mod verdict;

use anyhow::bail;
use rewrite::Mutant;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use verdict::Verdict;

/// Which mutants are run.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Only this crate; may be given several times.
    #[arg(long = "crate", value_name = "NAME")]
    pub(crate) crates: Vec<String>,
    /// Only sources whose path contains this.
    #[arg(long, value_name = "PART")]
    pub(crate) only: Option<String>,
    /// At most this many mutants, spread evenly over all: a short run.
    #[arg(long, value_name = "N")]
    pub(crate) sample: Option<usize>,
    /// List the mutants and run none.
    #[arg(long)]
    pub(crate) list: bool,
}

/// Crates whose protocols have models.
pub(crate) const MODELLED: [&str; 7] = [
    "sync-base",
    "rcu-map",
    "flat-combine",
    "seqstats",
    "epoch-fdtable",
    "pooled-vec",
    "uring-core",
];

/// Builds the scratch tree, runs the mutants and fails on an unexplained survivor.
pub(crate) fn run(root: &Path, options: &Options) -> anyhow::Result<()> {
    let crates: Vec<&str> = MODELLED
        .into_iter()
        .filter(|c| options.crates.is_empty() || options.crates.iter().any(|o| o == c))
        .collect();
    if crates.is_empty() {
        bail!("no such crate; those with models are {}", MODELLED.join(", "));
    }
    let wanted = |m: &Mutant| {
        options
            .only
            .as_ref()
            .is_none_or(|part| m.path.contains(part.as_str()))
    };
    if options.list {
        // From the sources as they are: the scratch tree may be another run's.
        let mutants = scratch::mutants(root, &crates, |_, _| Ok(()))?;
        mutants.iter().filter(|m| wanted(m)).for_each(|m| println!("{m}"));
        return Ok(());
    }
    let tree = scratch::Tree::copy(root)?;
    let mut mutants = tree.plant(&crates)?;
    mutants.retain(wanted);
    if mutants.is_empty() {
        bail!("no ordering to weaken there");
    }
    let models = tree.build(&crates)?;
    let models = verdict::Models::baseline(&tree, models)?;
    let skipped = mutants
        .iter()
        .filter(|m| m.explained.is_none() && !models.reaches(m))
        .count();
    if let Some(most) = options.sample {
        mutants.retain(|m| models.reaches(m));
        mutants = spread(mutants, most);
    }
    let results = judge_all(&models, &mutants);
    report(&results, options.sample.map(|_| skipped))
}

/// `most` items, evenly spread.
fn spread(mutants: Vec<Mutant>, most: usize) -> Vec<Mutant> {
    let count = mutants.len();
    let chosen: BTreeSet<usize> = (0..most.min(count))
        .map(|i| i * count / most.min(count).max(1))
        .collect();
    mutants
        .into_iter()
        .enumerate()
        .filter(|(at, _)| chosen.contains(at))
        .map(|(_, m)| m)
        .collect()
}

/// Runs the mutants on two threads: one a core of the smallest machine that this is meant for.
fn judge_all<'m>(models: &verdict::Models, mutants: &'m [Mutant]) -> Vec<(&'m Mutant, Verdict)> {
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                // Relaxed: a ticket; the mutants themselves are shared before the threads begin.
                while let Some(mutant) = mutants.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let verdict = models.judge(mutant);
                    if verdict != Verdict::Killed {
                        println!("{verdict:<11} {mutant}");
                    }
                    results.lock().expect("no holder panics").push((mutant, verdict));
                }
            });
        }
    });
    let mut results = results.into_inner().expect("no holder panics");
    results.sort_by_key(|(m, _)| (m.id, m.variant));
    results
}

/// Prints a table by crate and fails when anything stands unexplained.
fn report(results: &[(&Mutant, Verdict)], left_out: Option<usize>) -> anyhow::Result<()> {
    println!(
        "\n| crate | mutants | killed | timed out | explained | survived | not reached |\n|---|---|---|---|---|---|---|"
    );
    let mut unexplained = 0;
    for name in MODELLED {
        let of: Vec<_> = results.iter().filter(|(m, _)| m.krate == name).collect();
        if of.is_empty() {
            continue;
        }
        let alive = |v: &Verdict| matches!(v, Verdict::Survived | Verdict::NotReached);
        let count = |want: Verdict| {
            of.iter()
                .filter(|(m, v)| *v == want && !(alive(v) && m.explained.is_some()))
                .count()
        };
        let explained = of
            .iter()
            .filter(|(m, v)| alive(v) && m.explained.is_some())
            .count();
        let (survived, unreached) = (count(Verdict::Survived), count(Verdict::NotReached));
        unexplained += survived + unreached;
        println!(
            "| {name} | {} | {} | {} | {explained} | {survived} | {unreached} |",
            of.len(),
            count(Verdict::Killed),
            count(Verdict::TimedOut),
        );
    }
    if let Some(left_out) = left_out {
        println!("a sample: {left_out} mutants that no model reaches were left out");
    }
    for (mutant, verdict) in results {
        if let (Some(why), Verdict::Survived | Verdict::NotReached) = (&mutant.explained, verdict) {
            println!("explained: {mutant}: {why}");
        }
    }
    if unexplained > 0 {
        bail!(
            "{unexplained} mutants stand unexplained: strengthen a model, weaken the code, or say why at the site"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_spread_evenly_and_never_too_long() {
        let source = crate::source::Source {
            path: "rcu-map/src/a.rs".into(),
            text: "fn f() { a.store(1, Ordering::Release) }\n".repeat(10),
        };
        let all = || rewrite::rewrite(&source, "rcu-map", &mut 0).unwrap().1;
        assert_eq!(all().len(), 10);
        let lines: Vec<usize> = spread(all(), 5).iter().map(|m| m.line).collect();
        assert_eq!(lines, [1, 3, 5, 7, 9]);
        assert_eq!(spread(all(), 50).len(), 10);
    }
}
