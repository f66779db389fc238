//! Driving a shared ring inside somebody else's executor.

use super::Office;
use crate::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use sync_base::sync::{Mutex, PoisonError};

/// Turns without a pause, after which others of the same thread get theirs.
const TURNS_A_POLL: u32 = 16;

/// A future that collects what completes on a shared ring, so that tickets can be awaited with no thread sleeping for them.
/// Made by [`SharedRing::drive`](super::SharedRing::drive). It keeps no ring, and resolves when the last handle and the last ticket
/// are gone.
#[must_use = "it drives when it is polled"]
pub struct Drive<W> {
    office: Weak<Office>,
    station: Arc<Station>,
    readable: W,
}

/// Where the end of the ring finds the task.
#[derive(Debug, Default)]
pub(super) struct Station(Mutex<Option<Waker>>);

impl Station {
    fn put(&self, waker: Option<Waker>) -> Option<Waker> {
        let mut at = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *at, waker)
    }

    /// Has the task look once more.
    pub(super) fn call(&self) {
        if let Some(waker) = self.put(None) {
            waker.wake();
        }
    }
}

impl<W> fmt::Debug for Drive<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drive").finish_non_exhaustive()
    }
}

impl<W> Unpin for Drive<W> {}

impl<W> Drive<W> {
    pub(super) fn new(office: &Arc<Office>, readable: W) -> Self {
        let station = Arc::new(Station::default());
        office.driver_comes(&station);
        Self {
            office: Arc::downgrade(office),
            station,
            readable,
        }
    }
}

impl<W: FnMut(&mut Context<'_>) -> Poll<io::Result<()>>> Future for Drive<W> {
    type Output = Result<(), Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        // Before the look: an end that comes later finds it.
        drop(this.station.put(Some(cx.waker().clone())));
        for _ in 0..TURNS_A_POLL {
            // Not kept while it waits: the last handle may go meanwhile.
            let Some(office) = this.office.upgrade() else {
                return Poll::Ready(Ok(()));
            };
            if let Err(error) = office.check() {
                return Poll::Ready(Err(error));
            }
            office.hub.act(|_| ());
            drop(office);
            match (this.readable)(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<W> Drop for Drive<W> {
    fn drop(&mut self) {
        if let Some(office) = self.office.upgrade() {
            office.driver_goes(&self.station);
        }
    }
}
