//! Where one side of a queue sleeps until the other side has done something.
//!
//! # States
//! `asleep` is false, or true when somebody sleeps or is about to. Sleepers set it, ringers clear it, both under the
//! lock.
//!
//! # Invariants
//! - G1: no lost wake-up. A ringer publishes, runs the light barrier, looks at `asleep`. A sleeper sets `asleep`, runs the
//!   heavy barrier, looks at the queue. The pair orders as two SeqCst fences do, so one of them comes first: if the
//!   ringer's, the sleeper sees what was published and does not sleep; if the sleeper's, the ringer sees `asleep` and
//!   rings. The ringer runs at every push and pop, the sleeper before a system call: hence light here, heavy there.
//! - G2: the ring itself is not lost either: a sleeper looks and falls asleep under the lock, and the ringer takes the
//!   lock between publishing and ringing.
//! - G3: a ringer clears `asleep` and wakes everybody, and whoever goes back to sleep sets it again: nobody sleeps while
//!   it is false and a ring is yet to come.
//!
//! # Orderings
//! | access | order | pairs with |
//! |---|---|---|
//! | `asleep`, both sides | Relaxed | ordered by the two barriers (G1) or by the lock |
//! | light barrier in `ring` | between publication and look | the heavy barrier in `sleep` |
//! | heavy barrier in `sleep` | between `asleep` and look | the light barrier in `ring` |

use crate::atomic::{AtomicBool, Ordering};
use crate::barrier::mode;
use crate::sync::{Condvar, Mutex, PoisonError};
use crate::{Backoff, Step, heavy_barrier, light_barrier};

#[derive(Debug)]
pub(super) struct Gate {
    asleep: AtomicBool,
    lock: Mutex<()>,
    bell: Condvar,
}

impl Gate {
    pub(super) fn new() -> Self {
        // Asked here, once: until somebody asks, `light_barrier` is a full fence, and a queue whose ends only poll never
        // reaches the heavy side that would.
        mode();
        Self {
            asleep: AtomicBool::new(false),
            lock: Mutex::new(()),
            bell: Condvar::new(),
        }
    }

    /// Waits until `look` gives something: spins, yields, sleeps. `look` runs under this gate's lock in the end, so it
    /// must not ring any gate.
    pub(super) fn wait<R>(&self, mut look: impl FnMut() -> Option<R>) -> R {
        let mut backoff = Backoff::new();
        loop {
            if let Some(result) = look() {
                return result;
            }
            // A model saves no time by spinning, and would take each round for one more place to switch threads.
            if cfg!(any(loom, shuttle)) || backoff.step() == Step::Park {
                return self.sleep(look);
            }
        }
    }

    #[cold]
    fn sleep<R>(&self, mut look: impl FnMut() -> Option<R>) -> R {
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            // Relaxed: G1: ordered before the look by the barrier.
            self.asleep.store(true, Ordering::Relaxed);
            // Pairs with the light barrier in `ring`. First of the two: the ringer will see `asleep`. Second: the look
            // below sees what the ringer published.
            heavy_barrier();
            if let Some(result) = look() {
                return result;
            }
            guard = self.bell.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Wakes whoever sleeps. Call it after publishing what they wait for.
    #[inline]
    pub(super) fn ring(&self) {
        // Pairs with the heavy barrier in `sleep`; see there.
        light_barrier();
        // Relaxed: G1: ordered after the publication by the barrier.
        if self.asleep.load(Ordering::Relaxed) {
            self.wake();
        }
    }

    #[cold]
    fn wake(&self) {
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        // Relaxed: G3: under the lock.
        self.asleep.store(false, Ordering::Relaxed);
        drop(guard);
        self.bell.notify_all();
    }
}
