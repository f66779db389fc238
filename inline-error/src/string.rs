//! A string of at most `N` bytes that lives where it is declared.

use crate::raw::Utf8;
use core::borrow::Borrow;
use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::ops::Deref;
use core::str::FromStr;

/// A string of at most `N <= 255` bytes stored in place: `N + 1` bytes, no allocation ever, `Copy`.
///
/// It derefs to `str` and compares, hashes and orders as `str` does, so a map with such keys is searched with a `&str`.
/// Nothing is cut silently: what does not fit is refused whole ([`push_str`](Self::push_str), `write!`) or handed back
/// ([`push_fitting`](Self::push_fitting)); a character is never split.
///
/// ```
/// use inline_error::InlineString;
/// use std::fmt::Write;
///
/// let mut name = InlineString::<15>::new();
/// write!(name, "ring-{}", 7)?;
/// assert_eq!(name, "ring-7");
/// assert!(name.starts_with("ring"));
/// assert_eq!(name.push_fitting("-über-alles"), "les"); // 15 bytes are full
/// assert_eq!(name, "ring-7-über-al");
/// # Ok::<(), std::fmt::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct InlineString<const N: usize> {
    text: Utf8<N>,
}

const _: () = assert!(size_of::<InlineString<56>>() == 57);
const _: () = assert!(size_of::<InlineString<0>>() == 1);
const _: () = assert!(size_of::<InlineString<255>>() == 256);

/// Says that a text does not fit, and by how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Full {
    /// Bytes the whole text would have taken.
    pub needed: usize,
    /// Bytes there are.
    pub capacity: usize,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { needed, capacity } = self;
        write!(
            f,
            "the text takes {needed} bytes where {capacity} fit: shorten it or use a String"
        )
    }
}

impl core::error::Error for Full {}

impl<const N: usize> InlineString<N> {
    /// Makes an empty string. Writes one byte; `N` over 255 does not compile.
    ///
    /// ```compile_fail,E0080
    /// let too_long = inline_error::InlineString::<256>::new();
    /// ```
    #[inline]
    #[must_use]
    pub const fn new() -> Self {
        Self { text: Utf8::new() }
    }

    /// Copies `text`, also at compile time. O(length).
    ///
    /// # Errors
    /// [`Full`] when it is longer than `N` bytes.
    ///
    /// ```
    /// use inline_error::InlineString;
    /// const NAME: InlineString<8> = match InlineString::copy_of("uring") { Ok(name) => name, Err(_) => panic!() };
    /// assert_eq!(NAME, "uring");
    /// ```
    #[inline]
    pub const fn copy_of(text: &str) -> Result<Self, Full> {
        let mut new = Self::new();
        match new.push_str(text) {
            Ok(()) => Ok(new),
            Err(full) => Err(full),
        }
    }

    /// Copies as many whole characters of `text` as fit, and returns the rest. O(length).
    ///
    /// ```
    /// let (head, rest) = inline_error::InlineString::<4>::fitting("añil");
    /// assert_eq!((head.as_str(), rest), ("añi", "l"));
    /// ```
    #[inline]
    #[must_use]
    pub fn fitting(text: &str) -> (Self, &str) {
        let mut new = Self::new();
        let rest = new.push_fitting(text);
        (new, rest)
    }

    /// Borrows the text. Also by deref.
    #[inline]
    #[must_use]
    pub const fn as_str(&self) -> &str {
        self.text.as_str()
    }

    /// Returns how many bytes the text takes.
    #[inline]
    #[must_use]
    pub const fn len(&self) -> usize {
        self.text.len()
    }

    /// Says whether there is no text.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.text.len() == 0
    }

    /// Returns how many bytes fit in all: `N`.
    #[inline]
    #[must_use]
    pub const fn capacity(&self) -> usize {
        N
    }

    /// Returns how many more bytes fit.
    #[inline]
    #[must_use]
    pub const fn free(&self) -> usize {
        N - self.text.len()
    }

    /// Appends all of `text`, or nothing. O(length), no allocation.
    ///
    /// # Errors
    /// [`Full`] when it does not fit; the string is as it was.
    #[inline]
    pub const fn push_str(&mut self, text: &str) -> Result<(), Full> {
        if self.text.push(text) {
            return Ok(());
        }
        Err(Full {
            needed: self.text.len().saturating_add(text.len()),
            capacity: N,
        })
    }

    /// Appends one character. No allocation.
    ///
    /// # Errors
    /// [`Full`] when it does not fit; the string is as it was.
    #[inline]
    pub const fn push(&mut self, character: char) -> Result<(), Full> {
        let mut bytes = [0; 4];
        self.push_str(character.encode_utf8(&mut bytes))
    }

    /// Appends as many whole characters as fit and returns the rest, empty when all did.
    #[inline]
    pub fn push_fitting<'t>(&mut self, text: &'t str) -> &'t str {
        let (head, rest) = text.split_at(boundary_at_most(text, self.free()));
        let all = self.text.push(head);
        debug_assert!(all, "the head was cut to what is free");
        rest
    }

    /// Shortens the text to `len` bytes; does nothing if it is no longer than that.
    ///
    /// # Panics
    /// When `len` is inside a character.
    #[inline]
    pub fn truncate(&mut self, len: usize) {
        self.text.truncate(len);
    }

    /// Removes the last character and returns it.
    pub fn pop(&mut self) -> Option<char> {
        let last = self.chars().next_back()?;
        self.text.truncate(self.len() - last.len_utf8());
        Some(last)
    }

    /// Removes all text.
    #[inline]
    pub fn clear(&mut self) {
        self.text.truncate(0);
    }
}

/// Finds the greatest character boundary of `text` at or below `most`. At most four steps.
#[inline]
pub(crate) fn boundary_at_most(text: &str, most: usize) -> usize {
    let mut at = most.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

impl<const N: usize> Default for InlineString<N> {
    #[inline]
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Deref for InlineString<N> {
    type Target = str;
    #[inline]
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl<const N: usize> AsRef<str> for InlineString<N> {
    #[inline]
    fn as_ref(&self) -> &str {
        self
    }
}

impl<const N: usize> AsRef<[u8]> for InlineString<N> {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl<const N: usize> Borrow<str> for InlineString<N> {
    #[inline]
    fn borrow(&self) -> &str {
        self
    }
}

impl<const N: usize> fmt::Debug for InlineString<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl<const N: usize> fmt::Display for InlineString<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), f)
    }
}

/// Writes pieces whole: the first one that does not fit is an error and leaves the pieces before it.
impl<const N: usize> fmt::Write for InlineString<N> {
    #[inline]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push_str(text).map_err(|_| fmt::Error)
    }
}

impl<const N: usize> TryFrom<&str> for InlineString<N> {
    type Error = Full;
    #[inline]
    fn try_from(text: &str) -> Result<Self, Full> {
        Self::copy_of(text)
    }
}

impl<const N: usize> FromStr for InlineString<N> {
    type Err = Full;
    #[inline]
    fn from_str(text: &str) -> Result<Self, Full> {
        Self::copy_of(text)
    }
}

#[cfg(feature = "alloc")]
impl<const N: usize> From<InlineString<N>> for alloc::string::String {
    fn from(text: InlineString<N>) -> Self {
        text.as_str().into()
    }
}

// As `str` does, which `Borrow<str>` demands.
impl<const N: usize> Hash for InlineString<N> {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl<const N: usize> Eq for InlineString<N> {}

impl<const N: usize, const M: usize> PartialEq<InlineString<M>> for InlineString<N> {
    #[inline]
    fn eq(&self, other: &InlineString<M>) -> bool {
        self.as_str() == other.as_str()
    }
}

impl<const N: usize> PartialEq<str> for InlineString<N> {
    #[inline]
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl<const N: usize> PartialEq<&str> for InlineString<N> {
    #[inline]
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

#[cfg(feature = "alloc")]
impl<const N: usize> PartialEq<alloc::string::String> for InlineString<N> {
    #[inline]
    fn eq(&self, other: &alloc::string::String) -> bool {
        self.as_str() == other.as_str()
    }
}

impl<const N: usize> PartialEq<InlineString<N>> for str {
    #[inline]
    fn eq(&self, other: &InlineString<N>) -> bool {
        self == other.as_str()
    }
}

impl<const N: usize> PartialEq<InlineString<N>> for &str {
    #[inline]
    fn eq(&self, other: &InlineString<N>) -> bool {
        *self == other.as_str()
    }
}

impl<const N: usize> Ord for InlineString<N> {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl<const N: usize, const M: usize> PartialOrd<InlineString<M>> for InlineString<N> {
    #[inline]
    fn partial_cmp(&self, other: &InlineString<M>) -> Option<Ordering> {
        self.as_str().partial_cmp(other.as_str())
    }
}
