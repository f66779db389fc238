//! A place where one waiting thread publishes one operation.
//!
//! # States
//! | state | who moves it on | to |
//! |---|---|---|
//! | `FREE` | a thread that needs a slot | `CLAIMED` |
//! | `CLAIMED` | its owner, before it publishes | `PENDING` |
//! | `PENDING` | the leader, having run the operation | `DONE` |
//! | | the leader, handing over the lead | `LEAD` |
//! | | its owner, tired of spinning | `PARKED` |
//! | `PARKED` | the leader | `DONE` or `LEAD`, then unparks the owner |
//! | `LEAD` | its owner, having run the operation as leader | `DONE` |
//! | `DONE` | its owner, with the outcome in hand | `FREE` |
//!
//! # Invariants
//! - S1: between `CLAIMED` and `FREE` a slot has one owner, the winner of the compare-exchange from `FREE`.
//! - S2: `job` is written by the owner while `CLAIMED` and read by the leader while `PENDING` or `PARKED`, or by the
//!   owner in `LEAD`: never both at once.
//! - S3: `waiter` is written by the owner before `PARKED` and taken by the leader in `PARKED`, before it moves on.
//! - S4: after the leader has moved a slot to `DONE` it touches neither the slot nor the operation again.

use super::job::Job;
use sync_base::atomic::{AtomicU32, Ordering};
use sync_base::cell::UnsafeCell;
use sync_base::thread::{self, Thread};
use sync_base::{Backoff, CachePadded, Step};

const FREE: u32 = 0;
const CLAIMED: u32 = 1;
const PENDING: u32 = 2;
const PARKED: u32 = 3;
const DONE: u32 = 4;
const LEAD: u32 = 5;

/// A model goes straight to parking, which spinning would hide from it.
const SPINS: bool = !cfg!(any(loom, shuttle));

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Answer {
    /// A leader ran the operation.
    Done,
    /// The lead was handed over: the owner runs its own operation and leads.
    Lead,
}

#[derive(Debug)]
pub(super) struct Slot<T>(CachePadded<Fields<T>>);

#[derive(Debug)]
struct Fields<T> {
    state: AtomicU32,
    job: UnsafeCell<Option<Job<T>>>,
    waiter: UnsafeCell<Option<Thread>>,
}

impl<T> Slot<T> {
    pub(super) fn new() -> Self {
        Self(CachePadded::new(Fields {
            state: AtomicU32::new(FREE),
            job: UnsafeCell::new(None),
            waiter: UnsafeCell::new(None),
        }))
    }

    /// Claims the slot if it is free.
    pub(super) fn try_claim(&self) -> bool {
        // Relaxed: a glance before the compare-exchange, which decides.
        if self.0.state.load(Ordering::Relaxed) != FREE {
            return false;
        }
        // Acquire: pairs with the Release in `free`; S1: the last owner is done with the fields. Relaxed on failure:
        // nothing is read.
        self.0
            .state
            .compare_exchange(FREE, CLAIMED, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    /// Puts the operation into a claimed slot; the word that names the slot pending publishes it.
    pub(super) fn fill(&self, job: Job<T>) {
        // SAFETY: S2: claimed and not published: the owner alone reaches it.
        self.0.job.with_mut(|at| unsafe { *at = Some(job) });
        // Relaxed: published by the Release with which the caller sets the slot's bit.
        self.0.state.store(PENDING, Ordering::Relaxed);
    }

    /// The operation in a slot whose bit the leader took, or whose owner was made leader.
    pub(super) fn job(&self) -> Job<T> {
        // SAFETY: S2.
        self.0
            .job
            .with(|at| unsafe { *at })
            .expect("a published slot holds an operation")
    }

    /// Gives the owner its answer; the thread to unpark if it is parked. Of `Done`, the slot may be another thread's by
    /// the time this returns (S4); of `Lead`, the lead is.
    #[must_use]
    pub(super) fn answer(&self, answer: Answer) -> Option<Thread> {
        let state = match answer {
            Answer::Done => DONE,
            Answer::Lead => LEAD,
        };
        // Release: pairs with the Acquire in `answered`; publishes the outcome, or the data with the lead. Acquire on
        // failure: pairs with the Release in `park`; the waiter's handle.
        let spinning = self
            .0
            .state
            .compare_exchange(PENDING, state, Ordering::Release, Ordering::Acquire);
        if spinning.is_ok() {
            return None;
        }
        // SAFETY: S3: parked, so the owner leaves it alone until the store below.
        let waiter = self.0.waiter.with_mut(|at| unsafe { (*at).take() });
        // Release: pairs with the Acquire in `answered`; as above.
        // weaken-ok(Release->Relaxed): seen by an owner that wakes before its unpark; loom has no switch between the two.
        self.0.state.store(state, Ordering::Release);
        waiter
    }

    /// Waits for a leader's answer: spins, yields, then parks.
    pub(super) fn wait(&self) -> Answer {
        let mut backoff = Backoff::new();
        loop {
            if let Some(answer) = self.answered() {
                return answer;
            }
            if !SPINS || backoff.step() == Step::Park {
                break;
            }
        }
        if self.park() {
            loop {
                thread::park();
                if let Some(answer) = self.answered() {
                    return answer;
                }
            }
        }
        self.answered()
            .expect("a slot leaves PENDING by an answer or by parking")
    }

    fn answered(&self) -> Option<Answer> {
        // Acquire: pairs with the Release in `answer`; the outcome, or the data with the lead.
        match self.0.state.load(Ordering::Acquire) {
            DONE => Some(Answer::Done),
            LEAD => Some(Answer::Lead),
            _ => None,
        }
    }

    /// Says that the owner is about to park; false if the answer came first.
    fn park(&self) -> bool {
        let me = thread::current();
        // SAFETY: S3: not parked yet, so the owner alone reaches it.
        self.0.waiter.with_mut(|at| unsafe { *at = Some(me) });
        // Release: pairs with the Acquire in `answer`; publishes the handle. Relaxed on failure: `answered` reads again.
        self.0
            .state
            .compare_exchange(PENDING, PARKED, Ordering::Release, Ordering::Relaxed)
            .is_ok()
    }

    /// Gives a claimed slot back: its owner has the outcome, or never published.
    pub(super) fn free(&self) {
        // Release: pairs with the Acquire in `try_claim`; S1.
        self.0.state.store(FREE, Ordering::Release);
    }
}
