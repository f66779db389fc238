//! Running the models of a crate on one mutant.

use super::rewrite::Mutant;
use super::scratch::{Binary, Tree};
use anyhow::{Context, bail};
use std::collections::BTreeSet;
use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// What became of a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A model failed.
    Killed,
    /// Every model passed.
    Survived,
    /// A model ran far longer than without the mutant; counted apart, since it is no proof.
    TimedOut,
    /// No model of the crate executes the site.
    NotReached,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Killed => "killed",
            Self::Survived => "SURVIVED",
            Self::TimedOut => "timed out",
            Self::NotReached => "NOT REACHED",
        })
    }
}

struct Model {
    krate: &'static str,
    path: PathBuf,
    took: Duration,
    reached: BTreeSet<usize>,
}

/// The models with how long each takes and which sites each executes when nothing is mutated.
pub(crate) struct Models {
    models: Vec<Model>,
}

/// The crate whose models a file of loom-tests holds, by how its name begins; all others are sync-base's.
pub(super) fn crate_of(file: &str) -> &'static str {
    const BEGINNINGS: [(&str, &str); 7] = [
        ("rcu_map", "rcu-map"),
        ("rcu_cell", "rcu-map"),
        ("combine", "flat-combine"),
        ("seqstats", "seqstats"),
        ("fdtable", "epoch-fdtable"),
        ("pooled_vec", "pooled-vec"),
        ("ring", "uring-core"),
    ];
    BEGINNINGS
        .into_iter()
        .find(|(start, _)| file.starts_with(start))
        .map_or("sync-base", |(_, krate)| krate)
}

impl Models {
    /// Runs every model unmutated: all must pass.
    pub(crate) fn baseline(tree: &Tree, binaries: Vec<Binary>) -> anyhow::Result<Self> {
        let mut models = Vec::new();
        for binary in binaries {
            let trace = tree.root.join(format!("{}.trace", binary.name));
            let _ = std::fs::remove_file(&trace);
            let start = Instant::now();
            let passed = Command::new(&binary.path)
                .env("MUTANT_TRACE", &trace)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .with_context(|| format!("cannot run {}", binary.path.display()))?;
            if !passed.success() {
                bail!("the models of {} fail without any mutant", binary.name);
            }
            let text = std::fs::read_to_string(&trace).unwrap_or_default();
            let reached = text.lines().filter_map(|id| id.parse().ok()).collect();
            models.push(Model {
                krate: crate_of(&binary.name),
                path: binary.path,
                took: start.elapsed(),
                reached,
            });
        }
        models.sort_by_key(|m| m.took);
        Ok(Self { models })
    }

    /// Models to run on a mutant: those that execute its site, those of its own crate alone, fastest first.
    fn of<'a>(&'a self, mutant: &'a Mutant) -> impl Iterator<Item = &'a Model> {
        self.models
            .iter()
            .filter(|m| m.krate == mutant.krate && m.reached.contains(&mutant.id))
    }

    /// Whether any model of the mutant's crate executes its site.
    pub(crate) fn reaches(&self, mutant: &Mutant) -> bool {
        self.of(mutant).next().is_some()
    }

    /// Runs the models on one mutant.
    pub(crate) fn judge(&self, mutant: &Mutant) -> Verdict {
        let mut verdict = Verdict::NotReached;
        for model in self.of(mutant) {
            match run(model, mutant) {
                Some(true) if verdict == Verdict::NotReached => verdict = Verdict::Survived,
                Some(true) => {}
                Some(false) => return Verdict::Killed,
                None => verdict = Verdict::TimedOut,
            }
        }
        verdict
    }
}

/// Whether the model passes with the mutant in place; `None` when it had to be stopped.
///
/// The first test that fails settles it: others of the same binary may wait for ever for what the mutant withholds.
fn run(model: &Model, mutant: &Mutant) -> Option<bool> {
    let limit = model.took * 10 + Duration::from_secs(20);
    let mut child = Command::new(&model.path)
        .env("MUTANT", format!("{}:{}", mutant.id, mutant.variant))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let failed = watch(child.stdout.take()?);
    let start = Instant::now();
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status.success());
        }
        let killed = failed.try_recv().is_ok();
        if killed || start.elapsed() > limit {
            let _ = child.kill();
            let _ = child.wait();
            return killed.then_some(false);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Reads what a test binary prints, to its end, and reports each test that failed.
fn watch(output: impl Read + Send + 'static) -> Receiver<()> {
    let (report, failed) = channel();
    std::thread::spawn(move || {
        let lines = BufReader::new(output).lines().map_while(Result::ok);
        for _ in lines.filter(|line| line.starts_with("test ") && line.ends_with("... FAILED")) {
            let _ = report.send(());
        }
    });
    failed
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_failed_test_is_seen_before_the_binary_ends() {
        let (printed, mut prints) = std::io::pipe().expect("a pipe");
        let failed = watch(printed);
        writeln!(prints, "running 2 tests\ntest a ... ok\ntest b ... FAILED").expect("room in the pipe");
        assert_eq!(failed.recv_timeout(Duration::from_secs(60)), Ok(()));
        assert!(
            failed.try_recv().is_err(),
            "a test that passed was taken for a failed one"
        );
        drop(prints);
    }

    #[test]
    fn a_file_of_models_belongs_to_the_crate_that_it_is_named_after() {
        assert_eq!(crate_of("rcu_map_publish"), "rcu-map");
        assert_eq!(crate_of("fdtable_close"), "epoch-fdtable");
        assert_eq!(crate_of("registry"), "sync-base");
        assert_eq!(crate_of("queue_spsc"), "sync-base");
    }
}
