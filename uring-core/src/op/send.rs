//! Sending and receiving on a connection: `send(2)` (with `MSG_ZEROCOPY`), `recv(2)`.

use super::result_of;
use super::target::{IoFd, Target};
use crate::buffer::{IoBuf, IoBufMut};
use crate::error::Error;
use crate::ring::operation::sealed::Sealed;
use crate::ring::{Operation, Outcome};
use crate::sys::abi::{SEND_FIXED_BUF, Sqe, code};

/// From how many bytes on sending from the buffer itself costs the sender clearly less than a copy, as measured over the
/// loopback device of a small machine (claims `send.zc.4k` to `send.zc.256k`): 1.22 of a copy's CPU time at 16 KiB, 0.97 at
/// 24 KiB (a tie), 0.84 at 32 KiB, 0.75 at 48 KiB, 0.51 at 64 KiB. A network card differs.
pub const ZERO_COPY_FROM: usize = 32 << 10;

/// Sends the initialised part of a buffer. Gives `(bytes sent, buffer)`; less than all is no error.
///
/// With [`zero_copy`](Send::zero_copy) the buffer comes back only when the network has let go of it, a completion later.
#[derive(Debug)]
pub struct Send<B, D> {
    /// Let go of with the result: see `half_done`.
    fd: Option<D>,
    buf: B,
    zero_copy: bool,
}

impl<B: IoBuf, D: IoFd> Send<B, D> {
    /// Sends with a copy.
    pub fn new(fd: D, buf: B) -> Self {
        Self {
            fd: Some(fd),
            buf,
            zero_copy: false,
        }
    }

    /// Gives the buffer back, unsent.
    pub fn into_parts(self) -> (B, Option<D>) {
        (self.buf, self.fd)
    }

    /// Sends from the buffer itself (Linux 6.0), registered or not. Sockets that cannot (Unix ones) fail with
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported).
    pub fn zero_copy(mut self) -> Self {
        self.zero_copy = true;
        self
    }

    /// Sends from the buffer itself if it holds at least so many bytes, with a copy if less.
    ///
    /// [`ZERO_COPY_FROM`] is where that began to pay in our measurement; it depends on the network, so measure it on yours.
    pub fn zero_copy_from(mut self, bytes: usize) -> Self {
        self.zero_copy = self.buf.bytes_init() >= bytes;
        self
    }

    /// Whether it sends from the buffer itself.
    pub fn is_zero_copy(&self) -> bool {
        self.zero_copy
    }
}

impl<B: IoBuf, D: IoFd> Sealed for Send<B, D> {}

// SAFETY: the entry names the buffer, which stays where it is by the contract of `IoBuf`; a zero-copy send completes
// with its notification.
unsafe impl<B: IoBuf, D: IoFd> Operation for Send<B, D> {
    type Output = (Result<usize, Error>, B);

    fn belongs_to(&self, ring: u32) -> bool {
        let buffer = self.buf.registration().filter(|_| self.zero_copy);
        let fd = self.fd.as_ref();
        fd.is_none_or(|fd| fd.target().belongs_to(ring)) && buffer.is_none_or(|buffer| buffer.ring == ring)
    }

    fn entry(&mut self) -> Sqe {
        let target = self.fd.as_ref().map_or(Target::Fd(-1), IoFd::target);
        let entry = Sqe {
            addr: self.buf.stable_ptr() as u64,
            len: u32::try_from(self.buf.bytes_init()).unwrap_or(i32::MAX as u32),
            op_flags: libc::MSG_NOSIGNAL as u32,
            ..target.entry(code::SEND)
        };
        if !self.zero_copy {
            return entry;
        }
        let registered = self.buf.registration();
        Sqe {
            opcode: code::SEND_ZC,
            ioprio: registered.map_or(0, |_| SEND_FIXED_BUF),
            buf_index: registered.map_or(0, |r| r.index),
            ..entry
        }
    }

    fn half_done(&mut self) {
        self.fd = None;
    }

    fn finish(self, outcome: Outcome) -> Self::Output {
        let opcode = if self.zero_copy { code::SEND_ZC } else { code::SEND };
        (result_of(outcome, opcode).map(|n| n as usize), self.buf)
    }
}

/// Receives into a buffer. Gives `(bytes received, buffer)`; 0 bytes is the end.
#[derive(Debug)]
pub struct Recv<B, D> {
    fd: D,
    buf: B,
    flags: i32,
}

impl<B: IoBufMut, D: IoFd> Recv<B, D> {
    /// Receives what is there, up to the size of the buffer.
    pub fn new(fd: D, buf: B) -> Self {
        Self { fd, buf, flags: 0 }
    }

    /// Goes on until the buffer is full, the connection ends or fails (`MSG_WAITALL`). A cancellation or an error in
    /// between gives what came so far.
    pub fn whole(mut self) -> Self {
        self.flags |= libc::MSG_WAITALL;
        self
    }
}

impl<B: IoBufMut, D: IoFd> Sealed for Recv<B, D> {}

// SAFETY: the entry names the buffer, which stays where it is by the contract of `IoBufMut`.
unsafe impl<B: IoBufMut, D: IoFd> Operation for Recv<B, D> {
    type Output = (Result<usize, Error>, B);

    fn belongs_to(&self, ring: u32) -> bool {
        self.fd.target().belongs_to(ring)
    }

    fn entry(&mut self) -> Sqe {
        Sqe {
            addr: self.buf.stable_mut_ptr() as u64,
            len: u32::try_from(self.buf.bytes_total()).unwrap_or(i32::MAX as u32),
            op_flags: self.flags as u32,
            ..self.fd.target().entry(code::RECV)
        }
    }

    fn finish(mut self, outcome: Outcome) -> Self::Output {
        let received = result_of(outcome, code::RECV).map(|n| n as usize);
        if let Ok(count) = received {
            // SAFETY: the kernel wrote so many bytes, at most as many as the entry offered.
            unsafe { self.buf.set_init(count) };
        }
        (received, self.buf)
    }
}
