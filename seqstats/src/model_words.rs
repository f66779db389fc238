//! The words of `words.rs` where a model checker can see them: its own atomics, in a boxed slice.

use crate::Plain;
use std::marker::PhantomData;
use std::mem::{MaybeUninit, size_of};
use sync_base::atomic::{AtomicU64, Ordering};

/// A value as words of eight bytes, the last one filled up with zeros.
pub(crate) struct Words<T> {
    words: Box<[AtomicU64]>,
    value: PhantomData<T>,
}

impl<T: Plain> Words<T> {
    pub(crate) fn new(value: T) -> Self {
        let bytes = bytemuck::bytes_of(&value);
        let words = bytes.chunks(8).map(|chunk| AtomicU64::new(word(chunk))).collect();
        Self {
            words,
            value: PhantomData,
        }
    }

    pub(crate) fn load(&self) -> T {
        let mut bytes = Vec::with_capacity(self.words.len() * 8);
        for word in &self.words {
            // Relaxed: W2 of `words.rs`.
            bytes.extend(word.load(Ordering::Relaxed).to_ne_bytes());
        }
        bytemuck::pod_read_unaligned(&bytes[..size_of::<T>()])
    }

    pub(crate) fn load_into(&self, copy: &mut MaybeUninit<T>) {
        copy.write(self.load());
    }

    pub(crate) fn store(&self, value: &T) {
        for (to, chunk) in self.words.iter().zip(bytemuck::bytes_of(value).chunks(8)) {
            // Relaxed: W2 of `words.rs`.
            to.store(word(chunk), Ordering::Relaxed);
        }
    }
}

fn word(chunk: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    bytes[..chunk.len()].copy_from_slice(chunk);
    u64::from_ne_bytes(bytes)
}
