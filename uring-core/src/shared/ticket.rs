//! The handle to one operation on a shared ring.

use super::Office;
use super::berth::{Berth, Cargo};
use super::seat::Wake;
use crate::error::{Error, ErrorKind};
use crate::ring::Operation;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// An operation in flight on a [`SharedRing`](super::SharedRing), to be waited for by one thread or task.
///
/// Dropped, it lets go of the operation: that is cancelled, and what it owns is dropped on its last completion, by whichever
/// thread collects it. Forgotten, it keeps the ring.
///
/// As a future it resolves to what [`wait`](Self::wait) returns. It may be polled by one executor after another.
#[must_use = "a ticket that is dropped cancels its operation"]
pub struct Ticket<O: Operation> {
    /// `None` when the end was taken.
    berth: Option<Berth<O>>,
    office: Arc<Office>,
}

impl<O: Operation> fmt::Debug for Ticket<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("over", &self.is_over()).finish()
    }
}

// Nothing in it is pinned.
impl<O: Operation> Unpin for Ticket<O> {}

impl<O: Operation> Ticket<O> {
    pub(super) fn new(berth: Berth<O>, office: Arc<Office>) -> Self {
        Self {
            berth: Some(berth),
            office,
        }
    }

    /// Whether its end can be taken without waiting. Wait-free; collects nothing.
    pub fn is_over(&self) -> bool {
        self.berth.as_ref().is_none_or(|berth| berth.is_landed())
    }

    /// Waits for the end and gives the output. Blocking: drives the ring while nobody else does, else parks.
    ///
    /// # Errors
    /// [`ErrorKind::Forked`] in a forked child, [`ErrorKind::Stale`] when the output was taken.
    pub fn wait(mut self) -> Result<O::Output, Error> {
        self.wait_until(None).map(Cargo::unload)
    }

    /// Waits for the end, at most so long.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`] with the ticket, when the time is up; otherwise as [`wait`](Self::wait), without one.
    pub fn wait_timeout(mut self, timeout: Duration) -> Result<O::Output, (Option<Self>, Error)> {
        let deadline = Instant::now().checked_add(timeout);
        match self.wait_until(deadline) {
            Ok(cargo) => Ok(cargo.unload()),
            Err(error) if error.kind() == ErrorKind::TimedOut => Err((Some(self), error)),
            Err(error) => Err((None, error)),
        }
    }

    /// Asks that the operation be cancelled. It still has to be waited for, and gives back what it owns: as a rule with
    /// [`ErrorKind::Cancelled`].
    ///
    /// # Errors
    /// [`ErrorKind::Stale`] when it is over already.
    pub fn cancel(&self) -> Result<(), Error> {
        self.office.check()?;
        let Some(berth) = self.berth.as_ref().filter(|berth| !berth.is_landed()) else {
            return Err(Error::of(ErrorKind::Stale));
        };
        self.office.hub.act(|pier| {
            let id = berth.note().give_up(pier.core());
            pier.cancel(id)
        })
    }

    fn wait_until(&mut self, deadline: Option<Instant>) -> Result<Cargo<O>, Error> {
        self.office.check()?;
        let berth = self.berth.as_ref().ok_or(Error::of(ErrorKind::Stale))?;
        if !self.office.hub.wait(berth, deadline) {
            return Err(Error::of(ErrorKind::TimedOut));
        }
        Ok(self.take().expect("S1: what landed is there until it is taken"))
    }

    fn take(&mut self) -> Option<Cargo<O>> {
        let cargo = self.berth.as_mut()?.take()?;
        self.berth = None;
        Some(cargo)
    }
}

impl<O: Operation> Future for Ticket<O> {
    type Output = Result<O::Output, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Err(error) = this.office.check() {
            return Poll::Ready(Err(error));
        }
        let Some(berth) = &this.berth else {
            return Poll::Ready(Err(Error::of(ErrorKind::Stale)));
        };
        if !berth.is_landed() && !berth.is_watched_by(cx.waker()) {
            let _ = berth.watch(Wake::Task(cx.waker().clone()));
        }
        if berth.is_landed() {
            return Poll::Ready(this.take().map(Cargo::unload).ok_or(Error::of(ErrorKind::Stale)));
        }
        if !this.office.see_that_it_is_driven() {
            // No thread could be made: whoever polls turns the ring, until one can.
            this.office.hub.act(|_| ());
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl<O: Operation> Drop for Ticket<O> {
    fn drop(&mut self) {
        let Some(berth) = self.berth.take() else { return };
        if berth.is_landed() || !self.office.is_ours() {
            return;
        }
        // It may be over by now: then there is nothing to cancel.
        let _ = self.office.hub.act(|pier| {
            let id = berth.note().give_up(pier.core());
            pier.cancel(id)
        });
    }
}
