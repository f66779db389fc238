//! The right to be the one writer of something.
//!
//! # States
//! ```text
//!          try_take                 swap by a waiter
//!   FREE ------------> HELD ------------------------> WAITED
//!     ^                 |                                |
//!     +--- release -----+------ release, ring the bell --+
//! ```
//! A waiter swaps in WAITED whatever stands there: if it was FREE the turn is the waiter's (in state WAITED, which costs
//! one needless ring), else it sleeps.
//!
//! # Invariants
//! - T1: at most one holder: FREE is left by one successful compare-exchange or by one swap that returned FREE.
//! - T2: no lost wake-up: a waiter swaps and goes to sleep under the gate; whoever releases from WAITED passes through
//!   the gate before it rings, so it rings either before the swap, which then sees FREE, or after the sleep began.
//!
//! # Orderings
//! | access | order | pairs with |
//! |---|---|---|
//! | take: compare-exchange, swap | Acquire | the Release in `release`: the next writer sees all that the last one wrote |
//! | `release`: swap | Release | the Acquire in take |

use std::ops::Deref;
use sync_base::atomic::{AtomicU32, Ordering};
use sync_base::sync::{Arc, Condvar, Mutex, PoisonError};
use sync_base::{Backoff, Step};

const FREE: u32 = 0;
const HELD: u32 = 1;
const WAITED: u32 = 2;

/// A lock around nothing, held by the one writer.
#[derive(Debug)]
pub struct Turn {
    state: AtomicU32,
    gate: Mutex<()>,
    bell: Condvar,
}

impl Turn {
    sync_base::const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                state: AtomicU32::new(FREE),
                gate: Mutex::new(()),
                bell: Condvar::new(),
            }
        }
    }

    #[must_use]
    fn try_take(&self) -> bool {
        // Acquire: pairs with the Release in `release`. Relaxed on failure: nothing was taken, nothing is read.
        self.state
            .compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    fn take(&self) {
        let mut backoff = Backoff::new();
        while !self.try_take() {
            // A model saves no time by spinning, and would take each round for one more place to switch threads.
            if cfg!(any(loom, shuttle)) || backoff.step() == Step::Park {
                return self.take_asleep();
            }
        }
    }

    #[cold]
    fn take_asleep(&self) {
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        // Acquire: pairs with the Release in `release`.
        while self.state.swap(WAITED, Ordering::Acquire) != FREE {
            gate = self.bell.wait(gate).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn release(&self) {
        // Release: pairs with the Acquire in `try_take` and `take_asleep`; hands over all that this writer wrote.
        if self.state.swap(FREE, Ordering::Release) == WAITED {
            drop(self.gate.lock().unwrap_or_else(PoisonError::into_inner));
            self.bell.notify_one();
        }
    }
}

/// Something that has one writer at a time.
pub trait Taken {
    #[doc(hidden)]
    fn turn(&self) -> &Turn;
}

/// A way to hold on to something with one writer: by reference or by `Arc`. Sealed.
pub trait Hold: Deref<Target: Taken> + sealed::Sealed {}

impl<H: Taken> Hold for &H {}
impl<H: Taken> Hold for Arc<H> {}

mod sealed {
    pub trait Sealed {}
    impl<H> Sealed for &H {}
    impl<H> Sealed for sync_base::sync::Arc<H> {}
}

/// The turn, taken, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Held<P: Hold> {
    holder: P,
}

impl<P: Hold> Held<P> {
    /// Takes the turn if it is free; hands the holder back if not.
    pub(crate) fn try_new(holder: P) -> Result<Self, P> {
        if holder.turn().try_take() {
            Ok(Self { holder })
        } else {
            Err(holder)
        }
    }

    /// Takes the turn, waiting for it: spins a little, yields a little, then sleeps.
    pub(crate) fn new(holder: P) -> Self {
        holder.turn().take();
        Self { holder }
    }

    pub(crate) fn holder(&self) -> &P {
        &self.holder
    }
}

impl<P: Hold> Deref for Held<P> {
    type Target = P::Target;
    #[inline(always)]
    fn deref(&self) -> &P::Target {
        &self.holder
    }
}

impl<P: Hold> Drop for Held<P> {
    fn drop(&mut self) {
        self.holder.turn().release();
    }
}
