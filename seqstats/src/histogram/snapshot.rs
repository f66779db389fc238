//! A histogram at rest: plain numbers to query, merge and subtract.

use super::{FULL_RANGE, layout};
use std::fmt;

/// What a [`Histogram`](super::Histogram) had counted at some moment, or between two.
///
/// Queries are O(`BUCKETS`). An empty snapshot answers 0 to every one of them.
#[derive(Clone, PartialEq, Eq)]
pub struct HistogramSnapshot<const BUCKETS: usize = FULL_RANGE> {
    buckets: Box<[u64]>,
    count: u64,
    max: u64,
}

/// The usual figures of a distribution, each within 1.6 %; all 0 where nothing was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Summary {
    /// Events counted.
    pub count: u64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Median.
    pub p50: u64,
    /// 90 % of events were at most this.
    pub p90: u64,
    /// 95 %.
    pub p95: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p999: u64,
    /// 99.99 %.
    pub p9999: u64,
    /// Greatest value.
    pub max: u64,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "n={} mean={:.1} p50={} p90={} p95={} p99={} p99.9={} p99.99={} max={}",
            self.count, self.mean, self.p50, self.p90, self.p95, self.p99, self.p999, self.p9999, self.max
        )
    }
}

impl<const BUCKETS: usize> HistogramSnapshot<BUCKETS> {
    /// Makes an empty snapshot. Allocates `BUCKETS` words.
    pub fn new() -> Self {
        Self {
            buckets: vec![0; BUCKETS].into_boxed_slice(),
            count: 0,
            max: 0,
        }
    }

    /// Refills every bucket and the count that follows from them.
    pub(super) fn fill(&mut self, mut bucket: impl FnMut(usize) -> u64) {
        self.count = 0;
        for (i, slot) in self.buckets.iter_mut().enumerate() {
            *slot = bucket(i);
            self.count = self.count.wrapping_add(*slot);
        }
    }

    /// Takes `max` as the greatest value if the highest filled bucket bears it out, else that bucket's greatest value.
    pub(super) fn bound_max(&mut self, max: u64) {
        self.max = match self.buckets.iter().rposition(|&n| n > 0) {
            None => 0,
            Some(top) if layout::index(max).min(BUCKETS - 1) == top => max,
            Some(top) => layout::highest(top),
        };
    }

    /// How many events were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The greatest value: exact in a full snapshot and in an interval that raised it; elsewhere the upper end of its
    /// bucket, at most 3.2 % above it. 0 if nothing was counted.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The mean, each event taken as the middle of its bucket: within 1.6 %. 0 if nothing was counted.
    pub fn mean(&self) -> f64 {
        let sum: f64 = self.filled().map(|(value, n)| value as f64 * n as f64).sum();
        crate::ratio(sum, self.count as f64)
    }

    /// The least value that a share of at least `q` of all events do not exceed, within 1.6 %.
    ///
    /// `q` outside 0..=1 is taken as the nearer end, NaN as 0. 0 if nothing was counted.
    pub fn quantile(&self, q: f64) -> u64 {
        self.quantiles([q])[0]
    }

    /// Several quantiles in one pass over the buckets, in any order.
    pub fn quantiles<const N: usize>(&self, qs: [f64; N]) -> [u64; N] {
        let ranks = qs.map(|q| self.rank(q));
        let mut values = [0; N];
        let mut found = [false; N];
        let mut seen = 0u64;
        for (i, &n) in self.buckets.iter().enumerate().filter(|(_, n)| **n > 0) {
            seen = seen.saturating_add(n);
            for k in 0..N {
                if !found[k] && seen >= ranks[k] {
                    found[k] = true;
                    values[k] = layout::middle(i).min(self.max);
                }
            }
        }
        values
    }

    /// The ordinal, from 1, of the event that `q` asks for.
    fn rank(&self, q: f64) -> u64 {
        let q = if q.is_nan() { 0.0 } else { q.clamp(0.0, 1.0) };
        // The product of a decimal such as 0.99 with a whole number may come out a little above the whole number meant.
        let exact = q * self.count as f64;
        let rank = (exact - exact * f64::EPSILON).ceil() as u64;
        rank.clamp(1, self.count.max(1))
    }

    /// The usual figures in one pass.
    pub fn summary(&self) -> Summary {
        let [p50, p90, p95, p99, p999, p9999] = self.quantiles([0.5, 0.9, 0.95, 0.99, 0.999, 0.9999]);
        Summary {
            count: self.count,
            mean: self.mean(),
            p50,
            p90,
            p95,
            p99,
            p999,
            p9999,
            max: self.max,
        }
    }

    /// Adds what another snapshot counted: the same events on another core, for instance. O(`BUCKETS`).
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine = mine.wrapping_add(*theirs);
        }
        self.count = self.count.wrapping_add(other.count);
        self.max = self.max.max(other.max);
    }

    /// What was counted since `earlier`, a snapshot of the same histogram by the same reader. O(`BUCKETS`).
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut difference = Self::new();
        difference.fill(|i| self.buckets[i].wrapping_sub(earlier.buckets[i]));
        let raised = self.max > earlier.max;
        difference.bound_max(if raised { self.max } else { 0 });
        difference.max = difference.max.min(self.max);
        difference
    }

    /// Takes `part`, which was merged into `self` once, out again. O(`BUCKETS`).
    pub(crate) fn remove(&mut self, part: &Self) {
        let max = self.max;
        for (mine, theirs) in self.buckets.iter_mut().zip(&part.buckets) {
            *mine = mine.wrapping_sub(*theirs);
        }
        self.count = self.count.wrapping_sub(part.count);
        self.bound_max(max);
    }

    /// The filled buckets from low to high, each as its middle and its count.
    pub fn filled(&self) -> impl Iterator<Item = (u64, u64)> {
        self.buckets
            .iter()
            .enumerate()
            .filter(|(_, n)| **n > 0)
            .map(|(i, n)| (layout::middle(i), *n))
    }

    /// How many events lie in buckets that end at or below `limit`: exact where `limit` is the end of a bucket.
    pub fn count_at_most(&self, limit: u64) -> u64 {
        let ends = self.buckets.iter().enumerate();
        ends.take_while(|(i, _)| layout::highest(*i) <= limit)
            .fold(0, |sum, (_, n)| sum.wrapping_add(*n))
    }
}

impl<const BUCKETS: usize> Default for HistogramSnapshot<BUCKETS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const BUCKETS: usize> fmt::Debug for HistogramSnapshot<BUCKETS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HistogramSnapshot").field(&self.summary()).finish()
    }
}
