//! Rewriting one source so that each of its orderings, fences and barriers asks whether it is the mutant.

use crate::source::{Scope, Site, Source};
use std::fmt;
use std::ops::Range;

/// One way to weaken one site.
#[derive(Clone, Debug)]
pub(crate) struct Mutant {
    /// The site's number in the scratch tree.
    pub(crate) id: usize,
    /// Which weakening of the site.
    pub(crate) variant: usize,
    /// The crate.
    pub(crate) krate: String,
    /// The source, relative to the workspace.
    pub(crate) path: String,
    /// The line in the source as it stands in the workspace.
    pub(crate) line: usize,
    /// `Acquire->Relaxed`, `SeqCst->dropped`.
    pub(crate) change: String,
    /// The reason given at the site for surviving, if one is.
    pub(crate) explained: Option<String>,
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} {}", self.path, self.line, self.change)
    }
}

/// One step weaker; for a fence, `dropped` too. The order is the one that the planted code knows.
fn weaker(order: &str, fence: bool) -> &'static [&'static str] {
    match (order, fence) {
        ("SeqCst", true) => &["AcqRel", "dropped"],
        ("AcqRel", true) => &["Acquire", "Release", "dropped"],
        ("Acquire" | "Release", true) => &["dropped"],
        ("SeqCst", false) => &["AcqRel"],
        ("AcqRel", false) => &["Acquire", "Release"],
        ("Acquire" | "Release", false) => &["Relaxed"],
        _ => &[],
    }
}

/// Calls that stand for a fence of their own.
const BARRIERS: [&str; 2] = ["light_barrier", "heavy_barrier"];

/// The rewritten text and its mutants, numbered from `next`.
pub(crate) fn rewrite(
    source: &Source,
    krate: &str,
    next: &mut usize,
) -> anyhow::Result<(String, Vec<Mutant>)> {
    let home = if krate == "sync-base" {
        "crate"
    } else {
        "::sync_base"
    };
    let lines: Vec<&str> = source.text.lines().collect();
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    let mut mutants = Vec::new();
    let mut plant = |line: usize, order: &str, variants: &[&str]| {
        let id = *next;
        *next += 1;
        for (variant, weak) in variants.iter().enumerate() {
            let change = format!("{order}->{weak}");
            let explained = explanation(&lines, line, &change);
            let (krate, path) = (krate.to_string(), source.path.clone());
            mutants.push(Mutant {
                id,
                variant,
                krate,
                path,
                line,
                change,
                explained,
            });
        }
        id
    };
    for Site {
        order,
        line,
        bytes,
        fence,
    } in source.sites_in(Scope::Modelled)?
    {
        // A compiler fence orders nothing between threads that a model could miss.
        if fence
            .as_ref()
            .is_some_and(|path| source.text[path.clone()].ends_with("compiler_fence"))
        {
            continue;
        }
        let variants = weaker(&order, fence.is_some());
        if variants.is_empty() {
            continue;
        }
        let id = plant(line, &order, variants);
        let original = &source.text[bytes.clone()];
        match fence {
            Some(path) => {
                edits.push((path, format!("{home}::__mutant::fence")));
                edits.push((bytes, format!("{id}, {original}")));
            }
            None => edits.push((bytes, format!("{home}::__mutant::site({id}, {original})"))),
        }
    }
    for (line, bytes) in source.calls_in(Scope::Modelled, &BARRIERS)? {
        let name = source.text[bytes.clone()].to_string();
        let id = plant(line, "barrier", &["dropped"]);
        edits.push((bytes, format!("{home}::__mutant::keep({id}, || {name})")));
    }
    edits.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
    let mut text = source.text.clone();
    for (range, with) in edits {
        text.replace_range(range, &with);
    }
    Ok((text, mutants))
}

/// The reason in a comment `weaken-ok(CHANGE): reason` on the site's line or within the twelve lines above.
fn explanation(lines: &[&str], line: usize, change: &str) -> Option<String> {
    let mark = format!("weaken-ok({change}):");
    let from = line.saturating_sub(12);
    lines[from..line]
        .iter()
        .rev()
        .find_map(|l| Some(l.split_once(&mark)?.1.trim().to_string()))
        .filter(|why| !why.is_empty())
}

/// The module that the scratch tree's sync-base gains: it knows which site is the mutant of this run.
pub(crate) const PLANTED: &str = r#"
//! Planted by the mutation run: each site asks here whether it is the mutant.
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

static HIT: [AtomicBool; 16384] = [const { AtomicBool::new(false) }; 16384];

fn chosen() -> Option<(usize, usize)> {
    static CHOSEN: OnceLock<Option<(usize, usize)>> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let text = std::env::var("MUTANT").ok()?;
        let (id, variant) = text.split_once(':')?;
        Some((id.parse().ok()?, variant.parse().ok()?))
    })
}

fn variant(id: usize) -> Option<usize> {
    if !HIT[id].swap(true, Ordering::Relaxed) {
        if let Some(file) = std::env::var_os("MUTANT_TRACE") {
            use std::io::Write;
            let mut file = std::fs::OpenOptions::new().append(true).create(true).open(file).unwrap();
            file.write_all(format!("{id}\n").as_bytes()).unwrap();
        }
    }
    chosen().filter(|(want, _)| *want == id).map(|(_, variant)| variant)
}

pub fn site(id: usize, order: Ordering) -> Ordering {
    match (variant(id), order) {
        (None, _) => order,
        (Some(_), Ordering::SeqCst) => Ordering::AcqRel,
        (Some(0), Ordering::AcqRel) => Ordering::Acquire,
        (Some(_), Ordering::AcqRel) => Ordering::Release,
        (Some(_), _) => Ordering::Relaxed,
    }
}

pub fn fence(id: usize, order: Ordering) {
    let weaker = match (variant(id), order) {
        (None, _) => order,
        (Some(0), Ordering::SeqCst) => Ordering::AcqRel,
        (Some(0), Ordering::AcqRel) => Ordering::Acquire,
        (Some(1), Ordering::AcqRel) => Ordering::Release,
        _ => return,
    };
    crate::atomic::fence(weaker)
}

pub fn keep<R: Default>(id: usize, barrier: impl FnOnce() -> R) -> R {
    if variant(id).is_some() { R::default() } else { barrier() }
}
"#;

#[cfg(test)]
mod tests {
    use super::*;

    fn planted(text: &str) -> (String, Vec<String>) {
        let source = Source {
            path: "rcu-map/src/a.rs".into(),
            text: text.into(),
        };
        let (text, mutants) = rewrite(&source, "rcu-map", &mut 7).unwrap();
        (
            text,
            mutants
                .iter()
                .map(|m| format!("{} {}.{}", m.change, m.id, m.variant))
                .collect(),
        )
    }

    #[test]
    fn each_site_is_weakened_one_step_and_each_fence_dropped() {
        let (text, mutants) =
            planted("fn f() { a.load(Ordering::Acquire); fence(Ordering::SeqCst); light_barrier(); }");
        assert_eq!(
            text,
            "fn f() { a.load(::sync_base::__mutant::site(7, Ordering::Acquire)); \
             ::sync_base::__mutant::fence(8, Ordering::SeqCst); ::sync_base::__mutant::keep(9, || light_barrier()); }"
        );
        assert_eq!(
            mutants,
            [
                "Acquire->Relaxed 7.0",
                "SeqCst->AcqRel 8.0",
                "SeqCst->dropped 8.1",
                "barrier->dropped 9.0"
            ]
        );
    }

    #[test]
    fn relaxed_and_code_that_models_never_build_are_left_alone() {
        assert!(planted("fn f() { a.load(Ordering::Relaxed); }").1.is_empty());
        assert!(
            planted("fn f() { compiler_fence(Ordering::SeqCst); }")
                .1
                .is_empty()
        );
        assert!(
            planted("#[cfg(not(loom))] fn f() { a.load(Ordering::Acquire); }")
                .1
                .is_empty()
        );
        assert!(
            planted("#[cfg(not(any(loom, shuttle)))] fn f() { a.load(Ordering::Acquire); }")
                .1
                .is_empty()
        );
    }

    #[test]
    fn an_explanation_counts_for_its_own_change_alone() {
        let text = "fn f() {\n    // weaken-ok(AcqRel->Acquire): the lock orders it.\n    a.swap(1, Ordering::AcqRel);\n}";
        let source = Source {
            path: "rcu-map/src/a.rs".into(),
            text: text.into(),
        };
        let (_, mutants) = rewrite(&source, "rcu-map", &mut 0).unwrap();
        let explained: Vec<bool> = mutants.iter().map(|m| m.explained.is_some()).collect();
        assert_eq!(explained, [true, false]);
    }
}
