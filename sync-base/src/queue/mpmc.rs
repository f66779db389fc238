//! A bounded queue between any number of producers and consumers.

use super::gate::Gate;
use super::ring::{Displaced, Ring};
use super::{Closed, Drops, Overrun, PopError, PushError, Pushed};
use crate::atomic::{AtomicU64, Ordering};
use crate::{Backoff, CachePadded, Step, thread};
use std::collections::VecDeque;
use std::fmt;

/// A bounded first-in-first-out queue that all threads share by reference.
///
/// Linearizable. Not lock-free in one respect: a thread stopped between claiming a slot and filling or emptying it holds
/// up those that need that slot, who spin and then yield.
///
/// ```
/// use sync_base::queue::{Overrun, PopError, PushError, mpmc::Queue};
/// let queue = Queue::new(2, Overrun::DropNewest);
/// queue.try_push(1).unwrap();
/// queue.try_push(2).unwrap();
/// assert_eq!(queue.try_push(3), Err(PushError::Full(3)));
/// queue.close();
/// assert_eq!(queue.try_push(4), Err(PushError::Closed(4)));
/// assert_eq!((queue.pop(), queue.pop(), queue.pop()), (Some(1), Some(2), None));
/// ```
///
/// A queue of what may not be sent is not shared:
/// ```compile_fail,E0277
/// fn shared<T: Sync>() {}
/// shared::<sync_base::queue::mpmc::Queue<std::rc::Rc<u8>>>();
/// ```
/// ```
/// fn shared<T: Sync>() {}
/// shared::<sync_base::queue::mpmc::Queue<std::cell::Cell<u8>>>();
/// ```
pub struct Queue<T> {
    ring: Ring<T>,
    not_empty: CachePadded<Gate>,
    not_full: CachePadded<Gate>,
    dropped_newest: CachePadded<AtomicU64>,
    dropped_oldest: CachePadded<AtomicU64>,
    overrun: Overrun,
}

// No code of the caller's runs while a queue changes, so a panic never leaves one half changed.
impl<T> std::panic::UnwindSafe for Queue<T> {}
impl<T> std::panic::RefUnwindSafe for Queue<T> {}

impl<T> Queue<T> {
    /// Makes a queue for `capacity` values, rounded up to a power of two. Allocates once.
    ///
    /// # Panics
    /// If `capacity` is 0.
    pub fn new(capacity: usize, overrun: Overrun) -> Self {
        Self::from_ring(Ring::new(capacity), overrun)
    }

    /// The same with `laps` laps behind it: for tests of long-lived queues.
    #[doc(hidden)]
    pub fn after_laps(capacity: usize, overrun: Overrun, laps: usize) -> Self {
        Self::from_ring(Ring::at(capacity, laps * capacity.next_power_of_two()), overrun)
    }

    fn from_ring(ring: Ring<T>, overrun: Overrun) -> Self {
        Self {
            ring,
            not_empty: CachePadded::new(Gate::new()),
            not_full: CachePadded::new(Gate::new()),
            dropped_newest: CachePadded::new(AtomicU64::new(0)),
            dropped_oldest: CachePadded::new(AtomicU64::new(0)),
            overrun,
        }
    }

    /// Pushes if there is room; never sleeps, drops nothing, counts nothing.
    ///
    /// # Errors
    /// Hands the value back if the queue is full or closed.
    #[inline]
    pub fn try_push(&self, value: T) -> Result<(), PushError<T>> {
        self.ring.try_push(value)?;
        self.not_empty.ring();
        Ok(())
    }

    /// Pushes, and does what the queue's [`Overrun`] says where there is no room. Sleeps only under `Block`.
    ///
    /// Dropping the oldest is two steps: in between, others may see the queue one value short.
    ///
    /// # Errors
    /// Hands the value back if the queue is closed.
    #[inline]
    pub fn push(&self, value: T) -> Result<Pushed<T>, Closed<T>> {
        match self.try_push(value) {
            Ok(()) => Ok(Pushed::Stored),
            Err(PushError::Closed(value)) => Err(Closed(value)),
            Err(PushError::Full(value)) => self.overrun(value),
        }
    }

    #[cold]
    fn overrun(&self, value: T) -> Result<Pushed<T>, Closed<T>> {
        match self.overrun {
            Overrun::Block => self.push_waiting(value)?,
            Overrun::DropOldest => return self.push_displacing(value),
            Overrun::DropNewest => {
                // Relaxed: a tally; nothing is published by it.
                self.dropped_newest.fetch_add(1, Ordering::Relaxed);
                return Ok(Pushed::DroppedNewest(value));
            }
        }
        self.not_empty.ring();
        Ok(Pushed::Stored)
    }

    fn push_waiting(&self, value: T) -> Result<(), Closed<T>> {
        let mut waiting = Some(value);
        self.not_full.wait(|| match self.ring.try_push(waiting.take()?) {
            Ok(()) => Some(Ok(())),
            Err(PushError::Closed(value)) => Some(Err(Closed(value))),
            Err(PushError::Full(value)) => {
                waiting = Some(value);
                None
            }
        })
    }

    fn push_displacing(&self, mut value: T) -> Result<Pushed<T>, Closed<T>> {
        let mut backoff = Backoff::new();
        loop {
            value = match self.ring.displace(value) {
                Displaced::Retry(value) => value,
                Displaced::Oldest(oldest) => {
                    // Relaxed: a tally; nothing is published by it.
                    self.dropped_oldest.fetch_add(1, Ordering::Relaxed);
                    self.not_empty.ring();
                    return Ok(Pushed::DroppedOldest(oldest));
                }
                Displaced::Closed { value, oldest } => {
                    // Relaxed: as above. The oldest had given way before the close came: it is dropped, and counted.
                    self.dropped_oldest.fetch_add(1, Ordering::Relaxed);
                    drop(oldest);
                    return Err(Closed(value));
                }
            };
            value = match self.try_push(value) {
                Ok(()) => return Ok(Pushed::Stored),
                Err(PushError::Closed(value)) => return Err(Closed(value)),
                Err(PushError::Full(value)) => value,
            };
            // Still full, and the oldest value is being written or taken by a thread that needs the processor only.
            if backoff.step() == Step::Park {
                thread::yield_now();
            }
        }
    }

    /// Pushes from the front of `values` as many as there is room for, in neighbouring positions; the rest stays.
    /// Applies no overrun policy: never sleeps, drops nothing. A slot that a consumer is just leaving is not counted as
    /// room, so fewer may go in than single pushes would place.
    ///
    /// # Errors
    /// If the queue is closed; all values stay.
    pub fn push_batch(&self, values: &mut VecDeque<T>) -> Result<usize, Closed<()>> {
        let count = values.len();
        let next = || values.pop_front().expect("no more are asked for than there are");
        let pushed = self.ring.try_push_batch(count, next).map_err(Closed)?;
        self.not_empty.ring();
        Ok(pushed)
    }

    /// Pops the oldest value if there is one; never sleeps.
    ///
    /// # Errors
    /// `Empty` if nothing is queued, `Closed` if in addition nothing ever will be.
    #[inline]
    pub fn try_pop(&self) -> Result<T, PopError> {
        let value = self.ring.try_pop()?;
        self.wake_producers();
        Ok(value)
    }

    /// Pops the oldest value, waiting for one: spins a little, yields a little, then sleeps. `None` once the queue is
    /// closed and drained.
    #[inline]
    pub fn pop(&self) -> Option<T> {
        let popped = match self.ring.try_pop() {
            Ok(value) => Some(value),
            Err(PopError::Closed) => None,
            Err(PopError::Empty) => self.wait_for(|| self.ring.try_pop()),
        };
        self.wake_producers();
        popped
    }

    #[cold]
    fn wait_for(&self, mut pop: impl FnMut() -> Result<T, PopError>) -> Option<T> {
        self.not_empty.wait(|| match pop() {
            Ok(value) => Some(Some(value)),
            Err(PopError::Closed) => Some(None),
            Err(PopError::Empty) => None,
        })
    }

    /// Moves up to `max` of the oldest values, neighbours in the queue, into `into` and says how many; never sleeps.
    /// Allocates only what `into` lacks.
    pub fn pop_batch(&self, into: &mut Vec<T>, max: usize) -> usize {
        let max = max.min(self.ring.capacity());
        into.reserve(max);
        let popped = self.ring.try_pop_batch(max, |value| into.push(value));
        self.wake_producers();
        popped
    }

    #[inline(always)]
    fn wake_producers(&self) {
        // Only a producer that blocks ever sleeps.
        if self.overrun == Overrun::Block {
            self.not_full.ring();
        }
    }

    /// Lets nothing more in, and wakes everybody who sleeps. What is queued can still be popped. Idempotent.
    pub fn close(&self) {
        self.ring.close();
        self.not_empty.ring();
        self.not_full.ring();
    }

    /// Whether the queue is closed; values may still be queued.
    pub fn is_closed(&self) -> bool {
        self.ring.is_closed()
    }

    /// Values queued at one moment of the call. Lock-free.
    pub fn len(&self) -> usize {
        self.ring.len()
    }

    /// Whether nothing was queued at one moment of the call.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The most values ever queued at once.
    pub fn capacity(&self) -> usize {
        self.ring.capacity()
    }

    /// What to do when full.
    pub fn overrun_policy(&self) -> Overrun {
        self.overrun
    }

    /// What the overrun policy dropped so far.
    pub fn drops(&self) -> Drops {
        Drops {
            // Relaxed: a tally; nothing is published by it.
            newest: self.dropped_newest.load(Ordering::Relaxed),
            // Relaxed: as above.
            oldest: self.dropped_oldest.load(Ordering::Relaxed),
        }
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("len", &self.len())
            .field("drops", &self.drops())
            .finish_non_exhaustive()
    }
}
