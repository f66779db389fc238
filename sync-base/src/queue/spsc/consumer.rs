//! The end that claims what is queued, reads it, and gives the slots back.

use super::pace::Pace;
use super::{Batch, Shared};
use crate::atomic::Ordering;
use crate::queue::observed::observed;
use crate::queue::ring::drop_all;
use crate::queue::{Drops, Overrun, PopError};
use crate::sync::Arc;
use std::fmt;
use std::mem::needs_drop;

/// The end that pops. Dropping it closes the queue: pushes hand their value back, and what is queued is dropped. (A push
/// that runs beside the drop may still put its value in; that one goes with the producer.)
///
/// It takes two cache lines of its own, so that the ends may lie side by side.
#[repr(align(128))]
pub struct Consumer<T> {
    shared: Arc<Shared<T>>,
    /// I2: `next .. claimed` is claimed and unread.
    next: usize,
    claimed: usize,
    tail_seen: usize,
    pace: Pace,
}

impl<T> Consumer<T> {
    pub(super) fn new(shared: Arc<Shared<T>>, position: usize) -> Self {
        Self {
            pace: Pace::new(shared.capacity),
            shared,
            next: position,
            claimed: position,
            tail_seen: position,
        }
    }

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
        self.pace.before();
        // Acquire: pairs with the Release in `Producer::publish`; the values below are seen.
        self.claimed = self.shared.tail.load(Ordering::Acquire);
        let now = self.claimed.wrapping_sub(self.next);
        self.pace.after(now - have);
        now
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
                self.pace.before();
                let before = self.tail_seen;
                // Acquire: pairs with the Release in `Producer::publish`; the values below are seen.
                self.tail_seen = self.shared.tail.load(Ordering::Acquire);
                self.pace.after(self.tail_seen.wrapping_sub(before));
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
        Batch::new(self, count)
    }

    /// The `count` values claimed first, where they lie.
    ///
    /// # Safety
    /// I2: so many are claimed and unread, and stay so while the slices live.
    pub(super) unsafe fn claimed(&self, count: usize) -> (&[T], &[T]) {
        // SAFETY: the caller's promise.
        unsafe { self.shared.storage.slices(self.next, count) }
    }

    /// Drops the `count` values claimed first and gives their slots back.
    ///
    /// # Safety
    /// I2: so many are claimed and unread.
    pub(super) unsafe fn consume(&mut self, count: usize) {
        /// Gives back what was stepped over, also when a value's drop panics: the producer may sleep until then.
        struct GiveBack<'a, T>(&'a mut Consumer<T>);
        impl<T> Drop for GiveBack<'_, T> {
            fn drop(&mut self) {
                self.0.release();
                self.0.wake_producer();
            }
        }
        self.shared.storage.note_read(self.next, count);
        let done = GiveBack(self);
        if needs_drop::<T>() {
            for _ in 0..count {
                let at = done.0.next;
                done.0.next = at.wrapping_add(1);
                // SAFETY: the caller's promise; stepped over first, so a panicking drop is not repeated.
                drop(unsafe { done.0.shared.storage.take(at) });
            }
        } else {
            done.0.next = done.0.next.wrapping_add(count);
        }
    }

    /// Whether the producer is gone; values may still be queued.
    pub fn is_closed(&self) -> bool {
        // Acquire: pairs with the Release in the producer's drop; its last push is seen.
        self.shared.rarely.producer_gone.load(Ordering::Acquire)
    }

    observed!(shared);
}

impl<T> Drop for Consumer<T> {
    /// Closes the queue and drops what is queued: nobody else would before the producer goes.
    fn drop(&mut self) {
        // Release: pairs with the Acquire in `Producer::is_closed`.
        self.shared.rarely.consumer_gone.store(true, Ordering::Release);
        self.shared.not_full.ring();
        drop_all(|| self.pop_quietly());
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
