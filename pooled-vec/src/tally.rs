//! What was done at a shard since its pool was made.

use sync_base::atomic::{AtomicU64, Ordering};

/// Counters on the line of a shard, which whoever counts has at hand.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) refills: AtomicU64,
    pub(crate) steals: AtomicU64,
    pub(crate) spills: AtomicU64,
    pub(crate) allocations: AtomicU64,
    pub(crate) refusals: AtomicU64,
    pub(crate) contended: AtomicU64,
}

impl Tally {
    pub(crate) fn count(event: &AtomicU64) {
        // Relaxed: a tally publishes nothing.
        event.fetch_add(1, Ordering::Relaxed);
    }

    /// Begins again, for the next pool.
    pub(crate) fn reset(&self) {
        for event in [
            &self.refills,
            &self.steals,
            &self.spills,
            &self.allocations,
            &self.refusals,
            &self.contended,
        ] {
            // Relaxed: the shard's opening publishes the new pool.
            event.store(0, Ordering::Relaxed);
        }
    }
}
