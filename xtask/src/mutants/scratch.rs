//! The scratch tree: a copy of the workspace in which the sites are planted.

use super::rewrite::{self, Mutant, PLANTED};
use super::verdict::crate_of;
use crate::models::loom_command;
use crate::shell::command;
use crate::source::Source;
use anyhow::{Context, bail};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// A copy of the workspace under `target/mutants`, which one run at a time may write.
#[derive(Debug)]
pub(crate) struct Tree {
    /// The copy's root.
    pub(crate) root: PathBuf,
    _held: File,
}

/// Waits until no other run has the scratch tree, and holds it until the file is dropped.
fn hold(place: &Path) -> anyhow::Result<File> {
    std::fs::create_dir_all(place)?;
    let lock = File::create(place.join("lock")).context("cannot make the lock of the scratch tree")?;
    if let Err(TryLockError::WouldBlock) = lock.try_lock() {
        eprintln!("another run has {}: waiting for its end", place.display());
    }
    lock.lock().context("cannot lock the scratch tree")?;
    Ok(lock)
}

/// Finds the mutants of the crates' sources below `root`; `each` gets every source that has some, rewritten.
pub(crate) fn mutants(
    root: &Path,
    crates: &[&str],
    mut each: impl FnMut(&Source, &str) -> anyhow::Result<()>,
) -> anyhow::Result<Vec<Mutant>> {
    let (mut mutants, mut next) = (Vec::new(), 0);
    for krate in crates {
        for source in Source::below(root, &format!("{krate}/src"))? {
            // The facade is what the models stand on, and so it is trusted and not mutated.
            if source.path.starts_with("sync-base/src/facade/") || source.path.ends_with("__mutant.rs") {
                continue;
            }
            let (text, found) = rewrite::rewrite(&source, krate, &mut next)?;
            if !found.is_empty() {
                each(&source, &text)?;
                mutants.extend(found);
            }
        }
    }
    Ok(mutants)
}

/// One test binary of loom-tests.
#[derive(Debug)]
pub(crate) struct Binary {
    /// Its file under loom-tests/tests, without the extension.
    pub(crate) name: String,
    /// The executable.
    pub(crate) path: PathBuf,
}

impl Tree {
    /// Copies every file that git tracks or would. Files that have not changed keep their time, so that little is
    /// built again.
    pub(crate) fn copy(from: &Path) -> anyhow::Result<Self> {
        let held = hold(&from.join("target/mutants"))?;
        let root = from.join("target/mutants/tree");
        let listing = command(
            from,
            "git",
            &["ls-files", "--cached", "--others", "--exclude-standard"],
        )
        .output()?;
        let listing = String::from_utf8(listing.stdout).context("a file name is not UTF-8")?;
        if listing.is_empty() {
            bail!("git lists no file here: run in a checkout");
        }
        // A source that was removed or moved here must not live on there.
        let kept: std::collections::BTreeSet<&str> = listing.lines().collect();
        for dir in crate::tidy::SOURCE_DIRS {
            for source in Source::below(&root, dir)?
                .iter()
                .filter(|s| !kept.contains(s.path.as_str()))
            {
                std::fs::remove_file(root.join(&source.path))?;
            }
        }
        for name in listing.lines().filter(|name| from.join(name).is_file()) {
            write_changed(&root.join(name), &std::fs::read(from.join(name))?)?;
        }
        Ok(Self { root, _held: held })
    }

    /// Plants the sites of the crates' sources and gives their mutants.
    pub(crate) fn plant(&self, crates: &[&str]) -> anyhow::Result<Vec<Mutant>> {
        let mutants = mutants(&self.root, crates, |source, text| {
            write_changed(&self.root.join(&source.path), text.as_bytes())
        })?;
        let lib = self.root.join("sync-base/src/lib.rs");
        let text = std::fs::read_to_string(&lib)?;
        let added = "\n#[doc(hidden)]\n#[allow(missing_docs)]\npub mod __mutant;\n";
        write_changed(&lib, (text + added).as_bytes())?;
        write_changed(&self.root.join("sync-base/src/__mutant.rs"), PLANTED.as_bytes())?;
        Ok(mutants)
    }

    /// Builds the models of these crates once and gives their binaries.
    pub(crate) fn build(&self, crates: &[&str]) -> anyhow::Result<Vec<Binary>> {
        let mut arguments: Vec<String> = ["test", "--no-run", "--profile", "model", "-p", "loom-tests"]
            .into_iter()
            .chain(["--message-format=json"])
            .map(String::from)
            .collect();
        for entry in std::fs::read_dir(self.root.join("loom-tests/tests"))? {
            let path = entry?.path();
            let stem = path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .unwrap_or_default();
            if path.is_file() && crates.contains(&crate_of(stem)) {
                arguments.extend(["--test".to_string(), stem.to_string()]);
            }
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut build = loom_command(&self.root, &arguments);
        let output = build.stderr(std::process::Stdio::inherit()).output()?;
        if !output.status.success() {
            bail!("the planted tree does not build: a site stands where an ordering must be a constant");
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let messages = text
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let binaries = messages.filter_map(|message| {
            let kind = message["target"]["kind"].as_array()?.first()?.as_str()?;
            let path = PathBuf::from(message["executable"].as_str()?);
            let name = message["target"]["name"].as_str()?.to_string();
            (kind == "test").then_some(Binary { name, path })
        });
        Ok(binaries.collect())
    }
}

/// Writes a file unless it already holds just this.
fn write_changed(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    if std::fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scratch_tree_has_one_holder_at_a_time() {
        let place = std::env::temp_dir().join(format!("mutants-{}", std::process::id()));
        let first = hold(&place).unwrap();
        let second = File::create(place.join("lock")).unwrap();
        assert!(matches!(second.try_lock(), Err(TryLockError::WouldBlock)));
        drop(first);
        assert!(second.try_lock().is_ok());
        std::fs::remove_dir_all(&place).unwrap();
    }

    #[test]
    fn finding_the_mutants_writes_nothing() {
        let place = std::env::temp_dir().join(format!("mutants-list-{}", std::process::id()));
        let source = place.join("rcu-map/src/a.rs");
        let text = "fn f() {\n    a.store(1, Ordering::Release)\n}\n";
        write_changed(&source, text.as_bytes()).unwrap();
        let mut seen = 0;
        let found = mutants(&place, &["rcu-map"], |_, _| {
            seen += 1;
            Ok(())
        });
        assert_eq!((found.unwrap().len(), seen), (1, 1));
        assert_eq!(std::fs::read_to_string(&source).unwrap(), text);
        assert!(!place.join("target").exists());
        std::fs::remove_dir_all(&place).unwrap();
    }
}
