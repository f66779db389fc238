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

use super::gate::Gate;
use super::storage::Storage;
use super::{Closed, Drops, Overrun, PopError, PushError, Pushed};
use crate::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::sync::Arc;
use crate::{Backoff, CachePadded, Step};
use std::collections::VecDeque;
use std::fmt;
use std::mem::needs_drop;

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

/// Makes a queue for `capacity` values. Allocates once: `capacity` rounded up to a power of two.
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
    let producer = Producer {
        shared: Arc::clone(&shared),
        tail: position,
        base: position,
    };
    let consumer = Consumer {
        shared,
        next: position,
        claimed: position,
        tail_seen: position,
    };
    (producer, consumer)
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

    fn len(&self) -> usize {
        let from = match self.overrun {
            // Relaxed: a glance; nothing is read on the strength of it.
            Overrun::DropOldest => self.head.load(Ordering::Relaxed),
            // Relaxed: as above.
            Overrun::Block | Overrun::DropNewest => self.released.load(Ordering::Relaxed),
        };
        // Relaxed: as above.
        let len = self.tail.load(Ordering::Relaxed).wrapping_sub(from);
        if len > self.capacity { 0 } else { len }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        let mut at = match self.overrun {
            // Relaxed: both ends are gone, and dropping the `Arc` synchronised with them.
            Overrun::DropOldest => self.head.load(Ordering::Relaxed),
            // Relaxed: as above.
            Overrun::Block | Overrun::DropNewest => self.released.load(Ordering::Relaxed),
        };
        // Relaxed: as above.
        let tail = self.tail.load(Ordering::Relaxed);
        while at != tail {
            // SAFETY: I1, I3: queued and never claimed.
            drop(unsafe { self.storage.take(at) });
            at = at.wrapping_add(1);
        }
    }
}

/// The end that pushes. Dropping it closes the queue: the consumer pops what is left and then learns of it.
pub struct Producer<T> {
    shared: Arc<Shared<T>>,
    tail: usize,
    /// I1: positions below are free; the last `released` seen, or beyond it what this end vacated.
    base: usize,
}

impl<T> Producer<T> {
    /// Free slots; looks at the consumer's progress only if fewer than `want` are known.
    #[inline(always)]
    fn room(&mut self, want: usize) -> usize {
        let room = self.shared.capacity - self.tail.wrapping_sub(self.base);
        if room >= want {
            return room;
        }
        // Acquire: pairs with the Release in `Consumer::release`; reads of those slots are over.
        let released = self.shared.released.load(Ordering::Acquire);
        if released.wrapping_sub(self.base) as isize > 0 {
            self.base = released;
        }
        self.shared.capacity - self.tail.wrapping_sub(self.base)
    }

    /// Makes everything up to `tail` visible, without waking anybody.
    #[inline(always)]
    fn publish(&mut self, tail: usize) {
        self.tail = tail;
        // Release: pairs with the Acquire in `Consumer::claim`; publishes the values below.
        self.shared.tail.store(tail, Ordering::Release);
    }

    /// Pushes without waiting, dropping or waking.
    #[inline(always)]
    fn push_quietly(&mut self, value: T) -> Result<(), PushError<T>> {
        if self.is_closed() {
            return Err(PushError::Closed(value));
        }
        if self.room(1) == 0 {
            return Err(PushError::Full(value));
        }
        // SAFETY: I1: room: the slot at `tail` is free, and this is the one producer.
        unsafe { self.shared.storage.write(self.tail, value) };
        self.publish(self.tail.wrapping_add(1));
        Ok(())
    }

    /// Pushes if there is room; never waits, drops nothing, counts nothing. Wait-free.
    ///
    /// # Errors
    /// Hands the value back if the queue is full or the consumer gone.
    #[inline]
    pub fn try_push(&mut self, value: T) -> Result<(), PushError<T>> {
        self.push_quietly(value)?;
        self.shared.not_empty.ring();
        Ok(())
    }

    /// Pushes, and does what the queue's [`Overrun`] says where there is no room. Waits only under `Block`.
    ///
    /// Under `DropOldest` the oldest value cannot give way while the consumer holds it in a [`Batch`]: then, after a
    /// short wait, the new value is dropped, as under `DropNewest`.
    ///
    /// # Errors
    /// Hands the value back if the consumer is gone.
    #[inline]
    pub fn push(&mut self, value: T) -> Result<Pushed<T>, Closed<T>> {
        match self.try_push(value) {
            Ok(()) => Ok(Pushed::Stored),
            Err(PushError::Closed(value)) => Err(Closed(value)),
            Err(PushError::Full(value)) => self.overrun(value),
        }
    }

    #[cold]
    fn overrun(&mut self, value: T) -> Result<Pushed<T>, Closed<T>> {
        let pushed = match self.shared.overrun {
            Overrun::Block => self.push_waiting(value)?,
            Overrun::DropNewest => self.turn_away(value),
            Overrun::DropOldest => self.push_displacing(value)?,
        };
        self.shared.not_empty.ring();
        Ok(pushed)
    }

    fn push_waiting(&mut self, value: T) -> Result<Pushed<T>, Closed<T>> {
        let shared = Arc::clone(&self.shared);
        let mut waiting = Some(value);
        shared.not_full.wait(|| match self.push_quietly(waiting.take()?) {
            Ok(()) => Some(Ok(Pushed::Stored)),
            Err(PushError::Closed(value)) => Some(Err(Closed(value))),
            Err(PushError::Full(value)) => {
                waiting = Some(value);
                None
            }
        })
    }

    fn turn_away(&self, value: T) -> Pushed<T> {
        count(&self.shared.rarely.dropped_newest);
        Pushed::DroppedNewest(value)
    }

    fn push_displacing(&mut self, mut value: T) -> Result<Pushed<T>, Closed<T>> {
        let mut backoff = Backoff::new();
        loop {
            let oldest = self.vacate();
            value = match (self.push_quietly(value), oldest) {
                (Ok(()), None) => return Ok(Pushed::Stored),
                (Ok(()), Some(oldest)) => return Ok(Pushed::DroppedOldest(oldest)),
                (Err(PushError::Closed(value)), _) => return Err(Closed(value)),
                (Err(PushError::Full(value)), _) => value,
            };
            // I4: the consumer is reading the oldest slot; a pop is about to release it, a batch may take its time.
            if backoff.step() == Step::Park {
                return Ok(self.turn_away(value));
            }
        }
    }

    /// Takes the oldest value out of a full queue, unless the consumer has claimed it.
    fn vacate(&mut self) -> Option<T> {
        let oldest = self.base;
        // Release: pairs with the Acquire load in `Consumer::claim_one_by_one`; a moved `head` shows a `tail` beyond it.
        // Relaxed on failure: the consumer claimed it; nothing is read.
        self.shared
            .head
            .compare_exchange(
                oldest,
                oldest.wrapping_add(1),
                Ordering::Release,
                Ordering::Relaxed,
            )
            .ok()?;
        self.base = oldest.wrapping_add(1);
        count(&self.shared.rarely.dropped_oldest);
        // SAFETY: I3: this end moved `head` over the position, so nobody else takes it, and it wrote the value itself.
        Some(unsafe { self.shared.storage.take(oldest) })
    }

    /// Pushes from the front of `values` as many as there is room for, made visible by one store; the rest stays in
    /// `values`. Applies no overrun policy: never waits, drops nothing. Wait-free.
    ///
    /// # Errors
    /// If the consumer is gone; all values stay.
    pub fn push_batch(&mut self, values: &mut VecDeque<T>) -> Result<usize, Closed<()>> {
        if self.is_closed() {
            return Err(Closed(()));
        }
        let count = self.room(values.len()).min(values.len());
        let mut tail = self.tail;
        for value in values.drain(..count) {
            // SAFETY: I1: `count` slots from `tail` are free.
            unsafe { self.shared.storage.write(tail, value) };
            tail = tail.wrapping_add(1);
        }
        self.publish(tail);
        self.shared.not_empty.ring();
        Ok(count)
    }

    /// Copies from the front of `values` as many as there is room for, made visible by one store, and says how many.
    /// Applies no overrun policy: never waits, drops nothing. Wait-free; one or two `memcpy`s.
    ///
    /// # Errors
    /// If the consumer is gone.
    pub fn push_slice(&mut self, values: &[T]) -> Result<usize, Closed<()>>
    where
        T: Copy,
    {
        if self.is_closed() {
            return Err(Closed(()));
        }
        let count = self.room(values.len()).min(values.len());
        // SAFETY: I1: `count` slots from `tail` are free.
        unsafe { self.shared.storage.copy_in(self.tail, &values[..count]) };
        self.publish(self.tail.wrapping_add(count));
        self.shared.not_empty.ring();
        Ok(count)
    }

    /// Whether the consumer is gone.
    #[inline(always)]
    pub fn is_closed(&self) -> bool {
        // Acquire: pairs with the Release in the consumer's drop; what it did before leaving is seen.
        self.shared.rarely.consumer_gone.load(Ordering::Acquire)
    }

    /// Values queued at some moment of the call.
    pub fn len(&self) -> usize {
        self.shared.len()
    }

    /// Whether nothing was queued at some moment of the call.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The most values ever queued at once.
    pub fn capacity(&self) -> usize {
        self.shared.capacity
    }

    /// What the overrun policy dropped so far.
    pub fn drops(&self) -> Drops {
        self.shared.drops()
    }
}

/// Adds one to a tally of which the caller is the only writer.
fn count(tally: &AtomicU64) {
    // Relaxed: one writer; nothing is published.
    let before = tally.load(Ordering::Relaxed);
    // Relaxed: as above.
    tally.store(before + 1, Ordering::Relaxed);
}

impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        // Release: pairs with the Acquire in `Consumer::try_pop`; whoever sees it sees the last `tail`.
        self.shared.rarely.producer_gone.store(true, Ordering::Release);
        self.shared.not_empty.ring();
    }
}

/// The end that pops. Dropping it closes the queue: pushes hand their value back, and what is queued is dropped.
pub struct Consumer<T> {
    shared: Arc<Shared<T>>,
    /// I2: `next .. claimed` is claimed and unread.
    next: usize,
    claimed: usize,
    tail_seen: usize,
}

impl<T> Consumer<T> {
    /// Claims values until `want` are claimed and unread, or no more are queued; says how many are.
    #[inline(always)]
    fn claim(&mut self, want: usize) -> usize {
        let have = self.claimed.wrapping_sub(self.next);
        if have >= want {
            return have;
        }
        if self.shared.overrun == Overrun::DropOldest {
            return self.claim_one_by_one(want);
        }
        // Acquire: pairs with the Release in `Producer::publish`; the values below are seen.
        self.claimed = self.shared.tail.load(Ordering::Acquire);
        self.claimed.wrapping_sub(self.next)
    }

    /// The same where the producer may vacate the oldest slot at any time.
    fn claim_one_by_one(&mut self, want: usize) -> usize {
        loop {
            // Acquire: pairs with the Release in `Producer::vacate`; a moved `head` shows a `tail` beyond it.
            let head = self.shared.head.load(Ordering::Acquire);
            let have = self.claimed.wrapping_sub(self.next);
            if have == 0 {
                // Nothing is claimed, so the producer may have vacated some: go on from where it stopped.
                (self.next, self.claimed) = (head, head);
            }
            if (self.tail_seen.wrapping_sub(head) as isize) < (want - have) as isize {
                // Acquire: pairs with the Release in `Producer::publish`; the values below are seen.
                self.tail_seen = self.shared.tail.load(Ordering::Acquire);
            }
            let queued = self.tail_seen.wrapping_sub(head);
            let more = queued.min(want - have);
            if more == 0 {
                return have;
            }
            let claimed = head.wrapping_add(more);
            // Relaxed: the values came with `tail`; the producer reuses the slots only after `released`.
            let won = self
                .shared
                .head
                .compare_exchange(head, claimed, Ordering::Relaxed, Ordering::Relaxed);
            if won.is_ok() {
                self.claimed = claimed;
                return have + more;
            }
        }
    }

    /// Gives everything before `next` back to the producer, without waking it.
    #[inline(always)]
    fn release(&mut self) {
        // Release: pairs with the Acquire in `Producer::room`; reads of the slots are over.
        self.shared.released.store(self.next, Ordering::Release);
    }

    #[inline(always)]
    fn wake_producer(&self) {
        // Only a producer that blocks ever sleeps.
        if self.shared.overrun == Overrun::Block {
            self.shared.not_full.ring();
        }
    }

    #[inline(always)]
    fn pop_quietly(&mut self) -> Result<T, PopError> {
        if self.claim(1) == 0 {
            // Acquire: pairs with the Release in the producer's drop; its last `tail` is seen below.
            if !self.shared.rarely.producer_gone.load(Ordering::Acquire) {
                return Err(PopError::Empty);
            }
            if self.claim(1) == 0 {
                return Err(PopError::Closed);
            }
        }
        // SAFETY: I2: claimed, unread, below `tail`.
        let value = unsafe { self.shared.storage.take(self.next) };
        self.next = self.next.wrapping_add(1);
        self.release();
        Ok(value)
    }

    /// Pops the oldest value if there is one. Wait-free; lock-free under `DropOldest`.
    ///
    /// # Errors
    /// `Empty` if nothing is queued, `Closed` if in addition the producer is gone.
    #[inline]
    pub fn try_pop(&mut self) -> Result<T, PopError> {
        let value = self.pop_quietly()?;
        self.wake_producer();
        Ok(value)
    }

    /// Pops the oldest value, waiting for one: spins a little, yields a little, then sleeps. `None` once the producer is
    /// gone and everything was popped.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        let popped = match self.pop_quietly() {
            Ok(value) => Some(value),
            Err(PopError::Closed) => None,
            Err(PopError::Empty) => self.pop_waiting(),
        };
        self.wake_producer();
        popped
    }

    #[cold]
    fn pop_waiting(&mut self) -> Option<T> {
        let shared = Arc::clone(&self.shared);
        shared.not_empty.wait(|| match self.pop_quietly() {
            Ok(value) => Some(Some(value)),
            Err(PopError::Closed) => Some(None),
            Err(PopError::Empty) => None,
        })
    }

    /// Moves up to `max` values into `into` and says how many; their slots are given back by one store. Never waits.
    /// Allocates only what `into` lacks.
    pub fn pop_batch(&mut self, into: &mut Vec<T>, max: usize) -> usize {
        let count = self.claim(max.min(self.shared.capacity)).min(max);
        into.reserve(count);
        for _ in 0..count {
            // SAFETY: I2: claimed, unread, below `tail`.
            into.push(unsafe { self.shared.storage.take(self.next) });
            self.next = self.next.wrapping_add(1);
        }
        self.release();
        self.wake_producer();
        count
    }

    /// Borrows up to `max` of the oldest values where they lie. Never waits, copies nothing.
    ///
    /// ```
    /// use sync_base::queue::{Overrun, spsc};
    /// let (mut producer, mut consumer) = spsc::channel(4, Overrun::Block);
    /// producer.push_slice(&[1, 2, 3]).unwrap();
    /// let batch = consumer.batch(2);
    /// let (first, second) = batch.slices();
    /// assert_eq!(first.iter().chain(second).sum::<i32>(), 3);
    /// batch.consume(2);
    /// assert_eq!(consumer.try_pop(), Ok(3));
    /// ```
    ///
    /// `a10_slice_ends_before_its_slots_are_reused`, or does not compile:
    /// ```compile_fail,E0505
    /// use sync_base::queue::{Overrun, spsc};
    /// let (mut producer, mut consumer) = spsc::channel(4, Overrun::Block);
    /// producer.push_slice(&[1, 2, 3]).unwrap();
    /// let batch = consumer.batch(2);
    /// let (first, _) = batch.slices();
    /// batch.consume(2); // the producer may write from here on
    /// assert_eq!(first[0], 1);
    /// ```
    /// Nor can another pop come between:
    /// ```compile_fail,E0499
    /// use sync_base::queue::{Overrun, spsc};
    /// let (mut producer, mut consumer) = spsc::channel::<i32>(4, Overrun::Block);
    /// let batch = consumer.batch(2);
    /// let _ = consumer.try_pop();
    /// drop(batch);
    /// ```
    pub fn batch(&mut self, max: usize) -> Batch<'_, T> {
        let count = self.claim(max.min(self.shared.capacity)).min(max);
        self.shared.storage.note_read(self.next, count);
        Batch {
            consumer: self,
            count,
        }
    }

    /// Whether the producer is gone; values may still be queued.
    pub fn is_closed(&self) -> bool {
        // Acquire: pairs with the Release in the producer's drop; its last push is seen.
        self.shared.rarely.producer_gone.load(Ordering::Acquire)
    }

    /// Values queued at some moment of the call; under `DropOldest` without those that a dropped [`Batch`] left claimed.
    pub fn len(&self) -> usize {
        self.shared.len()
    }

    /// Whether nothing was queued at some moment of the call.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The most values ever queued at once.
    pub fn capacity(&self) -> usize {
        self.shared.capacity
    }

    /// What the overrun policy dropped so far.
    pub fn drops(&self) -> Drops {
        self.shared.drops()
    }
}

impl<T> Drop for Consumer<T> {
    fn drop(&mut self) {
        if self.shared.overrun == Overrun::DropOldest {
            // Under this policy what was claimed is nobody else's, the queue's own drop included.
            while self.next != self.claimed {
                let at = self.next;
                self.next = at.wrapping_add(1);
                // SAFETY: I2: claimed, unread.
                drop(unsafe { self.shared.storage.take(at) });
            }
        }
        self.release();
        // Release: pairs with the Acquire in `Producer::is_closed`.
        self.shared.rarely.consumer_gone.store(true, Ordering::Release);
        self.shared.not_full.ring();
    }
}

/// The oldest values of a queue, read where they lie; the slots stay theirs until [`consume`](Self::consume).
///
/// Dropping it consumes nothing.
pub struct Batch<'a, T> {
    consumer: &'a mut Consumer<T>,
    count: usize,
}

impl<T> Batch<'_, T> {
    /// The values, oldest first: a second slice follows where they run past the end of the memory.
    pub fn slices(&self) -> (&[T], &[T]) {
        // SAFETY: I2: claimed and unread. They stay so while `self` is borrowed, since giving them back takes it by value.
        unsafe {
            self.consumer
                .shared
                .storage
                .slices(self.consumer.next, self.count)
        }
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Drops the oldest `count` values, or all if there are fewer, and gives their slots back. What remains is read
    /// again next time.
    pub fn consume(self, count: usize) {
        let count = count.min(self.count);
        let consumer = self.consumer;
        consumer.shared.storage.note_read(consumer.next, count);
        if needs_drop::<T>() {
            for _ in 0..count {
                let at = consumer.next;
                consumer.next = at.wrapping_add(1);
                // SAFETY: I2: claimed, unread; stepped over first, so a panicking drop is not repeated.
                drop(unsafe { consumer.shared.storage.take(at) });
            }
        } else {
            consumer.next = consumer.next.wrapping_add(count);
        }
        consumer.release();
        consumer.wake_producer();
    }
}

impl<T> fmt::Debug for Producer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("len", &self.len())
            .field("drops", &self.drops())
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Consumer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("len", &self.len())
            .field("drops", &self.drops())
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Batch<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}
