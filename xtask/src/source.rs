//! Reading sources as tokens with places: where the orderings, fences and items of a file are.

use anyhow::Context;
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A source file, its path relative to the workspace.
#[derive(Debug)]
pub(crate) struct Source {
    /// Path relative to the workspace's root, with forward slashes.
    pub(crate) path: String,
    /// The whole text.
    pub(crate) text: String,
}

/// A place where an ordering is named: `Ordering::Acquire`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Site {
    /// The ordering's name.
    pub(crate) order: String,
    /// Line, from 1.
    pub(crate) line: usize,
    /// Bytes of `Ordering::Acquire` in the text, with any path in front of it.
    pub(crate) bytes: Range<usize>,
    /// For the only argument of `fence(...)`: the bytes of `path::fence`.
    pub(crate) fence: Option<Range<usize>>,
}

/// Which code is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All that is not test code.
    Shipped,
    /// Of that, what is built under loom too.
    Modelled,
}

impl Source {
    /// Every `.rs` file below `root/dir`.
    pub(crate) fn below(root: &Path, dir: &str) -> anyhow::Result<Vec<Self>> {
        let mut files = Vec::new();
        collect(&root.join(dir), &mut files)?;
        files.sort();
        files
            .into_iter()
            .map(|file| {
                let text = std::fs::read_to_string(&file)
                    .with_context(|| format!("cannot read {}", file.display()))?;
                let path = file
                    .strip_prefix(root)
                    .unwrap_or(&file)
                    .to_string_lossy()
                    .replace('\\', "/");
                Ok(Self { path, text })
            })
            .collect()
    }

    /// The file's tokens.
    pub(crate) fn tokens(&self) -> anyhow::Result<TokenStream> {
        self.text
            .parse()
            .map_err(|why| anyhow::anyhow!("{}: not Rust: {why}", self.path))
    }

    /// Every named ordering outside test code.
    pub(crate) fn sites(&self) -> anyhow::Result<Vec<Site>> {
        self.sites_in(Scope::Shipped)
    }

    /// Every named ordering in the scope.
    pub(crate) fn sites_in(&self, scope: Scope) -> anyhow::Result<Vec<Site>> {
        let mut sites = Vec::new();
        find_sites(self.tokens()?, scope, None, &mut sites);
        Ok(sites)
    }

    /// Line and bytes of every call `path::name(...)` in the scope whose last word is one of `names`.
    pub(crate) fn calls_in(
        &self,
        scope: Scope,
        names: &[&str],
    ) -> anyhow::Result<Vec<(usize, Range<usize>)>> {
        let mut calls = Vec::new();
        find_calls(self.tokens()?, scope, names, &mut calls);
        Ok(calls)
    }
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            if path.file_name().is_none_or(|name| name != "target") {
                collect(&path, files)?;
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// Top-level tokens without items under `#[cfg(test)]` or `#[cfg(all(test, ...))]`.
pub(crate) fn without_tests(tokens: TokenStream) -> Vec<TokenTree> {
    within(tokens, Scope::Shipped)
}

/// Top-level tokens without items that a `cfg` puts outside the scope.
fn within(tokens: TokenStream, scope: Scope) -> Vec<TokenTree> {
    let mut kept = Vec::new();
    let mut trees = tokens.into_iter().peekable();
    while let Some(tree) = trees.next() {
        let attribute = match (&tree, trees.peek()) {
            (TokenTree::Punct(hash), Some(TokenTree::Group(group))) if hash.as_char() == '#' => {
                Some(group.clone())
            }
            _ => None,
        };
        match attribute {
            Some(group) if is_outside(&group, scope) => {
                trees.next();
                skip_item(&mut trees);
            }
            _ => kept.push(tree),
        }
    }
    kept
}

fn is_outside(attribute: &Group, scope: Scope) -> bool {
    let flat: String = attribute
        .stream()
        .to_string()
        .chars()
        .filter(|c| !c.is_whitespace())
        .collect();
    let Some(condition) = flat.strip_prefix("cfg(") else {
        return false;
    };
    let test = ["test)", "all(test,", "doctest)", "all(doctest,"]
        .iter()
        .any(|c| condition.starts_with(c));
    let unmodelled = [
        "not(loom)",
        "not(any(loom,",
        "all(not(loom)",
        "all(not(any(loom,",
        "shuttle)",
        "all(shuttle,",
    ];
    test || scope == Scope::Modelled && unmodelled.iter().any(|c| condition.starts_with(c))
}

/// Passes over the rest of an item: to its body, or to its semicolon.
fn skip_item(trees: &mut impl Iterator<Item = TokenTree>) {
    for tree in trees {
        match tree {
            TokenTree::Group(g) if g.delimiter() == Delimiter::Brace => return,
            TokenTree::Punct(p) if p.as_char() == ';' => return,
            _ => {}
        }
    }
}

fn find_calls(tokens: TokenStream, scope: Scope, names: &[&str], calls: &mut Vec<(usize, Range<usize>)>) {
    let trees = within(tokens, scope);
    for (at, tree) in trees.iter().enumerate() {
        match tree {
            TokenTree::Group(group) => find_calls(group.stream(), scope, names, calls),
            TokenTree::Ident(word) if names.contains(&word.to_string().as_str()) => {
                let method = |c: char| matches!(at.checked_sub(1).map(|i| &trees[i]), Some(TokenTree::Punct(p)) if p.as_char() == c);
                let defined =
                    matches!(at.checked_sub(1).map(|i| &trees[i]), Some(TokenTree::Ident(w)) if *w == "fn");
                let Some(TokenTree::Group(group)) = trees.get(at + 1) else {
                    continue;
                };
                if group.delimiter() == Delimiter::Parenthesis && !defined && !method('.') {
                    let end = group.span_close().byte_range().end;
                    calls.push((word.span().start().line, path_start(&trees, at)..end));
                }
            }
            _ => {}
        }
    }
}

fn find_sites(tokens: TokenStream, scope: Scope, call: Option<Range<usize>>, sites: &mut Vec<Site>) {
    let trees = within(tokens, scope);
    for (at, tree) in trees.iter().enumerate() {
        match tree {
            TokenTree::Group(group) => {
                let fence = (group.delimiter() == Delimiter::Parenthesis)
                    .then(|| fence_path(&trees[..at]))
                    .flatten();
                find_sites(group.stream(), scope, fence, sites);
            }
            TokenTree::Ident(word) if *word == "Ordering" => {
                let Some(order) = named_after(&trees, at) else {
                    continue;
                };
                const ORDERS: [&str; 5] = ["Relaxed", "Acquire", "Release", "AcqRel", "SeqCst"];
                if !ORDERS.contains(&order.to_string().as_str()) {
                    continue;
                }
                let start = path_start(&trees, at);
                sites.push(Site {
                    order: order.to_string(),
                    line: order.span().start().line,
                    bytes: start..order.span().byte_range().end,
                    fence: call.clone(),
                });
            }
            _ => {}
        }
    }
}

/// The identifier after `trees[at] ::`.
fn named_after(trees: &[TokenTree], at: usize) -> Option<&proc_macro2::Ident> {
    match (trees.get(at + 1), trees.get(at + 2), trees.get(at + 3)) {
        (Some(TokenTree::Punct(a)), Some(TokenTree::Punct(b)), Some(TokenTree::Ident(name)))
            if a.as_char() == ':' && b.as_char() == ':' =>
        {
            Some(name)
        }
        _ => None,
    }
}

/// Where the path that ends in `trees[at]` begins.
fn path_start(trees: &[TokenTree], mut at: usize) -> usize {
    let colon = |t: Option<&TokenTree>| matches!(t, Some(TokenTree::Punct(p)) if p.as_char() == ':');
    while at >= 2 && colon(trees.get(at - 1)) && colon(trees.get(at - 2)) {
        match at.checked_sub(3).and_then(|i| trees.get(i)) {
            Some(TokenTree::Ident(_)) => at -= 3,
            _ => {
                at -= 2;
                break;
            }
        }
    }
    trees[at].span().byte_range().start
}

/// If the tokens end in a path whose last word is `fence` or `compiler_fence`, its bytes.
fn fence_path(before: &[TokenTree]) -> Option<Range<usize>> {
    let at = before.len().checked_sub(1)?;
    match &before[at] {
        TokenTree::Ident(word) if *word == "fence" || *word == "compiler_fence" => {
            if matches!(at.checked_sub(1).map(|i| &before[i]), Some(TokenTree::Ident(w)) if *w == "fn") {
                return None;
            }
            Some(path_start(before, at)..word.span().byte_range().end)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sites(text: &str) -> Vec<(String, usize, String, bool)> {
        let source = Source {
            path: "a.rs".into(),
            text: text.into(),
        };
        let found = source.sites().unwrap();
        found
            .into_iter()
            .map(|s| (s.order, s.line, text[s.bytes].to_string(), s.fence.is_some()))
            .collect()
    }

    #[test]
    fn orderings_are_found_with_their_paths_and_fences() {
        let found =
            sites("fn f() {\n a.load(Ordering::Acquire);\n atomic::fence(atomic::Ordering::SeqCst);\n}");
        assert_eq!(
            found,
            [
                ("Acquire".into(), 2, "Ordering::Acquire".into(), false),
                ("SeqCst".into(), 3, "atomic::Ordering::SeqCst".into(), true),
            ]
        );
    }

    #[test]
    fn tests_comments_and_comparisons_are_passed_over() {
        assert!(
            sites("// Ordering::Acquire\n#[cfg(test)] mod t { fn f() { x(Ordering::Release) } }").is_empty()
        );
        assert!(sites("#[cfg(all(test, not(loom)))] mod t { fn f() { x(Ordering::Release) } }").is_empty());
        assert!(sites("fn f() { a.cmp(&b) == Ordering::Less; }").is_empty());
    }
}
