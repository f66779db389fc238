//! The monotonic clock, told by the processor's counter between looks at the clock itself.
//!
//! A look at the clock costs about twice a look at the counter, and an operation that is alone pays two or three. So the
//! counter is compared with the clock every [`HORIZON_NS`], and tells the time in between.
//!
//! - **C1** it runs only where counter and clock are one thing: the processor says that its counter is invariant, and the
//!   kernel keeps its own time by it. A counter that disagrees with the clock all the same is given up for good.
//! - **C2** what it tells never goes back: one that is ahead of the clock runs slower until the next look.
//! - **C3** it is off by what the rate known differs from the clock's, over one stretch: a third of a microsecond in the first
//!   stretch, some ten nanoseconds from then on, a few microseconds while the clock is being slewed as fast as it may be.
//!
//! The rate is the process's: whoever comes later starts with it.

use super::clock;
use std::cell::Cell;
use std::sync::OnceLock;
use sync_base::atomic::{AtomicU64, Ordering};

/// The counter tells the time for so long.
const HORIZON_NS: u64 = 10_000_000;
/// The rate is taken over at least so long, and over about a second at most.
const BASELINE_NS: u64 = 1_000_000;
/// Off by more than this, the counter is no clock.
const TRUSTED_NS: u64 = 20_000;
/// A look at both that took longer was interrupted.
const INTERRUPTED_NS: u64 = 1_000;

/// Counter and clock, read together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pair {
    ticks: u64,
    ns: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// The clock alone is used.
    Off,
    /// Nothing to compare with yet, or for too short a time.
    Learning { origin: Option<Pair> },
    /// `base.ns` and a 2^32nd of `rate` for each tick since; trusted for `horizon` ticks.
    Running {
        origin: Pair,
        base: Pair,
        rate: u64,
        horizon: u64,
        /// The clock's own rate: `rate` makes up besides for what was told too much.
        known: u64,
    },
}

sync_base::global! {
    /// The rate that the last look found, for those who have yet to learn it; 0 before the first.
    static RATE: AtomicU64 = AtomicU64::new(0);
}

/// One reader's clock.
#[derive(Debug)]
pub(crate) struct Ticks {
    /// What a running counter needs to tell the time: see [`State::Running`]. No horizon where it does not run.
    base: Cell<Pair>,
    rate: Cell<u64>,
    horizon: Cell<u64>,
    state: Cell<State>,
}

impl Ticks {
    /// Starts to learn, where there is something to learn from (C1), or to run where another has learned.
    pub(crate) fn new() -> Self {
        // Relaxed: a number that stands for itself.
        let known = RATE.load(Ordering::Relaxed);
        let state = match (is_clock(), known) {
            (false, _) => State::Off,
            (true, 0) => State::Learning { origin: None },
            (true, rate) => {
                let now = pair();
                State::running(now, now, rate, 0)
            }
        };
        let this = Self {
            base: Cell::new(Pair { ticks: 0, ns: 0 }),
            rate: Cell::new(0),
            horizon: Cell::new(0),
            state: Cell::new(state),
        };
        this.take(state);
        this
    }

    /// Nanoseconds of the monotonic clock; never 0.
    #[inline]
    pub(crate) fn now_ns(&self) -> u64 {
        let horizon = self.horizon.get();
        if horizon > 0 {
            let base = self.base.get();
            let since = counter().wrapping_sub(base.ticks);
            if since < horizon {
                // No overflow: the horizon is ten milliseconds, and a rate below 2^40 is checked.
                return base.ns + ((since * self.rate.get()) >> 32);
            }
        }
        self.look()
    }

    #[cold]
    fn look(&self) -> u64 {
        match self.state.get() {
            State::Off => return clock::now_ns(),
            State::Learning { origin: Some(origin) } => {
                let ns = clock::now_ns();
                if ns < origin.ns + BASELINE_NS {
                    return ns;
                }
            }
            State::Learning { origin: None } | State::Running { .. } => {}
        }
        let (state, ns) = self.state.get().after(pair());
        self.state.set(state);
        self.take(state);
        ns
    }

    /// Puts what a running counter needs where the next look finds it.
    fn take(&self, state: State) {
        match state {
            State::Running {
                base,
                rate,
                horizon,
                known,
                ..
            } => {
                self.base.set(base);
                self.rate.set(rate);
                self.horizon.set(horizon);
                // Relaxed: as in `new`.
                RATE.store(known, Ordering::Relaxed);
            }
            State::Off | State::Learning { .. } => self.horizon.set(0),
        }
    }
}

impl State {
    /// What follows from counter and clock; and the time to tell.
    fn after(self, now: Pair) -> (Self, u64) {
        let (origin, told) = match self {
            State::Off => return (State::Off, now.ns),
            State::Learning { origin: None } => {
                return (State::Learning { origin: Some(now) }, now.ns);
            }
            State::Learning { origin: Some(origin) } => (origin, now.ns),
            State::Running {
                origin, base, rate, ..
            } => {
                let since = now.ticks.wrapping_sub(base.ticks);
                let told = (u128::from(since) * u128::from(rate)) >> 32;
                let told = u64::try_from(u128::from(base.ns) + told).unwrap_or(u64::MAX);
                // The clock's rate may differ from the one known by a few parts in ten thousand.
                let allowed = TRUSTED_NS + now.ns.saturating_sub(base.ns) / 2_000;
                if told.abs_diff(now.ns) > allowed {
                    return (State::Off, now.ns);
                }
                (origin, told)
            }
        };
        let (ticks, ns) = (
            now.ticks.saturating_sub(origin.ticks),
            now.ns.saturating_sub(origin.ns),
        );
        let rate = (u128::from(ns) << 32).checked_div(u128::from(ticks));
        let Some(rate) = rate
            .and_then(|rate| u64::try_from(rate).ok())
            .filter(|&r| r > 0 && r < 1 << 40)
        else {
            return (State::Off, now.ns);
        };
        // C2: not behind what was told.
        let told = told.max(now.ns);
        // A rate of long ago is not today's.
        let origin = if ns > 1_000 * BASELINE_NS { now } else { origin };
        (Self::running(origin, now, rate, told - now.ns), told)
    }

    /// Runs on from here, where `ahead` nanoseconds too many were told: those are made up for over the next stretch.
    fn running(origin: Pair, now: Pair, rate: u64, ahead: u64) -> Self {
        let told = now.ns + ahead;
        let slower = u128::from(rate) * u128::from(ahead) / u128::from(HORIZON_NS);
        State::Running {
            origin,
            base: Pair {
                ticks: now.ticks,
                ns: told,
            },
            rate: rate - u64::try_from(slower).unwrap_or(0).min(rate / 2),
            horizon: u64::try_from((u128::from(HORIZON_NS) << 32) / u128::from(rate)).unwrap_or(0),
            known: rate,
        }
    }
}

/// Reads both, in a moment without an interruption if there is one.
fn pair() -> Pair {
    let mut best: Option<(u64, Pair)> = None;
    for _ in 0..4 {
        let before = counter();
        let ns = clock::now_ns();
        let took = counter().wrapping_sub(before);
        let pair = Pair {
            ticks: before.wrapping_add(took / 2),
            ns,
        };
        if best.is_none_or(|(least, _)| took < least) {
            best = Some((took, pair));
        }
        // A tick is a third of a nanosecond, about.
        if took < INTERRUPTED_NS {
            break;
        }
    }
    best.expect("read at least once").1
}

#[cfg(all(target_arch = "x86_64", not(any(loom, shuttle))))]
#[inline(always)]
fn counter() -> u64 {
    // SAFETY: every processor of this architecture has it, and where user code may not use it `is_clock` said no.
    unsafe { std::arch::x86_64::_rdtsc() }
}

#[cfg(not(all(target_arch = "x86_64", not(any(loom, shuttle)))))]
fn counter() -> u64 {
    0
}

/// Whether the counter is what the kernel itself tells the time by. Asked once a process.
fn is_clock() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let kernels = std::fs::read("/sys/devices/system/clocksource/clocksource0/current_clocksource");
        is_invariant() && may_read() && kernels.is_ok_and(|name| name.trim_ascii() == b"tsc")
    })
}

#[cfg(all(target_arch = "x86_64", not(any(loom, shuttle))))]
fn is_invariant() -> bool {
    use std::arch::x86_64::__cpuid;
    // The number of the highest extended leaf; then the one on power management: bit 8 is the invariant counter.
    __cpuid(0x8000_0000).eax >= 0x8000_0007 && __cpuid(0x8000_0007).edx & 1 << 8 != 0
}

#[cfg(not(all(target_arch = "x86_64", not(any(loom, shuttle)))))]
fn is_invariant() -> bool {
    false
}

/// Whether user code may read the counter (`PR_SET_TSC` can forbid it).
fn may_read() -> bool {
    let mut mode = 0i32;
    // SAFETY: writes one number.
    let told = unsafe { libc::prctl(libc::PR_GET_TSC, &raw mut mode) };
    told == 0 && mode == libc::PR_TSC_ENABLE
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    /// Runs a state through looks at a counter of three ticks a nanosecond whose clock is `clock(ticks)`.
    fn runs(times: impl IntoIterator<Item = (u64, u64)>) -> (State, Vec<u64>) {
        let mut state = State::Learning { origin: None };
        let mut told = Vec::new();
        for (ticks, ns) in times {
            let ns = match state {
                // Between looks.
                State::Running {
                    base, rate, horizon, ..
                } if ticks - base.ticks < horizon => base.ns + (((ticks - base.ticks) * rate) >> 32),
                _ => {
                    let (next, ns) = state.after(Pair { ticks, ns });
                    state = next;
                    ns
                }
            };
            told.push(ns);
        }
        (state, told)
    }

    const STEP: u64 = 1_000_000;

    #[test]
    fn e13_counter_tells_the_clock_between_looks_and_never_goes_back() {
        // The clock runs true, then 500 parts in a million fast, then as slow.
        let mut ns = 1_000_000_000f64;
        let times: Vec<(u64, u64)> = (0..3000u64)
            .map(|step| {
                let rate = match step / 1000 {
                    0 => 1.0,
                    1 => 1.0005,
                    _ => 0.9995,
                };
                ns += STEP as f64 * rate;
                (step * 3 * STEP, ns as u64)
            })
            .collect();
        let (state, told) = runs(times.clone());
        assert!(matches!(state, State::Running { .. }));
        assert!(told.is_sorted(), "it went back");
        for ((_, ns), told) in times.iter().zip(&told) {
            assert!(told.abs_diff(*ns) < 12_000, "{told} is not {ns}");
        }
        // Where the rate is steady it is a matter of nanoseconds.
        for at in 500..1000 {
            assert!(told[at].abs_diff(times[at].1) < 10);
        }
    }

    #[test]
    fn e13_counter_that_is_no_clock_is_given_up() {
        let steady = |step: u64| (step * 3 * STEP, step * STEP);
        for (why, then) in [
            (
                "it stopped",
                Box::new(|step: u64| (90 * STEP, step * STEP)) as Box<dyn Fn(u64) -> (u64, u64)>,
            ),
            (
                "it went back",
                Box::new(|step| ((step - 25) * 3 * STEP, step * STEP)),
            ),
            (
                "it runs twice as fast",
                Box::new(|step| (step * 6 * STEP, step * STEP)),
            ),
            (
                "the clock was stopped with the machine",
                Box::new(|step| (step * 3 * STEP, (step - 20) * STEP)),
            ),
        ] {
            let mut state = State::Learning { origin: None };
            for step in 1..30 {
                let (ticks, ns) = steady(step);
                state = state.after(Pair { ticks, ns }).0;
            }
            assert!(matches!(state, State::Running { .. }));
            let (ticks, ns) = then(60);
            let (state, told) = state.after(Pair { ticks, ns });
            assert!(matches!(state, State::Off), "{why}");
            assert_eq!(told, ns, "{why}");
        }
    }

    #[test]
    fn e13_counter_of_this_machine_agrees_with_its_clock() {
        let ticks = Ticks::new();
        let begun = clock::now_ns();
        let mut last = 0;
        while clock::now_ns() < begun + 60_000_000 {
            let before = clock::now_ns();
            let told = ticks.now_ns();
            let after = clock::now_ns();
            assert!(
                told + 12_000 >= before && told <= after + 12_000,
                "{before} {told} {after}"
            );
            assert!(told >= last || matches!(ticks.state.get(), State::Off | State::Learning { .. }));
            last = told;
        }
        let runs = matches!(ticks.state.get(), State::Running { .. });
        assert_eq!(runs, is_clock(), "it runs wherever it may");
    }
}
