//! Who may import whom: between packages, and between the layers inside uring-core.

use super::Violation;
use crate::source::Source;
use proc_macro2::{TokenStream, TokenTree};
use std::path::Path;

/// Primitives: they import the two leaves and never each other.
const PRIMITIVES: [&str; 5] = [
    "rcu-map",
    "flat-combine",
    "seqstats",
    "epoch-fdtable",
    "pooled-vec",
];
const LEAVES: [&str; 2] = ["sync-base", "inline-error"];
const APPS: [&str; 3] = ["uring-cli", "uring-rpc", "uring-input"];

/// Layers of uring-core, lowest first; modules in one row do not import each other.
const LAYERS: [&[&str]; 12] = [
    &["sys"],
    &["backend"],
    &["ring"],
    &["buffer", "file"],
    &["op"],
    &["permit"],
    &["flow"],
    &["pace"],
    &["stats"],
    &["worker"],
    &["batch"],
    &["adapt", "exec"],
];
const TOP: &str = "engine";

/// Reads the arrows between packages of the workspace: importer, imported.
pub(crate) fn read_metadata(root: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let metadata = cargo_metadata::MetadataCommand::new()
        .current_dir(root)
        .no_deps()
        .exec()?;
    let ours: Vec<String> = metadata.packages.iter().map(|p| p.name.to_string()).collect();
    let arrows = metadata.packages.iter().flat_map(|package| {
        let from = package.name.to_string();
        package
            .dependencies
            .iter()
            .map(move |d| (from.clone(), d.name.clone()))
    });
    Ok(arrows.filter(|(_, to)| ours.contains(to)).collect())
}

fn allowed(from: &str, to: &str) -> bool {
    let leaf = LEAVES.contains(&to);
    let primitive = PRIMITIVES.contains(&to);
    match from {
        _ if LEAVES.contains(&from) || from == "xtask" => false,
        _ if PRIMITIVES.contains(&from) => leaf,
        "uring-core" => leaf || primitive,
        "uring-cli" => leaf || primitive || to == "uring-core" || APPS.contains(&to),
        _ if APPS.contains(&from) => leaf || primitive || to == "uring-core",
        // These import anything, except that nothing imports them.
        "bench-suite" | "loom-tests" => leaf || primitive || to == "uring-core" || APPS.contains(&to),
        _ => false,
    }
}

/// Arrows between packages that DESIGN forbids.
pub(crate) fn packages(arrows: &[(String, String)]) -> Vec<Violation> {
    let forbidden = arrows.iter().filter(|(from, to)| !allowed(from, to));
    forbidden
        .map(|(from, to)| Violation::new(format!("{from}/Cargo.toml"), format!("must not import `{to}`")))
        .collect()
}

fn rank(module: &str) -> Option<usize> {
    if module == TOP {
        return Some(LAYERS.len());
    }
    LAYERS.iter().position(|row| row.contains(&module))
}

/// Imports inside uring-core that do not point down.
pub(crate) fn layers(source: &Source) -> anyhow::Result<Vec<Violation>> {
    let Some(inside) = source.path.strip_prefix("uring-core/src/") else {
        return Ok(Vec::new());
    };
    let module = inside.split(['/', '.']).next().unwrap_or("");
    let Some(mine) = rank(module) else {
        return Ok(Vec::new());
    };
    let mut imported = Vec::new();
    crate_paths(source.tokens()?, &mut imported);
    let up = imported
        .into_iter()
        .filter(|(name, _)| name != module && rank(name).is_some_and(|r| r >= mine));
    Ok(up
        .map(|(name, line)| {
            let what = format!("layer `{module}` must not import `{name}`: arrows point down");
            Violation::new(format!("{}:{line}", source.path), what)
        })
        .collect())
}

/// The first words of every `crate::word` and `crate::{word, ...}` outside test code.
fn crate_paths(tokens: TokenStream, found: &mut Vec<(String, usize)>) {
    let trees = crate::source::without_tests(tokens);
    for (at, tree) in trees.iter().enumerate() {
        if let TokenTree::Group(group) = tree {
            crate_paths(group.stream(), found);
        }
        let is_crate = matches!(tree, TokenTree::Ident(word) if *word == "crate");
        let colon = |i: usize| matches!(trees.get(i), Some(TokenTree::Punct(p)) if p.as_char() == ':');
        if !(is_crate && colon(at + 1) && colon(at + 2)) {
            continue;
        }
        match trees.get(at + 3) {
            Some(TokenTree::Ident(word)) => found.push((word.to_string(), word.span().start().line)),
            Some(TokenTree::Group(group)) => {
                let mut first = true;
                for inner in group.stream() {
                    if let (true, TokenTree::Ident(word)) = (first, &inner) {
                        found.push((word.to_string(), word.span().start().line));
                    }
                    first = matches!(&inner, TokenTree::Punct(p) if p.as_char() == ',');
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrow(from: &str, to: &str) -> usize {
        packages(&[(from.to_string(), to.to_string())]).len()
    }

    #[test]
    fn a_planted_import_between_primitives_is_found() {
        assert_eq!(arrow("rcu-map", "seqstats"), 1);
        assert_eq!(arrow("sync-base", "inline-error"), 1);
        assert_eq!(arrow("uring-core", "bench-suite"), 1);
        assert_eq!(arrow("xtask", "uring-core"), 1);
        assert_eq!(arrow("uring-rpc", "uring-input"), 1);
    }

    #[test]
    fn the_arrows_of_the_house_are_allowed() {
        for (from, to) in [
            ("rcu-map", "sync-base"),
            ("uring-core", "rcu-map"),
            ("uring-cli", "uring-rpc"),
            ("loom-tests", "uring-core"),
        ] {
            assert_eq!(arrow(from, to), 0, "{from} -> {to}");
        }
    }

    fn layer(path: &str, text: &str) -> usize {
        layers(&Source {
            path: path.into(),
            text: text.into(),
        })
        .unwrap()
        .len()
    }

    #[test]
    fn a_planted_upward_import_is_found() {
        assert_eq!(layer("uring-core/src/ring/table.rs", "use crate::op::Read;"), 1);
        assert_eq!(
            layer("uring-core/src/ring.rs", "fn f() { crate::engine::go() }"),
            1
        );
        assert_eq!(
            layer(
                "uring-core/src/file/mod.rs",
                "use crate::{sys::probe, buffer::Slab};"
            ),
            1
        );
    }

    #[test]
    fn downward_imports_and_tests_are_allowed() {
        assert_eq!(
            layer(
                "uring-core/src/op/mod.rs",
                "use crate::{ring::Ring, buffer::Slab};"
            ),
            0
        );
        assert_eq!(
            layer(
                "uring-core/src/ring/a.rs",
                "#[cfg(test)] mod t { use crate::engine::E; }"
            ),
            0
        );
        assert_eq!(layer("uring-core/src/error.rs", "use crate::engine::E;"), 0);
    }
}
