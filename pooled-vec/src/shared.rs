//! A counted value that is copied by whoever writes to it while others hold it.
//!
//! # States
//! `count` is the number of handles. *Sole* is a count of one seen through the only handle: nobody can make it more,
//! since a handle is only ever cloned from a handle. *Shared* is anything above.
//!
//! # Invariants
//! - W1: a value is written only while sole, through the one handle, or before it is published by a first clone.
//! - W2: a value is freed by the handle whose decrement found a count of one, after every other handle's last use.
//!
//! # Orderings
//! | access | order | pairs with |
//! |---|---|---|
//! | `clone` fetch-add | Relaxed | nothing: the handle cloned from keeps the value alive |
//! | `drop` fetch-sub | Release | the Acquire load of the last drop, and the Acquire in `is_sole` |
//! | load of the last drop | Acquire | the Release of every other drop: their reads come before the free |
//! | `is_sole` load | Acquire | the Release of the drops that left this handle alone: their reads come before the write |
//!
//! There are no weak handles, so a count of one needs no lock to be believed.

use std::ptr::NonNull;
use sync_base::atomic::{AtomicUsize, Ordering};
use sync_base::cell::UnsafeCell;

/// A handle on a counted value.
pub(crate) struct Shared<T> {
    inner: NonNull<Inner<T>>,
}

struct Inner<T> {
    count: AtomicUsize,
    value: UnsafeCell<T>,
}

// SAFETY: handles on several threads read the value at once (`T: Sync`), and any of them may be the one that frees it or
// writes it (`T: Send`).
unsafe impl<T: Send + Sync> Send for Shared<T> {}
// SAFETY: as above: a `&Shared` clones and reads.
unsafe impl<T: Send + Sync> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub(crate) fn new(value: T) -> Self {
        let inner = Box::new(Inner {
            count: AtomicUsize::new(1),
            value: UnsafeCell::new(value),
        });
        Self {
            inner: NonNull::from(Box::leak(inner)),
        }
    }

    fn inner(&self) -> &Inner<T> {
        // SAFETY: W2: alive while this handle is.
        unsafe { self.inner.as_ref() }
    }

    /// Reads the value.
    #[inline]
    pub(crate) fn read<R>(&self, f: impl FnOnce(&T) -> R) -> R {
        // SAFETY: W1: nobody writes while this handle is borrowed: a writer is sole, or writes to its own copy.
        self.inner().value.with(|value| f(unsafe { &*value }))
    }

    /// Whether this is the only handle, which then stays so as long as it is borrowed mutably.
    pub(crate) fn is_sole(&self) -> bool {
        // Acquire: pairs with the Release in `drop`; every other handle's reads come before what is written now.
        self.inner().count.load(Ordering::Acquire) == 1
    }

    /// Writes to the value, to a copy of its own where others hold it. Says whether it copied.
    #[inline]
    pub(crate) fn write<R>(&mut self, f: impl FnOnce(&mut T) -> R) -> (R, bool)
    where
        T: Clone,
    {
        let copied = !self.is_sole();
        if copied {
            // The old value is let go only when the copy is whole.
            *self = Self::new(self.read(T::clone));
        }
        // SAFETY: W1: sole, seen above or just made, and borrowed mutably.
        let result = self.inner().value.with_mut(|value| f(unsafe { &mut *value }));
        (result, copied)
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        // Relaxed: the handle cloned from keeps the value alive, and whoever receives the clone receives it in order.
        let before = self.inner().count.fetch_add(1, Ordering::Relaxed);
        if before > isize::MAX as usize {
            std::process::abort(); // Handles leaked by the billion: going on would free the value in use.
        }
        Self { inner: self.inner }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // Release: pairs with the Acquire load below and the Acquire in `is_sole`; this handle's reads are over.
        if self.inner().count.fetch_sub(1, Ordering::Release) == 1 {
            // Acquire: pairs with the Release of every other handle's drop. Without it, a read of another thread's could
            // still be under way, by what this thread knows, when the value is freed. A load and not a fence, since the
            // thread sanitizer knows no fences.
            self.inner().count.load(Ordering::Acquire);
            // Freeing is a write of the value: said here, a model sees it race with a read that is not over.
            self.inner().value.with_mut(|_| ());
            // SAFETY: W2: the last handle.
            drop(unsafe { Box::from_raw(self.inner.as_ptr()) });
        }
    }
}
