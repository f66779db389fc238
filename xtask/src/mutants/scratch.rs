//! The scratch tree: a copy of the workspace in which the sites are planted.

use super::rewrite::{self, Mutant, PLANTED};
use super::verdict::crate_of;
use crate::models::loom_command;
use crate::shell::command;
use crate::source::Source;
use anyhow::{Context, bail};
use std::path::{Path, PathBuf};

/// A copy of the workspace under `target/mutants`.
#[derive(Debug)]
pub(crate) struct Tree {
    /// The copy's root.
    pub(crate) root: PathBuf,
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
        Ok(Self { root })
    }

    /// Plants the sites of the crates' sources and gives their mutants.
    pub(crate) fn plant(&self, crates: &[&str]) -> anyhow::Result<Vec<Mutant>> {
        let (mut mutants, mut next) = (Vec::new(), 0);
        for krate in crates {
            for source in Source::below(&self.root, &format!("{krate}/src"))? {
                // The facade is what the models stand on, and so it is trusted and not mutated.
                if source.path.starts_with("sync-base/src/facade/") || source.path.ends_with("__mutant.rs") {
                    continue;
                }
                let (text, found) = rewrite::rewrite(&source, krate, &mut next)?;
                if !found.is_empty() {
                    write_changed(&self.root.join(&source.path), text.as_bytes())?;
                    mutants.extend(found);
                }
            }
        }
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
