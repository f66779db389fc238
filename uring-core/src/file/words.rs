//! Under which slot the file of a number is known: one word a number.
//!
//! # States of a word
//! ```text
//!   0 (no file is bound) ──bound──► generation and slot ──unbound or closed──► 0
//! ```
//! - **W1** one writer at a time, under the lock of whoever owns the words.
//! - **W2** a word names the generation that it was written for: a handle of another file under the same number reads none,
//!   and takes none away.
//! - **W3** who reads a slot sees all that its rings were told before the word was written.
//!
//! | access | order | pairs with |
//! |---|---|---|
//! | `set` store | Release | the Acquire in `get` (W3) |
//!
//! Linearization: the load of `get`, the store of `set`. Models: `ring_registered.rs` of loom-tests.

use sync_base::atomic::{AtomicU64, Ordering};

/// Bits of a word that hold the slot: the kernel's tables have at most 2^20 of them.
pub(crate) const SLOT_BITS: u32 = 20;

/// Generation and slot of each number, 0 for none: generations begin at 1.
#[derive(Debug)]
pub struct Words(Box<[AtomicU64]>);

impl Words {
    /// Starts with no file under any number below the limit.
    pub fn new(limit: u32) -> Self {
        Self((0..limit).map(|_| AtomicU64::new(0)).collect())
    }

    /// The slot of the file that has the number in this generation.
    #[inline]
    pub fn get(&self, number: u32, generation: u64) -> Option<u32> {
        // Acquire: pairs with the Release in `set`; every ring was told before (W3).
        let word = self.0.get(number as usize)?.load(Ordering::Acquire);
        // W2; the generation's uppermost bits are lost, after 2^44 files under one number.
        let bound = word >> SLOT_BITS == generation & (u64::MAX >> SLOT_BITS);
        bound.then_some(word as u32 & ((1 << SLOT_BITS) - 1))
    }

    /// Notes the slot of a file, or that it has none (W1: by one caller at a time).
    pub fn set(&self, number: u32, generation: u64, slot: Option<u32>) {
        let word = slot.map_or(0, |slot| generation << SLOT_BITS | u64::from(slot));
        if slot.is_some() || self.get(number, generation).is_some() {
            // Release: pairs with the Acquire in `get`; publishes what rings were told.
            self.0[number as usize].store(word, Ordering::Release);
        }
    }
}
