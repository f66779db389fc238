//! What a domain reports of itself.

use super::Domain;
use super::limit::{Blocker, Stalled};
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
    pub batches_sealed: usize,
    /// Objects freed so far.
    pub objects_freed: usize,
    /// Heavy barriers run so far.
    pub heavy_barriers: usize,
    /// Times a writer went past the limit after waiting.
    pub limit_exceeded: usize,
    /// Times an operation was refused for the limit.
    pub limit_refused: usize,
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
        DomainStats {
            garbage: core.garbage.get() + core.records.iter().map(|r| r.open_bytes.get()).sum::<usize>(),
            limit: core.settings.garbage_limit,
            batches_sealed: core.counts.sealed.get(),
            objects_freed: core.counts.freed.get(),
            heavy_barriers: core.counts.heavy.get(),
            limit_exceeded: core.counts.exceeded.get(),
            limit_refused: core.counts.refused.get(),
            records: core.records.iter().count(),
            records_live: core.live.get(),
            mode: mode(),
            oldest_reader: oldest.map(|(record, word)| Blocker(record, word).report(core, 0)),
        }
    }
}
