//! A writers' lock that turns a wait that could never end into a panic: a thread's for itself, and, in the child of a fork,
//! one for a thread that the child does not have.
//!
//! Readers never touch it. User code that runs under it is little (`Eq`, and in a snapshot map `Clone` and the batch
//! closure), but that little may call back into the same map: `std`'s mutex would deadlock without a word. It may do so
//! by another of the map's locks, which would wait for itself only if another thread did the same the other way round:
//! whoever has several locks asks [`holds_any`] and [`Lock::is_mine`] first.
//!
//! A panic under the lock does not poison it: each holder publishes by a single store at the end, so whatever a panic
//! interrupts has changed nothing that others see.

mod absent;

use absent::Taken;
use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::sync::TryLockError;
use sync_base::atomic::{AtomicUsize, Ordering};
use sync_base::sync::{Mutex, MutexGuard, PoisonError};

/// A mutex that knows its holder.
#[derive(Debug)]
pub(crate) struct Lock<T> {
    /// The holder's token, or zero.
    holder: AtomicUsize,
    taken: Taken,
    inner: Mutex<T>,
}

sync_base::thread_local! {
    static TOKEN: Cell<usize> = const { Cell::new(0) };
    /// Locks that this thread holds.
    static HELD: Cell<usize> = const { Cell::new(0) };
}
sync_base::global! { static TOKENS: AtomicUsize = AtomicUsize::new(1); }

/// A number that no other thread has or had. An address would be reused by a later thread, which could then read its own
/// token in a stale `holder`.
#[inline]
fn token() -> usize {
    TOKEN.with(|token| {
        if token.get() == 0 {
            // Relaxed: a number given out once; publishes nothing.
            token.set(TOKENS.fetch_add(1, Ordering::Relaxed));
        }
        token.get()
    })
}

/// Whether this thread holds a lock of any map: it runs user code under it, or takes several.
#[inline]
pub(crate) fn holds_any() -> bool {
    HELD.with(Cell::get) != 0
}

impl<T> Lock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            holder: AtomicUsize::new(0),
            taken: Taken::new(),
            inner: Mutex::new(value),
        }
    }

    /// Whether this thread holds it.
    #[inline]
    pub(crate) fn is_mine(&self) -> bool {
        // Relaxed: only a thread's own token concerns it, and a thread sees its own stores.
        self.holder.load(Ordering::Relaxed) == token()
    }

    /// Takes the lock; parks while another thread holds it.
    ///
    /// # Panics
    /// When this thread holds it already; in the child of a fork, when it was held at the fork and does not come free.
    #[inline]
    pub(crate) fn lock(&self) -> Locked<'_, T> {
        if self.is_mine() {
            reentered();
        }
        // Tried first: a model makes whoever may wait run a full barrier, as a context switch does, and would so hide
        // what an uncontended lock does not order.
        let guard = self.try_inner().unwrap_or_else(|| self.wait());
        self.taken.mark();
        // Relaxed: read for equality with the reader's own token, see above.
        self.holder.store(token(), Ordering::Relaxed);
        HELD.with(|held| held.set(held.get() + 1));
        Locked { lock: self, guard }
    }

    /// Panics as [`lock`](Self::lock) would if, in the child of a fork, an absent thread holds it.
    #[inline]
    pub(crate) fn require(&self) {
        if self.taken.is_older() {
            drop(self.lock());
        }
    }

    #[inline]
    fn try_inner(&self) -> Option<MutexGuard<'_, T>> {
        match self.inner.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    #[cold]
    fn wait(&self) -> MutexGuard<'_, T> {
        if let Some(guard) = self.taken.wait_if_older(|| self.try_inner()) {
            return guard;
        }
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
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

/// The lock, held.
#[derive(Debug)]
pub(crate) struct Locked<'a, T> {
    lock: &'a Lock<T>,
    guard: MutexGuard<'a, T>,
}

impl<T> Drop for Locked<'_, T> {
    fn drop(&mut self) {
        // Relaxed: the mutex is released after this, by the field's own drop, and publishes everything.
        self.lock.holder.store(0, Ordering::Relaxed);
        HELD.with(|held| held.set(held.get() - 1));
    }
}

impl<T> Deref for Locked<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for Locked<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
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
}
