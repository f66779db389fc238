//! Where those sleep who wait for a lock, so that who releases it pays one load.
//!
//! # States
//! `asleep` counts who sleeps or is about to, and at which fork they were counted: those of an earlier one are not in this
//! process, and are forgotten. `rings` counts wake-ups.
//!
//! # Invariants
//! - B1: no wake-up is lost. Who releases stores to the lock's word, runs the light barrier, looks at `asleep`. A sleeper
//!   counts itself, runs the heavy barrier, looks at the word. The pair orders as two SeqCst fences do: either the
//!   sleeper sees the release, or this releaser, as every later one, sees the sleeper and rings.
//! - B2: nor is a ring. A sleeper reads `rings` before it looks at the word, and falls asleep only while it is the same,
//!   which the kernel compares. Who reads a ring sees the release before it.
//!
//! # Orderings
//! | access | order | pairs with |
//! |---|---|---|
//! | `asleep`, all | Relaxed | ordered by the two barriers (B1) |
//! | `rings` add, load | Release, Acquire | each other (B2) |

use super::futex::Futex;
use std::time::Duration;
use sync_base::atomic::{AtomicU64, Ordering};
use sync_base::{forks, heavy_barrier, light_barrier};

/// `forks << 32 | sleepers`.
#[derive(Clone, Copy, Debug)]
struct Asleep(u64);

impl Asleep {
    const NOBODY: Self = Self(0);
    const ONE: u64 = 1;

    fn at_this_fork() -> Self {
        Self((forks() as u64) << 32)
    }

    fn is_of_this_fork(self) -> bool {
        self.0 >> 32 == Self::at_this_fork().0 >> 32
    }
}

#[derive(Debug)]
pub(super) struct Bell {
    asleep: AtomicU64,
    rings: Futex,
}

impl Bell {
    sync_base::const_fn! {
        pub(super) fn new() -> Self {
            Self {
                asleep: AtomicU64::new(Asleep::NOBODY.0),
                rings: Futex::new(),
            }
        }
    }

    /// Wakes one sleeper, if there is any. Call it after the release.
    #[inline(always)]
    pub(super) fn ring(&self) {
        // Pairs with the heavy barrier in `listen`; see there.
        light_barrier();
        // Relaxed: B1: ordered after the release by the barrier.
        if self.asleep.load(Ordering::Relaxed) != Asleep::NOBODY.0 {
            self.wake();
        }
    }

    #[cold]
    #[inline(never)]
    fn wake(&self) {
        // Relaxed: a count; whom it counts is ordered by the barriers.
        let asleep = Asleep(self.asleep.load(Ordering::Relaxed));
        if asleep.is_of_this_fork() {
            self.rings.ring();
        } else {
            // Relaxed, both: as above; if somebody has been counted meanwhile, that stands.
            let _ = self.asleep.compare_exchange(
                asleep.0,
                Asleep::NOBODY.0,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
        }
    }

    /// Counts the calling thread as one that sleeps, until the listener is dropped.
    pub(super) fn listen(&self) -> Listener<'_> {
        self.count(|asleep| {
            let standing = if asleep.is_of_this_fork() {
                asleep
            } else {
                Asleep::at_this_fork()
            };
            Some(standing.0 + Asleep::ONE)
        });
        // Pairs with the light barrier in `ring`. First of the two: the releaser will see the count. Second: the look
        // that follows sees the release.
        heavy_barrier();
        Listener(self)
    }

    #[cfg(all(test, not(any(loom, shuttle))))]
    pub(super) fn sleepers(&self) -> u32 {
        // Relaxed: a count.
        self.asleep.load(Ordering::Relaxed) as u32
    }

    fn count(&self, mut change: impl FnMut(Asleep) -> Option<u64>) {
        // Relaxed, both: B1.
        let _ = self
            .asleep
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |asleep| {
                change(Asleep(asleep))
            });
    }
}

/// A thread that sleeps between looks at the lock.
#[derive(Debug)]
pub(super) struct Listener<'a>(&'a Bell);

impl Listener<'_> {
    /// Looks, then sleeps until the bell rings or `nap` is over, unless it has rung since before the look.
    pub(super) fn look_or_sleep<R>(&self, look: impl FnOnce() -> Look<R>) -> Option<R> {
        let rings = self.0.rings.heard();
        match look() {
            Look::Done(result) => return Some(result),
            Look::Again => {}
            Look::Sleep(nap) => self.0.rings.sleep(rings, nap),
        }
        None
    }
}

impl Drop for Listener<'_> {
    fn drop(&mut self) {
        self.0.count(|asleep| {
            (asleep.is_of_this_fork() && asleep.0 as u32 > 0).then(|| match asleep.0 - Asleep::ONE {
                // Nobody is left: at any fork that is zero.
                left if left as u32 == 0 => Asleep::NOBODY.0,
                left => left,
            })
        });
    }
}

/// What a look at the lock has shown.
#[derive(Debug)]
pub(super) enum Look<R> {
    Done(R),
    /// It has changed: look once more.
    Again,
    /// Held, and to be looked at again after so long if nobody rings.
    Sleep(Duration),
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    fn asleep(bell: &Bell) -> u64 {
        // Relaxed: one thread.
        bell.asleep.load(Ordering::Relaxed)
    }

    #[test]
    fn sleepers_are_counted_and_leave_nothing_behind() {
        let bell = Bell::new();
        let first = bell.listen();
        let second = bell.listen();
        assert_eq!(asleep(&bell) as u32, 2);
        drop(first);
        assert_eq!(asleep(&bell) as u32, 1);
        drop(second);
        assert_eq!(asleep(&bell), 0, "a release looks at the whole word");
    }

    #[test]
    fn sleepers_that_a_fork_left_behind_are_forgotten() {
        let bell = Bell::new();
        let earlier = 3 | (forks() as u64 + 5) << 32;
        // Relaxed: one thread.
        bell.asleep.store(earlier, Ordering::Relaxed);
        bell.ring();
        assert_eq!(
            asleep(&bell),
            0,
            "or every release would make a system call for ever"
        );
        // Relaxed: one thread.
        bell.asleep.store(earlier, Ordering::Relaxed);
        let one = bell.listen();
        assert_eq!(asleep(&bell) as u32, 1);
        drop(one);
        assert_eq!(asleep(&bell), 0);
    }

    #[test]
    fn who_heard_fewer_rings_than_there_are_does_not_sleep() {
        let bell = Bell::new();
        let listener = bell.listen();
        let slept = listener.look_or_sleep(|| {
            bell.ring();
            Look::<()>::Sleep(Duration::MAX)
        });
        assert!(slept.is_none());
        assert_eq!(listener.look_or_sleep(|| Look::Done(1)), Some(1));
    }
}
