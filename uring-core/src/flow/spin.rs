//! Whether spinning pays on this device and this CPU: measured in alternating slices, never assumed.

/// How to wait for completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Sleep in the kernel.
    Sleep,
    /// Enter the kernel for completions again and again, a bounded time, then sleep.
    Spin,
}

/// Length of a slice, and how many of each kind are compared.
const SLICE_NS: u64 = 5_000_000;
const SLICES: u32 = 8;
/// What spinning must give: throughput, or at next to nothing in flight, a lower latency.
const GAIN: f64 = 1.06;
const SOONER: f64 = 1.10;
const FEW_IN_FLIGHT: u32 = 2;
/// Fewest operations of each kind that decide anything; fewer, and what differs is chance.
const FEWEST: u64 = 64;
/// How long a decision stands: doubles while it is confirmed.
const HOLD_MIN_NS: u64 = 500_000_000;
const HOLD_MAX_NS: u64 = 8_000_000_000;

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    operations: u64,
    elapsed_ns: u64,
    latency_ns: u64,
}

/// Chooses between sleeping and spinning by trying both.
///
/// Tell it of every reap; ask it before every wait. It sleeps until a trial has shown that spinning pays, and every
/// trial is as fair as alternating slices of 5 ms can make it.
///
/// ```
/// use uring_core::flow::{SpinChoice, Wait};
/// let mut choice = SpinChoice::new();
/// // Spinning doubles the operations: it is chosen.
/// for ms in 0..60 {
///     let operations = if choice.wait() == Wait::Spin { 200 } else { 100 };
///     choice.reaped(ms * 1_000_000, operations, 50_000, 64);
/// }
/// assert_eq!(choice.wait(), Wait::Spin);
/// ```
#[derive(Clone, Debug)]
pub struct SpinChoice {
    decided: Wait,
    slice: u32,
    slice_began_ns: Option<u64>,
    last_ns: u64,
    tallies: [Tally; 2],
    /// Operations of the slice that goes on, the rate of the one before, and in how many pairs spinning was faster.
    in_slice: u64,
    rate_before: f64,
    pairs_won: u32,
    in_flight_max: u32,
    hold_ns: u64,
    /// While a decision stands: until when.
    stands_until_ns: Option<u64>,
}

impl SpinChoice {
    /// Begins with a trial.
    pub fn new() -> Self {
        Self {
            decided: Wait::Sleep,
            slice: 0,
            slice_began_ns: None,
            last_ns: 0,
            tallies: [Tally::default(); 2],
            in_slice: 0,
            rate_before: 0.0,
            pairs_won: 0,
            in_flight_max: 0,
            hold_ns: HOLD_MIN_NS,
            stands_until_ns: None,
        }
    }

    /// How to wait now.
    pub fn wait(&self) -> Wait {
        match self.stands_until_ns {
            Some(_) => self.decided,
            None if self.slice.is_multiple_of(2) => Wait::Sleep,
            None => Wait::Spin,
        }
    }

    /// Whether a trial is going on that disturbs what else is measured: some of its slices spin.
    pub fn is_trying(&self) -> bool {
        self.stands_until_ns.is_none() && self.slice > 0
    }

    /// Learns of a reap: when, how many operations, their mean latency, how many were in flight.
    pub fn reaped(&mut self, now_ns: u64, operations: u32, mean_latency_ns: u64, in_flight: u32) {
        if let Some(until) = self.stands_until_ns {
            if now_ns >= until {
                self.begin_trial(now_ns);
            }
            return;
        }
        // Nothing for as long as a slice: the load is no measure of the way of waiting for it.
        let idle = now_ns.saturating_sub(self.last_ns) >= SLICE_NS;
        self.last_ns = self.last_ns.max(now_ns);
        let Some(began) = self.slice_began_ns.filter(|_| !idle) else {
            self.begin_trial(now_ns);
            return;
        };
        let tally = &mut self.tallies[(self.slice % 2) as usize];
        tally.operations += u64::from(operations);
        self.in_slice += u64::from(operations);
        tally.latency_ns += mean_latency_ns * u64::from(operations);
        self.in_flight_max = self.in_flight_max.max(in_flight);
        if now_ns.saturating_sub(began) < SLICE_NS {
            return;
        }
        tally.elapsed_ns += now_ns - began;
        let rate = self.in_slice as f64 / (now_ns - began) as f64;
        self.pairs_won += u32::from(!self.slice.is_multiple_of(2) && rate > self.rate_before);
        (self.in_slice, self.rate_before) = (0, rate);
        (self.slice, self.slice_began_ns) = (self.slice + 1, Some(now_ns));
        if self.slice == SLICES {
            self.decide(now_ns);
        }
    }

    fn begin_trial(&mut self, now_ns: u64) {
        (self.stands_until_ns, self.slice, self.slice_began_ns) = (None, 0, Some(now_ns));
        (self.tallies, self.in_flight_max) = ([Tally::default(); 2], 0);
        (self.in_slice, self.pairs_won) = (0, 0);
        self.last_ns = now_ns;
    }

    fn decide(&mut self, now_ns: u64) {
        let [sleep, spin] = self.tallies;
        let rate = |t: Tally| t.operations as f64 / t.elapsed_ns.max(1) as f64;
        let latency = |t: Tally| t.latency_ns as f64 / t.operations.max(1) as f64;
        let enough = spin.operations.min(sleep.operations) >= FEWEST;
        // Beyond what would differ if completions came at random, and in each pair of slices.
        let chance = 2.0 * ((spin.operations + sleep.operations) as f64).sqrt();
        let clear = spin.operations as f64 - sleep.operations as f64 > chance && self.pairs_won * 2 == SLICES;
        let more = clear && rate(spin) >= rate(sleep) * GAIN;
        let sooner = self.in_flight_max <= FEW_IN_FLIGHT && latency(spin) * SOONER <= latency(sleep);
        let decided = if enough && (more || sooner) {
            Wait::Spin
        } else {
            Wait::Sleep
        };
        self.hold_ns = if decided == self.decided {
            (self.hold_ns * 2).min(HOLD_MAX_NS)
        } else {
            HOLD_MIN_NS
        };
        self.decided = decided;
        self.stands_until_ns = Some(now_ns + self.hold_ns);
    }
}

impl Default for SpinChoice {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(
        seconds: u64,
        operations: impl Fn(Wait, u64) -> u32,
        latency: impl Fn(Wait) -> u64,
        in_flight: u32,
    ) -> (u64, u64) {
        let (mut choice, mut spun, mut slept) = (SpinChoice::new(), 0, 0);
        for ms in 0..seconds * 1_000 {
            let wait = choice.wait();
            match wait {
                Wait::Spin => spun += 1,
                Wait::Sleep => slept += 1,
            }
            choice.reaped(ms * 1_000_000, operations(wait, ms), latency(wait), in_flight);
        }
        (spun, slept)
    }

    #[test]
    fn spinning_that_does_not_pay_is_rare_and_ever_rarer() {
        let (spun, slept) = run(60, |_, _| 100, |_| 1_000, 64);
        assert!(spun * 100 <= (spun + slept) * 2, "{spun} of {}", spun + slept);
    }

    #[test]
    fn spinning_that_pays_is_chosen() {
        let (spun, slept) = run(60, |w, _| if w == Wait::Spin { 120 } else { 100 }, |_| 1_000, 64);
        assert!(slept * 100 <= (spun + slept) * 2, "{slept} of {}", spun + slept);
    }

    #[test]
    fn a_lower_median_counts_only_with_next_to_nothing_in_flight() {
        let sooner = |w| if w == Wait::Spin { 80 } else { 100 };
        let (spun, slept) = run(60, |_, _| 10, sooner, 1);
        assert!(spun > slept);
        let (spun, slept) = run(60, |_, _| 10, sooner, 64);
        assert!(spun < slept);
    }

    #[test]
    fn a_load_that_comes_by_chance_chooses_sleep() {
        // Some 5,000 operations a second that no way of waiting changes: a tenth more in four slices is chance.
        let by_chance = |_, ms: u64| (crate::sys::random::Random::new(ms).next() % 11) as u32;
        let (spun, slept) = run(600, by_chance, |_| 100, 8);
        assert!(spun * 100 <= (spun + slept) * 3, "{spun} of {}", spun + slept);
        // A load with pauses longer than a slice is never tried.
        let mut choice = SpinChoice::new();
        for n in 0..10_000u64 {
            choice.reaped(n * 6_000_000, 100, 50, 1);
            assert!(choice.wait() == Wait::Sleep && !choice.is_trying());
        }
    }

    #[test]
    fn no_operations_choose_sleep() {
        let (spun, slept) = run(10, |_, _| 0, |_| 0, 0);
        assert!(spun < slept);
    }

    #[test]
    fn a_device_that_changes_its_mind_is_followed() {
        let (spun, slept) = run(
            120,
            |w, ms| if w == Wait::Spin && ms > 60_000 { 130 } else { 100 },
            |_| 1,
            64,
        );
        assert!(spun > 40_000 && slept > 55_000, "{spun} {slept}");
    }
}
