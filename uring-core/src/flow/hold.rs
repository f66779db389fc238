//! Staying at a window while asking, in pairs, whether a neighbour is better.
//!
//! A remembered maximum is the luckiest of many measurements and gets a controller stuck. So a neighbour is compared
//! with measurements of home just before and just after it: home, probe, home.

use super::level::Level;

/// Mean gain, as a logarithm, that moves: up only for a real rise, down already for next to no loss.
const UP: f64 = 0.03;
const DOWN: f64 = -0.015;
const FAR: f64 = 0.05;
/// A rise so great that one probe is enough, if it is that many times its noise.
const CLEAR: f64 = 0.10;
const CLEAR_NOISE: f64 = 3.0;
/// Limited time between rounds: doubles while nothing moves.
const INTERVAL_MIN_NS: u64 = 20_000_000;
const INTERVAL_MAX_NS: u64 = 250_000_000;
/// Rest between rounds, in lengths of a sample: a device so slow that a sample takes long is not probed half the time, or
/// the probes would make its tail.
const REST_SAMPLES: u64 = 10;
const REST_SAMPLES_SHORT: u64 = 3;
/// A sample shorter than this is short.
const SHORT_NS: u64 = 200_000_000;
/// A home rate outside these, so many windows running, means that the device has changed.
const JUMP: (f64, f64) = (0.75, 1.33);
const JUMPS: u8 = 3;
/// Probes that a direction remembers: older ones fade.
const MEMORY: f64 = 8.0;
/// Variance of one gain before any was measured, and how many probes that guess is worth.
const PRIOR: (f64, f64) = (0.02 * 0.02, 4.0);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Down,
    Up,
    Far,
}

#[derive(Clone, Copy, Debug, Default)]
struct Gains {
    count: f64,
    mean: f64,
    /// Mean of the variances that the samples themselves ask for.
    noise: f64,
}

/// A measured rate with its relative standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rate {
    pub(super) per_second: f64,
    pub(super) error: f64,
    pub(super) took_ns: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    /// Home is sampled only to see whether the device has changed.
    Rest,
    Before,
    Probe {
        before: Rate,
    },
    After {
        before: Rate,
        probe: Rate,
    },
}

/// What follows from a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Held {
    /// Measure this level next.
    Measure(Level),
    /// The device has changed: search again.
    Restart,
}

/// Home and what its neighbours have shown.
#[derive(Clone, Debug)]
pub(super) struct Hold {
    home: Level,
    top: Level,
    step: Step,
    round: u32,
    direction: Direction,
    gains: [Gains; 3],
    squares: f64,
    probes: f64,
    interval_ns: u64,
    next_round_ns: u64,
    home_rate: Option<f64>,
    jumps: u8,
}

impl Hold {
    pub(super) fn new(home: Level, top: Level, clock_ns: u64) -> Self {
        Self {
            home,
            top,
            step: Step::Rest,
            round: 0,
            direction: Direction::Down,
            gains: [Gains::default(); 3],
            squares: 0.0,
            probes: 0.0,
            interval_ns: INTERVAL_MIN_NS,
            next_round_ns: clock_ns + INTERVAL_MIN_NS,
            home_rate: None,
            jumps: 0,
        }
    }

    /// Whether a neighbour is being measured.
    pub(super) fn is_probing(&self) -> bool {
        matches!(self.step, Step::Probe { .. })
    }

    /// The level being measured.
    pub(super) fn at(&self) -> Level {
        match self.step {
            Step::Probe { .. } => self.target(),
            _ => self.home,
        }
    }

    fn target(&self) -> Level {
        match self.direction {
            Direction::Down => self.home.down(1),
            Direction::Up => self.home.up(1, self.top),
            Direction::Far => self.home.up(3, self.top),
        }
    }

    /// Takes the rate measured at [`at`](Self::at). `allowed` says whether a level may be probed now; an infeasible
    /// probe counts as a total loss.
    pub(super) fn take(
        &mut self,
        clock_ns: u64,
        rate: Rate,
        feasible: bool,
        allowed: impl Fn(Level) -> bool,
    ) -> Held {
        match self.step {
            Step::Probe { before } => {
                let per_second = if feasible { rate.per_second } else { 0.0 };
                let probe = Rate { per_second, ..rate };
                self.step = Step::After { before, probe };
            }
            Step::Rest | Step::Before | Step::After { .. } => {
                if self.jumped(rate.per_second) {
                    return Held::Restart;
                }
                match self.step {
                    Step::After { before, probe } => self.end_round(clock_ns, probe, [before, rate]),
                    Step::Before => self.step = Step::Probe { before: rate },
                    _ => self.begin_round(clock_ns, allowed),
                }
            }
        }
        Held::Measure(self.at())
    }

    /// Follows the rate at home; says whether it has left its band for good.
    fn jumped(&mut self, rate: f64) -> bool {
        let Some(home) = self.home_rate else {
            self.home_rate = Some(rate);
            return false;
        };
        if rate < home * JUMP.0 || rate > home * JUMP.1 {
            self.jumps += 1;
        } else {
            self.jumps = 0;
            self.home_rate = Some(home + (rate - home) / 8.0);
        }
        self.jumps >= JUMPS
    }

    /// Chooses a direction once the interval is over: down, up, and on every eighth round far up.
    fn begin_round(&mut self, clock_ns: u64, allowed: impl Fn(Level) -> bool) {
        if clock_ns < self.next_round_ns {
            return;
        }
        self.round += 1;
        self.direction = match self.round {
            n if n % 8 == 0 => Direction::Far,
            n if n % 2 == 0 => Direction::Up,
            _ => Direction::Down,
        };
        let target = self.target();
        if target != self.home && (target < self.home || allowed(target)) {
            self.step = Step::Before;
        } else {
            self.schedule(clock_ns, 0);
        }
    }

    fn schedule(&mut self, clock_ns: u64, sample_ns: u64) {
        self.step = Step::Rest;
        let samples = if sample_ns < SHORT_NS {
            REST_SAMPLES_SHORT
        } else {
            REST_SAMPLES
        };
        self.next_round_ns = clock_ns + self.interval_ns.max(sample_ns.saturating_mul(samples));
        self.interval_ns = (self.interval_ns * 2).min(INTERVAL_MAX_NS);
    }

    /// Remembers the gain; moves home where enough of them agree.
    fn end_round(&mut self, clock_ns: u64, probe: Rate, homes: [Rate; 2]) {
        let home = (homes[0].per_second + homes[1].per_second) / 2.0;
        let gain = if probe.per_second > 0.0 && home > 0.0 {
            (probe.per_second / home).ln()
        } else {
            -1.0
        };
        let noise = probe.error.powi(2) + (homes[0].error.powi(2) + homes[1].error.powi(2)) / 4.0;
        let gains = &mut self.gains[self.direction as usize];
        let before = gains.mean;
        gains.count = (gains.count + 1.0).min(MEMORY);
        gains.mean += (gain - before) / gains.count;
        gains.noise += (noise - gains.noise) / gains.count;
        if gains.count > 1.0 {
            self.squares = self.squares * 0.95 + (gain - before) * (gain - gains.mean);
            self.probes = self.probes * 0.95 + 1.0;
        }
        let variance = (PRIOR.0 * PRIOR.1 + self.squares) / (PRIOR.1 + self.probes);
        let error = (variance.max(gains.noise) / gains.count).sqrt();
        let bar = match self.direction {
            Direction::Down => DOWN,
            Direction::Up => UP,
            Direction::Far => FAR,
        };
        let clear = self.direction != Direction::Down && gain >= CLEAR.max(noise.sqrt() * CLEAR_NOISE);
        if clear || (gains.count >= 2.0 && gains.mean >= bar + error / 2.0) {
            // Where it went up it may go on: the first round looks there.
            let went_up = self.direction != Direction::Down;
            *self = Self::new(self.target(), self.top, clock_ns);
            self.round = u32::from(went_up);
        } else {
            self.schedule(clock_ns, probe.took_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples of 5 ms from a curve; the home after `samples` of them, or none if it asked to restart.
    fn run(home: u32, samples: u32, curve: impl Fn(u32, u32) -> f64) -> Option<u32> {
        let mut hold = Hold::new(Level::at_most(home), Level::at_most(1024), 0);
        for n in 0..samples {
            let rate = Rate {
                per_second: curve(hold.at().window(), n),
                error: 0.01,
                took_ns: 5_000_000,
            };
            if hold.take(u64::from(n) * 5_000_000, rate, true, |_| true) == Held::Restart {
                return None;
            }
        }
        Some(hold.home.window())
    }

    #[test]
    fn climbs_while_it_pays_and_falls_where_it_costs_nothing() {
        assert_eq!(run(8, 2_000, |w, _| f64::from(w.min(32))), Some(32));
        assert_eq!(run(128, 2_000, |w, _| f64::from(w.min(32))), Some(32));
    }

    #[test]
    fn stays_at_the_knee() {
        assert_eq!(run(32, 10_000, |w, _| f64::from(w.min(32))), Some(32));
    }

    #[test]
    fn a_plateau_before_a_rise_is_crossed() {
        let curve = |w: u32, _| if w < 24 { 8.0 } else { f64::from(w.min(48)) };
        assert!(
            run(8, 4_000, curve).is_some_and(|w| w >= 24 || w == 1),
            "far probes see over it or it costs nothing"
        );
    }

    #[test]
    fn a_device_that_changes_is_searched_again() {
        assert_eq!(
            run(32, 2_000, |w, n| f64::from(w.min(32))
                * if n < 1_000 { 1.0 } else { 0.25 }),
            None
        );
        assert_eq!(
            run(32, 2_000, |w, n| f64::from(w.min(32))
                * if n < 1_000 { 1.0 } else { 4.0 }),
            None
        );
    }

    #[test]
    fn one_odd_sample_is_no_change() {
        assert_eq!(
            run(32, 2_000, |w, n| f64::from(w.min(32))
                * if n % 100 == 50 { 0.5 } else { 1.0 }),
            Some(32)
        );
    }
}
