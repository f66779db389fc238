//! Locks that a fork copied while they were held: in the child nobody is there to release them.
//!
//! # States
//! A lock remembers how often the process had forked when it was last taken. In the child, a lock that was not taken since
//! the fork is *older*: who holds it is absent, unless it is the thread that forked, from under the lock. Once a thread of
//! the child has taken it, it is as any other.
//!
//! # Invariants
//! - A1: a wait for an older lock ends: after [`LOOKS`] looks, each after a millisecond's sleep, it panics, and so does
//!   every later one at its first look, until somebody takes the lock after all.
//! - A2: `taken` changes only in the hands of a holder, so a lock that is held for ever stays older.

#[cfg(not(any(loom, shuttle)))]
mod shipped {
    use std::time::Duration;
    use sync_base::atomic::{AtomicUsize, Ordering};

    /// Some quarter of a second: long for a thread that is about to leave, and short for one that waits.
    const LOOKS: u32 = 250;
    const NAP: Duration = Duration::from_millis(1);
    /// Set in `taken` when waiters have given up.
    const GIVEN_UP: usize = usize::MAX;

    /// At which fork a lock was last taken.
    #[derive(Debug)]
    pub(crate) struct Taken(AtomicUsize);

    impl Taken {
        pub(crate) fn new() -> Self {
            Self(AtomicUsize::new(sync_base::forks()))
        }

        /// By the holder.
        #[inline]
        pub(crate) fn mark(&self) {
            let now = sync_base::forks();
            // Relaxed, both: a number that publishes nothing; a stale one costs a look.
            if self.0.load(Ordering::Relaxed) != now {
                self.0.store(now, Ordering::Relaxed);
            }
        }

        /// Whether it was last taken before a fork, or, in the child, is still held since.
        #[inline]
        pub(crate) fn is_older(&self) -> bool {
            // Relaxed: as in `mark`.
            self.0.load(Ordering::Relaxed) != sync_base::forks()
        }

        /// Waits for a lock that was last taken before a fork; gives nothing if it is not such a lock.
        pub(crate) fn wait_if_older<G>(&self, try_lock: impl Fn() -> Option<G>) -> Option<G> {
            for look in 0..=LOOKS {
                // Relaxed: as in `mark`.
                let taken = self.0.load(Ordering::Relaxed);
                if taken == sync_base::forks() {
                    return None;
                }
                if let Some(guard) = try_lock() {
                    return Some(guard);
                }
                if taken == GIVEN_UP {
                    break;
                }
                if look < LOOKS {
                    std::thread::sleep(NAP);
                } else {
                    // Relaxed, both: as in `mark`; if a holder has marked it meanwhile, that stands.
                    let _ = self
                        .0
                        .compare_exchange(taken, GIVEN_UP, Ordering::Relaxed, Ordering::Relaxed);
                }
            }
            abandoned()
        }
    }

    #[cold]
    #[inline(never)]
    fn abandoned() -> ! {
        panic!(
            "a write in a forked child to a map that another thread was writing when the process was forked: that thread \
             does not exist here and will never release the map's lock. Fork while no other thread writes, or let the \
             child build a map of its own; reading this one goes on working"
        )
    }
}

#[cfg(any(loom, shuttle))]
mod shipped {
    /// Nothing forks in a model.
    #[derive(Debug)]
    pub(crate) struct Taken;

    impl Taken {
        pub(crate) fn new() -> Self {
            Self
        }

        pub(crate) fn mark(&self) {}

        pub(crate) fn is_older(&self) -> bool {
            false
        }

        pub(crate) fn wait_if_older<G>(&self, _try_lock: impl Fn() -> Option<G>) -> Option<G> {
            None
        }
    }
}

pub(crate) use shipped::*;
