//! What a ring tells about itself, readable from any thread without stopping it.

use super::kinds::{Kinds, OpStats};
use super::operation::Outcome;
use flat_combine::StripedCounter;
use seqstats::{Group, Histogram, HistogramSnapshot, Recorder, Updater};
use sync_base::sync::Arc;

/// Buckets that tell nanoseconds apart up to 73 minutes.
pub const LATENCY_BUCKETS: usize = 1216;

seqstats::stats! {
    /// Counts since the ring was made; published after each submission batch and each reap.
    #[non_exhaustive]
    pub struct RingStats("uring_ring") {
        /// Operations that the ring took.
        counter submitted,
        /// Operations whose last completion came.
        counter completed,
        /// Of those, how many failed (cancelled ones included).
        counter failed,
        /// System calls made to submit or to wait.
        counter enters,
        /// Submissions handed back because there was no room.
        counter refused,
        /// Operations whose owner let go of them before they completed.
        counter orphaned,
        /// Cancellations passed to the kernel.
        counter cancels,
        /// Completions of multishot operations, the last ones too.
        counter shots,
        /// Times that completions overflowed the queue and were flushed.
        counter overflows,
        /// Completions that named no living operation: always 0, or the kernel or this crate is broken.
        counter stale,
        /// Continuations too large for their slot, which cost an allocation each.
        counter boxed,
        /// Operations in flight at the time of publishing.
        gauge in_flight,
    }
}

/// What one ring publishes, for any thread to read; outlives the ring.
#[derive(Clone, Debug)]
pub struct StatsHandle {
    counts: Arc<Group<RingStats>>,
    latency_ns: Arc<Histogram<LATENCY_BUCKETS>>,
    kinds: Arc<Kinds>,
}

impl StatsHandle {
    /// Reads the counts, never torn. Lock-free.
    pub fn counts(&self) -> RingStats {
        self.counts.snapshot()
    }

    /// Reads the latencies, from the first submission of a batch to the reap, in nanoseconds. Wait-free.
    pub fn latency_ns(&self) -> HistogramSnapshot<LATENCY_BUCKETS> {
        self.latency_ns.snapshot()
    }

    /// Reads the counts of each kind of operation that the ring ever completed, by the kernel's name for it. Each count is
    /// exact; two of them may be a completion apart. Allocates the list. Wait-free.
    pub fn by_kind(&self) -> Vec<(&'static str, OpStats)> {
        self.kinds.read()
    }
}

/// The ring's end of it: the one writer, and counts that no other thread sees until they are published.
pub(crate) struct Publisher {
    pub(crate) counts: RingStats,
    updater: Updater<Arc<Group<RingStats>>, RingStats>,
    recorder: Recorder<Arc<Histogram<LATENCY_BUCKETS>>>,
    handle: StatsHandle,
}

impl Publisher {
    pub(crate) fn new() -> Self {
        let handle = StatsHandle {
            counts: Arc::new(Group::new()),
            latency_ns: Arc::new(Histogram::new()),
            kinds: Arc::new(Kinds::new()),
        };
        let (counts, latency) = (Arc::clone(&handle.counts), Arc::clone(&handle.latency_ns));
        Self {
            counts: RingStats::default(),
            updater: Updater::try_claim(counts).expect("nobody else has it yet"),
            recorder: Recorder::try_claim(latency).expect("nobody else has it yet"),
            handle,
        }
    }

    pub(crate) fn handle(&self) -> StatsHandle {
        self.handle.clone()
    }

    /// Counts the last completion of an operation.
    #[inline]
    pub(crate) fn operation(&mut self, opcode: u8, result: i32, latency_ns: u64) {
        self.counts.completed += 1;
        self.counts.failed += u64::from(result < 0);
        self.recorder.record(latency_ns);
        self.handle.kinds.completed(opcode, result);
    }

    /// Counts a completion of a multishot operation; `more` of it will come.
    pub(crate) fn shot(&mut self, opcode: u8, outcome: Outcome, more: bool) {
        self.counts.shots += 1;
        if more {
            self.handle.kinds.shot(opcode, outcome);
        }
    }

    /// Publishes the counts, and adds what is new to the totals of the process.
    pub(crate) fn publish(&mut self) {
        let (now, before) = (&self.counts, self.updater.get());
        if now == before {
            return;
        }
        let totals = totals();
        for (total, now, before) in [
            (&totals.completed, now.completed, before.completed),
            (&totals.failed, now.failed, before.failed),
            (&totals.enters, now.enters, before.enters),
        ] {
            if now != before {
                total.add(now - before);
            }
        }
        let now = self.counts;
        self.updater.update(|published| *published = now);
    }
}

/// Counts over every ring that this process ever had, those gone included.
#[derive(Debug)]
pub struct Totals {
    /// Operations completed.
    pub completed: StripedCounter,
    /// Of those, how many failed.
    pub failed: StripedCounter,
    /// System calls made to submit or to wait.
    pub enters: StripedCounter,
    /// Operations that a dropped ring could not get back in time: handed to the reaper, less those it has freed.
    pub abandoned: StripedCounter,
}

sync_base::global! {
    static TOTALS: Totals = Totals {
        completed: StripedCounter::new(),
        failed: StripedCounter::new(),
        enters: StripedCounter::new(),
        abandoned: StripedCounter::new(),
    };
}

/// Reads the counts of the whole process.
///
/// ```
/// use uring_core::{LocalRing, op::Nop, totals};
/// let before = totals().completed.sum();
/// let ring = LocalRing::new()?;
/// ring.block_on(ring.run(Nop::new()))?.unwrap();
/// assert!(totals().completed.sum() > before);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn totals() -> &'static Totals {
    &TOTALS
}
