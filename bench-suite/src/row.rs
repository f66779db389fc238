//! A measured claim: figures, bounds and what follows from them.

use crate::Claim;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;

/// What a measurement says about its claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// It holds, and by more than the spread.
    #[serde(rename = "yes")]
    Yes,
    /// It does not hold, and by more than the spread.
    #[serde(rename = "no")]
    No,
    /// The spread covers the margin, or a lane that a bound names was not built in.
    #[serde(rename = "undecided")]
    Undecided,
    /// It needs hardware that this machine lacks.
    #[serde(rename = "not here")]
    NotHere,
}

impl Verdict {
    /// The word for it in JSON and tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Undecided => "undecided",
            Self::NotHere => "not here",
        }
    }
}

/// A measured claim, in the order and with the names of the JSON that `xtask claims --json` writes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// The claim's id.
    pub id: String,
    /// The crate that makes the claim.
    #[serde(rename = "crate")]
    pub krate: String,
    /// What was measured.
    pub what: String,
    /// The unit of the figures.
    pub unit: String,
    /// Our median.
    pub ours: Option<f64>,
    /// The floor's median, where the claim has one.
    pub floor: Option<f64>,
    /// Each peer's median.
    pub peers: BTreeMap<String, f64>,
    /// Ours divided by what the tightest bound compares it with: the median of the rounds' own ratios.
    pub ratio: Option<f64>,
    /// The bounds, in words.
    pub target: String,
    /// The verdict.
    pub holds: Verdict,
    /// Rounds measured.
    pub rounds: usize,
    /// Interquartile range of the deciding ratio, divided by its median.
    pub spread: Option<f64>,
    /// What a reader of the figures must know.
    pub note: String,
}

/// One requirement on the figures, as [`Row::judge`] takes it: every round's ratio and what it may be at most.
#[derive(Clone, Debug)]
pub(crate) struct Judged {
    pub(crate) ratios: Vec<f64>,
    pub(crate) at_most: f64,
}

impl Judged {
    fn verdict(&self) -> Verdict {
        let (q1, median, q3) = quartiles(&self.ratios);
        match (median <= self.at_most, q3 <= self.at_most, q1 > self.at_most) {
            (true, true, _) => Verdict::Yes,
            (false, _, true) => Verdict::No,
            _ => Verdict::Undecided,
        }
    }

    /// How much of the bound is used up; the greatest decides.
    fn tightness(&self) -> f64 {
        quartiles(&self.ratios).1 / self.at_most
    }
}

impl Row {
    /// Begins the row of a claim that was not measured.
    pub fn unmeasured(claim: &Claim, holds: Verdict, note: impl Into<String>) -> Self {
        Self {
            id: claim.id.into(),
            krate: claim.krate.into(),
            what: claim.what.into(),
            unit: claim.unit.into(),
            ours: None,
            floor: None,
            peers: BTreeMap::new(),
            ratio: None,
            target: String::new(),
            holds,
            rounds: 0,
            spread: None,
            note: note.into(),
        }
    }

    /// Makes the row of a claim about one figure with an absolute limit, a count for instance.
    pub fn absolute(claim: &Claim, ours: f64, at_most: f64, note: impl Into<String>) -> Self {
        let holds = if ours <= at_most {
            Verdict::Yes
        } else {
            Verdict::No
        };
        let mut row = Self::unmeasured(claim, holds, note);
        row.ours = Some(ours);
        row.rounds = 1;
        row.target = format!("<= {at_most} {}", claim.unit);
        row
    }

    /// Sets ratio, spread and verdict from the bounds: the tightest gives the figures, the worst the verdict.
    pub(crate) fn judge(&mut self, bounds: &[Judged], missing: bool) {
        let worst = |a: Verdict, b: Verdict| match (a, b) {
            (Verdict::No, _) | (_, Verdict::No) => Verdict::No,
            (Verdict::Undecided, _) | (_, Verdict::Undecided) => Verdict::Undecided,
            _ => Verdict::Yes,
        };
        let start = if missing || bounds.is_empty() {
            Verdict::Undecided
        } else {
            Verdict::Yes
        };
        self.holds = bounds.iter().map(Judged::verdict).fold(start, worst);
        if let Some(tightest) = bounds
            .iter()
            .max_by(|a, b| a.tightness().total_cmp(&b.tightness()))
        {
            let (q1, median, q3) = quartiles(&tightest.ratios);
            self.ratio = Some(round3(median));
            // Nothing but noughts has no spread.
            self.spread = Some(if q3 == q1 { 0.0 } else { round3((q3 - q1) / median) });
        }
    }
}

/// Lower quartile, median and upper quartile by linear interpolation; NaN for an empty slice.
pub(crate) fn quartiles(values: &[f64]) -> (f64, f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |q: f64| {
        let Some(last) = sorted.len().checked_sub(1) else {
            return f64::NAN;
        };
        let place = q * last as f64;
        let (low, high) = (place.floor() as usize, place.ceil() as usize);
        sorted[low] + (sorted[high] - sorted[low]) * (place - low as f64)
    };
    (at(0.25), at(0.5), at(0.75))
}

/// Three decimals: what the measurement can carry.
pub(crate) fn round3(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// Renders rows as a Markdown table, the one that stands in BENCHMARKS.md.
pub fn render_table(rows: &[Row]) -> String {
    let mut out = String::from(
        "| claim | measured | unit | ours | floor | peers | ratio | target | holds | spread | note |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    let number = |value: Option<f64>| value.map_or_else(|| "-".into(), |v| format!("{v}"));
    for row in rows {
        let peers: Vec<String> = row.peers.iter().map(|(name, v)| format!("{name} {v}")).collect();
        let holds = match row.holds {
            Verdict::No => "**no**",
            other => other.word(),
        };
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {holds} | {} | {} |",
            row.id,
            row.what,
            row.unit,
            number(row.ours),
            number(row.floor),
            peers.join(", "),
            number(row.ratio),
            row.target,
            number(row.spread),
            row.note,
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(ratios: &[f64], at_most: f64) -> Verdict {
        Judged {
            ratios: ratios.to_vec(),
            at_most,
        }
        .verdict()
    }

    #[test]
    fn a_spread_that_covers_the_margin_is_undecided() {
        assert_eq!(verdict(&[0.5, 0.51, 0.52], 1.0), Verdict::Yes);
        assert_eq!(verdict(&[1.5, 1.51, 1.52], 1.0), Verdict::No);
        assert_eq!(verdict(&[0.8, 0.9, 1.2, 1.3, 0.95], 1.0), Verdict::Undecided);
        assert_eq!(verdict(&[0.7, 1.01, 1.3], 1.0), Verdict::Undecided);
    }

    #[test]
    fn quartiles_of_known_values() {
        assert_eq!(quartiles(&[4.0, 1.0, 3.0, 2.0, 5.0]), (2.0, 3.0, 4.0));
        assert!(quartiles(&[]).1.is_nan());
    }
}
