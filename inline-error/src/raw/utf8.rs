//! A byte array of which a prefix holds whole UTF-8.
//!
//! # Invariants
//! - I1: `len <= N`, and the first `len` bytes are initialised.
//! - I2: those bytes are valid UTF-8: they only ever arrive as whole `&str`s and leave at character boundaries.
//!
//! The tail behind them is never written before it is needed: zeroing it would cost more than the message.

use core::mem::MaybeUninit;
use core::{ptr, slice};

/// Text of at most `N <= 255` bytes, stored in place.
#[derive(Clone, Copy)]
pub(crate) struct Utf8<const N: usize> {
    bytes: [MaybeUninit<u8>; N],
    len: u8,
}

impl<const N: usize> Utf8<N> {
    const FITS: () = assert!(N <= u8::MAX as usize, "an inline string holds at most 255 bytes");

    #[inline]
    pub(crate) const fn new() -> Self {
        const { Self::FITS };
        Self {
            bytes: [MaybeUninit::uninit(); N],
            len: 0,
        }
    }

    #[inline]
    pub(crate) const fn len(&self) -> usize {
        self.len as usize
    }

    /// Appends all of `text`, or nothing of it and says `false`.
    #[inline]
    #[must_use]
    pub(crate) const fn push(&mut self, text: &str) -> bool {
        let at = self.len as usize;
        if text.len() > N - at {
            return false;
        }
        // SAFETY: I1: `at <= N`, so the pointer stays within the array or one past its end.
        let to = unsafe { self.bytes.as_mut_ptr().add(at) };
        // SAFETY: the check above leaves room for `text.len()` bytes behind `to`; `&mut self` cannot overlap `text`.
        unsafe { ptr::copy_nonoverlapping(text.as_ptr(), to.cast::<u8>(), text.len()) };
        // I1, I2: the new bytes are initialised and are a whole `&str`. The sum is at most N, which fits (FITS).
        self.len = (at + text.len()) as u8;
        true
    }

    #[inline]
    pub(crate) const fn as_str(&self) -> &str {
        // SAFETY: I1: the first `len` bytes are initialised and inside the array.
        let bytes = unsafe { slice::from_raw_parts(self.bytes.as_ptr().cast::<u8>(), self.len as usize) };
        // SAFETY: I2.
        unsafe { core::str::from_utf8_unchecked(bytes) }
    }

    /// Shortens the text to `len` bytes; does nothing if it is no longer than that.
    ///
    /// Panics when `len` is not at a character boundary: that would break I2.
    #[inline]
    pub(crate) fn truncate(&mut self, len: usize) {
        if len < self.len() {
            assert!(
                self.as_str().is_char_boundary(len),
                "{len} is inside a character of the inline string"
            );
            self.len = len as u8;
        }
    }
}
