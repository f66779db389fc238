//! A writers' lock that turns a thread's attempt to take it twice into a panic.
//!
//! Readers never touch it. User code that runs under it is little (`Eq`, and in a snapshot map `Clone` and the batch
//! closure), but that little may call back into the same map: `std`'s mutex would deadlock without a word.
//!
//! A panic under the lock does not poison it: each holder publishes by a single store at the end, so whatever a panic
//! interrupts has changed nothing that others see.

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
    inner: Mutex<T>,
}

sync_base::thread_local! {
    static TOKEN: Cell<usize> = const { Cell::new(0) };
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

impl<T> Lock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            holder: AtomicUsize::new(0),
            inner: Mutex::new(value),
        }
    }

    /// Takes the lock; parks while another thread holds it.
    ///
    /// # Panics
    /// When this thread holds it already.
    #[inline]
    pub(crate) fn lock(&self) -> Locked<'_, T> {
        let me = token();
        // Relaxed: only a thread's own token concerns it, and a thread sees its own stores.
        if self.holder.load(Ordering::Relaxed) == me {
            reentered();
        }
        // Tried first: a model makes whoever may wait run a full barrier, as a context switch does, and would so hide
        // what an uncontended lock does not order.
        let guard = match self.inner.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => self.inner.lock().unwrap_or_else(PoisonError::into_inner),
        };
        // Relaxed: read for equality with the reader's own token, see above.
        self.holder.store(me, Ordering::Relaxed);
        Locked { lock: self, guard }
    }
}

#[cold]
#[inline(never)]
fn reentered() -> ! {
    panic!(
        "a write from inside user code that runs under the same map's write lock (an `Eq`, a `Clone` or a batch \
         closure): it would wait for itself for ever. Write after that call has returned"
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
