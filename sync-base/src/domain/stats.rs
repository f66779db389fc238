//! What a domain reports of itself.

use super::Domain;
use super::limit::{Blocker, Stalled};
use crate::atomic::Ordering;
use crate::barrier::{Mode, mode};

/// A domain's state, each figure read at its own instant.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DomainStats {
    /// Bytes retired and not yet freed.
    pub garbage: usize,
    /// The limit on them.
    pub limit: usize,
    /// Batches stamped so far.
    pub batches_sealed: u64,
    /// Objects freed so far.
    pub objects_freed: u64,
    /// Heavy barriers run so far.
    pub heavy_barriers: u64,
    /// Times a writer went past the limit after waiting.
    pub limit_exceeded: u64,
    /// Times an operation was refused for the limit.
    pub limit_refused: u64,
    /// Records ever made.
    pub records: usize,
    /// Records in use.
    pub records_live: usize,
    /// How readers and reclaimers order themselves.
    pub mode: Mode,
    /// The reader that has been in its section longest, in epochs; none if nobody reads.
    pub oldest_reader: Option<Stalled>,
}

impl Domain {
    /// Reads the domain's figures. Never blocks; visits every record.
    pub fn stats(&self) -> DomainStats {
        let core = self.core();
        let oldest = core.scan();
        // Relaxed, all: statistics.
        DomainStats {
            garbage: core.garbage.load(Ordering::Relaxed)
                + core
                    .records
                    .iter()
                    .map(|r| r.open_bytes.load(Ordering::Relaxed))
                    .sum::<usize>(),
            limit: core.settings.garbage_limit,
            batches_sealed: core.tally.sealed.load(Ordering::Relaxed),
            objects_freed: core.tally.freed.load(Ordering::Relaxed),
            heavy_barriers: core.tally.heavy.load(Ordering::Relaxed),
            limit_exceeded: core.tally.exceeded.load(Ordering::Relaxed),
            limit_refused: core.tally.refused.load(Ordering::Relaxed),
            records: core.records.iter().count(),
            records_live: core.live.load(Ordering::Relaxed),
            mode: mode(),
            oldest_reader: oldest.map(|(record, word)| Blocker(record, word).report(core)),
        }
    }
}
