//! Flat combining: one thread runs what many ask for.
//!
//! # Protocol
//! One word holds the whole agreement: `HELD`, and a bit for each slot whose operation is pending. A thread that finds
//! the word 0 holds it, runs its closure and lets go: a lock. A thread that finds it held puts its closure into a slot
//! and sets `HELD` and the slot's bit in one step. Either it finds `HELD` clear, and leads, or there is a leader, who
//! cannot let go while the bit is set.
//!
//! The leader takes all pending bits at once (a *lot*), runs those operations, answers their slots, and tries to let go.
//! Having run `SERVE_LIMIT` operations of others it hands the lead to one that waits instead.
//!
//! # Invariants
//! - C1: the value is touched by the holder alone. Exactly one thread holds while `HELD` is set: the one that set it,
//!   or the one to whom it was last handed over.
//! - C2: `HELD` clear implies that no slot is pending: bits are set together with `HELD`, and `HELD` is cleared only by a
//!   compare-exchange from `HELD` alone. Hence nothing is stranded.
//! - C3: a pending operation stays where it is, on the stack of a thread inside `with`, until its slot is answered; and
//!   it is answered once, because the leader clears its bit before it runs it.
//! - C4: `owner` is the holder's thread number while closures run, else 0 or stale; it is never the number of a thread
//!   that does not hold. Every thread writes its own number only while it holds and 0 before it lets go.
//!
//! # Linearization
//! An operation takes effect where the holder runs it, which is between the call of `with` and its return.
//!
//! # Orderings
//! | access | order | pairs with |
//! |---|---|---|
//! | `word` 0 -> `HELD` | Acquire | the Release of `HELD` -> 0: the value as the last holder left it |
//! | `word` `HELD` -> 0 | Release | the Acquire in `try_hold` and `take_lot` |
//! | `word` or `HELD` + bit | Release | the Acquire in `take_lot`: the slot |
//! | `word` and `HELD` | Acquire | the Release in `publish`: the slots of the lot; in `try_release`: the value |
//! | slot states | | see `slot` |

mod job;
mod lead;
mod seat;
mod slot;
mod tally;

pub use tally::Tally;

use crate::made_once::MadeOnce;
use crate::thread_number::thread_number;
use job::Op;
use lead::conclude;
use seat::Slots;
use slot::Answer;
use std::fmt;
use std::mem::ManuallyDrop;
use sync_base::atomic::{AtomicU32, AtomicU64, Ordering};
use sync_base::cell::UnsafeCell;
use sync_base::{CachePadded, hint};

const HELD: u64 = 1 << 63;

const MODEL: bool = cfg!(any(loom, shuttle));
/// Rounds of waiting, the last of 32 pauses, where lots hold several operations: combining saves hand-overs.
const HASTY: u32 = 6;
/// Rounds, the last of 512 pauses, where each lot holds one: whoever waits leaves the lock and its cache line to a thread
/// that is at it, which costs less than any hand-over (`comb.heap`).
const PATIENT: u32 = 10;

/// When a [`Combiner`] publishes operations instead of waiting for the lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Combining {
    /// A lock until a wait for it has lasted: then that operation is published. The default.
    #[default]
    Adaptive,
    /// Every operation is published, contended or not: for measurements and tests.
    Always,
}

/// Runs closures on a value, one at a time, where a thread may run the closures of those that wait.
///
/// Uncontended it is a lock: one compare-exchange in, one out. Under contention the thread that holds it runs what the
/// others published, so the value stays in one core's cache and a wait costs one hand-over instead of two.
///
/// # Consistency
/// Linearizable: each closure takes effect at one moment between the call of [`with`](Self::with) and its return, and
/// what the caller did before is visible to it, on whichever thread it runs.
///
/// # When not to use it
/// Where closures are a few nanoseconds long and few threads meet: a mutex does as well. Where a closure may block: it
/// blocks everybody, as under a mutex. Where readers are many: see `rcu-map`.
///
/// ```
/// use flat_combine::Combiner;
/// let here = String::from("borrowed from the caller's stack");
/// let words = Combiner::new(Vec::new());
/// std::thread::scope(|scope| {
///     for _ in 0..4 {
///         scope.spawn(|| words.with(|list| list.push(here.as_str())));
///     }
/// });
/// assert_eq!(words.into_inner().len(), 4);
/// ```
///
/// A closure crosses threads, and so must be `Send`, as must the value and the result:
///
/// ```compile_fail,E0277
/// let combiner = flat_combine::Combiner::new(0);
/// let local = std::rc::Rc::new(1);
/// combiner.with(move |sum| *sum += *local);
/// ```
/// ```
/// let combiner = flat_combine::Combiner::new(0);
/// let shared = std::sync::Arc::new(1);
/// combiner.with(move |sum| *sum += *shared);
/// ```
/// ```compile_fail,E0277
/// fn shared<T: Sync>(_: &T) {}
/// shared(&flat_combine::Combiner::new(std::rc::Rc::new(1)));
/// ```
/// ```
/// fn shared<T: Sync>(_: &T) {}
/// shared(&flat_combine::Combiner::new(std::cell::Cell::new(1))); // `Send` is enough: one thread at a time
/// ```
pub struct Combiner<T> {
    word: CachePadded<AtomicU64>,
    held: CachePadded<Held<T>>,
    slots: MadeOnce<Slots<T>>,
    lot_end: Option<LotEnd<T>>,
    combining: Combining,
    /// Rounds of waiting for the lock before an operation is published: a hint, set by leaders.
    patience: AtomicU32,
}

/// What the holder alone writes.
#[derive(Debug)]
struct Held<T> {
    value: UnsafeCell<T>,
    tally: UnsafeCell<Tally>,
    /// C4.
    owner: AtomicU64,
}

type LotEnd<T> = fn(&mut T, u32);

// SAFETY: C1: the value is reached by one thread at a time, so `T: Send` is what sharing needs; slots hold pointers to
// operations that `with` requires to be `Send`.
unsafe impl<T: Send> Sync for Combiner<T> {}
// SAFETY: as above; a combiner that can be moved has no operation pending.
unsafe impl<T: Send> Send for Combiner<T> {}

impl<T> Combiner<T> {
    sync_base::const_fn! {
        /// Wraps a value. Allocates nothing before the first contention.
        pub fn new(value: T) -> Self {
            Self {
                word: CachePadded::new(AtomicU64::new(0)),
                held: CachePadded::new(Held {
                    value: UnsafeCell::new(value),
                    tally: UnsafeCell::new(Tally::ZERO),
                    owner: AtomicU64::new(0),
                }),
                slots: MadeOnce::new(),
                lot_end: None,
                combining: Combining::Adaptive,
                patience: AtomicU32::new(HASTY),
            }
        }
    }

    /// Has `end` called after each lot with the number of operations in it, before any of their callers goes on.
    ///
    /// For work that is worth sharing: operations put requests into a queue, and one system call at the end of the lot
    /// submits them all. A lot is one operation where there is no contention. A panic in `end` unwinds in the thread
    /// that leads, after the others have been answered.
    ///
    /// ```
    /// use flat_combine::Combiner;
    /// #[derive(Default)]
    /// struct Log { pending: usize, flushed: usize }
    /// let log = Combiner::new(Log::default()).on_lot_end(|log, _| log.flushed += std::mem::take(&mut log.pending));
    /// log.with(|log| log.pending += 3);
    /// assert_eq!(log.into_inner().flushed, 3);
    /// ```
    #[must_use]
    pub const fn on_lot_end(mut self, end: fn(&mut T, u32)) -> Self {
        self.lot_end = Some(end);
        self
    }

    /// Chooses when operations are published.
    #[must_use]
    pub const fn combining(mut self, combining: Combining) -> Self {
        self.combining = combining;
        self
    }

    /// The value, by the one who has the combiner to itself. Costs nothing; no lot ends.
    pub fn get_mut(&mut self) -> &mut T {
        // SAFETY: the reference lives as long as the exclusive borrow of `self`: no operation runs or is pending meanwhile.
        self.held.value.with_mut(|value| unsafe { &mut *value })
    }

    /// Takes the value out.
    pub fn into_inner(self) -> T {
        self.held.into_inner().value.into_inner()
    }
}

impl<T: Send> Combiner<T> {
    /// Runs `f` on the value, alone, here or on the thread that leads, and returns what it returned.
    ///
    /// Blocking: waits for the operations before it, spinning, then yielding, then parked. A leader runs at most 64
    /// operations of others, plus one lot, before it returns. Uncontended it is lock-free and allocates nothing; the
    /// first contention allocates the slots (4 KiB).
    ///
    /// Any number of threads may wait; beyond 30 at once the rest queue for one more slot.
    ///
    /// # Panics
    /// With `f`'s panic, in this thread alone: the value stays as `f` left it, nothing is poisoned, and the operations
    /// of others go on. Called from inside an operation on the same combiner, where it could only wait for itself.
    #[inline]
    pub fn with<R: Send>(&self, f: impl FnOnce(&mut T) -> R + Send) -> R {
        if matches!(self.combining, Combining::Adaptive) && self.try_hold() {
            self.lead_with(f)
        } else {
            self.with_contended(f)
        }
    }

    /// How often it combined so far. Waits its turn like an operation.
    pub fn tally(&self) -> Tally {
        self.with(|_| self.tallied(|tally| *tally))
    }

    #[inline]
    fn try_hold(&self) -> bool {
        // Acquire: pairs with the Release in `try_release`; the value. Relaxed on failure: nothing is read.
        self.word
            .compare_exchange(0, HELD, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    #[inline]
    fn try_release(&self) -> bool {
        // Release: pairs with the Acquire in `try_hold` and `take_lot`; publishes the value. Relaxed on failure: pending
        // slots are acquired by `take_lot`.
        self.word
            .compare_exchange(HELD, 0, Ordering::Release, Ordering::Relaxed)
            .is_ok()
    }

    #[cold]
    #[inline(never)]
    fn with_contended<R: Send>(&self, f: impl FnOnce(&mut T) -> R + Send) -> R {
        // Relaxed: C4: it reads this thread's number only if this thread holds.
        assert!(
            self.held.owner.load(Ordering::Relaxed) != thread_number(),
            "Combiner::with was called from inside an operation on the same combiner: it would wait for itself. Do the \
             inner work through the `&mut T` that the operation was given"
        );
        if matches!(self.combining, Combining::Adaptive) && self.hold_soon() {
            return self.lead_with(f);
        }
        let slots = self.slots.get_or_make(Slots::new);
        let seat = slots.sit_down();
        let mut op = ManuallyDrop::new(Op::Waiting(f));
        let op: *mut Op<_, R> = &raw mut *op;
        // SAFETY: C3: the operation stays in this frame, untouched, until its slot is answered below.
        seat.slot.fill(unsafe { (*op).job() });
        let end = if self.publish(seat.bit) {
            self.lead(0, seat.bit)
        } else {
            match seat.slot.wait() {
                Answer::Done => Ok(()),
                Answer::Lead => self.lead_own(seat.slot),
            }
        };
        drop(seat);
        // SAFETY: C3: answered, or run by this thread: nobody else touches it any more, and it is read once.
        conclude(unsafe { op.read() }.outcome(), end)
    }

    /// Tries for a while to get the lock as a lock, with glances ever further apart: for as long as the last lots of published
    /// operations say that combining would not pay.
    fn hold_soon(&self) -> bool {
        // Relaxed: a hint.
        let rounds = self.patience.load(Ordering::Relaxed);
        // A model goes straight on, which spinning would hide from it.
        (0..if MODEL { 0 } else { rounds }).any(|round| {
            (0..1u32 << round).for_each(|_| hint::spin_loop());
            // Relaxed: a glance before the compare-exchange.
            self.word.load(Ordering::Relaxed) == 0 && self.try_hold()
        })
    }

    /// Sets a slot's bit; true if nobody held, so that this thread does now.
    fn publish(&self, bit: u64) -> bool {
        // Release: pairs with the Acquire in `take_lot`; publishes the slot. Where this thread holds now, its own
        // `take_lot` acquires the value.
        self.word.fetch_or(HELD | bit, Ordering::Release) & HELD == 0
    }
}

impl<T: Default> Default for Combiner<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> fmt::Debug for Combiner<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Combiner")
            .field("combining", &self.combining)
            .finish_non_exhaustive()
    }
}
