//! Reading a histogram from one moment to the next, as if it were reset in between.

use crate::{Histogram, HistogramSnapshot, histogram::FULL_RANGE};

/// Takes what a histogram counted since the last take.
///
/// The histogram itself is never set back, so the recorder is not disturbed, no event falls between a snapshot and a
/// reset, and any number of intervals may read one histogram, each at its own pace. What all takes return adds up to
/// what was recorded.
///
/// ```
/// use seqstats::{Histogram, Interval, Recorder};
/// let histogram = Box::new(Histogram::<1920>::new());
/// let mut interval = Interval::new();
/// let mut recorder = Recorder::try_claim(&*histogram).unwrap();
/// recorder.record(7);
/// assert_eq!(interval.take(&histogram).count(), 1);
/// assert_eq!(interval.take(&histogram).count(), 0);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Interval<const BUCKETS: usize = FULL_RANGE> {
    until: HistogramSnapshot<BUCKETS>,
}

impl<const BUCKETS: usize> Interval<BUCKETS> {
    /// Begins with everything that was ever recorded.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins with what is recorded from now on.
    pub fn from_now(histogram: &Histogram<BUCKETS>) -> Self {
        Self {
            until: histogram.snapshot(),
        }
    }

    /// Returns what was recorded since the last take of the same histogram. Wait-free, O(`BUCKETS`); allocates.
    pub fn take(&mut self, histogram: &Histogram<BUCKETS>) -> HistogramSnapshot<BUCKETS> {
        let now = histogram.snapshot();
        let taken = now.since(&self.until);
        self.until = now;
        taken
    }
}
