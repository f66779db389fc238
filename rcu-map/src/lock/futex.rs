//! A count of rings that threads sleep on: the kernel's, since a lock of the library could stay locked in the child of
//! a fork.

use std::time::Duration;
use sync_base::atomic::{AtomicU32, Ordering};

#[derive(Debug)]
pub(super) struct Futex {
    rings: AtomicU32,
    bed: Bed,
}

impl Futex {
    sync_base::const_fn! {
        pub(super) fn new() -> Self {
            Self {
                rings: AtomicU32::new(0),
                bed: Bed::new(),
            }
        }
    }

    /// The rings so far.
    pub(super) fn heard(&self) -> u32 {
        // Acquire: pairs with the Release in `ring`; the release that was rung for.
        // weaken-ok(Acquire->Relaxed): under loom the exchange that follows reads the newest word also where it fails.
        self.rings.load(Ordering::Acquire)
    }

    /// Counts a ring and wakes one sleeper.
    pub(super) fn ring(&self) {
        // Release: pairs with the Acquire in `heard`; the lock's release comes before.
        // weaken-ok(Release->Relaxed): as in `heard`.
        self.rings.fetch_add(1, Ordering::Release);
        self.bed.wake(&self.rings);
    }

    /// Sleeps until a ring or until `nap` is over; not at all if there were more than `heard`. May wake without reason.
    pub(super) fn sleep(&self, heard: u32, nap: Duration) {
        self.bed.sleep(&self.rings, heard, nap);
    }
}

#[cfg(not(any(loom, shuttle)))]
mod shipped {
    use super::{AtomicU32, Duration};
    use std::ptr;

    #[derive(Debug)]
    pub(super) struct Bed;

    impl Bed {
        pub(super) const fn new() -> Self {
            Self
        }

        pub(super) fn sleep(&self, word: &AtomicU32, expected: u32, nap: Duration) {
            let time = libc::timespec {
                tv_sec: nap.as_secs() as libc::time_t,
                tv_nsec: libc::c_long::from(nap.subsec_nanos()),
            };
            // SAFETY: the kernel reads the word and the time, which live until the call returns, and writes nothing.
            // Whatever it answers, the caller looks again.
            unsafe {
                libc::syscall(
                    libc::SYS_futex,
                    word.as_ptr(),
                    libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
                    expected,
                    &raw const time,
                );
            }
        }

        pub(super) fn wake(&self, word: &AtomicU32) {
            // SAFETY: the kernel takes the word's address as a name and touches no memory.
            unsafe {
                libc::syscall(
                    libc::SYS_futex,
                    word.as_ptr(),
                    libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
                    1,
                    ptr::null::<libc::timespec>(),
                );
            }
        }
    }
}

#[cfg(any(loom, shuttle))]
mod shipped {
    //! What the kernel does: the comparison and the falling asleep are one step for who wakes. Nobody wakes by the clock.
    use super::{AtomicU32, Duration, Ordering};
    use sync_base::sync::{Condvar, Mutex, PoisonError};

    #[derive(Debug)]
    pub(super) struct Bed(Mutex<()>, Condvar);

    impl Bed {
        pub(super) fn new() -> Self {
            Self(Mutex::new(()), Condvar::new())
        }

        pub(super) fn sleep(&self, word: &AtomicU32, expected: u32, _nap: Duration) {
            let guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Relaxed: a ring comes before the waker's turn at the lock.
            if word.load(Ordering::Relaxed) == expected {
                drop(self.1.wait(guard));
            }
        }

        pub(super) fn wake(&self, _word: &AtomicU32) {
            drop(self.0.lock());
            self.1.notify_one();
        }
    }
}

use shipped::Bed;
