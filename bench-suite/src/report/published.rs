//! The figures that the documents show, all from one committed run, and whether they still agree with it.
//!
//! `docs/claims.json` is the run, `docs/claims.about.json` where it was made. The table of docs/BENCHMARKS.md, the shorter
//! one of README.md and the drawings under docs/plots are made of them and of nothing else.

use super::{About, curves, families};
use crate::{Point, Row, Verdict, render_table};
use anyhow::{Context, bail};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// What the README's table stands between.
pub const README_TABLE: (&str, &str) = ("<!-- claims: generated -->", "<!-- claims: end -->");
/// What the whole table stands between in docs/BENCHMARKS.md.
pub const BENCHMARKS_TABLE: (&str, &str) = ("<!-- all claims: generated -->", "<!-- all claims: end -->");

const RUN: &str = "docs/claims.json";
const ABOUT: &str = "docs/claims.about.json";
const CURVES: &str = "docs/scaling.json";
const PLOTS: &str = "docs/plots";

/// The README shows one or two claims of each primitive, met or missed; the whole table is a click away.
const SHOWN: [&str; 22] = [
    "dom.retire.2t",
    "map.get.1t.u64",
    "map.mixed.1k",
    "map.replace.10k",
    "snap.get",
    "cell.get.shared",
    "fdt.get.1t",
    "fdt.churn.any.2t",
    "ctr.add.1t",
    "ctr.exact.2t",
    "queue.spsc",
    "queue.mpsc",
    "seq.read.64",
    "hist.record",
    "pool.4k.1t",
    "pool.cross",
    "err.short",
    "err.40b",
    "ring.nop",
    "ring.read.token",
    "ring.read.future",
    "echo.cpu",
];

/// A file and what it must hold.
type Written = (PathBuf, String);

/// Writes every table and drawing of the committed run under `root`; gives the names of the files it changed.
///
/// # Errors
/// A file that cannot be read, written or parsed, or a document without the marks between which its table stands.
pub fn publish(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut changed = Vec::new();
    for (file, text) in generated(root)? {
        if std::fs::read_to_string(&file).ok().as_ref() != Some(&text) {
            if let Some(folder) = file.parent() {
                std::fs::create_dir_all(folder)?;
            }
            std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
            changed.push(file);
        }
    }
    Ok(changed)
}

/// Names the files under `root` that differ from what the committed run says.
///
/// # Errors
/// As [`publish`].
pub fn drifted(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let generated = generated(root)?;
    let differs = |(file, text): &Written| std::fs::read_to_string(file).ok().as_ref() != Some(text);
    Ok(generated
        .into_iter()
        .filter(|written| differs(written))
        .map(|(file, _)| file)
        .collect())
}

fn generated(root: &Path) -> anyhow::Result<Vec<Written>> {
    let parse = |name: &str| {
        let text = std::fs::read_to_string(root.join(name)).with_context(|| format!("cannot read {name}"))?;
        anyhow::Ok((text, name.to_owned()))
    };
    let (rows, _) = parse(RUN)?;
    let rows: Vec<Row> = serde_json::from_str(&rows).with_context(|| format!("{RUN} is no run"))?;
    let (about, _) = parse(ABOUT)?;
    let about: About = serde_json::from_str(&about).with_context(|| format!("{ABOUT} is not about a run"))?;
    let document = |name: &str, marks, table: &str| {
        let (text, _) = parse(name)?;
        let text = replace_between(&text, marks, table).with_context(|| format!("in {name}"))?;
        anyhow::Ok((root.join(name), text))
    };
    let whole = format!("{}\n\n{}", counted(&rows, &about), render_table(&rows));
    let mut all = vec![
        document("README.md", README_TABLE, &short_table(&rows, &about))?,
        document("docs/BENCHMARKS.md", BENCHMARKS_TABLE, &whole)?,
    ];
    for family in families(&rows) {
        if family.rows.iter().any(|row| row.ours.is_some()) {
            let file = root.join(PLOTS).join(format!("{}.svg", family.name));
            all.push((file, family.bars().to_svg()));
        }
    }
    // Curves are another run, of which there may be none.
    if let Ok(text) = std::fs::read_to_string(root.join(CURVES)) {
        let points: Vec<Point> =
            serde_json::from_str(&text).with_context(|| format!("{CURVES} is no run of curves"))?;
        for (id, plot) in curves(&points) {
            all.push((root.join(PLOTS).join(format!("threads.{id}.svg")), plot.to_svg()));
        }
    }
    Ok(all)
}

/// One sentence: where, when, and how many hold.
fn counted(rows: &[Row], about: &About) -> String {
    let count = |verdict: Verdict| rows.iter().filter(|row| row.holds == verdict).count();
    format!(
        "{}: of {} claims {} hold, {} do not, {} are undecided, {} need other hardware.",
        about.line(),
        rows.len(),
        count(Verdict::Yes),
        count(Verdict::No),
        count(Verdict::Undecided),
        count(Verdict::NotHere)
    )
}

fn short_table(rows: &[Row], about: &About) -> String {
    let mut out = counted(rows, about);
    out.push_str(
        "\n\n| claim | measured | ours | floor | nearest peer | target | holds |\n|---|---|---|---|---|---|---|\n",
    );
    for row in SHOWN
        .iter()
        .filter_map(|id| rows.iter().find(|row| row.id == *id))
    {
        let number = |value: Option<f64>| value.map_or_else(|| "-".into(), |v| format!("{v:.2}"));
        let judged = row
            .peers
            .iter()
            .filter(|(name, _)| row.target.contains(name.as_str()));
        let nearest = judged.min_by(|a, b| a.1.total_cmp(b.1));
        let _ = writeln!(
            out,
            "| `{}` | {} | {} {} | {} | {} | {} | {} |",
            row.id,
            row.what,
            number(row.ours),
            row.unit,
            number(row.floor),
            nearest.map_or_else(|| "-".into(), |(name, value)| format!("{name} {value:.2}")),
            row.target,
            row.holds.word()
        );
    }
    out
}

/// Replaces what stands between two marks, each on a line of its own.
///
/// # Errors
/// A mark that is missing, or there twice, or in the wrong order.
pub fn replace_between(text: &str, (begin, end): (&str, &str), with: &str) -> anyhow::Result<String> {
    let once = |mark: &str| match text.matches(mark).count() {
        1 => Ok(text.find(mark).unwrap_or_default()),
        n => bail!("the mark `{mark}` must stand there once and stands there {n} times"),
    };
    let (from, to) = (once(begin)? + begin.len(), once(end)?);
    if from > to {
        bail!("the mark `{end}` stands before `{begin}`");
    }
    Ok(format!("{}\n{}\n{}", &text[..from], with.trim_end(), &text[to..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let marks = ("<a>", "<b>");
        let text = "before\n<a>\nold\n<b>\nafter";
        let new = replace_between(text, marks, "new\n").unwrap();
        assert_eq!(new, "before\n<a>\nnew\n<b>\nafter");
        assert_eq!(
            replace_between(&new, marks, "new").unwrap(),
            new,
            "a second time changes nothing"
        );
        for broken in ["", "<a>", "<b>", "<b><a>", "<a><a><b>"] {
            assert!(replace_between(broken, marks, "x").is_err(), "{broken}");
        }
    }
}
