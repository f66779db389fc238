//! Where and with what a run was made: the half of a figure that a table of figures leaves out.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Machine, versions and plan of one run, as far as this machine tells.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// The day of the run, year first.
    pub date: String,
    /// Kernel release.
    pub kernel: String,
    /// Name of the processor.
    pub cpu: String,
    /// CPUs that the run could use.
    pub cpus: usize,
    /// Main memory in MiB.
    pub memory_mib: u64,
    /// The compiler.
    pub rustc: String,
    /// The commit, with `+` where the tree differed from it.
    pub commit: String,
    /// `full` or `quick`.
    pub plan: String,
    /// Releases of the peers and of what the suite itself leans on.
    pub versions: BTreeMap<String, String>,
}

const LOCK: &str = include_str!("../../../Cargo.lock");
const MANIFEST: &str = include_str!("../../Cargo.toml");

impl About {
    /// Looks around; what cannot be found out is `unknown`, never guessed.
    pub fn here(quick: bool) -> Self {
        Self {
            date: said_by("date", &["+%Y-%m-%d"]),
            kernel: read("/proc/sys/kernel/osrelease"),
            cpu: field("/proc/cpuinfo", "model name"),
            cpus: crate::online_cpus().len(),
            memory_mib: field("/proc/meminfo", "MemTotal")
                .trim_end_matches(" kB")
                .parse::<u64>()
                .map_or(0, |kib| kib / 1024),
            rustc: said_by("rustc", &["--version"]),
            commit: commit(),
            plan: if quick { "quick" } else { "full" }.into(),
            versions: versions(),
        }
    }

    /// One line: the machine and the day.
    pub fn line(&self) -> String {
        format!(
            "{}, {} ({} CPUs, {} MiB), Linux {}, {}, commit {}, {} plan",
            self.date, self.cpu, self.cpus, self.memory_mib, self.kernel, self.rustc, self.commit, self.plan
        )
    }
}

/// Where a run says what it was made with: beside its rows, `claims.about.json` for `claims.json`.
pub fn about_file(rows: &Path) -> PathBuf {
    rows.with_extension("about.json")
}

fn unknown() -> String {
    "unknown".into()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).map_or_else(|_| unknown(), |text| text.trim().into())
}

/// The value beside a name in a file of `name: value` lines.
fn field(path: &str, name: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let found = text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    });
    found.unwrap_or_else(unknown)
}

fn said_by(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    match output {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().into(),
        _ => unknown(),
    }
}

fn commit() -> String {
    let commit = said_by("git", &["rev-parse", "--short", "HEAD"]);
    let changes = said_by("git", &["status", "--porcelain", "--untracked-files=no"]);
    if changes.is_empty() || changes == unknown() {
        commit
    } else {
        commit + "+"
    }
}

/// Name and release of each package that the suite's manifest names and that is none of ours, from the lock file it was
/// built by.
fn versions() -> BTreeMap<String, String> {
    let named = |name: &str| {
        MANIFEST.lines().any(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(' ') || rest.starts_with('.'))
        })
    };
    let mut found = BTreeMap::new();
    for package in LOCK.split("[[package]]").skip(1) {
        let value = |key: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(key));
            line.map(|quoted| quoted.trim_matches('"').to_owned())
        };
        let (Some(name), Some(version), Some(_)) =
            (value("name = "), value("version = "), value("source = "))
        else {
            continue;
        };
        if named(&name) {
            let all: &mut String = found.entry(name).or_default();
            if !all.is_empty() {
                all.push_str(", ");
            }
            all.push_str(&version);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_knows_its_machine_and_its_peers() {
        let about = About::here(true);
        assert!(about.cpus > 0 && about.memory_mib > 0, "{about:?}");
        assert_eq!(about.plan, "quick");
        for peer in ["papaya", "crossbeam-epoch", "monoio", "seqlock", "io-uring"] {
            assert!(about.versions[peer].contains('.'), "{:?}", about.versions);
        }
        assert!(
            !about.versions.contains_key("rcu-map"),
            "ours have no release to name"
        );
        assert!(about.line().contains(&about.kernel));
    }
}
