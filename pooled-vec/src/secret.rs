//! A pooled buffer that leaves no copy of a secret behind.

use crate::pool::grown;
use crate::{Pool, PooledVec};
use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes that are zeroed wherever they were, before the memory serves anybody else.
///
/// It derefs to a byte slice and not to a `Vec`: a vector that grows hands its old block to the allocator as it is. This
/// one grows through its pool and zeroes the whole old block first; on drop it zeroes its whole capacity, spare part
/// included. `Debug` shows the length alone.
///
/// ```
/// use pooled_vec::SecretVec;
/// let mut key = SecretVec::new();
/// key.extend_from_slice(b"hunter2");
/// assert_eq!((&key[..], format!("{key:?}")), (&b"hunter2"[..], "SecretVec(7 bytes)".to_string()));
/// ```
pub struct SecretVec {
    buffer: PooledVec,
}

impl SecretVec {
    /// Gets an empty one of the global pool's first capacity.
    pub fn new() -> Self {
        PooledVec::new().into()
    }

    /// Gets an empty one of at least `bytes` from the global pool.
    pub fn with_capacity(bytes: usize) -> Self {
        PooledVec::with_capacity(bytes).into()
    }

    /// Bytes that it holds without growing.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// Makes room for `more` bytes, from the same pool. Amortised O(1) a byte.
    ///
    /// # Panics
    /// When the capacity would exceed `isize::MAX`.
    pub fn reserve(&mut self, more: usize) {
        let needed = self.len().checked_add(more).expect("a capacity fits a usize");
        if needed <= self.capacity() {
            return;
        }
        let mut larger = grown(&self.buffer, needed.max(self.capacity().saturating_mul(2)));
        larger.extend_from_slice(&self.buffer);
        let mut old = std::mem::replace(&mut self.buffer, larger);
        (*old).zeroize();
    }

    /// Appends one byte.
    pub fn push(&mut self, byte: u8) {
        self.reserve(1);
        self.buffer.push(byte);
    }

    /// Appends bytes.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        self.buffer.extend_from_slice(bytes);
    }

    /// Shortens to `len` bytes and zeroes what is cut off; nothing when it is no longer than that.
    pub fn truncate(&mut self, len: usize) {
        if let Some(cut) = self.buffer.get_mut(len..) {
            cut.zeroize();
        }
        self.buffer.truncate(len);
    }
}

/// Takes the bytes in: they are zeroed on drop from now on.
impl From<PooledVec> for SecretVec {
    fn from(buffer: PooledVec) -> Self {
        Self { buffer }
    }
}

impl Pool {
    /// Gets an empty [`SecretVec`] of at least `bytes`, which grows through this pool.
    ///
    /// # Panics
    /// As [`with_capacity`](Self::with_capacity).
    pub fn secret(&self, bytes: usize) -> SecretVec {
        self.with_capacity(bytes).into()
    }
}

impl Default for SecretVec {
    fn default() -> Self {
        PooledVec::default().into()
    }
}

/// Zeroes the whole capacity and leaves it empty.
impl Zeroize for SecretVec {
    fn zeroize(&mut self) {
        (*self.buffer).zeroize();
    }
}

impl Drop for SecretVec {
    fn drop(&mut self) {
        self.zeroize();
    }
}

impl ZeroizeOnDrop for SecretVec {}

impl Deref for SecretVec {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.buffer
    }
}

impl DerefMut for SecretVec {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.buffer
    }
}

impl io::Write for SecretVec {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for SecretVec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretVec({} bytes)", self.len())
    }
}
