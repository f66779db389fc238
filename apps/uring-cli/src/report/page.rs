//! A page as a list of parts.

use super::bars::Bars;
use super::plot::Plot;
use super::svg;
use serde_json::{Value, json};
use std::fmt::Write;

/// A page: a title and parts in order.
#[derive(Clone, Debug)]
pub struct Page {
    title: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Heading(String),
    Text(String),
    Table(Table),
    Plot(Plot),
    Bars(Bars),
    Source(String),
}

/// Rows of text under named columns; columns of numbers stand to the right.
#[derive(Clone, Debug)]
pub struct Table {
    caption: String,
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Makes a table without rows.
    pub fn new(caption: impl Into<String>, columns: &[&str]) -> Self {
        Self {
            caption: caption.into(),
            columns: columns.iter().map(|&name| name.into()).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    ///
    /// # Panics
    /// When it has not one cell for each column.
    pub fn row<C: Into<String>>(&mut self, cells: impl IntoIterator<Item = C>) -> &mut Self {
        let cells: Vec<String> = cells.into_iter().map(Into::into).collect();
        assert_eq!(cells.len(), self.columns.len(), "one cell a column");
        self.rows.push(cells);
        self
    }

    /// A column is one of numbers if every cell in it begins as one.
    fn is_numeric(&self, column: usize) -> bool {
        let begins = |cell: &String| {
            cell.trim_start_matches('-')
                .starts_with(|c: char| c.is_ascii_digit())
        };
        !self.rows.is_empty() && self.rows.iter().all(|row| begins(&row[column]))
    }

    fn render(&self, out: &mut String) {
        let class = |column| {
            if self.is_numeric(column) {
                " class=\"n\""
            } else {
                ""
            }
        };
        let _ = write!(
            out,
            "<table><caption>{}</caption><thead><tr>",
            escape(&self.caption)
        );
        for (at, name) in self.columns.iter().enumerate() {
            let _ = write!(out, "<th scope=\"col\"{}>{}</th>", class(at), escape(name));
        }
        out.push_str("</tr></thead><tbody>");
        for row in &self.rows {
            out.push_str("<tr>");
            for (at, cell) in row.iter().enumerate() {
                let _ = write!(out, "<td{}>{}</td>", class(at), escape(cell));
            }
            out.push_str("</tr>");
        }
        out.push_str("</tbody></table>\n");
    }
}

impl Page {
    /// Makes a page without parts.
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            parts: Vec::new(),
        }
    }

    /// Adds a heading.
    pub fn heading(&mut self, text: impl Into<String>) -> &mut Self {
        self.parts.push(Part::Heading(text.into()));
        self
    }

    /// Adds a paragraph.
    pub fn text(&mut self, text: impl Into<String>) -> &mut Self {
        self.parts.push(Part::Text(text.into()));
        self
    }

    /// Adds a table.
    pub fn table(&mut self, table: Table) -> &mut Self {
        self.parts.push(Part::Table(table));
        self
    }

    /// Adds a plot.
    pub fn plot(&mut self, plot: Plot) -> &mut Self {
        self.parts.push(Part::Plot(plot));
        self
    }

    /// Adds a chart of bars.
    pub fn bars(&mut self, bars: Bars) -> &mut Self {
        self.parts.push(Part::Bars(bars));
        self
    }

    /// Adds text as it is, data for instance, folded away until it is asked for.
    pub fn source(&mut self, text: impl Into<String>) -> &mut Self {
        self.parts.push(Part::Source(text.into()));
        self
    }

    /// Renders the page as one HTML file. Every text is escaped; the markup is well-formed XML but for the doctype.
    pub fn to_html(&self) -> String {
        let title = escape(&self.title);
        let mut out = format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\
             <title>{title}</title><style>{STYLE}</style></head><body><main>\n<h1>{title}</h1>\n"
        );
        for part in &self.parts {
            match part {
                Part::Heading(text) => {
                    let _ = writeln!(out, "<h2>{}</h2>", escape(text));
                }
                Part::Text(text) => {
                    let _ = writeln!(out, "<p>{}</p>", escape(text));
                }
                Part::Table(table) => table.render(&mut out),
                Part::Plot(plot) => figure(&plot.title, &mut out, |out| svg::render(plot, out)),
                Part::Source(text) => {
                    let text = escape(text);
                    let _ = writeln!(
                        out,
                        "<details><summary>as data</summary><pre>{text}</pre></details>"
                    );
                }
                Part::Bars(bars) => figure(&bars.title, &mut out, |out| bars.render(out)),
            }
        }
        out.push_str("</main></body></html>\n");
        out
    }

    /// Gives the same content as data: `{"title", "parts": [{"heading"|"text"|"table"|"plot"|"bars"|"source": ...}]}`.
    pub fn to_json(&self) -> Value {
        let parts: Vec<_> = self
            .parts
            .iter()
            .map(|part| match part {
                Part::Heading(text) => json!({ "heading": text }),
                Part::Text(text) => json!({ "text": text }),
                Part::Table(t) => {
                    json!({ "table": {"caption": t.caption, "columns": t.columns, "rows": t.rows} })
                }
                Part::Plot(plot) => json!({ "plot": plot.to_json() }),
                Part::Source(text) => json!({ "source": text }),
                Part::Bars(bars) => json!({ "bars": bars.to_json() }),
            })
            .collect();
        json!({ "title": self.title, "parts": parts })
    }
}

fn figure(title: &str, out: &mut String, draw: impl FnOnce(&mut String)) {
    let _ = write!(out, "<figure><figcaption>{}</figcaption>", escape(title));
    draw(out);
    out.push_str("</figure>\n");
}

/// Makes a file of its own of what `draw` draws: an SVG that names its namespace and brings its style, light on any
/// background.
fn file(draw: impl FnOnce(&mut String)) -> String {
    let mut drawn = String::new();
    draw(&mut drawn);
    let style = "<style>svg{background:#fff}text{fill:#1a1a1a;font:12px system-ui,sans-serif}.soft{fill:#666}</style>";
    let opened = drawn.replacen("<svg ", "<svg xmlns=\"http://www.w3.org/2000/svg\" ", 1);
    let end = opened.find('>').map_or(opened.len(), |at| at + 1);
    format!("{}{style}{}\n", &opened[..end], &opened[end..])
}

impl Plot {
    /// Draws the plot as an SVG file of its own.
    pub fn to_svg(&self) -> String {
        file(|out| svg::render(self, out))
    }
}

impl Bars {
    /// Draws the chart as an SVG file of its own.
    pub fn to_svg(&self) -> String {
        file(|out| self.render(out))
    }
}

/// Replaces what markup would take for its own, and control characters, which no markup may hold.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() && c != '\n' && c != '\t' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1a1a1a;--soft:#666;--line:#ddd;--paper:#fff}\
@media(prefers-color-scheme:dark){:root{--ink:#eee;--soft:#aaa;--line:#444;--paper:#161616}}\
body{background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif;margin:0}\
main{max-width:60rem;margin:0 auto;padding:1rem}\
h1{font-size:1.6rem}h2{font-size:1.25rem;margin-top:2rem}\
table{border-collapse:collapse;margin:1rem 0;display:block;overflow-x:auto}\
caption{text-align:left;color:var(--soft)}\
th,td{padding:.25rem .6rem;border-bottom:1px solid var(--line);text-align:left}\
th.n,td.n{text-align:right;font-variant-numeric:tabular-nums}\
figure{margin:1.5rem 0}figcaption{font-weight:600}\
pre{overflow-x:auto}svg{width:100%;height:auto}svg text{fill:var(--ink);font:12px system-ui,sans-serif}\
svg .grid{stroke:var(--line)}svg .soft{fill:var(--soft)}";
