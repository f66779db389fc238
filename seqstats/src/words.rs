//! A plain value that lies in memory as relaxed atomic words.
//!
//! # Invariants
//! - W1: the bytes of the value are touched only through atomic accesses, and each byte always through an access of the
//!   same width at the same offset: there is no data race, whoever reads and whoever writes.
//! - W2: every access is Relaxed. What a set of words *means* together is decided by the protocol around it.
//!
//! The bytes lie inline, so a `SeqLock` can be a `static` and a read follows no pointer. A model checker's atomics do
//! not fit into the bytes of a value; under one, `model_words.rs` keeps the same words in a boxed slice.

use crate::Plain;
use std::mem::{MaybeUninit, size_of};
use sync_base::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use sync_base::cell::UnsafeCell;

/// A value as words. Eight bytes a word; a remainder is one half word, where four bytes are left, and single bytes.
#[repr(C, align(8))]
pub(crate) struct Words<T> {
    value: UnsafeCell<T>,
}

// A write is a copy, which calls nothing of the user's: a panic never leaves one half done.
impl<T> std::panic::RefUnwindSafe for Words<T> {}

// SAFETY: W1: every shared access is atomic; the value moves between threads by copy, hence `T: Send`.
unsafe impl<T: Plain + Send> Sync for Words<T> {}

impl<T: Plain> Words<T> {
    const WHOLE: usize = size_of::<T>() / 8;
    const HALF: bool = size_of::<T>() % 8 >= 4;
    const HALF_AT: usize = Self::WHOLE * 8;
    const BYTES_AT: usize = Self::HALF_AT + 4 * Self::HALF as usize;

    pub(crate) const fn new(value: T) -> Self {
        Self {
            value: UnsafeCell::new(value),
        }
    }

    #[inline(always)]
    fn base(&self) -> *mut u8 {
        self.value.with_mut(|value| value.cast::<u8>())
    }

    #[inline(always)]
    fn word(&self, i: usize) -> &AtomicU64 {
        debug_assert!(i < Self::WHOLE);
        // SAFETY: i < WHOLE, so the eight bytes lie inside the value, which is initialised and aligned to 8 by `repr`;
        // W1: nobody touches them but through this function.
        unsafe { AtomicU64::from_ptr(self.base().cast::<u64>().add(i)) }
    }

    #[inline(always)]
    fn half(&self) -> &AtomicU32 {
        // SAFETY: HALF, so four bytes lie inside the value at a multiple of 8; W1 as in `word`.
        unsafe { AtomicU32::from_ptr(self.base().add(Self::HALF_AT).cast::<u32>()) }
    }

    #[inline(always)]
    fn byte(&self, at: usize) -> &AtomicU8 {
        debug_assert!(at < size_of::<T>());
        // SAFETY: the byte lies inside the value; W1 as in `word`.
        unsafe { AtomicU8::from_ptr(self.base().add(at)) }
    }

    /// Copies the words out, one relaxed load each. They may belong to different values; each is some value's.
    #[inline(always)]
    pub(crate) fn load(&self) -> T {
        let mut copy = MaybeUninit::<T>::uninit();
        self.load_into(&mut copy);
        // SAFETY: `load_into` wrote all size_of::<T>() bytes, and any bytes are a `T`, since it is `AnyBitPattern`.
        unsafe { copy.assume_init() }
    }

    /// The same into a place that the caller has, all of which is then initialised. A copy that may yet be refused is
    /// made where it is to stay: moving it once more would cost as much again.
    #[inline(always)]
    pub(crate) fn load_into(&self, copy: &mut MaybeUninit<T>) {
        let to = copy.as_mut_ptr().cast::<u8>();
        for i in 0..Self::WHOLE {
            // Relaxed: W2.
            let word = self.word(i).load(Ordering::Relaxed);
            // SAFETY: i < WHOLE: inside `copy`.
            unsafe { to.cast::<u64>().add(i).write_unaligned(word) };
        }
        if Self::HALF {
            // Relaxed: W2.
            let half = self.half().load(Ordering::Relaxed);
            // SAFETY: HALF: four bytes inside `copy`.
            unsafe { to.add(Self::HALF_AT).cast::<u32>().write_unaligned(half) };
        }
        for at in Self::BYTES_AT..size_of::<T>() {
            // Relaxed: W2.
            let byte = self.byte(at).load(Ordering::Relaxed);
            // SAFETY: at < size_of::<T>(): inside `copy`.
            unsafe { to.add(at).write(byte) };
        }
    }

    /// Copies a value into the words, one relaxed store each.
    #[inline(always)]
    pub(crate) fn store(&self, value: &T) {
        let from = std::ptr::from_ref(value).cast::<u8>();
        for i in 0..Self::WHOLE {
            // SAFETY: i < WHOLE: inside `value`, whose bytes are all initialised, since it is `NoUninit`.
            let word = unsafe { from.cast::<u64>().add(i).read_unaligned() };
            // Relaxed: W2.
            self.word(i).store(word, Ordering::Relaxed);
        }
        if Self::HALF {
            // SAFETY: HALF: four initialised bytes inside `value`.
            let half = unsafe { from.add(Self::HALF_AT).cast::<u32>().read_unaligned() };
            // Relaxed: W2.
            self.half().store(half, Ordering::Relaxed);
        }
        for at in Self::BYTES_AT..size_of::<T>() {
            // SAFETY: at < size_of::<T>(): an initialised byte inside `value`.
            let byte = unsafe { from.add(at).read() };
            // Relaxed: W2.
            self.byte(at).store(byte, Ordering::Relaxed);
        }
    }
}
