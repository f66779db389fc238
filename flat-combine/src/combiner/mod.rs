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
//! //! | slot states | | see `slot` |

mod job;
mod slot;

use crate::made_once::MadeOnce;
use crate::thread_number::thread_number;
use job::{Op, Outcome, catch};
use slot::{Answer, Slot};
use std::fmt;
use std::mem::ManuallyDrop;
use std::panic;
use sync_base::atomic::{AtomicU64, Ordering};
use sync_base::cell::UnsafeCell;
use sync_base::sync::{Mutex, MutexGuard, PoisonError};
use sync_base::{Backoff, CachePadded, Step};

const HELD: u64 = 1 << 63;
/// Slots anyone may claim; one more is kept for whoever has the gate.
const OPEN_SLOTS: usize = if cfg!(any(loom, shuttle)) { 1 } else { 30 };
/// Operations of others that one leader runs before it hands over.
const SERVE_LIMIT: u32 = if cfg!(any(loom, shuttle)) { 1 } else { 64 };

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
}

/// What the holder alone writes.
#[derive(Debug)]
struct Held<T> {
    value: UnsafeCell<T>,
    tally: UnsafeCell<Tally>,
    /// C4.
    owner: AtomicU64,
}

#[derive(Debug)]
struct Slots<T> {
    /// The open ones, then the gated one.
    all: Box<[Slot<T>]>,
    /// Held by the thread that uses the gated slot: those that find no open one wait here.
    gate: Mutex<()>,
}

type LotEnd<T> = fn(&mut T, u32);

// SAFETY: C1: the value is reached by one thread at a time, so `T: Send` is what sharing needs; slots hold pointers to
// operations that `with` requires to be `Send`.
unsafe impl<T: Send> Sync for Combiner<T> {}
// SAFETY: as above; a combiner that can be moved has no operation pending.
unsafe impl<T: Send> Send for Combiner<T> {}

/// Frees the slot when the owner leaves, and the gate after it.
struct Seat<'a, T> {
    slot: &'a Slot<T>,
    bit: u64,
    _gate: Option<MutexGuard<'a, ()>>,
}

impl<T> Drop for Seat<'_, T> {
    fn drop(&mut self) {
        self.slot.free();
    }
}

impl<T> Combiner<T> {
    /// Wraps a value. Allocates nothing before the first contention.
    #[cfg(not(loom))]
    pub const fn new(value: T) -> Self {
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
        }
    }

    /// Wraps a value.
    #[cfg(loom)]
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

    /// Runs `f` as holder, then leads until it can let go.
    #[inline]
    fn lead_with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        self.enter();
        // SAFETY: C1: this thread holds.
        let outcome = catch(|| self.held.value.with_mut(|value| f(unsafe { &mut *value })));
        let end = if self.lot_end.is_some() {
            self.lead(1, 0)
        } else {
            self.leave();
            if self.try_release() {
                Ok(())
            } else {
                self.lead(0, 0)
            }
        };
        conclude(outcome, end)
    }

    /// C4: this thread's closures run from here on.
    #[inline]
    fn enter(&self) {
        // Relaxed: only the thread whose number it is draws a conclusion from it, and that one wrote it.
        self.held.owner.store(thread_number(), Ordering::Relaxed);
    }

    /// C4: no closure of this thread runs any more.
    #[inline]
    fn leave(&self) {
        // Relaxed: as in `enter`.
        self.held.owner.store(0, Ordering::Relaxed);
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

    /// Tries for a moment to get the lock as a lock.
    fn hold_soon(&self) -> bool {
        let mut backoff = Backoff::new();
        while let Step::Spun = backoff.step() {
            // Relaxed: a glance before the compare-exchange.
            if self.word.load(Ordering::Relaxed) == 0 && self.try_hold() {
                return true;
            }
        }
        false
    }

    /// Sets a slot's bit; true if nobody held, so that this thread does now.
    fn publish(&self, bit: u64) -> bool {
        // Release: pairs with the Acquire in `take_lot`; publishes the slot. Where this thread holds now, its own
        // `take_lot` acquires the value.
        self.word.fetch_or(HELD | bit, Ordering::Release) & HELD == 0
    }

    /// Leads after a hand-over: the own operation first, whose bit is no longer in the word.
    fn lead_own(&self, own: &Slot<T>) -> Outcome<()> {
        self.enter();
        self.run(own);
        self.lead(1, 0)
    }

    /// Runs what is pending until it can let go or hand over. `begun` operations of the first lot have run already;
    /// `own` is the bit of this thread's slot, which needs no answer. Returns the first panic of `lot_end`.
    fn lead(&self, mut begun: u32, own: u64) -> Outcome<()> {
        let (mut served, mut end) = (0, Ok(()));
        loop {
            self.enter();
            let lot = self.take_lot();
            let ended = self.run_lot(lot, own, begun);
            if end.is_ok() {
                end = ended;
            }
            (begun, served) = (0, served + lot.count_ones());
            self.leave();
            if self.try_release() {
                return end;
            }
            if served >= SERVE_LIMIT {
                self.hand_over();
                return end;
            }
        }
    }

    /// Clears the pending bits and returns them: those operations are this leader's to run.
    fn take_lot(&self) -> u64 {
        // Relaxed: a glance; a bit that it misses keeps `try_release` from succeeding.
        if self.word.load(Ordering::Relaxed) == HELD {
            return 0;
        }
        // Acquire: pairs with the Release in `publish`; the slots of the lot.
        self.word.fetch_and(HELD, Ordering::Acquire) & !HELD
    }

    /// Runs the operations of a lot, ends it together with the `begun` that ran before, and answers all but `own`.
    fn run_lot(&self, lot: u64, own: u64, begun: u32) -> Outcome<()> {
        if lot != 0 {
            self.tallied(|tally| {
                tally.lots += 1;
                tally.combined += u64::from(lot.count_ones());
            });
        }
        for bit in bits(lot) {
            let slot = self.slot(bit);
            self.run(slot);
            if self.lot_end.is_none() && bit != own {
                self.finish(slot);
            }
        }
        let (Some(lot_end), count @ 1..) = (self.lot_end, begun + lot.count_ones()) else {
            return Ok(());
        };
        let end = catch(|| {
            // SAFETY: C1: this thread holds.
            self.held
                .value
                .with_mut(|value| lot_end(unsafe { &mut *value }, count))
        });
        bits(lot & !own).for_each(|bit| self.finish(self.slot(bit)));
        end
    }

    fn run(&self, slot: &Slot<T>) {
        let job = slot.job();
        // SAFETY: C1: this thread holds. C3: the operation waits, and this thread alone has taken it.
        self.held.value.with_mut(|value| unsafe { job.run(&mut *value) });
    }

    /// Makes one that waits the leader. Called by the holder when `try_release` has just failed.
    #[cold]
    fn hand_over(&self) {
        let waiting = self.take_lot();
        let next = bits(waiting)
            .next()
            .expect("C2: a word that cannot be released has a bit set");
        if waiting != next {
            // Relaxed: the others' Release in `publish` heads a sequence that this step continues.
            self.word.fetch_or(waiting & !next, Ordering::Relaxed);
        }
        self.tallied(|tally| tally.hand_overs += 1);
        if let Some(parked) = self.slot(next).answer(Answer::Lead) {
            parked.unpark();
        }
    }

    /// Tells the owner of a slot that its operation is over.
    fn finish(&self, slot: &Slot<T>) {
        if let Some(parked) = slot.answer(Answer::Done) {
            self.tallied(|tally| tally.unparked += 1);
            parked.unpark();
        }
    }

    /// Runs `f` on the tally; the caller holds.
    fn tallied<R>(&self, f: impl FnOnce(&mut Tally) -> R) -> R {
        // SAFETY: C1, of the tally as of the value.
        self.held.tally.with_mut(|tally| f(unsafe { &mut *tally }))
    }

    fn slot(&self, bit: u64) -> &Slot<T> {
        let slots = self.slots.get().expect("a bit was set by the owner of a slot");
        &slots.all[bit.trailing_zeros() as usize]
    }
}

/// The set bits, lowest first.
fn bits(mut word: u64) -> impl Iterator<Item = u64> {
    std::iter::from_fn(move || {
        let lowest = word & word.wrapping_neg();
        word &= !lowest;
        (lowest != 0).then_some(lowest)
    })
}

/// The caller's own panic first, then one of the end of its lot, else the value.
#[inline]
fn conclude<R>(outcome: Outcome<R>, end: Outcome<()>) -> R {
    match outcome.and_then(|value| end.map(|()| value)) {
        Ok(value) => value,
        Err(panic) => panic::resume_unwind(panic),
    }
}

impl<T> Slots<T> {
    fn new() -> Self {
        Self {
            all: (0..=OPEN_SLOTS).map(|_| Slot::new()).collect(),
            gate: Mutex::new(()),
        }
    }

    /// Claims a slot, this thread's usual one if it is free, the gated one if none is.
    fn sit_down(&self) -> Seat<'_, T> {
        #[cfg_attr(loom, expect(clippy::modulo_one, reason = "one slot under loom"))]
        let home = thread_number() as usize % OPEN_SLOTS;
        let open = (home..OPEN_SLOTS)
            .chain(0..home)
            .find(|&at| self.all[at].try_claim());
        if let Some(at) = open {
            return Seat {
                slot: &self.all[at],
                bit: 1 << at,
                _gate: None,
            };
        }
        // A panic while the gate is held unwinds through `with` after the slot was answered: nothing to repair.
        let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let last = &self.all[OPEN_SLOTS];
        assert!(
            last.try_claim(),
            "the gated slot is free: its last owner freed it before the gate"
        );
        Seat {
            slot: last,
            bit: 1 << OPEN_SLOTS,
            _gate: Some(gate),
        }
    }
}

/// What a [`Combiner`] did so far: see [`Combiner::tally`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Lots of published operations that leaders took.
    pub lots: u64,
    /// Operations in them.
    pub combined: u64,
    /// Times that a leader had served enough and another took over.
    pub hand_overs: u64,
    /// Answers that had to wake a parked thread.
    pub unparked: u64,
}

impl Tally {
    const ZERO: Self = Self {
        lots: 0,
        combined: 0,
        hand_overs: 0,
        unparked: 0,
    };

    /// Published operations to a lot; 0 where there was none.
    pub fn mean_lot(&self) -> f64 {
        if self.lots == 0 {
            0.0
        } else {
            self.combined as f64 / self.lots as f64
        }
    }
}

impl<T> fmt::Debug for Combiner<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Combiner")
            .field("combining", &self.combining)
            .finish_non_exhaustive()
    }
}
