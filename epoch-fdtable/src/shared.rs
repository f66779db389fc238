//! A counted handle to a value that is, or was, in a table.

use crate::ending::End;
use crate::entry::Body;
use crate::reclaim::Reclaim;
use crate::removed::{Closed, Removed};
use crate::sever::Sever;
use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr::{self, NonNull};

/// Keeps a value alive past its descriptor, as an open file description outlives `close` while somebody holds it.
///
/// Dropping the last handle of a value that no descriptor names leaves the value to the next collection; a real descriptor is
/// closed by it, as by [`close`](Self::close). Cloning and dropping touch a shared count: on a hot path borrow through [`Pinned::get`](crate::Pinned::get) instead.
pub struct Shared<T: Send + Sync + 'static, R: Reclaim> {
    body: NonNull<Body<T>>,
    reclaim: R,
    end: End<T>,
}

// SAFETY: a `Shared` gives `&T` on whichever thread has it and may drop the `T` there, so `T: Send + Sync`.
unsafe impl<T: Send + Sync, R: Reclaim> Send for Shared<T, R> {}
// SAFETY: as above; `&Shared` gives a clone.
unsafe impl<T: Send + Sync, R: Reclaim> Sync for Shared<T, R> {}

impl<T: Send + Sync + 'static, R: Reclaim> Shared<T, R> {
    /// Takes over a reference that the caller holds.
    pub(crate) fn from_reference(body: NonNull<Body<T>>, reclaim: R, end: End<T>) -> Self {
        Self { body, reclaim, end }
    }

    /// Gives the reference back out.
    pub(crate) fn into_reference(self) -> NonNull<Body<T>> {
        let body = self.body;
        let this = ManuallyDrop::new(self);
        // SAFETY: `this` is not used again: the backend is dropped once, and the reference not at all.
        drop(unsafe { ptr::read(&this.reclaim) });
        body
    }

    /// The reference, still ours.
    fn body(&self) -> &Body<T> {
        // SAFETY: our reference keeps the body.
        unsafe { self.body.as_ref() }
    }

    /// Gives it up and ends the value promptly if it was the last; see [`FdTable::close`](crate::FdTable::close).
    pub fn close(self) -> Closed
    where
        T: Sever,
    {
        let (reclaim, end) = (self.reclaim.clone(), self.end);
        Removed::from_reference(self.into_reference(), &reclaim, end).close()
    }

    /// Says whether both are handles to one value.
    pub fn ptr_eq(&self, other: &Self) -> bool {
        self.body == other.body
    }
}

impl<T: Send + Sync + 'static, R: Reclaim> Deref for Shared<T, R> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.body().value
    }
}

impl<T: Send + Sync + 'static, R: Reclaim> Clone for Shared<T, R> {
    fn clone(&self) -> Self {
        let live = self.body().acquire();
        assert!(live, "a body died while a reference to it was held");
        Self {
            body: self.body,
            reclaim: self.reclaim.clone(),
            end: self.end,
        }
    }
}

impl<T: Send + Sync + 'static, R: Reclaim> Drop for Shared<T, R> {
    fn drop(&mut self) {
        release(self.body, &self.reclaim, self.end);
    }
}

impl<T: Send + Sync + fmt::Debug, R: Reclaim> fmt::Debug for Shared<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shared").field(&**self).finish()
    }
}

/// Gives up a reference that the caller holds; the last one ends the body.
pub(crate) fn release<T: Send + Sync + 'static, R: Reclaim>(
    body: NonNull<Body<T>>,
    reclaim: &R,
    end: End<T>,
) {
    // SAFETY: the caller's reference keeps the body until this very call.
    if unsafe { body.as_ref() }.release() {
        end.end(body, reclaim);
    }
}
