//! A value on its way out of the table.
//!
//! # States
//! *Counted*: holds the reference that the slot held. *Dead*: that was the last one, and this `Removed` alone may free
//! the body, a grace period later. `try_into_inner`, `into_inner_timeout` and `close` move counted -> dead; dropping retires.

use crate::ending::{self, End};
use crate::entry::Body;
use crate::reclaim::Reclaim;
use crate::sever::Sever;
use crate::shared::{Shared, release};
use std::fmt;
use std::mem;
use std::ops::Deref;
use std::ptr::NonNull;
use std::time::Duration;

/// What [`FdTable::remove`](crate::FdTable::remove) returns: the value, which readers that came earlier may still be
/// looking at.
///
/// To have the value back, ask for it; to end it *now*, [`close`](Self::close) it. Dropping it leaves the value to the next
/// collection, unless it is a real descriptor (`OwnedFd`, `File`, the sockets of the standard library, [`RegisteredFile`]):
/// dropping that closes it, as promptly as `close` does.
///
/// [`RegisteredFile`]: crate::RegisteredFile
#[must_use = "dropping it leaves the value to a later collection: take the value, close it, or drop it on purpose"]
pub struct Removed<'t, T: Send + Sync + 'static, R: Reclaim> {
    body: NonNull<Body<T>>,
    reclaim: &'t R,
    end: End<T>,
    /// When the body died, once it has.
    dead: Option<R::Grace>,
}

// SAFETY: gives `&T` and `T` on whichever thread has it; the count in the body is atomic.
unsafe impl<T: Send + Sync, R: Reclaim> Send for Removed<'_, T, R> {}
// SAFETY: `&Removed` gives `&T` alone.
unsafe impl<T: Send + Sync, R: Reclaim> Sync for Removed<'_, T, R> {}

/// How far [`close`](crate::FdTable::close) came before it returned. It never waits for a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Closed {
    /// The value was dropped, on this thread.
    Now,
    /// A reader is in the middle of a section, so the storage (and for a real descriptor the number) follows when it
    /// has left, with the next close or insert of a real descriptor by any thread, or with the end of this thread's own
    /// section; but the value was cut off from what it named: the file is closed, the peer has seen it.
    ///
    /// A reader that the scheduler has preempted keeps every number severed meanwhile: closes a second times the longest
    /// time that a reader is away must stay well below `RLIMIT_NOFILE`. A thread's section that it began through a
    /// `sync_base::Reader` does not free the number at its end; the next close or insert does.
    Severed,
    /// A reader is in the middle of a section and this type cannot be cut off: dropped when the reader has left, as for
    /// [`Severed`](Self::Severed).
    Deferred,
    /// Another descriptor or a [`Shared`] still holds the value, which stays as it is.
    StillShared,
}

impl<'t, T: Send + Sync + 'static, R: Reclaim> Removed<'t, T, R> {
    /// Takes over the reference of a slot that the caller emptied.
    pub(crate) fn from_reference(body: NonNull<Body<T>>, reclaim: &'t R, end: End<T>) -> Self {
        Self {
            body,
            reclaim,
            end,
            dead: None,
        }
    }

    /// Returns the value if nobody else holds or reads it. Looks once: one heavy barrier, 1 to 4 us; never waits. Asked
    /// again, it counts only the readers that were there when first asked.
    ///
    /// # Errors
    /// Itself, when another descriptor or a [`Shared`] holds the value, or a read section that was open is still open.
    pub fn try_into_inner(self) -> Result<T, Self> {
        self.into_inner_timeout(Duration::ZERO)
    }

    /// Returns the value as soon as every read section that is open now has ended. Blocks at most so long.
    ///
    /// # Errors
    /// Itself, at once when another descriptor or a [`Shared`] holds the value or this thread is itself inside a
    /// section, or when the time is up.
    pub fn into_inner_timeout(mut self, timeout: Duration) -> Result<T, Self> {
        if self.dead.is_none() && self.body().kill_last() {
            self.dead = Some(self.reclaim.grace());
        }
        let passed = self
            .dead
            .as_ref()
            .is_some_and(|grace| self.reclaim.wait(grace, timeout));
        if !passed {
            return Err(self);
        }
        let body = self.body;
        self.forget();
        // SAFETY: entry I1: dead by our own move, and a grace period that began later is over.
        Ok(unsafe { Box::from_raw(body.as_ptr()) }.value)
    }

    /// Makes a counted handle out of it, to keep the value with no descriptor.
    ///
    /// # Errors
    /// Itself, after an attempt to take the value found no other holder: the value then has no count any more.
    pub fn into_shared(self) -> Result<Shared<T, R>, Self> {
        if self.dead.is_some() {
            return Err(self);
        }
        let shared = Shared::from_reference(self.body, self.reclaim.clone(), self.end);
        self.forget();
        Ok(shared)
    }

    /// Says whether another descriptor or a [`Shared`] still holds the value.
    pub fn is_shared(&self) -> bool {
        self.dead.is_none() && self.body().is_shared()
    }

    /// Ends the value promptly: dropped before this returns unless somebody is looking at it, and then cut off.
    ///
    /// Never waits and never leaves the end to a collection; costs one heavy barrier, 1 to 4 us.
    pub fn close(mut self) -> Closed
    where
        T: Sever,
    {
        if self.dead.is_none() {
            if !self.body().release() {
                self.forget();
                return Closed::StillShared;
            }
            self.dead = Some(self.reclaim.grace());
        }
        match self.try_into_inner() {
            Ok(value) => {
                drop(value);
                Closed::Now
            }
            Err(left) => {
                let (body, reclaim) = (left.body, left.reclaim);
                left.forget();
                ending::end_under_readers(body, reclaim, T::sever)
            }
        }
    }

    /// The same with a backend that outlives the table; `reclaim` is another handle to its own.
    pub(crate) fn outside<'r>(mut self, reclaim: &'r R) -> Removed<'r, T, R> {
        let moved = Removed {
            body: self.body,
            reclaim,
            end: self.end,
            dead: self.dead.take(),
        };
        self.forget();
        moved
    }

    /// Lets go without giving up the reference, which has gone elsewhere.
    fn forget(mut self) {
        drop(self.dead.take());
        mem::forget(self);
    }

    fn body(&self) -> &Body<T> {
        // SAFETY: counted or dead, the body is ours to keep.
        unsafe { self.body.as_ref() }
    }
}

impl<T: Send + Sync + 'static, R: Reclaim> Deref for Removed<'_, T, R> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.body().value
    }
}

impl<T: Send + Sync + 'static, R: Reclaim> Drop for Removed<'_, T, R> {
    fn drop(&mut self) {
        if self.dead.is_some() {
            self.end.end(self.body, self.reclaim);
        } else {
            release(self.body, self.reclaim, self.end);
        }
    }
}

impl<T: Send + Sync + fmt::Debug, R: Reclaim> fmt::Debug for Removed<'_, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Removed").field(&**self).finish()
    }
}
