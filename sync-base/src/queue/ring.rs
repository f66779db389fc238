//! The ring of stamped slots under the queues with several producers.
//!
//! # States
//! Positions count pushes. The slot of position `p` is `p % slots`, and its `stamp` says whose it is:
//! ```text
//!   stamp      2p           2p + 1           2(p + slots)
//!   slot    free for p --> holds p's value --> free for p + slots
//!              | push        | pop
//! ```
//! `tail` is `2 * position`, plus 1 once the queue is closed; `head` is a position.
//!
//! # Invariants
//! - R1: the slot of `p` is written by the one producer that moved `tail` from `p` to `p + 1` while the stamp was `2p`, or,
//!   displacing, while it owned the slot as in R2.
//! - R2: it is read by the one consumer that moved `head` from `p` to `p + 1` while the stamp was `2p + 1`. (A producer
//!   that displaces the oldest value is that consumer.)
//! - R3: positions and stamps only grow: a compare-exchange never succeeds on a value that came round again (no ABA), for
//!   2^62 pushes.
//! - R4: once `tail` is odd its position is final: a queue found empty then stays empty.
//! - R5: `head <= tail <= head + slots`.
//!
//! # Orderings
//! | access | order | pairs with |
//! |---|---|---|
//! | stamp `2p + 1`, stored by the producer | Release | the consumer's Acquire load: the value |
//! | stamp `2(p + slots)`, stored by the consumer | Release | the next lap's producer's Acquire load: the read is over |
//! | `tail`, `head`, moved | Release | Acquire loads of the same index: whoever sees a pop sees the pushes that its thread made before, and the other way round, or it would call the queue empty (full) too early |
//!
//! # Linearization points
//! Push: the exchange of `tail`. Pop: the exchange of `head`. Full: the load of `head`; empty: the load of `tail`. So that
//! this holds, a pop that finds the oldest position claimed but not yet written *waits* for its producer (spinning, then
//! yielding) instead of calling the queue empty, and a push likewise waits for a consumer about to leave its slot: the
//! queue is linearizable, and not lock-free while a thread is stopped between those two steps.
//!
//! D. Vyukov, "Bounded MPMC queue", 2010.

use super::{PopError, PushError};
use crate::atomic::{AtomicUsize, Ordering};
use crate::cell::UnsafeCell;
use crate::{Backoff, CachePadded, Step, thread};
use std::mem::MaybeUninit;

/// The bit of `tail` that says closed.
const CLOSED: usize = 1;

#[derive(Debug)]
struct Slot<T> {
    stamp: AtomicUsize,
    value: UnsafeCell<MaybeUninit<T>>,
}

#[derive(Debug)]
pub(super) struct Ring<T> {
    tail: CachePadded<AtomicUsize>,
    head: CachePadded<AtomicUsize>,
    slots: Box<[Slot<T>]>,
}

// SAFETY: R1, R2: a slot's value has one owner at a time; values move between threads, hence `T: Send`.
unsafe impl<T: Send> Sync for Ring<T> {}
// SAFETY: as for `Sync`.
unsafe impl<T: Send> Send for Ring<T> {}

/// What became of an attempt to push by displacing.
#[must_use]
pub(super) enum Displaced<T> {
    /// The value is in, the oldest came out.
    Oldest(T),
    /// The queue was no longer full, or somebody else was faster: try again.
    Retry(T),
    /// The queue was closed in between. The oldest value was out by then.
    Closed { value: T, oldest: T },
}

fn free(position: usize) -> usize {
    position.wrapping_mul(2)
}

fn holds(position: usize) -> usize {
    position.wrapping_mul(2).wrapping_add(1)
}

impl<T> Ring<T> {
    /// Makes a ring of `capacity` slots, rounded up to a power of two.
    pub(super) fn new(capacity: usize) -> Self {
        Self::at(capacity, 0)
    }

    /// The same with positions from `position`, a multiple of the slots: for tests of laps.
    pub(super) fn at(capacity: usize, position: usize) -> Self {
        assert!(
            capacity > 0,
            "a queue needs room for one value: capacity 0 was asked for"
        );
        let slots = capacity
            .checked_next_power_of_two()
            .expect("a queue's capacity must not exceed 2^63");
        Self {
            tail: CachePadded::new(AtomicUsize::new(free(position))),
            head: CachePadded::new(AtomicUsize::new(position)),
            slots: (0..slots)
                .map(|i| Slot {
                    stamp: AtomicUsize::new(free(position + i)),
                    value: UnsafeCell::new(MaybeUninit::uninit()),
                })
                .collect(),
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.slots.len()
    }

    #[inline(always)]
    fn slot(&self, position: usize) -> &Slot<T> {
        &self.slots[position & (self.slots.len() - 1)]
    }

    /// How a slot's stamp stands to the one waited for: 0 is it, below is an earlier state, above a later one.
    #[inline(always)]
    fn ahead(&self, position: usize, stamp: usize) -> isize {
        // Acquire: pairs with the Releases in `fill` and `empty`; publishes the value, or that it was read.
        self.slot(position)
            .stamp
            .load(Ordering::Acquire)
            .wrapping_sub(stamp) as isize
    }

    /// Writes the value of a position and hands the slot to the consumers.
    ///
    /// # Safety
    /// R1: this thread owns the slot for `position`.
    #[inline(always)]
    unsafe fn fill(&self, position: usize, value: T) {
        let slot = self.slot(position);
        // SAFETY: the caller's promise.
        slot.value.with_mut(|v| unsafe {
            (*v).write(value);
        });
        // Release: pairs with the Acquire in `ahead`; publishes the value.
        slot.stamp.store(holds(position), Ordering::Release);
    }

    /// Moves the value of a position out. The slot is still this thread's until `vacate`.
    ///
    /// # Safety
    /// R2: this thread owns the slot for `position`, and the value was not moved out yet.
    #[inline(always)]
    unsafe fn take(&self, position: usize) -> T {
        // SAFETY: the caller's promise.
        self.slot(position)
            .value
            .with_mut(|v| unsafe { (*v).assume_init_read() })
    }

    /// Hands the slot of a position to the next lap's producer.
    #[inline(always)]
    fn vacate(&self, position: usize) {
        let next_lap = free(position.wrapping_add(self.slots.len()));
        // Release: pairs with the Acquire in `ahead`; the read is over.
        self.slot(position).stamp.store(next_lap, Ordering::Release);
    }

    /// Pushes a value if there is room. Wakes nobody.
    #[inline]
    pub(super) fn try_push(&self, value: T) -> Result<(), PushError<T>> {
        let mut backoff = Backoff::new();
        // Acquire: pairs with the Release of whoever moved it; what that thread popped before is seen.
        let mut tail = self.tail.load(Ordering::Acquire);
        loop {
            if tail & CLOSED != 0 {
                return Err(PushError::Closed(value));
            }
            let position = tail / 2;
            let ahead = self.ahead(position, free(position));
            if ahead == 0 {
                // Release: pairs with the Acquire loads of the same index, which Acquire on failure is one of; the slot came
                // with its stamp. Relaxed, where the failure's value is not used.
                let won =
                    self.tail
                        .compare_exchange_weak(tail, tail + 2, Ordering::Release, Ordering::Acquire);
                match won {
                    Ok(_) => {
                        // SAFETY: R1: this thread moved `tail` over the position of a free slot.
                        unsafe { self.fill(position, value) };
                        return Ok(());
                    }
                    Err(now) => tail = now,
                }
                continue;
            }
            // Relaxed: R5: head + slots == position means full, at the moment of this load.
            if ahead < 0 && self.head.load(Ordering::Relaxed).wrapping_add(self.slots.len()) == position {
                return Err(PushError::Full(value));
            }
            // Somebody moved `tail` on, or a consumer is about to vacate this slot.
            tail = self.reload(&self.tail, tail, &mut backoff);
        }
    }

    /// Loads an index again; waits a round if it has not moved.
    #[cold]
    fn reload(&self, index: &AtomicUsize, seen: usize, backoff: &mut Backoff) -> usize {
        // Acquire: pairs with the Release of whoever moved the index.
        let now = index.load(Ordering::Acquire);
        if now == seen && backoff.step() == Step::Park {
            // The thread waited for is between two adjacent steps of its push or pop: it needs the processor only.
            thread::yield_now();
        }
        now
    }

    /// Pushes into a full queue by taking out the oldest value. Others may see the queue one short in between.
    pub(super) fn displace(&self, value: T) -> Displaced<T> {
        // Acquire: pairs with the Release of whoever moved it; what that thread pushed before is seen.
        // weaken-ok(Acquire->Relaxed): what is not seen yet means Retry; the stamp and the exchange of `head` decide.
        let head = self.head.load(Ordering::Acquire);
        let position = head.wrapping_add(self.slots.len());
        // Relaxed: as above; that it is full is settled by the exchange of `head` below and R5.
        if self.tail.load(Ordering::Relaxed) != free(position) || self.ahead(head, holds(head)) != 0 {
            return Displaced::Retry(value);
        }
        let next = head.wrapping_add(1);
        // Release: pairs with the Acquire loads of the same index, which Acquire on failure is one of; the slot came
        // with its stamp. Relaxed, where the failure's value is not used.
        let won = self
            .head
            .compare_exchange(head, next, Ordering::Release, Ordering::Relaxed);
        if won.is_err() {
            return Displaced::Retry(value);
        }
        // SAFETY: R2: this thread moved `head` over the position of a filled slot.
        let oldest = unsafe { self.take(head) };
        // Only the owner of this slot can move `tail` beyond `position`; what can come between is a close.
        // Release: pairs with the Acquire loads of `tail`, the one in `len` above all, which must see the exchange of `head`.
        // Relaxed on failure: its value is not used.
        let won = self.tail.compare_exchange(
            free(position),
            free(position) + 2,
            Ordering::Release,
            Ordering::Relaxed,
        );
        if won.is_err() {
            self.vacate(head);
            return Displaced::Closed { value, oldest };
        }
        // SAFETY: R1: the slot of `head` is the slot of `position`, owned and emptied above.
        unsafe { self.fill(position, value) };
        Displaced::Oldest(oldest)
    }

    /// Pops the oldest value; any number of threads may.
    #[inline]
    pub(super) fn try_pop(&self) -> Result<T, PopError> {
        let head = self.claim()?;
        // SAFETY: R2: this thread moved `head` over the position of a filled slot.
        let value = unsafe { self.take(head) };
        self.vacate(head);
        Ok(value)
    }

    /// Finds the oldest position filled and moves `head` over it.
    #[inline(always)]
    fn claim(&self) -> Result<usize, PopError> {
        let mut backoff = Backoff::new();
        // Acquire: pairs with the Release of whoever moved it; what that thread pushed before is seen.
        let mut head = self.head.load(Ordering::Acquire);
        loop {
            let ahead = self.ahead(head, holds(head));
            if ahead == 0 {
                let next = head.wrapping_add(1);
                // Release: pairs with the Acquire loads of the same index, which Acquire on failure is one of; the slot came
                // with its stamp.
                let won = self
                    .head
                    .compare_exchange_weak(head, next, Ordering::Release, Ordering::Acquire);
                match won {
                    Ok(_) => return Ok(head),
                    Err(now) => head = now,
                }
                continue;
            }
            if ahead < 0 {
                // Relaxed: R5: tail == head means empty, at the moment of this load; R4 if it is closed.
                let tail = self.tail.load(Ordering::Relaxed);
                if tail / 2 == head {
                    return Err(if tail & CLOSED != 0 {
                        PopError::Closed
                    } else {
                        PopError::Empty
                    });
                }
            }
            // Somebody moved `head` on, or a producer is about to fill this slot.
            head = self.reload(&self.head, head, &mut backoff);
        }
    }

    /// Pushes up to `count` values from `next` into positions claimed by one exchange; says how many.
    ///
    /// `next` is called that often and must not panic.
    pub(super) fn try_push_batch(&self, count: usize, mut next: impl FnMut() -> T) -> Result<usize, ()> {
        // Acquire: pairs with the Release of whoever moved it; what that thread popped before is seen.
        // weaken-ok(Acquire->Relaxed): a batch may find fewer than there are, so an old stamp breaks no promise.
        let mut tail = self.tail.load(Ordering::Acquire);
        loop {
            if tail & CLOSED != 0 {
                return Err(());
            }
            let first = tail / 2;
            let room = (0..count.min(self.slots.len()))
                .take_while(|i| self.ahead(first.wrapping_add(*i), free(first.wrapping_add(*i))) == 0)
                .count();
            // Release: pairs with the Acquire loads of the same index, and Acquire on failure; the slots came with their stamps, and a slot free for a position stays
            // so until `tail` moves over it.
            // weaken-ok(Acquire->Relaxed): a batch may find fewer than there are, so an old stamp breaks no promise.
            match self
                .tail
                .compare_exchange(tail, tail + 2 * room, Ordering::Release, Ordering::Acquire)
            {
                Ok(_) => {
                    for i in 0..room {
                        // SAFETY: R1: this thread moved `tail` over the positions of free slots.
                        unsafe { self.fill(first.wrapping_add(i), next()) };
                    }
                    return Ok(room);
                }
                Err(now) => tail = now,
            }
        }
    }

    /// Pops up to `count` values from positions claimed by one exchange, into `into`, which has room for them.
    pub(super) fn try_pop_batch(&self, count: usize, mut into: impl FnMut(T)) -> usize {
        // Acquire: pairs with the Release of whoever moved it; what that thread pushed before is seen.
        // weaken-ok(Acquire->Relaxed): a batch may find fewer than there are, so an old stamp breaks no promise.
        let mut head = self.head.load(Ordering::Acquire);
        loop {
            let ready = (0..count.min(self.slots.len()))
                .take_while(|i| self.ahead(head.wrapping_add(*i), holds(head.wrapping_add(*i))) == 0)
                .count();
            // Release: pairs with the Acquire loads of the same index, and Acquire on failure; the slots came with their stamps, and a filled slot stays so until `head`
            // moves over it.
            // weaken-ok(Acquire->Relaxed): a batch may find fewer than there are, so an old stamp breaks no promise.
            match self.head.compare_exchange(
                head,
                head.wrapping_add(ready),
                Ordering::Release,
                Ordering::Acquire,
            ) {
                Ok(_) => {
                    for i in 0..ready {
                        // SAFETY: R2: this thread moved `head` over the positions of filled slots.
                        into(unsafe { self.take(head.wrapping_add(i)) });
                        self.vacate(head.wrapping_add(i));
                    }
                    return ready;
                }
                Err(now) => head = now,
            }
        }
    }

    /// Lets nothing more in. Idempotent.
    pub(super) fn close(&self) {
        // Relaxed: R4: the bit travels with the position; nothing else is published.
        let mut tail = self.tail.load(Ordering::Relaxed);
        while tail & CLOSED == 0 {
            // Relaxed: as above.
            match self
                .tail
                .compare_exchange(tail, tail | CLOSED, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(now) => tail = now,
            }
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        // Relaxed: R4.
        self.tail.load(Ordering::Relaxed) & CLOSED != 0
    }

    /// Values queued at one moment of the call: between two loads that found `tail` in the same place. Lock-free.
    pub(super) fn len(&self) -> usize {
        // Acquire: pairs with the Release of whoever moved it; what that thread popped before is seen.
        let mut tail = self.tail.load(Ordering::Acquire);
        loop {
            // Acquire: pairs with the Release of whoever moved it; the load below sees the push of what was popped.
            let head = self.head.load(Ordering::Acquire);
            // Acquire: pairs with the Release of whoever moved it, as the first, which it replaces if it differs.
            let again = self.tail.load(Ordering::Acquire);
            if again == tail {
                return (tail / 2).wrapping_sub(head);
            }
            tail = again;
        }
    }
}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        drop_all(|| self.try_pop());
    }
}

/// Drops all that can be popped, also what lies behind a value whose drop panics; that panic goes on to the caller.
pub(super) fn drop_all<T>(pop: impl FnMut() -> Result<T, PopError>) {
    struct Rest<F: FnMut() -> Result<T, PopError>, T>(F);
    impl<F: FnMut() -> Result<T, PopError>, T> Drop for Rest<F, T> {
        fn drop(&mut self) {
            while let Ok(value) = (self.0)() {
                drop(value);
            }
        }
    }
    let mut rest = Rest(pop);
    while let Ok(value) = (rest.0)() {
        drop(value);
    }
}
