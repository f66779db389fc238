//! A writers' lock that turns a wait that could never end into a panic: a thread's for itself, in the child of a fork one
//! for a thread that the child does not have, and one of several threads, each in user code under one map's lock, for each
//! other.
//!
//! Readers never touch it. User code that runs under it is little (`Eq`, and in a snapshot map `Clone` and the batch
//! closure), but that little may call back into the same map or into another: `std`'s mutex would deadlock without a word.
//! Whoever has several locks asks [`holds_any`] and [`Lock::is_mine`] before it takes another.
//!
//! A panic under the lock does not poison it: each holder publishes by a single store at the end, so whatever a panic
//! interrupts has changed nothing that others see.
//!
//! # States
//! The word is zero, or names its [`Holder`]. Moves: free -> held, by whoever succeeds; held -> free, by the holder; held
//! since before a fork -> the same, given up, by a waiter.
//!
//! # Invariants
//! - L1: the word names the thread that touches the value, and no other touches it.
//! - L2: a wait for a word of an earlier fork ends. Its holder is absent unless it is the thread that forked, from under
//!   the lock: so after [`LOOKS`] looks it is given up and the waiter panics, and so does every later one at once, until
//!   the holder releases it after all.
//! - L3: a thread that holds a lock and waits for another is in the book of [`crossing`], so that the last of a ring of
//!   such threads finds the ring closed, and panics.
//! - L4: taking and releasing a lock for which nobody waits is one locked instruction: the release is a plain store, and
//!   the barrier between it and the look for sleepers is paid by the sleeper ([`bell`]).
//!
//! # Orderings
//! | access | order | pairs with |
//! |---|---|---|
//! | `word` exchange in `try_take` | Acquire | the Release of the holder before: what it wrote |
//! | `word` store at release | Release | the Acquire above |
//! | `word` load while waiting | Relaxed | names a thread; publishes nothing |

mod bell;
mod crossing;
mod futex;
mod holder;

use bell::{Bell, Look};
use holder::Holder;
pub(crate) use holder::holds_any;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::panic::RefUnwindSafe;
use std::time::Duration;
use sync_base::atomic::{AtomicU64, Ordering};
use sync_base::cell::UnsafeCell;
use sync_base::{Backoff, Step};

/// Looks at a word of an earlier fork, some quarter of a second: long for a thread that is about to leave, and short for
/// one that waits.
const LOOKS: u32 = 250;
const NAP: Duration = Duration::from_millis(1);
/// Between looks at a lock whose holder will ring.
const LONG: Duration = Duration::from_secs(1);

/// A mutex that knows its holder.
#[derive(Debug)]
pub(crate) struct Lock<T> {
    word: AtomicU64,
    bell: Bell,
    value: UnsafeCell<T>,
}

// SAFETY: L1: the value is reached by one thread at a time, and moves between threads with the lock.
unsafe impl<T: Send> Sync for Lock<T> {}
/// No panic leaves it poisoned: see above.
impl<T> RefUnwindSafe for Lock<T> {}

impl<T> Lock<T> {
    sync_base::const_fn! {
        pub(crate) fn new(value: T) -> Self {
            Self {
                word: AtomicU64::new(Holder::NOBODY.0),
                bell: Bell::new(),
                value: UnsafeCell::new(value),
            }
        }
    }

    /// The value of a lock that nobody else can reach.
    pub(crate) fn get_mut(&mut self) -> &mut T {
        // SAFETY: `&mut self`.
        self.value.with_mut(|value| unsafe { &mut *value })
    }

    fn holder(&self) -> Holder {
        // Relaxed: it names a thread. A thread sees its own stores, and another's name decides nothing alone.
        Holder(self.word.load(Ordering::Relaxed))
    }

    /// Whether this thread holds it.
    #[inline]
    pub(crate) fn is_mine(&self) -> bool {
        self.holder().is_me()
    }

    /// Takes the lock; parks while another thread holds it.
    ///
    /// # Panics
    /// When this thread holds it already; when it holds another lock, whose release the present holder waits for; in the
    /// child of a fork, when it was held at the fork and does not come free.
    #[inline]
    pub(crate) fn lock(&self) -> Locked<'_, T> {
        let me = Holder::me();
        if !self.try_take(me) {
            self.wait(me, holds_any());
        }
        Locked::new(self)
    }

    /// As [`lock`](Self::lock), for one that is held for moments, by a holder that waits for nothing.
    fn lock_alone(&self) -> Locked<'_, T> {
        let me = Holder::me();
        if !self.try_take(me) {
            self.wait(me, false);
        }
        Locked::new(self)
    }

    #[inline(always)]
    fn try_take(&self, me: Holder) -> bool {
        // Acquire: pairs with the Release in `Locked::drop`; what the holder before did. Relaxed on failure: nothing is
        // taken.
        self.word
            .compare_exchange(Holder::NOBODY.0, me.0, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    /// Panics as [`lock`](Self::lock) would if, in the child of a fork, an absent thread holds it.
    #[inline]
    pub(crate) fn require(&self) {
        if self.holder().is_older() {
            drop(self.lock());
        }
    }

    #[cold]
    #[inline(never)]
    fn wait(&self, me: Holder, is_crossing: bool) {
        if self.is_mine() {
            reentered();
        }
        let mut backoff = Backoff::new();
        // A model saves no time by spinning, and would take each round for one more place to switch threads.
        while !cfg!(any(loom, shuttle)) && backoff.step() != Step::Park {
            if self.holder() == Holder::NOBODY && self.try_take(me) {
                return;
            }
        }
        let _crossing = is_crossing.then(|| crossing::enter(me, &self.word));
        let listener = self.bell.listen();
        let mut looks = 0;
        while listener.look_or_sleep(|| self.look(me, &mut looks)).is_none() {}
    }

    fn look(&self, me: Holder, looks: &mut u32) -> Look<()> {
        if self.try_take(me) {
            return Look::Done(());
        }
        let holder = self.holder();
        if !holder.is_older() {
            return Look::Sleep(LONG);
        }
        if holder.is_given_up() {
            abandoned();
        }
        if *looks < LOOKS {
            *looks += 1;
            return Look::Sleep(NAP);
        }
        // Relaxed, both: the word still names the same thread; if that has left meanwhile, that stands.
        let _ = self.word.compare_exchange(
            holder.0,
            holder.given_up().0,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        Look::Again
    }
}

#[cold]
#[inline(never)]
pub(crate) fn reentered() -> ! {
    panic!(
        "a write or a snapshot from inside user code that runs under the same map's write lock (an `Eq`, a `Clone` or \
         a batch closure): it would wait for itself for ever. Do it after that call has returned"
    )
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

/// The lock, held.
#[derive(Debug)]
pub(crate) struct Locked<'a, T> {
    lock: &'a Lock<T>,
    /// Released by the thread that took it.
    here: PhantomData<*const ()>,
}

impl<'a, T> Locked<'a, T> {
    #[inline(always)]
    fn new(lock: &'a Lock<T>) -> Self {
        // Nothing, but that a model sees a hand-over that is not ordered.
        lock.value.with_mut(|_| ());
        holder::took();
        Self {
            lock,
            here: PhantomData,
        }
    }
}

impl<T> Drop for Locked<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        holder::released();
        // Release: pairs with the Acquire in `try_take`; all that was done under the lock.
        self.lock.word.store(Holder::NOBODY.0, Ordering::Release);
        self.lock.bell.ring();
    }
}

impl<T> Deref for Locked<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: L1: held by this thread.
        self.lock.value.with(|value| unsafe { &*value })
    }
}

impl<T> DerefMut for Locked<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: L1: held by this thread, and borrowed exclusively.
        self.lock.value.with_mut(|value| unsafe { &mut *value })
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "would wait for itself")]
    fn taking_it_twice_on_one_thread_panics_instead_of_hanging() {
        let lock = Lock::new(0);
        let _held = lock.lock();
        let _twice = lock.lock();
    }

    #[test]
    fn a_panic_under_the_lock_leaves_it_usable() {
        let lock = Lock::new(0);
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut held = lock.lock();
            *held = 1;
            panic!("user code");
        }));
        assert!(panicked.is_err());
        assert_eq!(*lock.lock(), 1);
    }

    #[test]
    fn who_waits_for_a_held_lock_gets_it() {
        let lock = Lock::new(0u32);
        let held = lock.lock();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        *lock.lock() += 1;
                    }
                });
            }
            // Until somebody sleeps for it.
            while lock.bell.sleepers() == 0 {
                std::thread::yield_now();
            }
            drop(held);
        });
        assert_eq!((*lock.lock(), lock.bell.sleepers()), (4_000, 0));
    }

    #[test]
    fn threads_that_wait_for_each_others_locks_panic_but_one() {
        let locks = [Lock::new(()), Lock::new(()), Lock::new(())];
        let ready = std::sync::Barrier::new(locks.len());
        let ended = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..locks.len())
                .map(|at| {
                    let (locks, ready) = (&locks, &ready);
                    scope.spawn(move || {
                        let _mine = locks[at].lock();
                        ready.wait();
                        drop(locks[(at + 1) % locks.len()].lock());
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().is_ok())
                .collect::<Vec<_>>()
        });
        assert_eq!(
            ended.iter().filter(|ok| !**ok).count(),
            1,
            "one gives way: {ended:?}"
        );
    }

    #[test]
    fn a_chain_of_waits_that_is_no_ring_is_waited_for() {
        let locks = [Lock::new(()), Lock::new(()), Lock::new(())];
        let ready = std::sync::Barrier::new(2);
        let last = locks[2].lock();
        std::thread::scope(|scope| {
            for at in 0..2 {
                let (locks, ready) = (&locks, &ready);
                scope.spawn(move || {
                    let _mine = locks[at].lock();
                    ready.wait();
                    drop(locks[at + 1].lock());
                });
            }
            while locks[1].bell.sleepers() + locks[2].bell.sleepers() < 2 {
                std::thread::yield_now();
            }
            drop(last);
        });
    }
}
