//! From values to places along an axis, with ticks at round numbers.

use super::plot::Axis;

/// The extent of an axis, and its place on the page.
#[derive(Clone, Debug)]
pub(super) struct Scale {
    low: f64,
    high: f64,
    logarithmic: bool,
    from: f64,
    to: f64,
}

impl Scale {
    /// Fits an axis around `values`; `from` and `to` are its ends on the page.
    pub(super) fn fit(axis: &Axis, values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let usable = values.filter(|v| !axis.logarithmic || *v > 0.0);
        let (mut low, mut high) = usable.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| {
            (l.min(v), h.max(v))
        });
        if low > high {
            (low, high) = if axis.logarithmic { (1.0, 10.0) } else { (0.0, 1.0) };
        }
        if axis.logarithmic {
            low = 10f64.powf(low.log10().floor());
            high = 10f64.powf(high.log10().ceil()).max(low * 10.0);
        } else {
            if axis.from_zero {
                low = low.min(0.0);
                high = high.max(0.0);
            }
            if high <= low {
                high = low + low.abs().max(1.0);
            }
            if axis.from_zero {
                let step = step(low, high);
                high = (high / step).ceil() * step;
            }
        }
        Self {
            low,
            high,
            logarithmic: axis.logarithmic,
            from,
            to,
        }
    }

    /// Where a value stands; `None` if it has no place on a logarithmic axis.
    pub(super) fn place(&self, value: f64) -> Option<f64> {
        let share = if self.logarithmic {
            if value <= 0.0 {
                return None;
            }
            (value.log10() - self.low.log10()) / (self.high.log10() - self.low.log10())
        } else {
            (value - self.low) / (self.high - self.low)
        };
        Some(self.from + share.clamp(0.0, 1.0) * (self.to - self.from))
    }

    /// Round values along the axis, at most about a dozen.
    pub(super) fn ticks(&self) -> Vec<f64> {
        if self.logarithmic {
            let decades = (self.low.log10().round() as i32)..=(self.high.log10().round() as i32);
            return decades.map(|exponent| 10f64.powi(exponent)).collect();
        }
        let step = step(self.low, self.high);
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        (first..=last).map(|n| n as f64 * step).collect()
    }
}

/// The distance of ticks, 1, 2 or 5 times a power of ten, that gives four to ten of them.
fn step(low: f64, high: f64) -> f64 {
    let rough = (high - low) / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|n| n * power)
        .into_iter()
        .find(|s| *s >= rough)
        .unwrap_or(power)
}

/// A number as short as it can be told: 0.05, 12, 3.4k, 1.2M.
pub(super) fn short(value: f64) -> String {
    let size = value.abs();
    let (scaled, unit) = match size {
        s if s >= 1e9 => (value / 1e9, "G"),
        s if s >= 1e6 => (value / 1e6, "M"),
        s if s >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let digits = match scaled.abs() {
        0.0 => 0,
        s if s >= 100.0 => 0,
        s if s >= 1.0 => 1,
        s => 1 + (-s.log10()).ceil().clamp(0.0, 6.0) as usize,
    };
    let told = format!("{scaled:.digits$}");
    let told = if told.contains('.') {
        told.trim_end_matches('0').trim_end_matches('.')
    } else {
        &told
    };
    format!("{told}{unit}")
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        for (low, high) in [(0.0, 1.0), (0.0, 7.3), (3.0, 9e6), (-5.0, 5.0), (0.0, 1e-4)] {
            let scale = Scale::fit(&Axis::new("x"), [low, high].into_iter(), 0.0, 100.0);
            let ticks = scale.ticks();
            assert!((3..=12).contains(&ticks.len()), "{low}..{high}: {ticks:?}");
            assert!(ticks.iter().all(|t| (low - 1e-9..=high + 1e-9).contains(t)));
        }
    }

    #[test]
    fn degenerate_data_still_has_a_scale() {
        for values in [vec![], vec![0.0], vec![5.0, 5.0], vec![-1.0]] {
            for axis in [
                Axis::new("x"),
                Axis::new("x").from_zero(),
                Axis::new("x").logarithmic(),
            ] {
                let scale = Scale::fit(&axis, values.iter().copied(), 0.0, 100.0);
                assert!(!scale.ticks().is_empty());
                for value in &values {
                    assert!(scale.place(*value).is_none_or(|at| (0.0..=100.0).contains(&at)));
                }
            }
        }
    }

    #[test]
    fn numbers_are_told_short() {
        let told = [0.0, 0.05, 1.5, 12.0, 340.0, 34_000.0, 1_200_000.0].map(short);
        assert_eq!(told, ["0", "0.05", "1.5", "12", "340", "34k", "1.2M"]);
    }
}
