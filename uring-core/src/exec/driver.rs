//! Turning a ring inside somebody else's executor.

use crate::error::Error;
use crate::ring::{Core, RingRef};
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Turns without a pause, after which others of the same thread get theirs.
const TURNS_A_POLL: u32 = 16;

/// A future that turns a ring whenever something is queued or completes, so that operations, streams and adapters of that
/// ring make progress in any executor. Resolves only when the ring fails.
///
/// It is told how to wait for [`Core::poll_fd`] by a closure: the executor's way of polling a descriptor for readability.
/// The closure registers the task's waker when it returns `Pending`; when the descriptor is readable it *first* clears
/// whatever the executor remembers of that, then returns `Ready`: so an event that comes between is not lost.
///
/// One driver a ring, on the thread where the ring is. Costs nothing while the ring is idle; one system call a turn.
/// Whoever runs the driver beside other tasks gets batches: it is woken once for all that is queued until it runs.
///
/// The ring is borrowed, or shared in an [`Rc`](std::rc::Rc) where tasks have to be `'static`.
///
/// With tokio:
/// ```
/// use std::{rc::Rc, task::ready};
/// use tokio::io::{Interest, unix::AsyncFd};
/// use uring_core::{Driver, LocalRing, op::Nop};
///
/// let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
/// tokio::task::LocalSet::new().block_on(&runtime, async {
///     let ring = Rc::new(LocalRing::new()?);
///     let fd = ring.poll_fd()?.try_clone_to_owned()?;
///     // SAFETY: an `OwnedFd` stays the same open descriptor.
///     let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?;
///     let driver = Driver::new(Rc::clone(&ring), move |cx| {
///         ready!(fd.poll_read_ready(cx))?.clear_ready();
///         std::task::Poll::Ready(Ok(()))
///     });
///     tokio::task::spawn_local(driver);
///     let task = tokio::task::spawn_local(async move { ring.run(Nop::new()).await });
///     assert_eq!(task.await?, Ok(()));
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })
/// # ?; Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a driver drives when it is polled"]
pub struct Driver<R, W> {
    ring: R,
    readable: W,
}

impl<R: RingRef, W> fmt::Debug for Driver<R, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told = f.debug_struct("Driver");
        told.field("ring", self.ring.core()).finish_non_exhaustive()
    }
}

impl<R: RingRef, W: FnMut(&mut Context<'_>) -> Poll<io::Result<()>>> Driver<R, W> {
    /// Drives this ring, waiting for its descriptor by `readable`.
    pub fn new(ring: R, readable: W) -> Self {
        Self { ring, readable }
    }
}

impl<R: RingRef, W> Unpin for Driver<R, W> {}

impl<R: RingRef, W: FnMut(&mut Context<'_>) -> Poll<io::Result<()>>> Future for Driver<R, W> {
    type Output = Error;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Error> {
        let this = self.get_mut();
        this.ring.core().poll_turns(cx, &mut this.readable)
    }
}

impl Core {
    /// Turns the ring until nothing more is to be done now, as a [`Driver`] does, and has the task woken when something
    /// is. `Ready` only with an error of the ring or of `readable`.
    ///
    /// For a task that owns the [`Ring`](crate::Ring) it works with, and so may move between threads: it calls this after
    /// polling its operations.
    ///
    /// # Errors
    /// What the ring's waits fail with, and what `readable` does.
    pub fn poll_turns(
        &self,
        cx: &mut Context<'_>,
        mut readable: impl FnMut(&mut Context<'_>) -> Poll<io::Result<()>>,
    ) -> Poll<Error> {
        for _ in 0..TURNS_A_POLL {
            // Before the turn: what its callbacks queue has us woken again.
            self.set_driver(cx.waker());
            match self.poll() {
                Ok(_) => {}
                // The kernel takes nothing now; nothing says when it will.
                Err(error) if error.is_retryable() => break,
                Err(error) => return Poll::Ready(error),
            }
            match readable(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(error.into()),
                Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
