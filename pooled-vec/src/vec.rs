//! A `Vec<u8>` that goes back to its pool.

use crate::Pool;
use crate::pool;
use crate::table::Tag;
use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::io;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut, Range};
use std::slice;

/// A `Vec<u8>` whose memory goes back to its pool when it is dropped, on whichever thread that is.
///
/// It derefs to the vector, so everything a `Vec<u8>` does it does: grow it, `mem::take` the vector out of it, put
/// another one in. At drop the pool keeps what memory is there by then, if it fits a class.
///
/// Getting and dropping one costs no atomic operation and no call of the allocator in steady state (claims
/// `pool.4k.1t`, `pool.allocs`). The bytes are not zeroed: the spare capacity holds what the last user left there. For
/// secrets use `SecretVec` (feature `zeroize`).
///
/// ```
/// use pooled_vec::PooledVec;
/// use std::io::Write;
/// let mut reply = PooledVec::new();
/// assert!(reply.is_empty() && reply.capacity() >= 4096);
/// write!(reply, "{{\"id\":{}}}", 7).unwrap();
/// assert_eq!(*reply, b"{\"id\":7}");
/// ```
pub struct PooledVec {
    vec: ManuallyDrop<Vec<u8>>,
    tag: Tag,
}

/// The vector and one word that names the pool; an `Option` costs nothing more.
const _: () = assert!(size_of::<PooledVec>() == 32 && size_of::<Option<PooledVec>>() == 32);

impl PooledVec {
    /// Gets an empty buffer of the first capacity (4 KiB) from the global pool. Calls the allocator only when no idle
    /// buffer is within reach.
    #[inline]
    pub fn new() -> Self {
        match pool::first_at_hand() {
            Some(buffer) => buffer,
            None => Pool::global().get(),
        }
    }

    /// Gets an empty buffer of at least `bytes` from the global pool.
    ///
    /// # Panics
    /// As [`Pool::with_capacity`].
    #[inline]
    pub fn with_capacity(bytes: usize) -> Self {
        Pool::global().with_capacity(bytes)
    }

    #[inline(always)]
    pub(crate) fn from_parts(vec: Vec<u8>, tag: Tag) -> Self {
        Self {
            vec: ManuallyDrop::new(vec),
            tag,
        }
    }

    #[cfg(feature = "zeroize")]
    pub(crate) fn tag(&self) -> Tag {
        self.tag
    }

    /// Takes the vector out of the pool's care, for good. Costs nothing.
    pub fn into_vec(self) -> Vec<u8> {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `this` is not dropped, so the vector is taken once.
        unsafe { ManuallyDrop::take(&mut this.vec) }
    }
}

impl Drop for PooledVec {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: nothing reaches `vec` after this.
        let vec = unsafe { ManuallyDrop::take(&mut self.vec) };
        pool::recycle(self.tag, vec);
    }
}

/// An empty buffer of the global pool without memory, so that `mem::take` allocates nothing; what it grows to goes to
/// the global pool.
impl Default for PooledVec {
    #[inline]
    fn default() -> Self {
        Self::from_parts(Vec::new(), Tag::GLOBAL)
    }
}

impl Deref for PooledVec {
    type Target = Vec<u8>;
    #[inline(always)]
    fn deref(&self) -> &Vec<u8> {
        &self.vec
    }
}

impl DerefMut for PooledVec {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.vec
    }
}

impl AsRef<[u8]> for PooledVec {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl AsMut<[u8]> for PooledVec {
    fn as_mut(&mut self) -> &mut [u8] {
        self
    }
}

impl Borrow<[u8]> for PooledVec {
    fn borrow(&self) -> &[u8] {
        self
    }
}

/// Copies the bytes into a buffer of the global pool.
impl Clone for PooledVec {
    fn clone(&self) -> Self {
        Self::from(self.as_slice())
    }
}

/// Copies the bytes into a buffer of the global pool.
impl From<&[u8]> for PooledVec {
    fn from(bytes: &[u8]) -> Self {
        let mut copy = Self::with_capacity(bytes.len());
        copy.extend_from_slice(bytes);
        copy
    }
}

/// Copies the bytes into a buffer of the global pool.
impl<const N: usize> From<&[u8; N]> for PooledVec {
    fn from(bytes: &[u8; N]) -> Self {
        Self::from(bytes.as_slice())
    }
}

/// Copies the text's bytes into a buffer of the global pool.
impl From<&str> for PooledVec {
    fn from(text: &str) -> Self {
        Self::from(text.as_bytes())
    }
}

/// Puts the vector into the care of the global pool, without a copy.
impl From<Vec<u8>> for PooledVec {
    fn from(vec: Vec<u8>) -> Self {
        Self::from_parts(vec, Tag::GLOBAL)
    }
}

impl From<PooledVec> for Vec<u8> {
    fn from(buffer: PooledVec) -> Self {
        buffer.into_vec()
    }
}

impl Extend<u8> for PooledVec {
    fn extend<I: IntoIterator<Item = u8>>(&mut self, bytes: I) {
        self.vec.extend(bytes);
    }
}

impl<'a> Extend<&'a u8> for PooledVec {
    fn extend<I: IntoIterator<Item = &'a u8>>(&mut self, bytes: I) {
        self.vec.extend(bytes);
    }
}

impl<'a> IntoIterator for &'a PooledVec {
    type Item = &'a u8;
    type IntoIter = slice::Iter<'a, u8>;
    fn into_iter(self) -> slice::Iter<'a, u8> {
        self.iter()
    }
}

impl<'a> IntoIterator for &'a mut PooledVec {
    type Item = &'a mut u8;
    type IntoIter = slice::IterMut<'a, u8>;
    fn into_iter(self) -> slice::IterMut<'a, u8> {
        self.iter_mut()
    }
}

/// The bytes of a [`PooledVec`], one by one; its memory goes back to the pool when this is dropped.
#[derive(Debug)]
pub struct IntoIter {
    buffer: PooledVec,
    left: Range<usize>,
}

impl IntoIterator for PooledVec {
    type Item = u8;
    type IntoIter = IntoIter;
    fn into_iter(self) -> IntoIter {
        let left = 0..self.len();
        IntoIter { buffer: self, left }
    }
}

impl Iterator for IntoIter {
    type Item = u8;
    #[inline]
    fn next(&mut self) -> Option<u8> {
        self.left.next().map(|at| self.buffer[at])
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.left.size_hint()
    }
}

impl DoubleEndedIterator for IntoIter {
    #[inline]
    fn next_back(&mut self) -> Option<u8> {
        self.left.next_back().map(|at| self.buffer[at])
    }
}

impl ExactSizeIterator for IntoIter {}

impl FromIterator<u8> for PooledVec {
    fn from_iter<I: IntoIterator<Item = u8>>(bytes: I) -> Self {
        let mut buffer = Self::new();
        buffer.extend(bytes);
        buffer
    }
}

impl io::Write for PooledVec {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.vec.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.vec.extend_from_slice(bytes);
        Ok(())
    }

    #[inline]
    fn write_vectored(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        let bytes = slices.iter().map(|slice| slice.len()).sum();
        self.vec.reserve(bytes);
        slices.iter().for_each(|slice| self.vec.extend_from_slice(slice));
        Ok(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for PooledVec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().fmt(f)
    }
}

impl PartialEq for PooledVec {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for PooledVec {}

/// Equal where the bytes are, whatever holds the other ones.
macro_rules! equal_to {
    ($([$($life:tt)*] $other:ty),+ $(,)?) => {$(
        impl<$($life)*> PartialEq<$other> for PooledVec {
            fn eq(&self, other: &$other) -> bool {
                self.as_slice() == &other[..]
            }
        }
    )+};
}

equal_to! {
    [] [u8], [] &[u8], [] Vec<u8>,
    [const N: usize] [u8; N], [const N: usize] &[u8; N],
}

impl PartialEq<PooledVec> for Vec<u8> {
    fn eq(&self, other: &PooledVec) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl PartialOrd for PooledVec {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PooledVec {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_slice().cmp(other.as_slice())
    }
}

impl Hash for PooledVec {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_slice().hash(state);
    }
}
