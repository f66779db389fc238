//! Drawing a plot as inline SVG.

use super::page::escape;
use super::plot::{Plot, Series, Style};
use super::scale::{Scale, short};
use std::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 44.0;

/// Okabe and Ito's palette, which readers with any colour vision can tell apart, without black and yellow.
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
/// One pattern for each colour, for print and for who sees no colour.
const DASHES: [&str; 6] = ["none", "8 3", "2 3", "12 3 2 3", "5 5", "1 5"];

/// Points drawn of one series; more would not be seen.
const POINTS_MAX: usize = 2000;

pub(super) fn render(plot: &Plot, out: &mut String) {
    let points = || plot.series.iter().flat_map(|series| series.points.iter());
    let x = Scale::fit(&plot.x, points().map(|p| p.0), LEFT, WIDTH - RIGHT);
    let y = Scale::fit(&plot.y, points().map(|p| p.1), HEIGHT - BOTTOM, TOP);
    let title = escape(&plot.title);
    let _ = write!(
        out,
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         aria-label=\"{title}: {}\">",
        escape(&summary(plot))
    );
    grid(plot, &x, &y, out);
    for (at, series) in plot.series.iter().enumerate() {
        line(series, at, plot.style, &x, &y, out);
    }
    legend(plot, out);
    out.push_str("</svg>");
}

/// What the plot says, for who cannot see it.
fn summary(plot: &Plot) -> String {
    let told = plot.series.iter().map(|series| {
        let ys = series.points.iter().map(|p| p.1);
        let (low, high) = ys.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| {
            (l.min(v), h.max(v))
        });
        if low > high {
            return format!("{} has no points", series.name);
        }
        format!(
            "{} from {} to {} {}",
            series.name,
            short(low),
            short(high),
            plot.y.label
        )
    });
    told.collect::<Vec<_>>().join("; ")
}

fn grid(plot: &Plot, x: &Scale, y: &Scale, out: &mut String) {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    for tick in y.ticks() {
        let Some(at) = y.place(tick) else { continue };
        let (label, below) = (short(tick), at + 4.0);
        let _ = write!(
            out,
            "<line class=\"grid\" stroke=\"#ddd\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text class=\"soft\" x=\"{}\" y=\"{below:.1}\" text-anchor=\"end\">{label}</text>",
            LEFT - 6.0
        );
    }
    for tick in x.ticks() {
        let Some(at) = x.place(tick) else { continue };
        let (label, end) = (short(tick), bottom + 4.0);
        let _ = write!(
            out,
            "<line class=\"grid\" stroke=\"#ddd\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{bottom}\" y2=\"{end}\"/>\
             <text class=\"soft\" x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
            bottom + 17.0
        );
    }
    let _ = write!(
        out,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text><text x=\"{LEFT}\" y=\"{}\">{}</text>",
        (LEFT + right) / 2.0,
        HEIGHT - 8.0,
        escape(&plot.x.label),
        TOP - 8.0,
        escape(&plot.y.label)
    );
}

fn line(series: &Series, number: usize, style: Style, x: &Scale, y: &Scale, out: &mut String) {
    let every = series.points.len().div_ceil(POINTS_MAX).max(1);
    let mut path = String::new();
    let mut last: Option<f64> = None;
    for &(px, py) in series.points.iter().step_by(every) {
        let (Some(px), Some(py)) = (x.place(px), y.place(py)) else {
            continue;
        };
        let _ = match (last, style) {
            (None, _) => write!(path, "M{px:.1} {py:.1}"),
            (Some(_), Style::Lines) => write!(path, "L{px:.1} {py:.1}"),
            (Some(_), Style::Steps) => write!(path, "H{px:.1}V{py:.1}"),
        };
        last = Some(py);
    }
    if last.is_some() {
        let (colour, dash) = (COLOURS[number % 6], DASHES[number % 6]);
        let _ = write!(
            out,
            "<path fill=\"none\" stroke-width=\"2\" stroke-linejoin=\"round\" stroke=\"{colour}\" stroke-dasharray=\"{dash}\" d=\"{path}\"><title>{}</title></path>",
            escape(&series.name)
        );
    }
}

/// Names beside samples of their lines, in a row to the right above the plot.
fn legend(plot: &Plot, out: &mut String) {
    let widths: Vec<f64> = plot
        .series
        .iter()
        .map(|s| 48.0 + 7.5 * s.name.chars().count() as f64)
        .collect();
    let mut at = (WIDTH - RIGHT - widths.iter().sum::<f64>()).max(LEFT + 120.0);
    for (number, (series, width)) in plot.series.iter().zip(widths).enumerate() {
        let (colour, dash) = (COLOURS[number % 6], DASHES[number % 6]);
        let _ = write!(
            out,
            "<line stroke=\"{colour}\" stroke-width=\"3\" stroke-dasharray=\"{dash}\" x1=\"{at:.0}\" x2=\"{:.0}\" \
             y1=\"14\" y2=\"14\"/><text x=\"{:.0}\" y=\"18\">{}</text>",
            at + 26.0,
            at + 31.0,
            escape(&series.name)
        );
        at += width;
    }
}
