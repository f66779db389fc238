//! Finding a window from nowhere: up while throughput rises, then down while it stays.

use super::level::{LEVELS, Level};

/// A rise worth another step.
const GAIN: f64 = 1.06;
/// A fall that ends the climb, seen twice.
const COLLAPSE: f64 = 0.90;
/// What the settled level must keep of the best rate.
const KEEP: f64 = 0.96;
/// What the best rate of the climb is worth when it is measured again: less the luck of the greatest of a few.
const LUCK: f64 = 0.97;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Up {
        failures: u8,
        /// This level looked like a collapse, and is measured again: it may have been a stall.
        doubted: bool,
    },
    Down {
        accepted: Option<Level>,
    },
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Next {
    Measure(Level),
    Settle(Level),
}

/// A search in progress.
#[derive(Clone, Debug)]
pub(super) struct Search {
    phase: Phase,
    at: Level,
    top: Level,
    /// Rates of feasible levels so far, by level; NaN where unknown, negative where infeasible.
    rates: [f64; LEVELS],
    best: Option<(Level, f64)>,
    /// The least that the best is taken for when it is measured again. A stall of the device in that one sample would make
    /// every lower level look as good.
    floor: f64,
}

/// A level's rate was measured and broke the latency target.
const INFEASIBLE: f64 = -1.0;

impl Search {
    pub(super) fn new(from: Level, top: Level) -> Self {
        let at = from.min(top);
        Self {
            phase: Phase::Up {
                failures: 0,
                doubted: false,
            },
            at,
            top,
            rates: [f64::NAN; LEVELS],
            best: None,
            floor: 0.0,
        }
    }

    pub(super) fn at(&self) -> Level {
        self.at
    }

    /// Whether some level has been found good.
    pub(super) fn has_best(&self) -> bool {
        self.best.is_some()
    }

    /// Takes the rate measured at [`at`](Self::at). `feasible`: the latency target held. `may_rise`: going higher is
    /// not ruled out by a queue that only grows.
    pub(super) fn take(&mut self, rate: f64, feasible: bool, may_rise: bool) -> Next {
        let best_before = self.best;
        // On the way up the best is the greatest; on the way down it stays what was measured for that very purpose.
        let climbing = matches!(self.phase, Phase::Up { .. });
        let again = !climbing && self.best.is_none();
        let rate = if again { rate.max(self.floor) } else { rate };
        self.rates[self.at.index()] = if feasible { rate } else { INFEASIBLE };
        if feasible && self.best.is_none_or(|(_, best)| climbing && rate > best) {
            self.best = Some((self.at, rate));
        }
        match self.phase {
            Phase::Up { failures, doubted } => {
                self.climb(rate, feasible && may_rise, failures, doubted, best_before)
            }
            Phase::Down { accepted } => self.descend(accepted),
        }
    }

    fn climb(
        &mut self,
        rate: f64,
        may_rise: bool,
        failures: u8,
        doubted: bool,
        before: Option<(Level, f64)>,
    ) -> Next {
        let gained = before.is_none_or(|(_, best)| rate >= best * GAIN);
        let collapsed = before.is_some_and(|(_, best)| rate < best * COLLAPSE);
        if may_rise && collapsed && !doubted {
            self.phase = Phase::Up {
                failures,
                doubted: true,
            };
            return Next::Measure(self.at);
        }
        let failures = if gained { 0 } else { failures + 1 };
        if !may_rise || collapsed || failures >= 2 || self.at == self.top {
            return self.turn();
        }
        self.phase = Phase::Up {
            failures,
            doubted: false,
        };
        self.at = self.at.up(2, self.top);
        Next::Measure(self.at)
    }

    /// Ends the climb: from the best level down, or from here down where none was feasible. The greatest of several
    /// noisy rates is the luckiest, and measured against it nothing else would do: so the best level is measured again,
    /// and the rates found on the way up are forgotten, except that a level was infeasible.
    fn turn(&mut self) -> Next {
        let Some((level, rate)) = self.best.take() else {
            return self.descend(None);
        };
        self.floor = rate * LUCK;
        for rate in self.rates.iter_mut().filter(|rate| **rate != INFEASIBLE) {
            *rate = f64::NAN;
        }
        (self.at, self.phase) = (level, Phase::Down { accepted: None });
        Next::Measure(level)
    }

    /// Decides on the levels below that are known, asks for the first that is not.
    fn descend(&mut self, mut accepted: Option<Level>) -> Next {
        loop {
            let rate = self.rates[self.at.index()];
            let keeps = rate >= self.best.map_or(0.0, |(_, best)| best * KEEP);
            if keeps {
                accepted = Some(self.at);
            } else if !rate.is_nan() && accepted.is_some_and(|level| level > self.at) {
                return Next::Settle(accepted.unwrap_or(Level::LOWEST));
            }
            if self.at == Level::LOWEST {
                return Next::Settle(accepted.unwrap_or(Level::LOWEST));
            }
            self.at = self.at.down(1);
            if self.rates[self.at.index()].is_nan() {
                self.phase = Phase::Down { accepted };
                return Next::Measure(self.at);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a search over a curve from window to rate and feasibility.
    fn settle(top: u32, curve: impl Fn(u32) -> (f64, bool)) -> (u32, u32) {
        let mut search = Search::new(Level::START, Level::at_most(top));
        for steps in 1..100 {
            let (rate, feasible) = curve(search.at().window());
            if let Next::Settle(level) = search.take(rate, feasible, true) {
                return (level.window(), steps);
            }
        }
        panic!("the search never settled");
    }

    #[test]
    fn settles_at_the_knee() {
        let (window, steps) = settle(1024, |w| (f64::from(w.min(32)) * 1000.0, true));
        assert_eq!(window, 32);
        assert!(steps < 15, "{steps}");
    }

    #[test]
    fn a_flat_device_settles_at_one() {
        assert_eq!(settle(1024, |_| (50.0, true)).0, 1);
    }

    #[test]
    fn a_device_that_collapses_is_not_driven_past_its_knee() {
        let (window, _) = settle(1024, |w| {
            (
                if w <= 24 {
                    f64::from(w)
                } else {
                    600.0 / f64::from(w)
                },
                true,
            )
        });
        assert!((16..=24).contains(&window), "{window}");
    }

    #[test]
    fn an_infeasible_level_is_never_settled_at() {
        assert_eq!(
            settle(1024, |w| (f64::from(w), w <= 12)).0,
            8,
            "steps of two pass over 12; probes find it"
        );
        assert_eq!(settle(1024, |w| (f64::from(w), w <= 1)).0, 1);
        assert_eq!(
            settle(1024, |w| (f64::from(w), w == 0)).0,
            1,
            "none is feasible: the lowest"
        );
    }

    #[test]
    fn a_stall_on_the_way_up_does_not_end_the_climb() {
        let (mut search, mut samples) = (Search::new(Level::START, Level::at_most(256)), 0);
        loop {
            samples += 1;
            let rate = f64::from(search.at().window().min(64)) * if samples == 3 { 0.3 } else { 1.0 };
            if let Next::Settle(level) = search.take(rate, true, true) {
                assert_eq!(level.window(), 64);
                break;
            }
        }
    }

    #[test]
    fn a_stall_while_the_best_is_measured_again_does_not_lower_the_window() {
        let mut seen = std::collections::HashMap::new();
        let mut search = Search::new(Level::START, Level::at_most(256));
        loop {
            let window = search.at().window();
            let times = seen.entry(window).or_insert(0);
            *times += 1;
            // What is measured a second time is measured during a stall.
            let stalled = if *times == 2 { 0.7 } else { 1.0 };
            let rate = f64::from(window.min(64)) * 1_000.0 * stalled;
            if let Next::Settle(level) = search.take(rate, true, true) {
                assert_eq!(level.window(), 64);
                break;
            }
        }
    }

    #[test]
    fn the_top_is_a_bound() {
        assert_eq!(settle(64, |w| (f64::from(w), true)).0, 64);
        assert_eq!(settle(2, |w| (f64::from(w), true)).0, 2);
    }
}
