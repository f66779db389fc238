//! The representation of a value that is a word: one atomic.

use super::{Refused, Representation};
use bytemuck::NoUninit;
use std::marker::PhantomData;
use std::ptr;
use sync_base::atomic::{AtomicU64, Ordering};

/// A value as the bits of an atomic word: what [`AdaptiveCell`](crate::AdaptiveCell) is made of where it can be.
#[derive(Debug)]
pub struct Word<T> {
    /// Always the bytes of some `T`, filled up with zeros.
    bits: AtomicU64,
    value: PhantomData<T>,
}

const fn to_bits<T: NoUninit>(value: T) -> u64 {
    const { assert!(size_of::<T>() <= size_of::<u64>(), "the type does not fit a word") };
    let mut bits = 0u64;
    let (from, to) = ((&raw const value).cast::<u8>(), (&raw mut bits).cast::<u8>());
    // SAFETY: `T` is at most as long as `bits`, and plain data without padding: each of its bytes may be copied.
    unsafe { ptr::copy_nonoverlapping(from, to, size_of::<T>()) };
    bits
}

/// # Safety
/// `bits` came from `to_bits::<T>`.
unsafe fn from_bits<T: NoUninit>(bits: u64) -> T {
    // SAFETY: the first bytes are those of a `T`, says the caller, and `T` is plain data without padding.
    unsafe { (&raw const bits).cast::<T>().read_unaligned() }
}

impl<T: NoUninit> Word<T> {
    sync_base::const_fn! {
        /// Wraps a value, for a `static`: see [`AdaptiveCell::of`](crate::AdaptiveCell::of).
        pub fn new(value: T) -> Self {
            Self {
                bits: AtomicU64::new(to_bits(value)),
                value: PhantomData,
            }
        }
    }
}

impl<T: NoUninit + PartialEq> super::sealed::Sealed for Word<T> {}

impl<T: NoUninit + PartialEq> Representation<T> for Word<T> {
    const LOCK_FREE: bool = true;

    fn new(value: T) -> Self {
        Self::new(value)
    }

    #[inline]
    fn load(&self) -> T {
        // Acquire: pairs with the Release of `store`, `swap` and `exchange`; what the writer did before.
        let bits = self.bits.load(Ordering::Acquire);
        // SAFETY: the field holds nothing else.
        unsafe { from_bits(bits) }
    }

    #[inline]
    fn store(&self, value: T) {
        // Release: pairs with the Acquire of `load`, `swap` and `exchange`; publishes what this thread did before.
        self.bits.store(to_bits(value), Ordering::Release);
    }

    #[inline]
    fn swap(&self, value: T) -> T {
        // AcqRel: pairs with the Acquire of `load` and the Release of `store`, and with itself.
        let bits = self.bits.swap(to_bits(value), Ordering::AcqRel);
        // SAFETY: the field holds nothing else.
        unsafe { from_bits(bits) }
    }

    #[inline]
    fn compare_exchange(&self, current: &T, new: T) -> Result<T, Refused<T>> {
        let found = self.fetch_update(|value| (value == current).then_some(new));
        found.map_err(|found| Refused { found, new })
    }

    fn fetch_update(&self, mut f: impl FnMut(&T) -> Option<T>) -> Result<T, T> {
        // Acquire: pairs with the Release of every write.
        let mut bits = self.bits.load(Ordering::Acquire);
        loop {
            // SAFETY: the field holds nothing else.
            let found = unsafe { from_bits(bits) };
            let Some(new) = f(&found) else {
                return Err(found);
            };
            // AcqRel: pairs with the Acquire of `load` and the Release of `store`, and with itself. Acquire on failure:
            // pairs with the Release of the write that came first.
            match self
                .bits
                .compare_exchange_weak(bits, to_bits(new), Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return Ok(found),
                Err(now) => bits = now,
            }
        }
    }

    fn into_inner(self) -> T {
        self.load()
    }
}
