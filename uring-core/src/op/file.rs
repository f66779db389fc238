//! Reading and writing at an offset.

use super::target::IoFd;
use crate::buffer::{IoBuf, IoBufMut};
use crate::error::Error;
use crate::ring::operation::sealed::Sealed;
use crate::ring::{Operation, Outcome};
use crate::sys::abi::{Sqe, code};

/// The file's own position (`IORING_FEAT_RW_CUR_POS`).
const CURRENT: u64 = u64::MAX;

/// The most that one read or write moves, as for `read(2)`.
const MAX_BYTES: usize = 0x7fff_f000;

/// Reads into a buffer. Gives `(bytes read, buffer)`; 0 bytes is the end of the file.
///
/// A registered buffer is used as one, a registered file too. A `Vec` is filled up to its capacity and is as long as what
/// was read.
///
/// ```
/// use std::{fs::File, sync::Arc};
/// use uring_core::{LocalRing, op::Read};
/// let ring = LocalRing::new()?;
/// let file = Arc::new(File::open("/proc/self/exe")?);
/// let (read, buf) = ring.block_on(ring.run(Read::new(file, vec![0; 4]).at(0)))?;
/// assert_eq!((read?, &buf[..]), (4, &b"\x7fELF"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Read<B, D> {
    fd: D,
    buf: B,
    offset: u64,
}

impl<B: IoBufMut, D: IoFd> Read<B, D> {
    /// Reads at the file's own position, or from a socket or pipe.
    pub fn new(fd: D, buf: B) -> Self {
        Self {
            fd,
            buf,
            offset: CURRENT,
        }
    }

    /// Reads at an offset instead.
    pub fn at(mut self, offset: u64) -> Self {
        self.offset = offset;
        self
    }

    /// Gives buffer and descriptor back, unread.
    pub fn into_parts(self) -> (B, D) {
        (self.buf, self.fd)
    }
}

impl<B: IoBufMut, D: IoFd> Sealed for Read<B, D> {}

// SAFETY: the entry names the buffer, which the operation owns and which stays where it is by the contract of `IoBufMut`.
unsafe impl<B: IoBufMut, D: IoFd> Operation for Read<B, D> {
    type Output = (Result<usize, Error>, B);

    #[inline]
    fn belongs_to(&self, ring: u32) -> bool {
        let buffer = self.buf.registration();
        self.fd.target().belongs_to(ring) && buffer.is_none_or(|buffer| buffer.ring == ring)
    }

    #[inline]
    fn entry(&mut self) -> Sqe {
        let registered = self.buf.registration();
        let opcode = if registered.is_some() {
            code::READ_FIXED
        } else {
            code::READ
        };
        Sqe {
            off: self.offset,
            addr: self.buf.stable_mut_ptr() as u64,
            len: self.buf.bytes_total().min(MAX_BYTES) as u32,
            buf_index: registered.map_or(0, |r| r.index),
            ..self.fd.target().entry(opcode)
        }
    }

    #[inline]
    fn finish(mut self, outcome: Outcome) -> Self::Output {
        let read = outcome.result().map(|n| n as usize);
        if let Ok(count) = read {
            // SAFETY: the kernel wrote so many bytes, at most as many as the entry offered.
            unsafe { self.buf.set_init(count) };
        }
        (read, self.buf)
    }
}

/// Writes the initialised part of a buffer. Gives `(bytes written, buffer)`; less than all is no error.
///
/// ```
/// use uring_core::{LocalRing, op::Write};
/// let ring = LocalRing::new()?;
/// let (from, to) = std::os::unix::net::UnixStream::pair()?;
/// let (written, buf) = ring.block_on(ring.run(Write::new(from, b"hello".to_vec())))?;
/// assert_eq!((written?, buf.len()), (5, 5));
/// # drop(to);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Write<B, D> {
    fd: D,
    buf: B,
    offset: u64,
}

impl<B: IoBuf, D: IoFd> Write<B, D> {
    /// Writes at the file's own position, or to a socket or pipe.
    pub fn new(fd: D, buf: B) -> Self {
        Self {
            fd,
            buf,
            offset: CURRENT,
        }
    }

    /// Writes at an offset instead.
    pub fn at(mut self, offset: u64) -> Self {
        self.offset = offset;
        self
    }

    /// Gives buffer and descriptor back, unwritten.
    pub fn into_parts(self) -> (B, D) {
        (self.buf, self.fd)
    }
}

impl<B: IoBuf, D: IoFd> Sealed for Write<B, D> {}

// SAFETY: as for `Read`, with `IoBuf`.
unsafe impl<B: IoBuf, D: IoFd> Operation for Write<B, D> {
    type Output = (Result<usize, Error>, B);

    #[inline]
    fn belongs_to(&self, ring: u32) -> bool {
        let buffer = self.buf.registration();
        self.fd.target().belongs_to(ring) && buffer.is_none_or(|buffer| buffer.ring == ring)
    }

    #[inline]
    fn entry(&mut self) -> Sqe {
        let registered = self.buf.registration();
        let opcode = if registered.is_some() {
            code::WRITE_FIXED
        } else {
            code::WRITE
        };
        Sqe {
            off: self.offset,
            addr: self.buf.stable_ptr() as u64,
            len: self.buf.bytes_init().min(MAX_BYTES) as u32,
            buf_index: registered.map_or(0, |r| r.index),
            ..self.fd.target().entry(opcode)
        }
    }

    #[inline]
    fn finish(self, outcome: Outcome) -> Self::Output {
        (outcome.result().map(|n| n as usize), self.buf)
    }
}
