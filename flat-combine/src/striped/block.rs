//! The cells of one thread, as an array that only its owner lengthens.
//!
//! # States
//! A block is owned by one live thread at a time (a `sync_base::Claim`) and never freed while the ledger lives. Its
//! array is replaced by a longer one when the owner meets a counter id beyond its end.
//!
//! # Invariants
//! - I1: only the owner of a block writes its cells or replaces its array.
//! - I2: an array is never written again once a longer one has replaced it, and the longer one began as a copy of it:
//!   in the order of arrays, then of writes, no cell ever goes back.
//! - I3: a replaced array lives as long as its block: whoever holds a pointer into it may go on reading. Lengths at
//!   least double, so the replaced arrays together are no longer than the last.
//!
//! # Orderings
//! | access | order | pairs with |
//! |---|---|---|
//! | `last` store in `lengthen` | Release | the Acquire in `array`: the array, and the values copied into it |
//! | cells | Relaxed | nothing: a cell is one number, and coherence alone keeps it from going back |
//! | from one owner to the next | | the Release and Acquire of `sync_base::Claim` |

// A line of one cell makes `id % LINE` zero under loom, which is meant.
#![cfg_attr(loom, allow(clippy::modulo_one))]

use std::ptr;
use sync_base::atomic::{AtomicPtr, AtomicU64, Ordering};

/// Cells to a line of 128 bytes; one under loom, so that a model reaches the lengthening with two counters.
const LINE: usize = if cfg!(loom) { 1 } else { 16 };
/// Lines of the first array.
const FIRST: usize = if cfg!(loom) { 1 } else { 4 };

/// Cells that share cache lines with nothing but cells of the same thread. Lines follow each other without a gap, so
/// that the owner finds a cell by one addition.
#[derive(Debug)]
#[cfg_attr(not(any(loom, shuttle)), repr(align(128)))]
pub(super) struct Line([AtomicU64; LINE]);

const _: () = assert!(size_of::<Line>() == LINE * size_of::<AtomicU64>());

impl Line {
    fn new() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

#[derive(Debug)]
struct Array {
    lines: Box<[Line]>,
    /// I3: kept for those who still read it. Null in the first.
    shorter: *mut Array,
}

/// One thread's cells, indexed by counter id.
#[derive(Debug)]
pub(super) struct Block {
    last: AtomicPtr<Array>,
}

impl Block {
    pub(super) fn new() -> Self {
        Self {
            last: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// What cell `id` holds now; zero where the owner never reached it. Wait-free.
    pub(super) fn read(&self, id: usize) -> u64 {
        match self.array() {
            // Relaxed: one number, published to nobody; the callers join or accept a moment's lag.
            Some(array) if id < array.lines.len() * LINE => cell(&array.lines, id).load(Ordering::Relaxed),
            _ => 0,
        }
    }

    /// Cells reserved, replaced arrays not counted.
    pub(super) fn cells(&self) -> usize {
        self.array().map_or(0, |array| array.lines.len() * LINE)
    }

    fn array(&self) -> Option<&Array> {
        // Acquire: pairs with the Release in `lengthen`; the array and what was copied into it.
        let array = self.last.load(Ordering::Acquire);
        // SAFETY: I3: a published array lives as long as the block, which `&self` borrows.
        unsafe { array.as_ref() }
    }

    /// The owner's view, at least long enough for `id`.
    ///
    /// # Safety
    /// The caller owns the block (I1).
    pub(super) unsafe fn owned(&self, id: usize) -> Owned {
        // Relaxed: the owner wrote it, or acquired it with the claim.
        let mut array = self.last.load(Ordering::Relaxed);
        // SAFETY: I3.
        let len = unsafe { array.as_ref() }.map_or(0, |a| a.lines.len());
        if id >= len * LINE {
            array = self.lengthen(array, (id / LINE + 1).next_power_of_two().max(FIRST));
        }
        // SAFETY: just made, or found longer than `id` and so not null; I3.
        let lines = unsafe { &(*array).lines };
        Owned {
            first: lines.as_ptr().cast(),
            cells: lines.len() * LINE,
        }
    }

    fn lengthen(&self, shorter: *mut Array, len: usize) -> *mut Array {
        let lines: Box<[Line]> = (0..len).map(|_| Line::new()).collect();
        // SAFETY: I3: null, or published earlier and living as long as the block.
        if let Some(shorter) = unsafe { shorter.as_ref() } {
            for id in 0..shorter.lines.len() * LINE {
                // Relaxed: the owner copies its own cells; the store below publishes the copies.
                let value = cell(&shorter.lines, id).load(Ordering::Relaxed);
                // Relaxed: as above.
                cell(&lines, id).store(value, Ordering::Relaxed);
            }
        }
        let array = Box::into_raw(Box::new(Array { lines, shorter }));
        // Release: pairs with the Acquire in `array`; publishes the array and the copies in it.
        self.last.store(array, Ordering::Release);
        array
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // Relaxed: `&mut self` means that this thread has synchronised with every other user.
        let mut at = self.last.load(Ordering::Relaxed);
        while !at.is_null() {
            // SAFETY: made by `Box::into_raw` in `lengthen`, chained once, and freed here once.
            at = unsafe { Box::from_raw(at) }.shorter;
        }
    }
}

#[inline(always)]
fn cell(lines: &[Line], id: usize) -> &AtomicU64 {
    &lines[id / LINE].0[id % LINE]
}

/// The owner's pointer to its cells; empty until the thread has a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owned {
    first: *const AtomicU64,
    cells: usize,
}

impl Owned {
    pub(super) const NONE: Self = Self {
        first: ptr::null(),
        cells: 0,
    };

    /// Adds to cell `id` without a read-modify-write; false where the array is too short.
    ///
    /// # Safety
    /// This view came from a block that the calling thread still owns, or is [`Owned::NONE`].
    #[inline(always)]
    pub(super) unsafe fn bump(self, id: usize, delta: u64) -> bool {
        if id >= self.cells {
            return false;
        }
        // SAFETY: I3: the array lives as long as the block, and `id` is within it by the test above.
        let cell = unsafe { &*self.first.add(id) };
        // Relaxed: I1: this thread alone writes the cell, so load and store need not be one step.
        let value = cell.load(Ordering::Relaxed).wrapping_add(delta);
        // Relaxed: one number, published to nobody.
        cell.store(value, Ordering::Relaxed);
        true
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn lengthening_keeps_every_cell() {
        let block = Block::new();
        for id in [0, 1, 63, 64, 1_000] {
            // SAFETY: this thread alone knows the block.
            let owned = unsafe { block.owned(id) };
            // SAFETY: as above.
            assert!(unsafe { owned.bump(id, id as u64 + 7) });
        }
        for id in [0, 1, 63, 64, 1_000] {
            assert_eq!(block.read(id), id as u64 + 7);
        }
        assert_eq!(block.read(1_000_000), 0, "a cell never reached reads as zero");
        assert_eq!(block.cells(), 1_024);
    }
}
