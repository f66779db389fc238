//! Pages of figures: text, tables, plots in one self-contained HTML file.
//!
//! No script, no network, no font: the plots are inline SVG, readable without colour (each series has its own dash
//! pattern beside a colour of a palette that colour-blind readers can tell apart) and followed by nothing that a screen
//! reader cannot say: each has a title and a summary. Light and dark follow the reader's setting.
//!
//! ```
//! use uring_cli::report::{Axis, Page, Plot, Series, Table};
//!
//! let mut page = Page::new("Two lanes");
//! page.text("Measured on one machine, in one run.");
//! let mut table = Table::new("Medians", &["lane", "op/s"]);
//! table.row(["ours", "12"]).row(["theirs", "9"]);
//! page.table(table);
//! let mut plot = Plot::new("Throughput", Axis::new("seconds"), Axis::new("op/s").from_zero());
//! plot.add(Series::new("ours", vec![(0.0, 11.0), (1.0, 12.0)]));
//! page.plot(plot);
//! let html = page.to_html();
//! assert!(html.starts_with("<!DOCTYPE html>") && !html.contains("<script"));
//! assert_eq!(page.to_json()["parts"][1]["table"]["rows"][0][1], "12");
//! ```

mod bars;
mod page;
mod plot;
mod scale;
mod svg;

pub use bars::{Bar, Bars};
pub use page::{Page, Table};
pub use plot::{Axis, Plot, Series, Style};
