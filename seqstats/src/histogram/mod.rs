//! Counts of values in buckets of bounded relative width.
//!
//! # Layout
//! Values below 64 have a bucket each. Above, every power of two is cut into 32 buckets of equal width, so a bucket at
//! `v` is at most `v / 32` wide and its middle at most `v / 64` (1.6 %) away from any value in it. All of `u64` takes
//! 1920 buckets, 15 KiB.
//!
//! # States
//! A bucket is a number of events that only grows (modulo 2^64). Nothing is ever set back: a reset is a reader's
//! business, who remembers the last snapshot and subtracts it (see [`Interval`](crate::Interval)).
//!
//! # Invariants
//! - H1: one recorder at a time, which holds `turn`: a load and a store add to a bucket without a read-modify-write.
//! - H2: an event is one store to one bucket. A snapshot that loads each bucket once therefore counts each event wholly
//!   or not at all, and its total is the sum of its buckets: it cannot be torn.
//! - H3: loads of one bucket by one reader never go backwards (coherence), so what consecutive snapshots of that reader
//!   differ by adds up to the last one: nothing is lost and nothing counted twice.
//! - H4: `max` only grows; the snapshot believes it only where a bucket bears it out.
//!
//! # Orderings
//! | access | order | pairs with |
//! |---|---|---|
//! | buckets, `max` | Relaxed | nothing: an event carries no data with it |
//! | the turn | Acquire, Release | the next recorder continues from the last one's counts (H1) |
//!
//! # Linearization points
//! An event: its store to the bucket. A snapshot has none as a whole, as it loads bucket after bucket; each event falls
//! before or after the load of its own bucket.

mod layout;
mod snapshot;

#[cfg(feature = "hdrhistogram")]
mod export;

pub use snapshot::{HistogramSnapshot, Summary};

use crate::turn::{Held, Hold, Taken, Turn};
use std::fmt;
use sync_base::atomic::{AtomicU64, Ordering};

/// Buckets that cover every `u64`.
pub const FULL_RANGE: usize = layout::index(u64::MAX) + 1;

/// A log-linear histogram with one recorder and any number of readers.
///
/// Recording is wait-free, allocates nothing and does no read-modify-write (claim `hist.record`). Quantiles are within
/// 1.6 % over the whole range. With fewer `BUCKETS`, greater values count as the greatest bucket: 1216 buckets
/// (9.5 KiB) tell nanoseconds apart up to 73 minutes.
///
/// ```
/// use seqstats::{Histogram, Recorder};
/// static LATENCY_NS: Histogram = Histogram::new();
/// let mut recorder = Recorder::try_claim(&LATENCY_NS).expect("nobody else records");
/// for ns in 1..=1000 { recorder.record(ns); }
/// let seen = LATENCY_NS.snapshot();
/// assert_eq!((seen.count(), seen.max()), (1000, 1000));
/// assert!(seen.quantile(0.99).abs_diff(990) <= 990 * 3 / 100);
/// ```
pub struct Histogram<const BUCKETS: usize = FULL_RANGE> {
    buckets: [AtomicU64; BUCKETS],
    max: AtomicU64,
    turn: Turn,
}

impl<const BUCKETS: usize> Histogram<BUCKETS> {
    /// Makes an empty histogram.
    #[cfg(not(any(loom, shuttle)))]
    pub const fn new() -> Self {
        const { assert!(BUCKETS > 0 && BUCKETS <= FULL_RANGE, "1 to FULL_RANGE buckets") };
        Self {
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
            max: AtomicU64::new(0),
            turn: Turn::new(),
        }
    }

    /// Makes an empty histogram.
    #[cfg(any(loom, shuttle))]
    pub fn new() -> Self {
        const { assert!(BUCKETS > 0 && BUCKETS <= FULL_RANGE, "1 to FULL_RANGE buckets") };
        Self {
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
            max: AtomicU64::new(0),
            turn: Turn::new(),
        }
    }

    /// Counts everything recorded so far. Wait-free, O(`BUCKETS`); allocates the snapshot.
    pub fn snapshot(&self) -> HistogramSnapshot<BUCKETS> {
        let mut snapshot = HistogramSnapshot::new();
        self.snapshot_into(&mut snapshot);
        snapshot
    }

    /// Counts everything recorded so far into a snapshot that exists. Wait-free, O(`BUCKETS`), no allocation.
    pub fn snapshot_into(&self, snapshot: &mut HistogramSnapshot<BUCKETS>) {
        snapshot.fill(|i| {
            // Relaxed: H2: an event carries no data with it.
            self.buckets[i].load(Ordering::Relaxed)
        });
        // Relaxed: H4: the snapshot checks it against the buckets.
        snapshot.bound_max(self.max.load(Ordering::Relaxed));
    }
}

impl<const BUCKETS: usize> Taken for Histogram<BUCKETS> {
    fn turn(&self) -> &Turn {
        &self.turn
    }
}

impl<const BUCKETS: usize> Default for Histogram<BUCKETS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const BUCKETS: usize> fmt::Debug for Histogram<BUCKETS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram")
            .field("summary", &self.snapshot().summary())
            .finish_non_exhaustive()
    }
}

/// The one recorder of a [`Histogram`], which it holds by reference or by `Arc`.
#[derive(Debug)]
pub struct Recorder<P: Hold> {
    held: Held<P>,
}

impl<const BUCKETS: usize, P: Hold<Target = Histogram<BUCKETS>>> Recorder<P> {
    /// Becomes the recorder.
    ///
    /// # Errors
    /// Hands `histogram` back if there is a recorder already.
    pub fn try_claim(histogram: P) -> Result<Self, P> {
        Ok(Self {
            held: Held::try_new(histogram)?,
        })
    }

    /// Counts one event. Wait-free.
    #[inline]
    pub fn record(&mut self, value: u64) {
        self.record_many(value, 1);
    }

    /// Counts `events` events of the same value. Wait-free.
    #[inline]
    pub fn record_many(&mut self, value: u64, events: u64) {
        let histogram = &*self.held;
        let bucket = &histogram.buckets[layout::index(value).min(BUCKETS - 1)];
        // Relaxed: H1: this thread, or one that handed the turn over, stored it.
        let before = bucket.load(Ordering::Relaxed);
        // Relaxed: H2: an event carries no data with it.
        bucket.store(before.wrapping_add(events), Ordering::Relaxed);
        // Relaxed: H1, as above.
        if value > histogram.max.load(Ordering::Relaxed) && events > 0 {
            // Relaxed: H4.
            histogram.max.store(value, Ordering::Relaxed);
        }
    }

    /// The histogram that this records to.
    pub fn histogram(&self) -> &P {
        self.held.holder()
    }
}
