//! Reading into and writing from several buffers at once: `preadv2(2)`, `pwritev2(2)`.

use super::file::CURRENT;
use super::result_of;
use super::target::IoFd;
use crate::buffer::{IoBuf, IoBufMut};
use crate::error::Error;
use crate::ring::operation::sealed::Sealed;
use crate::ring::{Operation, Outcome};
use crate::sys::abi::{Sqe, code};

/// `struct iovec`, as an integer so that it may go to another thread.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Segment {
    pub(super) base: usize,
    pub(super) len: usize,
}

const _: () = assert!(size_of::<Segment>() == size_of::<libc::iovec>());

/// Tells buffers how many of `bytes` each got, the first ones first.
///
/// # Safety
/// So many bytes were written to them in order, each up to the length in its segment.
pub(super) unsafe fn spread<B: IoBufMut>(bufs: &mut [B], segments: &[Segment], bytes: usize) {
    let mut left = bytes;
    for (buf, segment) in bufs.iter_mut().zip(segments) {
        let here = left.min(segment.len);
        // SAFETY: the caller's promise: this one has `here` bytes of them.
        unsafe { buf.set_init(here) };
        left -= here;
    }
}

/// Buffers and a place in a file, with the list that the kernel reads.
#[derive(Debug)]
struct Scattered<B, D> {
    fd: D,
    bufs: Vec<B>,
    /// One a buffer, on the heap, where the kernel reads them.
    segments: Box<[Segment]>,
    offset: u64,
}

impl<B, D: IoFd> Scattered<B, D> {
    fn new(fd: D, bufs: Vec<B>) -> Self {
        Self {
            segments: vec![Segment::default(); bufs.len()].into(),
            fd,
            bufs,
            offset: CURRENT,
        }
    }

    fn entry(&mut self, opcode: u8, segment: impl Fn(&mut B) -> Segment) -> Sqe {
        for (to, buf) in self.segments.iter_mut().zip(&mut self.bufs) {
            *to = segment(buf);
        }
        Sqe {
            off: self.offset,
            addr: self.segments.as_ptr() as u64,
            len: self.segments.len() as u32,
            ..self.fd.target().entry(opcode)
        }
    }
}

macro_rules! scattered {
    ($(#[$doc:meta])* $name:ident: $buf:ident) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name<B, D> {
            inner: Scattered<B, D>,
        }

        impl<B: $buf, D: IoFd> $name<B, D> {
            /// Works at the file's own position. Allocates the list that the kernel reads; it takes up to 1024 buffers and
            /// refuses more as invalid.
            pub fn new(fd: D, bufs: Vec<B>) -> Self {
                Self {
                    inner: Scattered::new(fd, bufs),
                }
            }

            /// Works at an offset instead; see [`Read::at`](super::Read::at).
            pub fn at(mut self, offset: u64) -> Self {
                self.inner.offset = offset;
                self
            }

            /// Gives buffers and descriptor back, unused.
            pub fn into_parts(self) -> (Vec<B>, D) {
                (self.inner.bufs, self.inner.fd)
            }
        }

        impl<B: $buf, D: IoFd> Sealed for $name<B, D> {}
    };
}

scattered! {
    /// Reads into several buffers, one after another. Gives `(bytes read, buffers)`.
    ///
    /// Each growable buffer is as long as what was read into it, which is nothing for those behind the end.
    ReadV: IoBufMut
}

scattered! {
    /// Writes the initialised parts of several buffers, one after another. Gives `(bytes written, buffers)`; less than all
    /// is no error.
    WriteV: IoBuf
}

// SAFETY: the entry names the list on the heap, which the operation owns, and that the buffers, which stay where they are
// by the contract of `IoBufMut`.
unsafe impl<B: IoBufMut, D: IoFd> Operation for ReadV<B, D> {
    type Output = (Result<usize, Error>, Vec<B>);

    fn belongs_to(&self, ring: u32) -> bool {
        self.inner.fd.target().belongs_to(ring)
    }

    fn entry(&mut self) -> Sqe {
        self.inner.entry(code::READV, |buf| Segment {
            base: buf.stable_mut_ptr() as usize,
            len: buf.bytes_total(),
        })
    }

    fn finish(self, outcome: Outcome) -> Self::Output {
        let mut bufs = self.inner.bufs;
        let read = result_of(outcome, code::READV).map(|n| n as usize);
        if let Ok(bytes) = read {
            // SAFETY: the kernel filled the buffers in order, with so many bytes.
            unsafe { spread(&mut bufs, &self.inner.segments, bytes) };
        }
        (read, bufs)
    }
}

// SAFETY: as for `ReadV`, with `IoBuf`.
unsafe impl<B: IoBuf, D: IoFd> Operation for WriteV<B, D> {
    type Output = (Result<usize, Error>, Vec<B>);

    fn belongs_to(&self, ring: u32) -> bool {
        self.inner.fd.target().belongs_to(ring)
    }

    fn entry(&mut self) -> Sqe {
        self.inner.entry(code::WRITEV, |buf| Segment {
            base: buf.stable_ptr() as usize,
            len: buf.bytes_init(),
        })
    }

    fn finish(self, outcome: Outcome) -> Self::Output {
        let written = result_of(outcome, code::WRITEV).map(|n| n as usize);
        (written, self.inner.bufs)
    }
}
