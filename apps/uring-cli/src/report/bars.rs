//! Bars in groups: who takes how much, group by group, each group to its own scale.

use super::page::escape;
use super::scale::short;
use serde_json::{Value, json};
use std::fmt::Write;

/// What a bar stands for; each is filled differently, so that colour is not needed to tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bar {
    /// The figure that the chart is about: full.
    Ours,
    /// The least that any implementation would cost: grey with a dashed edge.
    Floor,
    /// What is compared with: pale with a full edge.
    Peer,
}

impl Bar {
    fn word(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Floor => "floor",
            Self::Peer => "peer",
        }
    }

    fn paint(self) -> &'static str {
        match self {
            Self::Ours => "fill=\"#0072b2\"",
            Self::Floor => "fill=\"#bbb\" stroke=\"#444\" stroke-dasharray=\"2 2\"",
            Self::Peer => "fill=\"#e69f00\" fill-opacity=\"0.35\" stroke=\"#d55e00\"",
        }
    }
}

#[derive(Clone, Debug)]
struct Group {
    heading: String,
    unit: String,
    bars: Vec<(Bar, String, f64)>,
}

/// A chart of groups of bars; within a group lengths compare, between groups they do not.
#[derive(Clone, Debug)]
pub struct Bars {
    pub(super) title: String,
    groups: Vec<Group>,
}

const WIDTH: f64 = 720.0;
const NAMES: f64 = 250.0;
const FIGURES: f64 = 70.0;
const BAR: f64 = 16.0;
const HEADING: f64 = 24.0;
const BETWEEN: f64 = 10.0;

impl Bars {
    /// Makes a chart without groups.
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            groups: Vec::new(),
        }
    }

    /// Adds a group; bars whose length is not finite or is negative are left out.
    pub fn group<N: Into<String>>(
        &mut self,
        heading: impl Into<String>,
        unit: impl Into<String>,
        bars: impl IntoIterator<Item = (Bar, N, f64)>,
    ) -> &mut Self {
        let bars = bars
            .into_iter()
            .map(|(bar, name, value)| (bar, name.into(), value));
        self.groups.push(Group {
            heading: heading.into(),
            unit: unit.into(),
            bars: bars
                .filter(|(_, _, value)| value.is_finite() && *value >= 0.0)
                .collect(),
        });
        self
    }

    /// Draws the chart as one SVG element, the page's style applied by its classes.
    pub(super) fn render(&self, out: &mut String) {
        let group_height = |group: &Group| HEADING + BAR * group.bars.len() as f64 + BETWEEN;
        let height: f64 = self.groups.iter().map(group_height).sum::<f64>().max(BAR);
        let _ = write!(
            out,
            "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}: {}\">",
            escape(&self.title),
            escape(&self.told())
        );
        let mut top = 0.0;
        for group in &self.groups {
            render_group(group, top, out);
            top += group_height(group);
        }
        out.push_str("</svg>");
    }

    /// What the chart says, for who cannot see it.
    fn told(&self) -> String {
        let told = self.groups.iter().map(|group| {
            let bars = group
                .bars
                .iter()
                .map(|(_, name, value)| format!("{name} {}", short(*value)));
            let bars: Vec<_> = bars.collect();
            format!("{} in {}: {}", group.heading, group.unit, bars.join(", "))
        });
        told.collect::<Vec<_>>().join("; ")
    }

    pub(super) fn to_json(&self) -> Value {
        let groups: Vec<_> = self
            .groups
            .iter()
            .map(|group| {
                let bars: Vec<_> = group
                    .bars
                    .iter()
                    .map(|(bar, name, value)| json!({ "is": bar.word(), "name": name, "value": value }))
                    .collect();
                json!({ "heading": group.heading, "unit": group.unit, "bars": bars })
            })
            .collect();
        json!({ "title": self.title, "groups": groups })
    }
}

fn render_group(group: &Group, top: f64, out: &mut String) {
    let longest = group.bars.iter().map(|(_, _, value)| *value).fold(0.0, f64::max);
    let room = WIDTH - NAMES - FIGURES;
    let _ = write!(
        out,
        "<text x=\"0\" y=\"{}\" font-weight=\"600\">{} <tspan class=\"soft\" font-weight=\"400\">{}</tspan></text>",
        top + HEADING - 7.0,
        escape(&group.heading),
        escape(&group.unit)
    );
    for (at, (bar, name, value)) in group.bars.iter().enumerate() {
        let y = top + HEADING + BAR * at as f64;
        let length = if longest > 0.0 {
            value / longest * room
        } else {
            0.0
        };
        let weight = if *bar == Bar::Ours { 600 } else { 400 };
        let _ = write!(
            out,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" font-weight=\"{weight}\">{}</text>\
             <rect x=\"{NAMES}\" y=\"{}\" width=\"{length:.1}\" height=\"{}\" {}/>\
             <text x=\"{:.1}\" y=\"{}\">{}</text>",
            NAMES - 6.0,
            y + BAR - 4.0,
            escape(&shortened(name)),
            y + 2.0,
            BAR - 4.0,
            bar.paint(),
            NAMES + length + 5.0,
            y + BAR - 4.0,
            short(*value)
        );
    }
}

/// A name that fits beside its bar, with what was left out shown as left out.
fn shortened(name: &str) -> String {
    const FITS: usize = 38;
    if name.chars().count() <= FITS {
        return name.to_owned();
    }
    name.chars().take(FITS - 1).chain(['…']).collect()
}
