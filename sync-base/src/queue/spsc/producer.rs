//! The end that writes slots and publishes them.

use super::Shared;
use super::pace::Pace;
use crate::atomic::{AtomicU64, Ordering};
use crate::queue::observed::observed;
use crate::queue::{Closed, Drops, Overrun, PushError, Pushed};
use crate::sync::Arc;
use crate::{Backoff, Step};
use std::collections::VecDeque;
use std::fmt;

/// The end that pushes. Dropping it closes the queue: the consumer pops what is left and then learns of it.
///
/// It takes two cache lines of its own, so that the ends may lie side by side.
#[repr(align(128))]
pub struct Producer<T> {
    shared: Arc<Shared<T>>,
    tail: usize,
    /// I1: positions below are free; the last `released` seen, or beyond it what this end vacated.
    base: usize,
    pace: Pace,
}

impl<T> Producer<T> {
    pub(super) fn new(shared: Arc<Shared<T>>, position: usize) -> Self {
        Self {
            pace: Pace::new(shared.capacity),
            shared,
            tail: position,
            base: position,
        }
    }

    /// Free slots; looks at the consumer's progress only if fewer than `want` are known.
    #[inline(always)]
    fn room(&mut self, want: usize) -> usize {
        let room = self.shared.capacity - self.tail.wrapping_sub(self.base);
        if room >= want {
            return room;
        }
        self.pace.before();
        // Acquire: pairs with the Release in `Consumer::release`; reads of those slots are over.
        let released = self.shared.released.load(Ordering::Acquire);
        if released.wrapping_sub(self.base) as isize > 0 {
            self.base = released;
        }
        let now = self.shared.capacity - self.tail.wrapping_sub(self.base);
        self.pace.after(now - room);
        now
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
        // I6: in this order.
        let full = self.room(1) == 0;
        if self.is_closed() {
            return Err(PushError::Closed(value));
        }
        if full {
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
    /// Under `DropOldest` the oldest value cannot give way while the consumer holds it in a [`Batch`](super::Batch): then, after a
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
        // I6: in this order.
        let count = self.room(values.len()).min(values.len());
        if self.is_closed() {
            return Err(Closed(()));
        }
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
        // I6: in this order.
        let count = self.room(values.len()).min(values.len());
        if self.is_closed() {
            return Err(Closed(()));
        }
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

    observed!(shared);
}

impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        // Release: pairs with the Acquire in `Consumer::try_pop`; whoever sees it sees the last `tail`.
        self.shared.rarely.producer_gone.store(true, Ordering::Release);
        self.shared.not_empty.ring();
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

/// Adds one to a tally of which the caller is the only writer.
fn count(tally: &AtomicU64) {
    // Relaxed: one writer; nothing is published.
    let before = tally.load(Ordering::Relaxed);
    // Relaxed: as above.
    tally.store(before + 1, Ordering::Relaxed);
}
