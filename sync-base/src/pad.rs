//! A value alone on its cache lines.

use std::ops::{Deref, DerefMut};

/// Aligns a value to 128 bytes, so that no other hot word shares its line.
///
/// 128 and not 64: x86-64 fetches lines in adjacent pairs, and some arm64 cores have 128-byte lines.
///
/// ```
/// assert_eq!(std::mem::align_of::<sync_base::CachePadded<u8>>(), 128);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(align(128))]
pub struct CachePadded<T>(T);

impl<T> CachePadded<T> {
    /// Pads a value.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// Takes the value out.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for CachePadded<T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for CachePadded<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}
