//! The window controller: search for the knee, hold it, keep the tail under its target.
//!
//! # States
//! *Searching* (a [`Search`] asks for levels) and *holding* (a [`Hold`] compares home with its neighbours). Searching
//! settles into holding; a device that changes, or a target that changes, leads back to searching.
//!
//! # Invariants
//! - I1: `1 <= window <= max`.
//! - I2: only completions on the limited clock count for samples, guard and moves: without a backlog nothing moves.
//! - I3: a banned level is not probed, and not searched past, before its ban ends.
//! - I4: a target that cannot be met never starves the device: after four cuts that do not help, or a violation at
//!   level 1, the target gives way for half a minute to what the device can do, and says so.

use super::guard::{Cut, Guard};
use super::hold::{Held, Hold, Rate};
use super::level::{LEVELS, Level};
use super::limited::LimitedClock;
use super::sample::{Sample, Sampler};
use super::search::{Next, Search};
use super::{Completed, Controller};

/// The default target is this much, or that many times the first rung's median, whichever is greater: a flat 10 ms
/// would pin a spinning disk to one operation at a time.
const TARGET_MIN_NS: u64 = 10_000_000;
const TARGET_FACTOR: u64 = 32;
/// Without a user's target, no upward move while the median is this many times the first rung's: a queue that only
/// grows.
const BLOAT: u64 = 12;
/// A level is judged feasible against a little less than the target, so that holding it does not trip the guard.
const JUDGED_AT: f64 = 0.85;
const JUDGED_SHARE: f64 = 0.02;
const JUDGED_FEWEST: u32 = 4;
/// The guard looks at completions with the window this full.
const FULL: f64 = 0.9;
const BAN_MIN_NS: u64 = 1_000_000_000;
const BAN_MAX_NS: u64 = 16_000_000_000;
/// Cuts in a row that did not lower the share over the target by a quarter.
const FUTILE_CUTS: u8 = 4;
/// What is held instead: this many times the p99 of the window that a search without a target finds.
const FUTILE_FACTOR: f64 = 1.25;
const FUTILE_NS: u64 = 30_000_000_000;
/// What a level that cannot be filled gives.
const NOTHING: Rate = Rate {
    per_second: 0.0,
    error: 0.0,
    took_ns: 0,
};
/// Completions without a backlog, in windows, after which a level that was only tried counts as one that the callers
/// cannot fill.
const UNFILLED_WINDOWS: u32 = 2;
/// Share of operations completing inside their own submission above which the window is not applied.
const INLINE_OF: (u8, u8) = (58, 64);

/// What a [`Ladder`] is made with.
#[derive(Clone, Copy, Debug)]
pub struct LadderOptions {
    /// Most that may ever be in flight.
    pub max: u32,
    /// The user's target for p99, if there is one.
    pub target_p99_ns: Option<u64>,
}

impl Default for LadderOptions {
    fn default() -> Self {
        Self {
            max: 1024,
            target_p99_ns: None,
        }
    }
}

#[derive(Clone, Debug)]
enum Mode {
    Searching(Search),
    Holding(Hold),
}

#[derive(Clone, Copy, Debug, Default)]
struct Ban {
    until_ns: u64,
    length_ns: u64,
}

/// Finds and holds the smallest window with (nearly) all of the device's throughput.
///
/// About 1.5 KiB, no allocation; a completion costs a few comparisons.
///
/// ```
/// use uring_core::flow::{Completed, Controller, Ladder, LadderOptions};
/// let mut ladder = Ladder::new(LadderOptions { max: 128, target_p99_ns: None });
/// assert_eq!(ladder.window(), 4);
/// // A load that never waits for a place teaches nothing about the device.
/// for n in 0..100_000 {
///     ladder.completed(Completed { now_ns: n * 1_000, latency_ns: 900, in_flight: 1, backlog: false, inline: false });
/// }
/// assert_eq!(ladder.window(), 4);
/// ```
#[derive(Clone, Debug)]
pub struct Ladder {
    options: LadderOptions,
    top: Level,
    at: Level,
    mode: Mode,
    clock: LimitedClock,
    sampler: Sampler,
    guard: Guard,
    /// Median at the first rung of the last search.
    first_p50_ns: Option<u64>,
    bans: [Ban; LEVELS],
    last_share: f64,
    futile_cuts: u8,
    /// A target in place of one that cannot be met, and until when.
    relaxed: Option<(u64, u64)>,
    /// Completions in a row that saw no backlog.
    unlimited: u32,
    inline_of: (u8, u8),
    bypass: bool,
}

impl Ladder {
    /// Begins at a window of 4.
    pub fn new(options: LadderOptions) -> Self {
        let top = Level::at_most(options.max.max(1));
        let search = Search::new(Level::START, top);
        Self {
            options,
            top,
            at: search.at(),
            mode: Mode::Searching(search),
            clock: LimitedClock::default(),
            sampler: Sampler::new(),
            guard: Guard::default(),
            first_p50_ns: None,
            bans: [Ban::default(); LEVELS],
            last_share: 1.0,
            futile_cuts: 0,
            relaxed: None,
            unlimited: 0,
            inline_of: (0, 0),
            bypass: false,
        }
    }

    /// The target in force for p99.
    pub fn target_p99_ns(&self) -> u64 {
        let wanted = self.options.target_p99_ns.unwrap_or_else(|| {
            self.first_p50_ns.map_or(u64::MAX, |p50| {
                TARGET_MIN_NS.max(p50.saturating_mul(TARGET_FACTOR))
            })
        });
        self.relaxed.map_or(wanted, |(target, _)| target)
    }

    /// Whether the target cannot be met and is replaced for the time being.
    pub fn target_unreachable(&self) -> bool {
        self.relaxed.is_some()
    }

    /// Whether it has settled.
    pub fn is_holding(&self) -> bool {
        matches!(self.mode, Mode::Holding(_))
    }

    fn go(&mut self, to: Level) {
        let discard = self.at.window().max(to.window());
        if to != self.at {
            self.guard.restart();
            self.sampler.restart(self.clock.elapsed_ns(), discard);
        } else {
            self.sampler.restart(self.clock.elapsed_ns(), 0);
        }
        self.at = to;
    }

    fn hold_at(&mut self, level: Level) {
        self.mode = Mode::Holding(Hold::new(level, self.top, self.clock.elapsed_ns()));
        self.go(level);
    }

    fn search_again(&mut self) {
        self.first_p50_ns = None;
        let search = Search::new(Level::START, self.top);
        let at = search.at();
        self.mode = Mode::Searching(search);
        self.go(at);
    }

    fn is_banned(&self, level: Level) -> bool {
        // Higher levels only make the tail longer, so a ban covers them.
        Level::all()
            .take_while(|l| *l <= level)
            .any(|l| self.bans[l.index()].until_ns > self.clock.elapsed_ns())
    }

    fn ban(&mut self, level: Level) {
        let now = self.clock.elapsed_ns();
        let ban = &mut self.bans[level.index()];
        // A level that was left alone for long starts with a short ban again.
        let fresh = now > ban.until_ns.saturating_add(ban.length_ns.saturating_mul(8));
        ban.length_ns = if fresh {
            BAN_MIN_NS
        } else {
            (ban.length_ns * 2).clamp(BAN_MIN_NS, BAN_MAX_NS)
        };
        ban.until_ns = now + ban.length_ns;
    }

    /// Whether a sample keeps the target, judged a little more strictly than the guard does.
    fn is_feasible(sample: &Sample) -> bool {
        sample.over < JUDGED_FEWEST || f64::from(sample.over) <= f64::from(sample.completions) * JUDGED_SHARE
    }

    fn judged_ns(&self) -> u64 {
        (self.target_p99_ns() as f64 * JUDGED_AT) as u64
    }

    /// Follows a closed sample.
    fn sampled(&mut self, sample: Sample) {
        let first = *self.first_p50_ns.get_or_insert(sample.p50_ns);
        if let (Mode::Holding(_), Some((target @ u64::MAX, _))) = (&self.mode, &mut self.relaxed) {
            *target = (sample.p99_ns as f64 * FUTILE_FACTOR) as u64;
        }
        let untargeted = self.options.target_p99_ns.is_none() || self.relaxed.is_some();
        let bloated = untargeted && sample.p50_ns > first.saturating_mul(BLOAT);
        let feasible = Self::is_feasible(&sample);
        let rate = Rate {
            per_second: sample.per_second,
            error: sample.error,
            took_ns: sample.took_ns,
        };
        let clock_ns = self.clock.elapsed_ns();
        let next_up = self.at.up(1, self.top);
        let blocked = self.is_banned(next_up);
        match &mut self.mode {
            Mode::Searching(search) => match search.take(sample.per_second, feasible, !bloated && !blocked) {
                Next::Measure(level) => self.go(level),
                Next::Settle(level) => self.hold_at(level),
            },
            Mode::Holding(hold) => {
                let bans = self.bans;
                let allowed = |level: Level| {
                    !bloated
                        && Level::all()
                            .take_while(|l| *l <= level)
                            .all(|l| bans[l.index()].until_ns <= clock_ns)
                };
                match hold.take(clock_ns, rate, feasible, allowed) {
                    Held::Measure(level) => self.go(level),
                    Held::Restart => {
                        // What was too much for the device as it was says nothing about the one it has become.
                        self.bans = [Ban::default(); LEVELS];
                        self.search_again();
                    }
                }
            }
        }
    }

    /// Follows a violation of the target at the present level.
    fn cut(&mut self, levels: u8, share: f64) {
        let helped = share <= self.last_share * 0.75;
        self.futile_cuts = if helped { 0 } else { self.futile_cuts + 1 };
        self.last_share = share;
        if self.at == Level::LOWEST || self.futile_cuts >= FUTILE_CUTS {
            self.relaxed = Some((u64::MAX, self.clock.elapsed_ns() + FUTILE_NS));
            self.bans = [Ban::default(); LEVELS];
            (self.futile_cuts, self.last_share) = (0, 1.0);
            self.search_again();
            return;
        }
        self.ban(self.at);
        self.hold_at(self.at.down(levels));
    }

    /// Follows completions without a backlog: they teach nothing about the device, but a level that was only being
    /// tried and that the callers cannot fill is left again, since no sample of it will ever close.
    fn unfilled(&mut self) {
        self.unlimited += 1;
        if self.unlimited < self.at.window().saturating_mul(UNFILLED_WINDOWS) {
            return;
        }
        self.unlimited = 0;
        let clock_ns = self.clock.elapsed_ns();
        let next = match &mut self.mode {
            Mode::Searching(search) if search.has_best() => match search.take(0.0, false, false) {
                Next::Measure(level) => Some((level, false)),
                Next::Settle(level) => Some((level, true)),
            },
            Mode::Holding(hold) if hold.is_probing() => {
                match hold.take(clock_ns, NOTHING, false, |_| false) {
                    Held::Measure(level) => Some((level, false)),
                    Held::Restart => None,
                }
            }
            _ => None,
        };
        match next {
            Some((level, true)) => self.hold_at(level),
            Some((level, false)) => self.go(level),
            None => {}
        }
    }

    /// Follows how many complete inside their own submission; the page cache needs no window.
    fn follow_inline(&mut self, inline: bool) {
        self.inline_of.0 += u8::from(inline);
        self.inline_of.1 += 1;
        if self.inline_of.1 == INLINE_OF.1 {
            self.bypass = self.inline_of.0 >= INLINE_OF.0;
            self.inline_of = (0, 0);
        }
    }
}

impl Controller for Ladder {
    fn completed(&mut self, completed: Completed) {
        self.follow_inline(completed.inline);
        if self.bypass {
            return;
        }
        if !self.clock.advance(&completed) {
            if !completed.backlog {
                self.unfilled();
            }
            return;
        }
        self.unlimited = 0;
        let clock_ns = self.clock.elapsed_ns();
        if self.relaxed.is_some_and(|(_, until)| clock_ns >= until) {
            self.relaxed = None;
            self.search_again();
        }
        let full = f64::from(completed.in_flight) >= f64::from(self.at.window()) * FULL;
        if full && self.is_holding() {
            let over = completed.latency_ns > self.target_p99_ns();
            if let Cut::By { levels, share } = self.guard.take(over, completed.in_flight) {
                self.cut(levels, share);
                return;
            }
        }
        let judged_ns = self.judged_ns();
        if let Some(sample) = self.sampler.take(clock_ns, completed.latency_ns, judged_ns) {
            self.sampled(sample);
        }
    }

    fn window(&self) -> u32 {
        if self.bypass {
            self.options.max.max(1)
        } else {
            self.at.window()
        }
    }
}
