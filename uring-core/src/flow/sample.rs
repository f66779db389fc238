//! One measurement of throughput at one window, as long as its noise asks for.

use super::latencies::Latencies;

/// Completions to a block; blocks tell how much the rate scatters.
const BLOCK: u32 = 16;
/// A precise window needs this much limited time and this many blocks.
const PRECISE_NS: u64 = 3_000_000;
const PRECISE_BLOCKS: u32 = 8;
const PRECISE_ERROR: f64 = 0.02;
/// What ends a window that stays imprecise: limited time, and completions in it.
const PATIENCE: [(u64, u32); 4] = [
    (40_000_000, 512),
    (500_000_000, 64),
    (2_000_000_000, 32),
    (4_000_000_000, 8),
];

/// A closed sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) per_second: f64,
    pub(super) p50_ns: u64,
    pub(super) p99_ns: u64,
    pub(super) completions: u32,
    /// Completions that took longer than the limit given at the beginning.
    pub(super) over: u32,
    /// Standard error of the rate, relative to it.
    pub(super) error: f64,
    /// Limited time that it took.
    pub(super) took_ns: u64,
}

/// A sample being taken.
#[derive(Clone, Debug)]
pub(super) struct Sampler {
    discard: u32,
    began_ns: u64,
    block_began_ns: u64,
    completions: u32,
    blocks: u32,
    mean: f64,
    squares: f64,
    over: u32,
    latencies: Latencies,
}

impl Sampler {
    pub(super) fn new() -> Self {
        Self {
            discard: 0,
            began_ns: 0,
            block_began_ns: 0,
            completions: 0,
            blocks: 0,
            mean: 0.0,
            squares: 0.0,
            over: 0,
            latencies: Latencies::new(),
        }
    }

    /// Begins anew at `clock_ns` of limited time, after `discard` more completions: those in flight at the change of
    /// window still belong to the old one.
    pub(super) fn restart(&mut self, clock_ns: u64, discard: u32) {
        (self.discard, self.began_ns, self.block_began_ns) = (discard, clock_ns, clock_ns);
        (self.completions, self.blocks, self.over) = (0, 0, 0);
        (self.mean, self.squares) = (0.0, 0.0);
        self.latencies.clear();
    }

    /// Takes one completion at `clock_ns` of limited time; the sample, if this one closes it.
    pub(super) fn take(&mut self, clock_ns: u64, latency_ns: u64, limit_ns: u64) -> Option<Sample> {
        if self.discard > 0 {
            self.discard -= 1;
            (self.began_ns, self.block_began_ns) = (clock_ns, clock_ns);
            return None;
        }
        self.completions += 1;
        self.over += u32::from(latency_ns > limit_ns);
        self.latencies.record(latency_ns);
        if self.completions.is_multiple_of(BLOCK) {
            self.end_block((clock_ns - self.block_began_ns) as f64);
            self.block_began_ns = clock_ns;
        }
        let elapsed = clock_ns - self.began_ns;
        self.is_enough(elapsed).then(|| Sample {
            per_second: f64::from(self.completions) * 1e9 / elapsed as f64,
            p50_ns: self.latencies.quantile(0.5),
            p99_ns: self.latencies.quantile(0.99),
            completions: self.completions,
            over: self.over,
            error: self.error(),
            took_ns: elapsed,
        })
    }

    /// Welford's update with the duration of one block.
    fn end_block(&mut self, duration: f64) {
        self.blocks += 1;
        let delta = duration - self.mean;
        self.mean += delta / f64::from(self.blocks);
        self.squares += delta * (duration - self.mean);
    }

    fn is_enough(&self, elapsed_ns: u64) -> bool {
        if PATIENCE
            .iter()
            .any(|&(time, count)| elapsed_ns >= time && self.completions >= count)
        {
            return true;
        }
        let block_ends = self.completions.is_multiple_of(BLOCK);
        block_ends
            && elapsed_ns >= PRECISE_NS
            && self.blocks >= PRECISE_BLOCKS
            && self.error() <= PRECISE_ERROR
    }

    /// Standard error of the rate, relative to it: from the scatter of the blocks, or where there are too few of them,
    /// as if completions came at random.
    fn error(&self) -> f64 {
        if self.blocks < 4 {
            return 1.0 / f64::from(self.completions.max(1)).sqrt();
        }
        let n = f64::from(self.blocks);
        (self.squares / (n - 1.0) / n).sqrt() / self.mean
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(sampler: &mut Sampler, step_ns: impl Fn(u32) -> u64) -> (Sample, u64) {
        let mut clock = 0;
        for n in 0..100_000 {
            clock += step_ns(n);
            if let Some(sample) = sampler.take(clock, 1_000, 2_000) {
                return (sample, clock);
            }
        }
        panic!("the sample never closed");
    }

    #[test]
    fn a_steady_rate_closes_early_and_is_exact() {
        let (sample, took) = run(&mut Sampler::new(), |_| 10_000);
        assert!((sample.per_second - 100_000.0).abs() < 1.0);
        assert!((PRECISE_NS..PRECISE_NS * 2).contains(&took));
    }

    #[test]
    fn a_slow_device_closes_on_few_completions() {
        let (sample, took) = run(&mut Sampler::new(), |_| 500_000_000);
        assert_eq!((sample.completions, took), (8, 4_000_000_000));
        let (sample, _) = run(&mut Sampler::new(), |_| 20_000_000);
        assert!((sample.per_second - 50.0).abs() < 0.1);
    }

    #[test]
    fn a_clock_that_stands_never_closes_and_gives_no_nan() {
        let mut sampler = Sampler::new();
        assert!((0..10_000).all(|_| sampler.take(0, 1, 2).is_none()));
    }

    #[test]
    fn what_was_in_flight_at_the_change_is_discarded() {
        let mut sampler = Sampler::new();
        sampler.restart(0, 100);
        let (sample, took) = run(&mut sampler, |n| if n < 100 { 1 } else { 10_000 });
        assert!((sample.per_second - 100_000.0).abs() < 1.0, "{sample:?} {took}");
    }
}
