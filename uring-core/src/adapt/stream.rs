//! A socket or a pipe: two directions that do not wait for each other.

use super::both::{Both, Side};
use super::inlet::Inlet;
use super::outlet::{Exit, Outlet};
use super::{CAPACITY, On};
use crate::op::{IoFd, Target};
use crate::ring::{Core, RingRef};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

/// A connected socket, or the end of a pipe, through `futures_io::{AsyncRead, AsyncBufRead, AsyncWrite}` and their kin of
/// tokio.
///
/// Reading and writing are independent: split it and use one half in each of two tasks. `close` and `shutdown` flush, then
/// end the sending direction of a socket (unsupported for a registered file); a pipe ends when its descriptor is closed.
pub struct AsyncStream<R: RingRef, D: IoFd + Clone> {
    ring: R,
    fd: D,
    inlet: Inlet<D>,
    outlet: Outlet<D>,
    /// The error of a write that a reader met: for the next who writes.
    failed: Option<io::Error>,
    exit: Exit,
    both: Arc<Both>,
    waker: Waker,
}

impl<R: RingRef, D: IoFd + Clone> fmt::Debug for AsyncStream<R, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncStream").finish_non_exhaustive()
    }
}

impl<R: RingRef, D: IoFd + Clone> Unpin for AsyncStream<R, D> {}

impl<R: RingRef, D: IoFd + Clone> AsyncStream<R, D> {
    /// Reads from and sends to a connected stream socket: an `Arc` of one, or a [`FixedFd`](crate::op::FixedFd). Sending to
    /// a peer that is gone raises no signal.
    pub fn socket(ring: R, socket: D) -> Self {
        Self::with_capacity(CAPACITY, ring, socket, Exit::Send)
    }

    /// Reads from or writes to a pipe or a terminal. Writing to a pipe that nobody reads raises `SIGPIPE`, which Rust
    /// programs ignore.
    pub fn pipe(ring: R, pipe: D) -> Self {
        Self::with_capacity(CAPACITY, ring, pipe, Exit::Write)
    }

    /// Has other buffers than 16 KiB: the most that one read or write moves.
    ///
    /// # Panics
    /// When `bytes` is 0, or something has been read or written.
    pub fn capacity(mut self, bytes: usize) -> Self {
        assert!(bytes > 0, "a buffer of no bytes moves none");
        assert!(
            self.inlet.is_untouched() && self.outlet.is_untouched(),
            "the buffers are in use"
        );
        self.inlet = Inlet::new(bytes);
        self.outlet = Outlet::new(bytes, self.exit);
        self
    }

    fn with_capacity(bytes: usize, ring: R, fd: D, exit: Exit) -> Self {
        let (both, waker) = Both::new();
        Self {
            ring,
            fd,
            inlet: Inlet::new(bytes),
            outlet: Outlet::new(bytes, exit),
            failed: None,
            exit,
            both,
            waker,
        }
    }

    /// The descriptor.
    pub fn get_ref(&self) -> &D {
        &self.fd
    }

    /// The ring.
    pub fn ring(&self) -> &Core {
        self.ring.core()
    }

    /// Waits for data, up to `want` bytes of it, and lends it; nothing is the end of the stream.
    pub(super) fn poll_data(&mut self, cx: &mut Context<'_>, want: usize) -> Poll<io::Result<&[u8]>> {
        let on = On {
            core: self.ring.core(),
            waker: &self.waker,
        };
        // The rest of a short write is what the other side may be waiting for before it answers.
        if !self.outlet.is_idle()
            && let Poll::Ready(Err(lost)) = self.outlet.poll_flush(on, &self.fd)
        {
            self.failed = Some(lost.error);
        }
        let filled = self.inlet.poll_fill(on, &self.fd, None, want);
        if filled.is_pending() {
            self.both.register(Side::Read, cx.waker());
        }
        ready!(filled)?;
        Poll::Ready(Ok(self.inlet.data()))
    }

    pub(super) fn take(&mut self, count: usize) {
        self.inlet.consume(count);
    }

    pub(super) fn poll_accept(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_written(cx))?;
        let on = On {
            core: self.ring.core(),
            waker: &self.waker,
        };
        let accepted = self.outlet.poll_write(on, &self.fd, None, bytes);
        if accepted.is_pending() {
            self.both.register(Side::Write, cx.waker());
        }
        accepted.map_err(|lost| lost.error)
    }

    pub(super) fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        let on = On {
            core: self.ring.core(),
            waker: &self.waker,
        };
        let flushed = self.outlet.poll_flush(on, &self.fd);
        if flushed.is_pending() {
            self.both.register(Side::Write, cx.waker());
        }
        flushed.map_err(|lost| lost.error)
    }

    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_written(cx))?;
        let Exit::Send = self.exit else {
            return Poll::Ready(Ok(()));
        };
        Poll::Ready(self.end_sending())
    }

    /// One `shutdown`, on this thread, which does not wait.
    fn end_sending(&self) -> io::Result<()> {
        let Target::Fd(fd) = self.fd.target() else {
            let why = "a registered file has no descriptor to shut down";
            return Err(io::Error::new(io::ErrorKind::Unsupported, why));
        };
        // SAFETY: the descriptor is open as long as `fd`.
        if unsafe { libc::shutdown(fd, libc::SHUT_WR) } == 0 {
            return Ok(());
        }
        match io::Error::last_os_error() {
            // The peer was faster.
            gone if gone.raw_os_error() == Some(libc::ENOTCONN) => Ok(()),
            error => Err(error),
        }
    }
}

impl<R: RingRef, D: IoFd + Clone> Drop for AsyncStream<R, D> {
    fn drop(&mut self) {
        self.inlet.let_go(self.ring.core());
        self.outlet.let_go(self.ring.core());
    }
}
