//! Each named ordering says why, and each atomic comes through the facade.

use super::Violation;
use crate::source::{Site, Source, without_tests};
use proc_macro2::{TokenStream, TokenTree};

/// How far above its site a comment may begin to be looked for.
const REACH: usize = 10;

/// Orderings under another name, which the rules below would not see.
pub(crate) fn renamed(source: &Source) -> anyhow::Result<Vec<Violation>> {
    let flat = |line: &str| line.split_whitespace().collect::<String>();
    let hidden = |line: &str| {
        let (whole, flat) = (line, flat(line));
        !whole.trim_start().starts_with("//")
            && (whole.contains("Ordering as ")
                || flat.contains("Ordering::*")
                || flat.contains("Ordering::{"))
    };
    let found = source.text.lines().enumerate().filter(|(_, line)| hidden(line));
    Ok(found
        .map(|(at, _)| {
            Violation::new(
                format!("{}:{}", source.path, at + 1),
                "write `Ordering::X` in full: the rules read it",
            )
        })
        .collect())
}

/// Sites whose comment does not name the ordering, or names no partner.
pub(crate) fn comments(source: &Source) -> anyhow::Result<Vec<Violation>> {
    let lines: Vec<&str> = source.text.lines().collect();
    let sites = source.sites()?;
    let mut violations = Vec::new();
    for site in &sites {
        let comment = comment_of(&lines, site.line);
        let place = format!("{}:{}", source.path, site.line);
        if !comment.contains(&site.order) {
            let what = format!("`{}` without a comment that names it and says why", site.order);
            violations.push(Violation::new(place, what));
        } else if site.order != "Relaxed" && !comment.contains("pairs with") {
            violations.push(Violation::new(
                place,
                format!("`{}` without \"pairs with\"", site.order),
            ));
        }
        violations.extend(sequential_access(source, site));
    }
    Ok(violations)
}

/// SeqCst accesses are refused: loom does not model them. A fence it does.
fn sequential_access(source: &Source, site: &Site) -> Option<Violation> {
    (site.order == "SeqCst" && site.fence.is_none()).then(|| {
        let place = format!("{}:{}", source.path, site.line);
        Violation::new(
            place,
            "a SeqCst access: use a SeqCst fence, which the models know",
        )
    })
}

/// The comment on the site's own line, and the nearest block of comment lines above its statement. Statements that
/// name orderings themselves may stand between: one comment may speak of a short run of accesses.
fn comment_of(lines: &[&str], line: usize) -> String {
    let own = lines.get(line - 1).copied().unwrap_or("");
    let mut comment = own.split_once("//").map_or(String::new(), |(_, c)| c.to_string());
    let mut at = line - 1;
    let lowest = line.saturating_sub(REACH + 1);
    while at > lowest && !is_comment(lines[at - 1]) {
        let above = lines[at - 1].trim_end();
        let ends = above.trim().is_empty() || above.ends_with(';') || above.trim() == "}";
        if ends && !above.contains("Ordering::") {
            return comment;
        }
        at -= 1;
    }
    while at > 0 && is_comment(lines[at - 1]) {
        comment.push(' ');
        comment.push_str(lines[at - 1]);
        at -= 1;
    }
    comment
}

fn is_comment(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("//") && !line.starts_with("///") && !line.starts_with("//!")
}

/// Atomics, cells and threads taken from `std` or `core` instead of the facade.
pub(crate) fn facade(source: &Source) -> anyhow::Result<Vec<Violation>> {
    if source.path.starts_with("sync-base/src/facade/") {
        return Ok(Vec::new());
    }
    let mut violations = Vec::new();
    direct_imports(source, source.tokens()?, &mut violations);
    Ok(violations)
}

fn direct_imports(source: &Source, tokens: TokenStream, violations: &mut Vec<Violation>) {
    let trees = without_tests(tokens);
    let lines: Vec<&str> = source.text.lines().collect();
    for (at, tree) in trees.iter().enumerate() {
        if let TokenTree::Group(group) = tree {
            direct_imports(source, group.stream(), violations);
        }
        let TokenTree::Ident(word) = tree else { continue };
        if *word != "std" && *word != "core" {
            continue;
        }
        // To the end of the statement or the argument, groups flattened: `std::{sync::{atomic::AtomicU8}}` is one path.
        let ends = |t: &TokenTree| matches!(t, TokenTree::Punct(p) if [';', ','].contains(&p.as_char()));
        let path = trees[at..]
            .iter()
            .take_while(|t| !ends(t))
            .take(12)
            .map(ToString::to_string);
        let path: String = path.collect::<String>().split_whitespace().collect();
        let line = word.span().start().line;
        let explained = comment_of(&lines, line).contains("outside the models");
        let atomic =
            path.contains("sync::atomic") || path.contains("sync::{atomic") || path.contains(",atomic::");
        let aliased = path.ends_with("::sync") || path.contains("::syncas");
        if !explained
            && (atomic || aliased || path.contains("cell::UnsafeCell") || path.contains("UnsafeCell}"))
        {
            let what = "taken from std: use sync_base, or say in a comment why it stands outside the models";
            violations.push(Violation::new(format!("{}:{line}", source.path), what));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let source = Source {
            path: "rcu-map/src/a.rs".into(),
            text: text.into(),
        };
        let mut all = comments(&source).unwrap();
        all.extend(facade(&source).unwrap());
        all.extend(renamed(&source).unwrap());
        all.into_iter().map(|v| v.what).collect()
    }

    #[test]
    fn a_planted_atomic_without_its_comment_is_found() {
        assert_eq!(found("fn f() {\n    a.load(Ordering::Acquire);\n}").len(), 1);
        assert_eq!(
            found("fn f() {\n    // Acquire: because.\n    a.load(Ordering::Acquire);\n}").len(),
            1
        );
        assert_eq!(
            found("fn f() {\n    // Relaxed: x.\n    g();\n    a.load(Ordering::Relaxed);\n}").len(),
            1
        );
        assert_eq!(
            found("/// Acquire: pairs with itself.\nfn f() { a.load(Ordering::Acquire); }").len(),
            1
        );
    }

    #[test]
    fn a_comment_on_the_line_or_above_the_statement_is_enough() {
        assert!(found("fn f() {\n    a.load(Ordering::Relaxed); // Relaxed: a hint.\n}").is_empty());
        let above = "fn f() {\n    // Acquire: pairs with the Release in g.\n    let x = self\n        .a\n        .load(Ordering::Acquire);\n}";
        assert!(found(above).is_empty());
        let both = "fn f() {\n    // AcqRel: pairs with itself. Relaxed on failure.\n    a.compare_exchange(\n        0,\n        1,\n        Ordering::AcqRel,\n        Ordering::Relaxed,\n    );\n}";
        assert!(found(both).is_empty());
    }

    #[test]
    fn a_planted_sequential_access_is_found_and_a_fence_is_not() {
        let access = "fn f() {\n    // SeqCst: pairs with g.\n    a.load(Ordering::SeqCst);\n}";
        assert_eq!(found(access).len(), 1);
        let fence = "fn f() {\n    // SeqCst: pairs with g.\n    fence(Ordering::SeqCst);\n}";
        assert!(found(fence).is_empty());
    }

    #[test]
    fn a_planted_std_atomic_is_found_unless_it_is_explained() {
        assert_eq!(found("use std::sync::atomic::AtomicU64;").len(), 1);
        assert_eq!(found("use core::cell::UnsafeCell;").len(), 1);
        assert_eq!(found("use std::{sync::atomic::AtomicU8, fmt::Debug};").len(), 1);
        assert_eq!(found("use core::{sync::{atomic::{AtomicU8 as Z}}};").len(), 1);
        assert_eq!(found("use core::sync as s;").len(), 1);
        assert!(
            found("// Stands outside the models: the kernel writes it.\nuse std::sync::atomic::AtomicU64;")
                .is_empty()
        );
        assert!(found("use std::sync::Arc;").is_empty());
    }

    #[test]
    fn a_planted_ordering_under_another_name_is_found() {
        assert_eq!(found("use sync_base::atomic::Ordering as O;").len(), 1);
        assert_eq!(found("use sync_base::atomic::Ordering::*;").len(), 1);
        assert_eq!(
            found("use sync_base::atomic::Ordering::{Acquire, Release};").len(),
            1
        );
        assert!(found("use sync_base::atomic::{AtomicU8, Ordering};").is_empty());
    }
}
