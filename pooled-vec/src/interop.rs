//! Pooled memory as `bytes` knows it.

use crate::PooledVec;
use bytes::buf::UninitSlice;
use bytes::{Buf, BufMut, Bytes};

impl PooledVec {
    /// Makes the bytes an immutable [`Bytes`], whose clones and slices share them; the memory goes back to its pool when
    /// the last of those is dropped. One small allocation, for the count that they share.
    ///
    /// ```
    /// use pooled_vec::Pool;
    /// let pool = Pool::default();
    /// let mut buffer = pool.get();
    /// buffer.extend_from_slice(b"head body");
    /// let address = buffer.as_ptr();
    /// let whole = buffer.freeze();
    /// let body = whole.slice(5..);
    /// drop(whole);
    /// assert_eq!(&body[..], b"body");
    /// drop(body);
    /// assert_eq!(pool.get().as_ptr(), address);
    /// ```
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }

    /// Makes the bytes something to read from the front, each byte once, in O(1) a step.
    pub fn into_buf(self) -> PooledBuf {
        PooledBuf {
            buffer: self,
            read: 0,
        }
    }
}

/// As [`PooledVec::freeze`].
impl From<PooledVec> for Bytes {
    fn from(buffer: PooledVec) -> Self {
        buffer.freeze()
    }
}

/// Appends to the vector, which grows as needed.
// SAFETY: each method is the vector's own.
unsafe impl BufMut for PooledVec {
    #[inline]
    fn remaining_mut(&self) -> usize {
        (**self).remaining_mut()
    }

    #[inline]
    unsafe fn advance_mut(&mut self, bytes: usize) {
        // SAFETY: passed on.
        unsafe { (**self).advance_mut(bytes) }
    }

    #[inline]
    fn chunk_mut(&mut self) -> &mut UninitSlice {
        (**self).chunk_mut()
    }

    #[inline]
    fn put_slice(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Reads from the front and takes away what was read. O(bytes left) each time, since a vector begins where its memory
/// does; [`into_buf`](PooledVec::into_buf) reads piece by piece in O(1).
impl Buf for PooledVec {
    #[inline]
    fn remaining(&self) -> usize {
        self.len()
    }

    #[inline]
    fn chunk(&self) -> &[u8] {
        self
    }

    /// # Panics
    /// Past the end.
    fn advance(&mut self, bytes: usize) {
        let left = self.len();
        assert!(bytes <= left, "cannot advance by {bytes}: {left} bytes are left");
        self.drain(..bytes);
    }
}

/// What is left to read of a [`PooledVec`]; its memory goes back to the pool on drop.
///
/// ```
/// use bytes::{Buf, BufMut};
/// let mut buffer = pooled_vec::PooledVec::new();
/// buffer.put_u16(513);
/// buffer.put_slice(b"rest");
/// let mut left = buffer.into_buf();
/// assert_eq!((left.get_u16(), left.chunk()), (513, &b"rest"[..]));
/// ```
#[derive(Debug)]
pub struct PooledBuf {
    buffer: PooledVec,
    read: usize,
}

impl PooledBuf {
    /// Takes the whole buffer back, what was read included.
    pub fn into_inner(self) -> PooledVec {
        self.buffer
    }
}

impl Buf for PooledBuf {
    #[inline]
    fn remaining(&self) -> usize {
        self.buffer.len() - self.read
    }

    #[inline]
    fn chunk(&self) -> &[u8] {
        &self.buffer[self.read..]
    }

    /// # Panics
    /// Past the end.
    #[inline]
    fn advance(&mut self, bytes: usize) {
        let left = self.remaining();
        assert!(bytes <= left, "cannot advance by {bytes}: {left} bytes are left");
        self.read += bytes;
    }
}
