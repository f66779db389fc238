//! A run as one page: what holds, family by family, each with its bars and its table.

use super::{About, curves};
use crate::{Point, Row, Verdict};
use uring_cli::report::{Bar, Bars, Page, Table};

/// The rows of one family of claims: those whose ids begin alike.
#[derive(Clone, Debug)]
pub struct Family<'r> {
    /// What their ids begin with.
    pub name: &'r str,
    /// The rows, in the order of the run.
    pub rows: Vec<&'r Row>,
}

/// Parts a run into families, in the order in which they first come.
pub fn families(rows: &[Row]) -> Vec<Family<'_>> {
    let mut found: Vec<Family<'_>> = Vec::new();
    for row in rows {
        let name = row.id.split('.').next().unwrap_or(&row.id);
        match found.iter_mut().find(|family| family.name == name) {
            Some(family) => family.rows.push(row),
            None => found.push(Family {
                name,
                rows: vec![row],
            }),
        }
    }
    found
}

impl Family<'_> {
    /// Draws every row that was measured: ours, the floor, the peers, each row to its own scale.
    pub fn bars(&self) -> Bars {
        let mut bars = Bars::new(format!("{}: shorter is better", self.name));
        for row in &self.rows {
            let Some(ours) = row.ours else { continue };
            let peers = row
                .peers
                .iter()
                .map(|(name, value)| (Bar::Peer, name.clone(), *value));
            let floor = row.floor.map(|value| (Bar::Floor, "floor".to_owned(), value));
            let lanes = [(Bar::Ours, "ours".to_owned(), ours)]
                .into_iter()
                .chain(floor)
                .chain(peers);
            bars.group(
                format!("{} ({})", row.id, row.holds.word()),
                row.unit.clone(),
                lanes,
            );
        }
        bars
    }

    fn table(&self) -> Table {
        let columns = [
            "claim", "measured", "ours", "ratio", "target", "holds", "spread", "note",
        ];
        let mut table = Table::new("Ratios are of one run, round by round.", &columns);
        let number = |value: Option<f64>| value.map_or_else(|| "-".into(), |v| format!("{v}"));
        for row in &self.rows {
            table.row([
                row.id.clone(),
                row.what.clone(),
                format!("{} {}", number(row.ours), row.unit),
                number(row.ratio),
                row.target.clone(),
                row.holds.word().into(),
                number(row.spread),
                row.note.clone(),
            ]);
        }
        table
    }
}

/// Makes the page of a run, with the curves that were measured; `raw` is the run's own JSON, which the page holds whole.
pub fn page(rows: &[Row], points: &[Point], about: &About, raw: &str) -> Page {
    let mut page = Page::new("Claims, measured");
    page.text(about.line());
    let count = |verdict: Verdict| rows.iter().filter(|row| row.holds == verdict).count();
    page.text(format!(
        "{} claims: {} hold, {} do not, {} are undecided (the spread covers the margin), {} need other hardware. \
         Each claim is measured beside its peers in one process, in rotating order; a claim holds when the median and the \
         upper quartile of the rounds' ratios meet its target.",
        rows.len(),
        count(Verdict::Yes),
        count(Verdict::No),
        count(Verdict::Undecided),
        count(Verdict::NotHere),
    ));
    for family in families(rows) {
        page.heading(family.name);
        if family.rows.iter().any(|row| row.ours.is_some()) {
            page.bars(family.bars());
        }
        page.table(family.table());
    }
    if !points.is_empty() {
        page.heading("Over the number of threads");
        page.text("By wall time. Where there are more threads than CPUs they take turns: such points say nothing about scaling.");
        curves(points).into_iter().for_each(|(_, plot)| {
            page.plot(plot);
        });
    }
    page.heading("Versions");
    let mut versions = Table::new("As locked.", &["package", "release"]);
    for (name, release) in &about.versions {
        versions.row([name.clone(), release.clone()]);
    }
    page.table(versions);
    page.heading("Raw figures");
    page.source(raw);
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, ours: Option<f64>, holds: Verdict) -> Row {
        let text = format!(
            r#"{{"id":"{id}","crate":"c","what":"w <&>","unit":"ns","ours":null,"floor":1.5,"peers":{{"slow one":9.0}},
                "ratio":null,"target":"<= 1x","holds":"yes","rounds":3,"spread":null,"note":""}}"#
        );
        let mut row: Row = serde_json::from_str(&text).expect("a row as the suite writes it");
        (row.ours, row.holds) = (ours, holds);
        row
    }

    #[test]
    fn every_claim_of_a_run_stands_on_its_page_with_its_verdict() {
        let rows = [
            row("a.one", Some(2.0), Verdict::Yes),
            row("b.one", Some(2.0), Verdict::No),
            row("a.two", None, Verdict::NotHere),
        ];
        let names: Vec<_> = families(&rows).iter().map(|f| (f.name, f.rows.len())).collect();
        assert_eq!(names, [("a", 2), ("b", 1)]);
        let raw = serde_json::to_string_pretty(&rows).unwrap();
        let html = page(&rows, &[], &About::here(true), &raw).to_html();
        for told in [
            "a.one (yes)",
            "b.one (no)",
            "a.two",
            "not here",
            "slow one",
            "1 hold, 1 do not",
            "w &lt;&amp;&gt;",
            "&quot;id&quot;: &quot;a.one&quot;",
        ] {
            assert!(html.contains(told), "{told}");
        }
        assert!(
            !html.contains("a.two (not here)"),
            "what was not measured has no bar"
        );
    }

    #[test]
    fn rows_are_read_as_they_are_written() {
        let rows = vec![row("a.one", Some(2.25), Verdict::Undecided)];
        let text = serde_json::to_string(&rows).unwrap();
        let again: Vec<Row> = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&again).unwrap(), text);
    }
}
