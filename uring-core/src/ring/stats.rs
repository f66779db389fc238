//! What a ring tells about itself, readable from any thread without stopping it.

use flat_combine::StripedCounter;
use seqstats::{Histogram, HistogramSnapshot, Recorder, SeqLock, Writer};
use sync_base::sync::Arc;

/// Buckets that tell nanoseconds apart up to 73 minutes.
pub const LATENCY_BUCKETS: usize = 1216;

/// Counts since the ring was made; published after each submission batch and each reap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
#[non_exhaustive]
pub struct RingStats {
    /// Operations that the ring took.
    pub submitted: u64,
    /// Operations whose last completion came.
    pub completed: u64,
    /// Of those, how many failed (cancelled ones included).
    pub failed: u64,
    /// System calls made to submit or to wait.
    pub enters: u64,
    /// Submissions handed back because there was no room.
    pub refused: u64,
    /// Operations whose owner let go of them before they completed.
    pub orphaned: u64,
    /// Cancellations passed to the kernel.
    pub cancels: u64,
    /// Completions of multishot operations, the last ones too.
    pub shots: u64,
    /// Times that completions overflowed the queue and were flushed.
    pub overflows: u64,
    /// Completions that named no living operation: always 0, or the kernel or this crate is broken.
    pub stale: u64,
    /// Continuations too large for their slot, which cost an allocation each.
    pub boxed: u64,
    /// Operations in flight at the time of publishing.
    pub in_flight: u64,
}

/// What one ring publishes, for any thread to read; outlives the ring.
#[derive(Clone, Debug)]
pub struct StatsHandle {
    counts: Arc<SeqLock<RingStats>>,
    latency_ns: Arc<Histogram<LATENCY_BUCKETS>>,
}

impl StatsHandle {
    /// Reads the counts, never torn. Lock-free.
    pub fn counts(&self) -> RingStats {
        self.counts.read()
    }

    /// Reads the latencies, from the first submission of a batch to the reap, in nanoseconds. Wait-free.
    pub fn latency_ns(&self) -> HistogramSnapshot<LATENCY_BUCKETS> {
        self.latency_ns.snapshot()
    }
}

/// The ring's end of it: the one writer, and counts that no other thread sees until they are published.
pub(crate) struct Publisher {
    pub(crate) counts: RingStats,
    published: RingStats,
    writer: Writer<Arc<SeqLock<RingStats>>>,
    recorder: Recorder<Arc<Histogram<LATENCY_BUCKETS>>>,
}

impl Publisher {
    pub(crate) fn new() -> Self {
        let counts = Arc::new(SeqLock::new(RingStats::default()));
        let latency = Arc::new(Histogram::new());
        Self {
            counts: RingStats::default(),
            published: RingStats::default(),
            writer: Writer::try_claim(counts).expect("nobody else has it yet"),
            recorder: Recorder::try_claim(latency).expect("nobody else has it yet"),
        }
    }

    pub(crate) fn handle(&self) -> StatsHandle {
        StatsHandle {
            counts: Arc::clone(self.writer.lock()),
            latency_ns: Arc::clone(self.recorder.histogram()),
        }
    }

    #[inline]
    pub(crate) fn latency(&mut self, ns: u64) {
        self.recorder.record(ns);
    }

    /// Publishes the counts, and adds what is new to the totals of the process.
    pub(crate) fn publish(&mut self) {
        if self.counts == self.published {
            return;
        }
        let (now, before) = (&self.counts, &self.published);
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
        self.writer.write(self.counts);
        self.published = self.counts;
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
