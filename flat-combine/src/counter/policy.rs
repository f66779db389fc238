//! When a counter takes to the funnel, decided from samples and times that are passed in.
//!
//! A funnel pays when many cores add at once, and costs when few do. Neither the number of threads nor that of cores
//! tells which it is, so both ways are measured: contention by samples of the plain way, the benefit by the rate of the
//! funnel in its first trial against the rate of the plain way just before. A trial that does not pay makes the
//! next one twice as far off.

/// Under shuttle everything is decided after a few operations, so that short histories switch both ways.
const SHORT: bool = cfg!(all(shuttle, not(loom)));

/// One operation in so many samples; a power of two.
pub(super) const SAMPLE_EVERY: u32 = if SHORT { 1 } else { 2_048 };
const WINDOW: u32 = if SHORT { 3 } else { 16 };
/// Contended samples of a window for which a trial is worth making.
const CONTENDED: u32 = WINDOW - WINDOW / 4;
/// Threads in a window below which no funnel was ever seen to pay.
const THREADS: u32 = if SHORT { 2 } else { 4 };
const TRIAL_OPS: u64 = if SHORT { 4 } else { 8_192 };
/// What a funnel has to win to be kept, in percent of the plain rate.
const WIN_PERCENT: f64 = 110.0;
/// Operations to a batch below which contention is over.
const BATCH_MIN: f64 = 1.5;
const PENALTY_MAX: u32 = 16;

#[derive(Debug)]
pub(super) struct Policy {
    samples: u32,
    contended: u32,
    threads: u64,
    began_ns: u64,
    /// Operations a second on the plain way, measured just before the trial.
    plain_rate: f64,
    /// Windows to let pass before the next trial.
    hold_off: u32,
    penalty: u32,
    trial: bool,
    batches: u64,
    ops: u64,
}

impl Policy {
    pub(super) const fn new() -> Self {
        Self {
            samples: 0,
            contended: 0,
            threads: 0,
            began_ns: 0,
            plain_rate: 0.0,
            hold_off: 0,
            penalty: 0,
            trial: false,
            batches: 0,
            ops: 0,
        }
    }

    /// Takes in one sample of the plain way; true when a funnel is worth a trial now. Looks at the clock when a window
    /// begins and when it leads to a trial.
    pub(super) fn plain_sample(&mut self, thread: u64, contended: bool, now_ns: impl Fn() -> u64) -> bool {
        if self.samples == 0 {
            (self.contended, self.threads, self.began_ns) = (0, 0, now_ns());
        }
        self.samples += 1;
        self.contended += u32::from(contended);
        self.threads |= 1 << (thread % 64);
        if self.samples < WINDOW {
            return false;
        }
        self.samples = 0;
        let crowded = self.contended >= CONTENDED && self.threads.count_ones() >= THREADS;
        if self.hold_off > 0 || !crowded {
            self.hold_off = self.hold_off.saturating_sub(1);
            return false;
        }
        let now_ns = now_ns();
        self.plain_rate = rate(
            u64::from(WINDOW - 1) * u64::from(SAMPLE_EVERY),
            self.began_ns,
            now_ns,
        );
        (self.trial, self.batches, self.ops, self.began_ns) = (true, 0, 0, now_ns);
        true
    }

    /// Takes in a leader's report; true when the plain way is better from here on.
    pub(super) fn funnel_report(&mut self, batches: u64, ops: u64, now_ns: u64) -> bool {
        self.batches += batches;
        self.ops += ops;
        if self.ops < TRIAL_OPS && self.batches < TRIAL_OPS / 4 {
            return false;
        }
        let mean = self.ops as f64 / self.batches as f64;
        let pays =
            !self.trial || rate(self.ops, self.began_ns, now_ns) * 100.0 >= self.plain_rate * WIN_PERCENT;
        (self.batches, self.ops, self.began_ns) = (0, 0, now_ns);
        if mean >= BATCH_MIN && pays {
            (self.trial, self.penalty) = (false, 0);
            return false;
        }
        if self.trial {
            self.hold_off = 1 << self.penalty;
            self.penalty = (self.penalty + 1).min(PENALTY_MAX);
        }
        true
    }

    /// Forgets what was measured on the way that was left.
    pub(super) fn restart(&mut self) {
        self.samples = 0;
    }
}

fn rate(ops: u64, from_ns: u64, to_ns: u64) -> f64 {
    ops as f64 * 1e9 / to_ns.saturating_sub(from_ns).max(1) as f64
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    /// Feeds windows of 1 ms until one asks for a trial; how many it took.
    fn windows_until_trial(policy: &mut Policy, threads: u64, contended: bool, limit: u32) -> Option<u32> {
        for window in 1..=limit {
            for sample in 0..u64::from(WINDOW) {
                let now = (u64::from(window) * u64::from(WINDOW) + sample) * 31_250;
                if policy.plain_sample(sample % threads, contended, || now) {
                    return Some(window);
                }
            }
        }
        None
    }

    #[test]
    fn few_threads_or_no_contention_never_make_a_trial() {
        assert_eq!(windows_until_trial(&mut Policy::new(), 3, true, 1_000), None);
        assert_eq!(windows_until_trial(&mut Policy::new(), 16, false, 1_000), None);
        assert_eq!(windows_until_trial(&mut Policy::new(), 16, true, 1_000), Some(1));
    }

    #[test]
    fn a_trial_that_does_not_pay_puts_the_next_one_twice_as_far_off() {
        let mut policy = Policy::new();
        let mut waits = Vec::new();
        for _ in 0..5 {
            waits.push(windows_until_trial(&mut policy, 16, true, 1_000).unwrap());
            // The plain way did its window in under a millisecond; this trial takes ten seconds.
            assert!(policy.funnel_report(TRIAL_OPS / 8, TRIAL_OPS, u64::MAX / 2));
            policy.restart();
        }
        assert_eq!(waits, [1, 2, 3, 5, 9]);
    }

    #[test]
    fn a_funnel_that_pays_stays_until_its_batches_shrink() {
        let mut policy = Policy::new();
        windows_until_trial(&mut policy, 16, true, 1).unwrap();
        let mut now = policy.began_ns;
        for _ in 0..100 {
            now += 100_000;
            assert!(!policy.funnel_report(TRIAL_OPS / 8, TRIAL_OPS, now));
        }
        // A slower stretch of a crowded funnel is no reason to leave it: the load may have changed.
        now += 1_000_000_000;
        assert!(!policy.funnel_report(TRIAL_OPS / 8, TRIAL_OPS, now));
        // Batches of one are.
        assert!(policy.funnel_report(TRIAL_OPS, TRIAL_OPS, now + 1_000));
        policy.restart();
        // And that is no failed trial: nothing is held off.
        assert_eq!(windows_until_trial(&mut policy, 16, true, 10), Some(1));
    }
}
