//! Reading and writing at an offset: `pread(2)`, `pwrite(2)`, or `read(2)`, `write(2)` at the file's own position.

use super::result_of;
use super::target::IoFd;
use crate::buffer::{IoBuf, IoBufMut};
use crate::error::Error;
use crate::ring::operation::sealed::Sealed;
use crate::ring::{Operation, Outcome};
use crate::sys::abi::{Sqe, code};

/// The file's own position (`IORING_FEAT_RW_CUR_POS`).
pub(super) const CURRENT: u64 = u64::MAX;

/// The most that one read or write moves, as for `read(2)`.
const MAX_BYTES: usize = 0x7fff_f000;

/// A transfer between a buffer and a place in a file: what reading and writing have in common.
#[derive(Debug)]
struct Transfer<B, D> {
    fd: D,
    buf: B,
    offset: u64,
}

impl<B: IoBuf, D: IoFd> Transfer<B, D> {
    #[inline]
    fn belongs_to(&self, ring: u32) -> bool {
        let buffer = self.buf.registration();
        self.fd.target().belongs_to(ring) && buffer.is_none_or(|buffer| buffer.ring == ring)
    }

    /// `codes`: for memory that the kernel does not know, and for memory that it does.
    #[inline]
    fn entry(&self, codes: (u8, u8), addr: *const u8, bytes: usize) -> Sqe {
        let registered = self.buf.registration();
        let opcode = if registered.is_some() { codes.1 } else { codes.0 };
        Sqe {
            off: self.offset,
            addr: addr as u64,
            len: bytes.min(MAX_BYTES) as u32,
            buf_index: registered.map_or(0, |r| r.index),
            ..self.fd.target().entry(opcode)
        }
    }
}

macro_rules! transfer {
    ($(#[$doc:meta])* $name:ident: $buf:ident, $from_or_to:literal) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name<B, D> {
            inner: Transfer<B, D>,
        }

        impl<B: $buf, D: IoFd> $name<B, D> {
            #[doc = concat!("Works at the file's own position, or ", $from_or_to, " a socket or pipe.")]
            pub fn new(fd: D, buf: B) -> Self {
                Self {
                    inner: Transfer {
                        fd,
                        buf,
                        offset: CURRENT,
                    },
                }
            }

            /// Works at an offset instead, which leaves the file's own position alone. `u64::MAX` stands for that position,
            /// as it does for the kernel; any other above `i64::MAX` is refused as invalid.
            pub fn at(mut self, offset: u64) -> Self {
                self.inner.offset = offset;
                self
            }

            /// Gives buffer and descriptor back, unused.
            pub fn into_parts(self) -> (B, D) {
                (self.inner.buf, self.inner.fd)
            }
        }

        impl<B: $buf, D: IoFd> Sealed for $name<B, D> {}
    };
}

transfer! {
    /// Reads into a buffer. Gives `(bytes read, buffer)`; 0 bytes is the end of the file.
    ///
    /// A registered buffer is used as one, a registered file too. A `Vec` is filled up to its capacity and is as long as
    /// what was read.
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
    Read: IoBufMut, "from"
}

transfer! {
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
    Write: IoBuf, "to"
}

// SAFETY: the entry names the buffer, which the operation owns and which stays where it is by the contract of `IoBufMut`.
unsafe impl<B: IoBufMut, D: IoFd> Operation for Read<B, D> {
    type Output = (Result<usize, Error>, B);

    #[inline]
    fn belongs_to(&self, ring: u32) -> bool {
        self.inner.belongs_to(ring)
    }

    #[inline]
    fn entry(&mut self) -> Sqe {
        let (addr, bytes) = (self.inner.buf.stable_mut_ptr(), self.inner.buf.bytes_total());
        self.inner.entry((code::READ, code::READ_FIXED), addr, bytes)
    }

    #[inline]
    fn finish(self, outcome: Outcome) -> Self::Output {
        let mut buf = self.inner.buf;
        let read = result_of(outcome, code::READ).map(|n| n as usize);
        if let Ok(count) = read {
            // SAFETY: the kernel wrote so many bytes, at most as many as the entry offered.
            unsafe { buf.set_init(count) };
        }
        (read, buf)
    }
}

// SAFETY: as for `Read`, with `IoBuf`.
unsafe impl<B: IoBuf, D: IoFd> Operation for Write<B, D> {
    type Output = (Result<usize, Error>, B);

    #[inline]
    fn belongs_to(&self, ring: u32) -> bool {
        self.inner.belongs_to(ring)
    }

    #[inline]
    fn entry(&mut self) -> Sqe {
        let (addr, bytes) = (self.inner.buf.stable_ptr(), self.inner.buf.bytes_init());
        self.inner.entry((code::WRITE, code::WRITE_FIXED), addr, bytes)
    }

    #[inline]
    fn finish(self, outcome: Outcome) -> Self::Output {
        let written = result_of(outcome, code::WRITE).map(|n| n as usize);
        (written, self.inner.buf)
    }
}
