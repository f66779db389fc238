//! A buffer that counts its own end, for the tests that ask whether a buffer came back, and how often.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use uring_core::buffer::{IoBuf, IoBufMut};

/// Bytes, and where their end is counted.
#[derive(Debug)]
pub(crate) struct Counted(pub(crate) Box<[u8]>, pub(crate) Arc<AtomicUsize>);

impl Counted {
    pub(crate) fn new(bytes: usize, drops: &Arc<AtomicUsize>) -> Self {
        Self(vec![0; bytes].into(), Arc::clone(drops))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: the box's block stays where it is and has one owner.
unsafe impl IoBuf for Counted {
    fn stable_ptr(&self) -> *const u8 {
        self.0.as_ptr()
    }
    fn bytes_init(&self) -> usize {
        self.0.len()
    }
}

// SAFETY: as above.
unsafe impl IoBufMut for Counted {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.0.as_mut_ptr()
    }
    fn bytes_total(&self) -> usize {
        self.0.len()
    }
    unsafe fn set_init(&mut self, _: usize) {}
}
