//! An event that happens once between two resets, for which threads spin, then yield, then sleep.
//!
//! # States
//! `LOW` -> `SLEEPERS` (a waiter is about to sleep) -> `HIGH`, or `LOW` -> `HIGH`; back to `LOW` by whoever alone knows
//! that nobody waits.
//!
//! # Invariant
//! F1: no wake-up is lost. A waiter moves `LOW` to `SLEEPERS` while it holds the bed's lock and keeps it until it sleeps;
//! a raiser that finds `SLEEPERS` takes that lock before it wakes, so it wakes a sleeper and not a thread on its way.

use sync_base::atomic::{AtomicU32, Ordering};
use sync_base::sync::{Condvar, Mutex, PoisonError};
use sync_base::{Backoff, Step};

const LOW: u32 = 0;
const SLEEPERS: u32 = 1;
const HIGH: u32 = 2;

/// A model goes straight to sleep, which spinning would hide from it.
const SPINS: bool = !cfg!(any(loom, shuttle));

#[derive(Debug)]
pub(super) struct Flag(AtomicU32);

/// Where those who wait for any of a group of flags sleep.
#[derive(Debug)]
pub(super) struct Bed {
    lock: Mutex<()>,
    woken: Condvar,
}

impl Bed {
    pub(super) fn new() -> Self {
        Self {
            lock: Mutex::new(()),
            woken: Condvar::new(),
        }
    }
}

impl Flag {
    pub(super) fn raised() -> Self {
        Self(AtomicU32::new(HIGH))
    }

    /// Takes the event back; only for a caller who knows that nobody waits, and who publishes the flag afterwards.
    pub(super) fn lower(&self) {
        // Relaxed: published with the batch that the flag belongs to.
        self.0.store(LOW, Ordering::Relaxed);
    }

    pub(super) fn is_raised(&self) -> bool {
        // Acquire: pairs with the Release in `raise`; what happened before the event.
        self.0.load(Ordering::Acquire) == HIGH
    }

    /// Lets the event happen and wakes those who sleep. Touches the flag no more after that.
    pub(super) fn raise(&self, bed: &Bed) {
        // Release: pairs with the Acquire in `is_raised` and `sleep`; publishes what happened before the event.
        if self.0.swap(HIGH, Ordering::Release) == SLEEPERS {
            let _awake = bed.lock.lock().unwrap_or_else(PoisonError::into_inner);
            bed.woken.notify_all();
        }
    }

    /// Waits for the event.
    pub(super) fn wait(&self, bed: &Bed) {
        let mut backoff = Backoff::new();
        while !self.is_raised() {
            if !SPINS || backoff.step() == Step::Park {
                return self.sleep(bed);
            }
        }
    }

    #[cold]
    fn sleep(&self, bed: &Bed) {
        let mut asleep = bed.lock.lock().unwrap_or_else(PoisonError::into_inner);
        // Relaxed on success: nothing is published. Acquire on failure: pairs with the Release in `raise`.
        while self
            .0
            .compare_exchange(LOW, SLEEPERS, Ordering::Relaxed, Ordering::Acquire)
            != Err(HIGH)
        {
            asleep = bed.woken.wait(asleep).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
