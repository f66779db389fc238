//! A bounded queue between one producer and one consumer.
//!
//! # States
//! Positions count pushes, modulo 2^64. With `base <= released-or-vacated <= head <= tail <= base + capacity`:
//! ```text
//!        base            head            tail        base + capacity
//!  ... ---|--- claimed ---|--- queued ---|--- free ---|--- ...
//! ```
//! - *free*: the producer's. *queued*: whoever claims it. *claimed*: being read by the consumer.
//! - `tail` is stored by the producer alone, `released` by the consumer alone.
//! - Without `DropOldest` nobody but the consumer takes out, so everything queued is the consumer's at once and `head` is
//!   not used. With it, `head` is moved by compare-exchange: by the consumer, to claim values before it reads them, and by
//!   the producer of a full queue, to vacate the oldest slot, if the consumer has not claimed it.
//!
//! # Invariants
//! - I1: a slot is written only at a position in `tail .. base + capacity`, where `base` is the greater of what was
//!   released and what the producer vacated: no value is written over.
//! - I2: the consumer reads only positions that it claimed and has not released, all of them below a `tail` that it loaded.
//! - I3: each position is claimed or vacated once: `head` moves over it once.
//! - I4: the producer vacates only `base`, so only while nothing is claimed: a slot being read is never vacated, and if
//!   the consumer is slow to release, the *new* value is dropped instead.
//! - I5: after the producer is gone `tail` does not change: empty after that is closed.
//! - I6: no push uses room that a consumer made as it left: it says that it is gone before it drops what is queued, and the
//!   producer looks for room before it looks whether the consumer is gone.
//!
//! # Orderings
//! | access | order | pairs with |
//! |---|---|---|
//! | `tail` store | Release | Acquire loads of the consumer: the values below it |
//! | `released` store | Release | Acquire load of the producer: reads of the slots below it are over |
//! | `head`, vacating | Release | the consumer's Acquire load: a moved `head` shows a `tail` beyond it |
//! | `head`, claiming | Relaxed | the values came with `tail`; the producer waits for `released` |
//! | `producer_gone`, `consumer_gone` | Release / Acquire | the last push, the last pop |
//!
//! # Linearization points
//! Push: the store of `tail`. Pop: the store of `released`, or with `DropOldest` the claim. Vacating: the claim.

mod batch;
mod consumer;
mod pace;
mod producer;

pub use batch::Batch;
pub use consumer::Consumer;
pub use producer::Producer;

use super::gate::Gate;
use super::storage::Storage;
use super::{Drops, Overrun};
use crate::CachePadded;
use crate::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::sync::Arc;

struct Shared<T> {
    tail: CachePadded<AtomicUsize>,
    head: CachePadded<AtomicUsize>,
    released: CachePadded<AtomicUsize>,
    rarely: CachePadded<Rarely>,
    not_empty: CachePadded<Gate>,
    not_full: CachePadded<Gate>,
    storage: Storage<T>,
    capacity: usize,
    overrun: Overrun,
}

/// Words that hardly ever change, so that reading them costs no cache miss.
#[derive(Debug)]
struct Rarely {
    producer_gone: AtomicBool,
    consumer_gone: AtomicBool,
    dropped_newest: AtomicU64,
    dropped_oldest: AtomicU64,
}

// SAFETY: I1 to I3: each slot has one owner at a time, and what a slot holds moves between threads, hence `T: Send`.
unsafe impl<T: Send> Sync for Shared<T> {}
// SAFETY: as for `Sync`.
unsafe impl<T: Send> Send for Shared<T> {}

// No code of the caller's runs while the queue changes, so a panic never leaves it half changed.
impl<T> std::panic::RefUnwindSafe for Shared<T> {}

/// Makes a queue for `capacity` values. Allocates once: `capacity` rounded up to a power of two.
///
/// An end that twice in a row found something to do, but less than a quarter of the queue and less than 256 values, pauses
/// for half a microsecond or so before it looks again, so that the two do not meet at every value. One that found nothing
/// never does: a value that comes alone is not delayed.
///
/// ```
/// use sync_base::queue::{Overrun, PopError, Pushed, spsc};
/// let (mut producer, mut consumer) = spsc::channel(2, Overrun::DropOldest);
/// assert_eq!(producer.push('a'), Ok(Pushed::Stored));
/// assert_eq!(producer.push('b'), Ok(Pushed::Stored));
/// assert_eq!(producer.push('c'), Ok(Pushed::DroppedOldest('a')));
/// drop(producer);
/// assert_eq!(consumer.pop(), Some('b'));
/// assert_eq!(consumer.pop(), Some('c'));
/// assert_eq!(consumer.try_pop(), Err(PopError::Closed));
/// assert_eq!(consumer.drops().oldest, 1);
/// ```
///
/// # Panics
/// If `capacity` is 0.
pub fn channel<T>(capacity: usize, overrun: Overrun) -> (Producer<T>, Consumer<T>) {
    channel_at(capacity, overrun, 0)
}

/// The same with positions that start at `position`: for tests of their wrap.
#[doc(hidden)]
pub fn channel_at<T>(capacity: usize, overrun: Overrun, position: usize) -> (Producer<T>, Consumer<T>) {
    let shared = Arc::new(Shared {
        tail: CachePadded::new(AtomicUsize::new(position)),
        head: CachePadded::new(AtomicUsize::new(position)),
        released: CachePadded::new(AtomicUsize::new(position)),
        rarely: CachePadded::new(Rarely {
            producer_gone: AtomicBool::new(false),
            consumer_gone: AtomicBool::new(false),
            dropped_newest: AtomicU64::new(0),
            dropped_oldest: AtomicU64::new(0),
        }),
        not_empty: CachePadded::new(Gate::new()),
        not_full: CachePadded::new(Gate::new()),
        storage: Storage::new(capacity),
        capacity,
        overrun,
    });
    (
        Producer::new(Arc::clone(&shared), position),
        Consumer::new(shared, position),
    )
}

impl<T> Shared<T> {
    fn drops(&self) -> Drops {
        Drops {
            // Relaxed: a tally; nothing is published by it.
            newest: self.rarely.dropped_newest.load(Ordering::Relaxed),
            // Relaxed: as above.
            oldest: self.rarely.dropped_oldest.load(Ordering::Relaxed),
        }
    }

    /// Where the queued values begin: what was claimed or vacated, or, where the producer vacates nothing, released.
    fn taken(&self) -> &AtomicUsize {
        match self.overrun {
            Overrun::DropOldest => &self.head,
            Overrun::Block | Overrun::DropNewest => &self.released,
        }
    }

    /// Values queued at one moment of the call: between two loads that found `taken` in the same place. Lock-free.
    fn len(&self) -> usize {
        // Acquire: pairs with the Release in `Producer::vacate`; a moved `head` shows a `tail` beyond it.
        let mut taken = self.taken().load(Ordering::Acquire);
        loop {
            // Acquire: pairs with the Release in `Producer::publish`; the load below sees what was vacated before.
            let tail = self.tail.load(Ordering::Acquire);
            // Acquire: pairs with the Release in `Producer::vacate`, as the first, which it replaces if it differs.
            let again = self.taken().load(Ordering::Acquire);
            if again == taken {
                return tail.wrapping_sub(taken);
            }
            taken = again;
        }
    }

    fn capacity(&self) -> usize {
        self.capacity
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // Relaxed: both ends are gone, and dropping the `Arc` synchronised with them.
        let mut at = self.taken().load(Ordering::Relaxed);
        // Relaxed: as above.
        let tail = self.tail.load(Ordering::Relaxed);
        while at != tail {
            // SAFETY: I1, I3: queued and never claimed.
            drop(unsafe { self.storage.take(at) });
            at = at.wrapping_add(1);
        }
    }
}
