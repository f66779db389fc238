//! `report RUN.json FOLDER`: renders a run of `claims --json RUN.json` as a page, a drawing a family and a table.
//! Curves are rendered with it where `claims --scaling --json` has left them beside it, in scaling.json.
//! `report --publish RUN.json`: makes that run the one that README.md and docs/BENCHMARKS.md show.

use anyhow::{Context, bail};
use bench_suite::report::{About, about_file, curves, families, page, publish};
use bench_suite::{Point, Row, render_table};
use std::path::Path;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        ["--publish", run] => {
            let docs = Path::new("docs");
            let (from, to) = (Path::new(run), docs.join("claims.json"));
            if from != to {
                let curves = from.with_file_name("scaling.json");
                if curves.exists() {
                    std::fs::copy(&curves, docs.join("scaling.json"))
                        .context("cannot copy the curves into docs")?;
                }
                let about = about_file(from);
                std::fs::copy(from, &to).with_context(|| format!("cannot copy {run} into docs"))?;
                std::fs::copy(&about, about_file(&to))
                    .with_context(|| format!("cannot copy {} into docs", about.display()))?;
            }
            for file in publish(Path::new("."))? {
                println!("wrote {}", file.display());
            }
            Ok(())
        }
        [run, folder] if !run.starts_with('-') => render(Path::new(run), Path::new(folder)),
        _ => bail!("usage: report RUN.json FOLDER, or report --publish RUN.json in the workspace's root"),
    }
}

fn render(run: &Path, folder: &Path) -> anyhow::Result<()> {
    let read = |file: &Path| {
        std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {}: make it with `claims --json`", file.display()))
    };
    let raw = read(run)?;
    let rows: Vec<Row> =
        serde_json::from_str(&raw).with_context(|| format!("{} is no run of claims", run.display()))?;
    let about: About = serde_json::from_str(&read(&about_file(run))?)
        .with_context(|| format!("{} is damaged", about_file(run).display()))?;
    // Curves are another run, of which there may be none.
    let curves_file = run.with_file_name("scaling.json");
    let points: Vec<Point> = match std::fs::read_to_string(&curves_file) {
        Ok(text) => serde_json::from_str(&text)
            .with_context(|| format!("{} is no run of curves", curves_file.display()))?,
        Err(_) => Vec::new(),
    };
    std::fs::create_dir_all(folder)?;
    let write = |name: String, text: String| {
        std::fs::write(folder.join(&name), text).with_context(|| format!("cannot write {name}"))
    };
    for family in families(&rows) {
        if family.rows.iter().any(|row| row.ours.is_some()) {
            write(format!("{}.svg", family.name), family.bars().to_svg())?;
        }
    }
    for (id, plot) in curves(&points) {
        write(format!("threads.{id}.svg"), plot.to_svg())?;
    }
    write("table.md".into(), render_table(&rows))?;
    write("index.html".into(), page(&rows, &points, &about, &raw).to_html())?;
    println!("{}", folder.join("index.html").display());
    Ok(())
}
