//! The sanitizers of a nightly compiler: each must find a planted defect before its silence about our code counts.
//!
//! Address and leak sanitizer watch the libraries' test suites. The thread sanitizer watches a program of its own
//! (`xtask/sanitized`): it would take the standard library's locks and channels, on which a test harness stands, for races.

use crate::ci::LIBRARIES;
use crate::shell::{answers, cargo, check, show};
use anyhow::{Context, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "x86_64-unknown-linux-gnu";
const MANIFEST: &str = "xtask/sanitized/Cargo.toml";

/// Tests that cannot run under the address sanitizer, and why.
const LEFT_OUT: [(&str, &str); 4] = [
    (
        "b16_a_refused_lock_surfaces_with_the_limit",
        "the sanitizer makes `mlock` do nothing",
    ),
    (
        "c15_similar_images_save_four_fifths_of_their_memory",
        "the sanitizer's own memory would be counted",
    ),
    (
        "e5_no_descriptor_left_names_the_limit",
        "looking for leaks takes a descriptor",
    ),
    (
        "e5_shortage_is_an_error_and_not_a_reason_for_the_fallback",
        "looking for leaks takes a descriptor",
    ),
];

/// Which sanitizers run.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Only this one: `address` (with leaks) or `thread`.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Only this library's tests, under the address sanitizer; may be given several times.
    #[arg(long = "crate", value_name = "NAME")]
    crates: Vec<String>,
}

/// A sanitizer, how to build for it, and what it must find.
struct Sanitizer {
    name: &'static str,
    rust_flags: &'static str,
    /// Its variable, and what is set there beside the file of what is known and no defect.
    variable: &'static str,
    settings: &'static str,
    known: (&'static str, &'static str),
    /// Planted defects, and the words with which this sanitizer reports each.
    planted: &'static [(&'static str, &'static str)],
}

const ADDRESS: Sanitizer = Sanitizer {
    name: "address",
    rust_flags: "-Zsanitizer=address",
    // Tests ask for absurd sizes and expect an error.
    variable: "ASAN_OPTIONS",
    settings: "detect_leaks=1:allocator_may_return_null=1",
    known: ("LSAN_OPTIONS", "xtask/sanitized/leaks.txt"),
    planted: &[
        ("use-after-free", "AddressSanitizer: heap-use-after-free"),
        ("overflow", "AddressSanitizer: heap-buffer-overflow"),
        ("leak", "LeakSanitizer: detected memory leaks"),
    ],
};

const THREAD: Sanitizer = Sanitizer {
    name: "thread",
    rust_flags: "-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer",
    variable: "TSAN_OPTIONS",
    settings: "halt_on_error=1",
    known: ("TSAN_OPTIONS", "xtask/sanitized/races.txt"),
    planted: &[("race", "ThreadSanitizer: data race")],
};

/// Runs what was chosen; says so and succeeds where there is no nightly compiler.
pub(crate) fn run(root: &Path, options: &Options) -> anyhow::Result<()> {
    let chosen: Vec<_> = [&ADDRESS, &THREAD]
        .into_iter()
        .filter(|one| options.only.as_deref().is_none_or(|only| only == one.name))
        .collect();
    if chosen.is_empty() {
        bail!("no such sanitizer; there are `address` and `thread`");
    }
    if !answers("cargo", &["+nightly", "--version"]) {
        println!("notice: no nightly compiler here; the sanitizers did not run");
        return Ok(());
    }
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        println!("notice: the sanitizers are set up for {TARGET} alone; they did not run");
        return Ok(());
    }
    for sanitizer in chosen {
        sanitizer.finds_what_is_planted(root)?;
        match sanitizer.name {
            "address" => sanitizer.watches_tests(root, &options.crates)?,
            _ => sanitizer.watches_traffic(root)?,
        }
    }
    Ok(())
}

impl Sanitizer {
    fn target_dir(&self, root: &Path) -> PathBuf {
        root.join("target/sanitize").join(self.name)
    }

    /// Builds or runs with this sanitizer, whatever the surroundings say.
    fn set_up(&self, root: &Path, command: &mut Command) {
        command
            .env("RUSTFLAGS", self.rust_flags)
            .env("CARGO_TARGET_DIR", self.target_dir(root));
        let (variable, file) = self.known;
        // Tests run in directories of their own: the path begins at the root of all.
        let known = format!("suppressions={}", root.join(file).display());
        if variable == self.variable {
            command.env(variable, format!("{}:{known}", self.settings));
        } else {
            command.env(self.variable, self.settings).env(variable, known);
        }
    }

    /// A program of `xtask/sanitized`, as it was built last.
    fn program(&self, root: &Path, name: &str) -> Command {
        let path = self.target_dir(root).join(TARGET).join("release").join(name);
        let mut command = Command::new(path);
        self.set_up(root, &mut command);
        command
    }

    /// Fails unless each planted defect is found, and nothing where nothing is planted.
    fn finds_what_is_planted(&self, root: &Path) -> anyhow::Result<()> {
        let arguments = [
            "+nightly",
            "build",
            "--release",
            "--target",
            TARGET,
            "--manifest-path",
            MANIFEST,
        ];
        let mut build = cargo(root, &arguments);
        self.set_up(root, &mut build);
        check(&mut build)?;
        let run = |defect: &str| {
            let mut command = self.program(root, "planted");
            let output = command.arg(defect).output();
            output.with_context(|| format!("cannot run `{}`", show(&command)))
        };
        let clean = run("none")?;
        if !clean.status.success() {
            bail!(
                "the {} sanitizer cannot run here: a program without a defect failed:\n{}",
                self.name,
                String::from_utf8_lossy(&clean.stderr)
            );
        }
        for (defect, words) in self.planted {
            let outcome = run(defect)?;
            let told = String::from_utf8_lossy(&outcome.stderr);
            judge(self.name, defect, words, outcome.status.success(), &told)?;
            println!("{} sanitizer: found the planted {defect}", self.name);
        }
        Ok(())
    }

    fn watches_tests(&self, root: &Path, crates: &[String]) -> anyhow::Result<()> {
        let mut command = cargo(root, &["+nightly", "test", "--target", TARGET, "--all-features"]);
        command.args(["--lib", "--tests", "--no-fail-fast"]);
        for library in LIBRARIES {
            if crates.is_empty() || crates.iter().any(|name| name == library) {
                command.args(["-p", library]);
            }
        }
        self.set_up(root, &mut command);
        command.arg("--");
        for (test, why) in LEFT_OUT {
            println!("notice: {test} is left out: {why}");
            command.args(["--skip", test]);
        }
        // Optimised, frames would be missing from the traces by which deliberate leaks are told.
        command.env("CARGO_PROFILE_DEV_OPT_LEVEL", "0");
        check(&mut command).context("the address sanitizer or a test found a defect")?;
        println!("address sanitizer: nothing in the libraries' tests");
        Ok(())
    }

    fn watches_traffic(&self, root: &Path) -> anyhow::Result<()> {
        check(&mut self.program(root, "traffic")).context("the thread sanitizer found a defect")?;
        println!("thread sanitizer: nothing in the traffic of pooled memory");
        Ok(())
    }
}

/// Whether a run over a planted defect was as it must be.
fn judge(sanitizer: &str, defect: &str, words: &str, succeeded: bool, told: &str) -> anyhow::Result<()> {
    if succeeded || !told.contains(words) {
        bail!(
            "the {sanitizer} sanitizer did not find the planted {defect}: its silence about our code means nothing. It \
             said:\n{told}"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_planted_defect_that_passes_is_red() {
        let found = |succeeded, told| judge("leak", "leak", "detected memory leaks", succeeded, told).is_ok();
        assert!(found(false, "ERROR: LeakSanitizer: detected memory leaks"));
        assert!(!found(true, "ERROR: LeakSanitizer: detected memory leaks"));
        assert!(
            !found(false, "Segmentation fault"),
            "failing for another reason proves nothing"
        );
        assert!(!found(true, ""));
    }

    #[test]
    fn a_sanitizer_that_is_not_there_is_an_error() {
        let options = Options {
            only: Some("memory".into()),
            crates: Vec::new(),
        };
        assert!(run(Path::new("."), &options).is_err());
    }
}
