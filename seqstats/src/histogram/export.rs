//! A snapshot as an `hdrhistogram::Histogram`.

use super::HistogramSnapshot;
use hdrhistogram::{CreationError, Histogram};

impl<const BUCKETS: usize> HistogramSnapshot<BUCKETS> {
    /// Copies the counts into an `hdrhistogram::Histogram` of three significant figures over 1 to `u64::MAX / 2`, each
    /// bucket at its middle: quantiles there are within 1.6 % plus its own 0.1 %. Allocates. Greater values saturate.
    ///
    /// # Errors
    /// None in practice: the bounds are constants that `hdrhistogram` accepts.
    pub fn to_hdrhistogram(&self) -> Result<Histogram<u64>, CreationError> {
        let mut export = Histogram::new_with_bounds(1, u64::MAX / 2, 3)?;
        for (value, count) in self.filled() {
            export.saturating_record_n(value.min(self.max()), count);
        }
        Ok(export)
    }
}
