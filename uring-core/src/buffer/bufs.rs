//! The contract of a buffer: owned memory that stays where it is.

use crate::error::{Error, ErrorKind};
use pooled_vec::{AlignedBuf, PooledVec, SlabBuf};
use std::ops::{Bound, RangeBounds};

/// Where the kernel knows a buffer already: ring and index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registration {
    pub(crate) ring: u32,
    pub(crate) index: u16,
}

/// Memory that the kernel may read.
///
/// # Safety
/// Until it is dropped, or mutated through a method of its own, the bytes from [`stable_ptr`](IoBuf::stable_ptr) on stay
/// valid, initialised and at that address, wherever the value itself is moved. Nobody else writes to them.
pub unsafe trait IoBuf: Send + 'static {
    /// Where it begins.
    fn stable_ptr(&self) -> *const u8;

    /// How many bytes are initialised.
    fn bytes_init(&self) -> usize;

    /// The registration, for a buffer that the kernel knows already.
    fn registration(&self) -> Option<Registration> {
        None
    }
}

/// Memory that the kernel may write.
///
/// # Safety
/// As [`IoBuf`], for [`bytes_total`](IoBufMut::bytes_total) bytes that are valid for writes, and nobody else reads them.
pub unsafe trait IoBufMut: IoBuf {
    /// Where it begins.
    fn stable_mut_ptr(&mut self) -> *mut u8;

    /// How many bytes may be written.
    fn bytes_total(&self) -> usize;

    /// Says that the first `count` bytes were written. A growable buffer is that long from now on.
    ///
    /// # Safety
    /// They were, and `count` is at most `bytes_total`.
    unsafe fn set_init(&mut self, count: usize);
}

macro_rules! shared {
    ($($buf:ty: $why:literal;)*) => {$(
        // SAFETY: the trait asks for bytes that stay valid, initialised, unmoved and unwritten; `$why` at the call.
        #[doc = concat!("The bytes stay: ", $why, ".")]
        unsafe impl IoBuf for $buf {
            fn stable_ptr(&self) -> *const u8 {
                self.as_ptr()
            }

            fn bytes_init(&self) -> usize {
                self.len()
            }
        }
    )*};
}

shared! {
    Vec<u8>: "the heap block is the vector's own and moves only when it is touched";
    Box<[u8]>: "the heap block is the box's own";
    PooledVec: "the heap block is the vector's own and moves only when it is touched";
    AlignedBuf: "the block is the buffer's own";
    SlabBuf: "the slot is the lease's own, and the lease keeps the slab";
    &'static [u8]: "they live as long as the program and are never written";
    &'static str: "they live as long as the program and are never written";
    std::sync::Arc<[u8]>: "the block is shared and never written while it is";
}

#[cfg(feature = "bytes")]
shared! {
    bytes::Bytes: "the block is shared and never written while it is";
    bytes::BytesMut: "the block is the buffer's own and moves only when it is touched";
}

macro_rules! growable {
    ($($buf:ty),*) => {$(
        // SAFETY: `capacity` bytes of the block are valid for writes, and the vector is its only owner.
        unsafe impl IoBufMut for $buf {
            fn stable_mut_ptr(&mut self) -> *mut u8 {
                self.as_mut_ptr()
            }

            fn bytes_total(&self) -> usize {
                self.capacity()
            }

            unsafe fn set_init(&mut self, count: usize) {
                // SAFETY: the caller's promise.
                unsafe { self.set_len(count) };
            }
        }
    )*};
}
growable!(Vec<u8>, PooledVec);

// SAFETY: as for a vector: `BytesMut` owns its capacity alone, however it was split off.
#[cfg(feature = "bytes")]
unsafe impl IoBufMut for bytes::BytesMut {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.as_mut_ptr()
    }

    fn bytes_total(&self) -> usize {
        self.capacity()
    }

    unsafe fn set_init(&mut self, count: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.set_len(count) };
    }
}

macro_rules! fixed_length {
    ($($buf:ty),*) => {$(
        // SAFETY: the block is wholly initialised, valid for writes, and has one owner.
        unsafe impl IoBufMut for $buf {
            fn stable_mut_ptr(&mut self) -> *mut u8 {
                self.as_mut_ptr()
            }

            fn bytes_total(&self) -> usize {
                self.len()
            }

            unsafe fn set_init(&mut self, _count: usize) {}
        }
    )*};
}
fixed_length!(Box<[u8]>, AlignedBuf, SlabBuf);

/// A part of a buffer, which it owns.
///
/// ```
/// use uring_core::buffer::{IoBuf, Slice};
/// let part = Slice::new(b"abcdef".to_vec(), 2..4);
/// assert_eq!(part.bytes_init(), 2);
/// assert_eq!(part.into_inner(), b"abcdef");
/// ```
#[derive(Debug)]
pub struct Slice<B> {
    buf: B,
    start: usize,
    end: usize,
}

impl<B: IoBuf> Slice<B> {
    /// Narrows a buffer to a range of its initialised bytes.
    ///
    /// # Panics
    /// When the range reaches past them; [`part`](Self::part) hands the buffer back instead.
    pub fn new(buf: B, range: impl RangeBounds<usize>) -> Self {
        let start = match range.start_bound() {
            Bound::Included(&n) => n,
            Bound::Excluded(&n) => n.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&n) => n.saturating_add(1),
            Bound::Excluded(&n) => n,
            Bound::Unbounded => buf.bytes_init(),
        };
        assert!(
            start <= end && end <= buf.bytes_init(),
            "{start}..{end} of {} bytes",
            buf.bytes_init()
        );
        Self { buf, start, end }
    }

    /// Narrows a buffer to `len` of its initialised bytes from `offset` on.
    ///
    /// # Errors
    /// The buffer comes back with [`ErrorKind::InvalidInput`] when that reaches past them.
    pub fn part(buf: B, offset: usize, len: usize) -> Result<Self, (B, Error)> {
        match offset.checked_add(len) {
            Some(end) if end <= buf.bytes_init() => Ok(Self {
                buf,
                start: offset,
                end,
            }),
            _ => Err((buf, Error::of(ErrorKind::InvalidInput))),
        }
    }

    /// Gives the whole buffer back.
    pub fn into_inner(self) -> B {
        self.buf
    }

    /// Where in the buffer the part lies.
    pub fn range(&self) -> std::ops::Range<usize> {
        self.start..self.end
    }
}

// SAFETY: a part of what is valid, initialised and unmoved is so too; the bounds were checked in `new`, and nobody
// reaches the buffer to shrink it.
unsafe impl<B: IoBuf> IoBuf for Slice<B> {
    fn stable_ptr(&self) -> *const u8 {
        // SAFETY: `start` is within the buffer.
        unsafe { self.buf.stable_ptr().add(self.start) }
    }

    fn bytes_init(&self) -> usize {
        self.end - self.start
    }

    fn registration(&self) -> Option<Registration> {
        self.buf.registration()
    }
}

// SAFETY: as above. A part lies in initialised memory, so nothing has to be marked after a write.
unsafe impl<B: IoBufMut> IoBufMut for Slice<B> {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        // SAFETY: `start` is within the buffer.
        unsafe { self.buf.stable_mut_ptr().add(self.start) }
    }

    fn bytes_total(&self) -> usize {
        self.end - self.start
    }

    unsafe fn set_init(&mut self, _count: usize) {}
}
