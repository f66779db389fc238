//! A heap value that the first thread to need it makes.
//!
//! Unlike `OnceLock` it never blocks: threads that race each make one, and all but the first throw theirs away.

use std::ptr;
use sync_base::atomic::{AtomicPtr, Ordering};

#[derive(Debug)]
pub(crate) struct MadeOnce<T>(AtomicPtr<T>);

// SAFETY: a shared reference gives out `&T` and may drop a `T` made on another thread.
unsafe impl<T: Send + Sync> Sync for MadeOnce<T> {}

impl<T> MadeOnce<T> {
    sync_base::const_fn! {
        pub(crate) fn new() -> Self {
            Self(AtomicPtr::new(ptr::null_mut()))
        }
    }

    /// The value, if it was made. Wait-free.
    #[inline]
    pub(crate) fn get(&self) -> Option<&T> {
        // Acquire: pairs with the Release in `get_or_make`; the value.
        let made = self.0.load(Ordering::Acquire);
        // SAFETY: once set, the pointer stays until `self` is dropped.
        unsafe { made.as_ref() }
    }

    /// The value, made now if it was not. Lock-free.
    pub(crate) fn get_or_make(&self, make: impl FnOnce() -> T) -> &T {
        if let Some(made) = self.get() {
            return made;
        }
        let mine = Box::into_raw(Box::new(make()));
        // Release: pairs with the Acquire in `get` and below; publishes the value. Acquire on failure: pairs with the
        // same Release of whoever came first.
        match self
            .0
            .compare_exchange(ptr::null_mut(), mine, Ordering::Release, Ordering::Acquire)
        {
            // SAFETY: set now, so it stays until `self` is dropped.
            Ok(_) => unsafe { &*mine },
            Err(theirs) => {
                // SAFETY: made above and never shared.
                drop(unsafe { Box::from_raw(mine) });
                // SAFETY: not null, or the exchange had succeeded; it stays until `self` is dropped.
                unsafe { &*theirs }
            }
        }
    }
}

impl<T> Drop for MadeOnce<T> {
    fn drop(&mut self) {
        // Relaxed: `&mut self` means that this thread has synchronised with every other user.
        let made = self.0.load(Ordering::Relaxed);
        if !made.is_null() {
            // SAFETY: made by `Box::into_raw`, set once, dropped here once.
            drop(unsafe { Box::from_raw(made) });
        }
    }
}
