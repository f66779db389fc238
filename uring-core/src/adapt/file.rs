//! A file that keeps its position.

use super::both::{Both, Side};
use super::inlet::Inlet;
use super::outlet::{Exit, Lost, Outlet};
use super::{CAPACITY, On};
use crate::op::{IoFd, Target};
use crate::ring::{Core, RingRef};
use std::fmt;
use std::io::{self, SeekFrom};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

/// A file read and written from a position of its own, as `std::fs::File` is, through `futures_io::{AsyncRead, AsyncBufRead,
/// AsyncWrite, AsyncSeek}` and their kin of tokio.
///
/// The position belongs to this value alone: other handles to the same open file neither move it nor are moved. It advances
/// by what was delivered and accepted; after a write that failed it is back where the bytes that were lost began. A read
/// asks the kernel for no more than the caller asked for. A seek that was begun takes effect before the next read or
/// write, also if it was given up. A file opened for appending is appended to, whatever the
/// position is.
///
/// The last position that a file has is `i64::MAX`: a seek beyond it is refused and moves nothing, as with `std`, and so is
/// a read or a write that was to begin beyond it (`InvalidInput`, which is what `EINVAL` becomes).
///
/// `flush` waits until the kernel has the bytes; [`op::Fsync`](crate::op::Fsync) makes them durable.
pub struct AsyncFile<R: RingRef, D: IoFd + Clone> {
    ring: R,
    file: D,
    inlet: Inlet<D>,
    outlet: Outlet<D>,
    /// Where the next byte to be delivered or accepted lies.
    position: u64,
    seeking: Option<SeekFrom>,
    both: Arc<Both>,
    waker: Waker,
}

impl<R: RingRef, D: IoFd + Clone> fmt::Debug for AsyncFile<R, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told = f.debug_struct("AsyncFile");
        told.field("position", &self.position).finish_non_exhaustive()
    }
}

impl<R: RingRef, D: IoFd + Clone> Unpin for AsyncFile<R, D> {}

impl<R: RingRef, D: IoFd + Clone> AsyncFile<R, D> {
    /// Begins at the start of the file: an `Arc` of one, or a [`FixedFd`](crate::op::FixedFd).
    pub fn new(ring: R, file: D) -> Self {
        Self::with_capacity(CAPACITY, ring, file)
    }

    /// The same with other buffers than 16 KiB: the most that one read or write moves.
    ///
    /// # Panics
    /// When `bytes` is 0.
    pub fn with_capacity(bytes: usize, ring: R, file: D) -> Self {
        assert!(bytes > 0, "a buffer of no bytes moves none");
        let (both, waker) = Both::new();
        Self {
            ring,
            file,
            inlet: Inlet::new(bytes),
            outlet: Outlet::new(bytes, Exit::Write),
            position: 0,
            seeking: None,
            both,
            waker,
        }
    }

    /// Begins at another position. One beyond `i64::MAX` is refused by the first read or write.
    pub fn at(mut self, position: u64) -> Self {
        self.position = position;
        self
    }

    /// Where the next byte to be read or written lies.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The file.
    pub fn get_ref(&self) -> &D {
        &self.file
    }

    /// The ring.
    pub fn ring(&self) -> &Core {
        self.ring.core()
    }

    /// Runs one poll of a side with all that it needs, and has the task woken if it has to wait.
    fn side<T>(
        &mut self,
        side: Side,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Parts<'_, D>, On<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let on = On {
            core: self.ring.core(),
            waker: &self.waker,
        };
        let mut parts = Parts {
            file: &self.file,
            inlet: &mut self.inlet,
            outlet: &mut self.outlet,
            position: &mut self.position,
        };
        let polled = poll(&mut parts, on);
        if polled.is_pending() {
            self.both.register(side, cx.waker());
        }
        polled
    }

    /// Waits for data, up to `want` bytes of it, and lends it; nothing is the end of the file.
    pub(super) fn poll_data(&mut self, cx: &mut Context<'_>, want: usize) -> Poll<io::Result<&[u8]>> {
        ready!(self.poll_sought(cx))?;
        let filled = self.side(Side::Read, cx, |parts, on| {
            ready!(parts.flush(on))?;
            let at = in_a_file(*parts.position)?;
            parts.inlet.poll_fill(on, parts.file, Some(at), want)
        });
        ready!(filled)?;
        Poll::Ready(Ok(self.inlet.data()))
    }

    pub(super) fn take(&mut self, count: usize) {
        self.inlet.consume(count);
        self.position += count as u64;
    }

    pub(super) fn poll_accept(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_sought(cx))?;
        self.side(Side::Write, cx, |parts, on| {
            ready!(parts.inlet.poll_quiet(on));
            ready!(parts.flush(on))?;
            let at = in_a_file(*parts.position)?;
            let accepted = parts.outlet.poll_write(on, parts.file, Some(at), bytes);
            let count = ready!(accepted).map_err(|lost| lost.error)?;
            *parts.position += count as u64;
            Poll::Ready(Ok(count))
        })
    }

    pub(super) fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.side(Side::Write, cx, |parts, on| parts.flush(on))
    }

    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_written(cx)
    }

    /// Takes a seek on, in place of one that has not been made.
    pub(super) fn begin_seek(&mut self, to: SeekFrom) {
        self.seeking = Some(to);
    }

    /// Ends what is in flight, then moves the position, if that was asked for.
    pub(super) fn poll_sought(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        let Some(to) = self.seeking else {
            return Poll::Ready(Ok(self.position));
        };
        let quiet = self.side(Side::Read, cx, |parts, on| {
            ready!(parts.inlet.poll_quiet(on));
            parts.flush(on)
        });
        let quiet = ready!(quiet);
        self.seeking = None;
        quiet?;
        let (from, by) = match to {
            SeekFrom::Start(position) => (position, 0),
            SeekFrom::Current(by) => (self.position, by),
            SeekFrom::End(by) => (self.size()?, by),
        };
        let sought = match from.checked_add_signed(by) {
            None if by < 0 => {
                let why = "a seek to before the start of the file";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidInput, why)));
            }
            sought => in_a_file(sought.unwrap_or(u64::MAX))?,
        };
        self.position = sought;
        Poll::Ready(Ok(sought))
    }

    /// One `fstat`, on this thread.
    fn size(&self) -> io::Result<u64> {
        let Target::Fd(fd) = self.file.target() else {
            let why = "a registered file has no descriptor to ask for its size: seek from the start";
            return Err(io::Error::new(io::ErrorKind::Unsupported, why));
        };
        // SAFETY: plain integers, for which zero is a value.
        let mut status: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: the descriptor is open as long as `file`; `status` is where the answer goes.
        match unsafe { libc::fstat(fd, &raw mut status) } {
            0 => Ok(status.st_size as u64),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// A position that a file can have. The kernel takes those beyond for negative ones, and the last of them for the position
/// of the descriptor.
fn in_a_file(position: u64) -> io::Result<u64> {
    match i64::try_from(position) {
        Ok(_) => Ok(position),
        Err(_) => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a position beyond 9223372036854775807, the last that a file has: seek to one before it",
        )),
    }
}

/// What a poll works on.
struct Parts<'a, D: IoFd + Clone> {
    file: &'a D,
    inlet: &'a mut Inlet<D>,
    outlet: &'a mut Outlet<D>,
    position: &'a mut u64,
}

impl<D: IoFd + Clone> Parts<'_, D> {
    fn flush(&mut self, on: On<'_>) -> Poll<io::Result<()>> {
        self.outlet
            .poll_flush(on, self.file)
            .map_err(|Lost { bytes, error }| {
                *self.position -= bytes as u64;
                error
            })
    }
}

impl<R: RingRef, D: IoFd + Clone> Drop for AsyncFile<R, D> {
    fn drop(&mut self) {
        self.inlet.let_go(self.ring.core());
        self.outlet.let_go(self.ring.core());
    }
}
