//! Which thread owns which block of cells.
//!
//! One ledger a process: a registry of blocks and the ids of live counters. A thread claims a block at its first add
//! and gives it back when it ends; the values stay in the block, and the block's next owner goes on from them. Nothing
//! is folded at exit, so nothing can be lost or counted twice there.

use super::block::{Block, Owned};
use std::cell::{Cell, OnceCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use sync_base::sync::{Mutex, PoisonError};
use sync_base::{Claim, Registry};

#[derive(Debug)]
pub(super) struct Ledger {
    blocks: Registry<Block>,
    ids: Mutex<Ids>,
}

/// Counter ids: the lowest free one is handed out, so that arrays stay short.
#[derive(Debug)]
pub(super) struct Ids {
    free: BinaryHeap<Reverse<usize>>,
    next: usize,
}

impl Ids {
    const fn new() -> Self {
        Self {
            free: BinaryHeap::new(),
            next: 0,
        }
    }

    pub(super) fn take(&mut self) -> usize {
        self.free.pop().map_or_else(
            || {
                self.next += 1;
                self.next - 1
            },
            |Reverse(id)| id,
        )
    }

    pub(super) fn give_back(&mut self, id: usize) {
        self.free.push(Reverse(id));
    }
}

impl Ledger {
    sync_base::const_fn! {
        fn new() -> Self {
            Self {
                blocks: Registry::new(),
                ids: Mutex::new(Ids::new()),
            }
        }
    }

    /// The sum of cell `id` over all blocks, those of finished threads included. O(blocks), wait-free.
    pub(super) fn sum(&self, id: usize) -> u64 {
        self.blocks
            .iter()
            .fold(0, |sum: u64, block| sum.wrapping_add(block.read(id)))
    }

    /// Runs `f` on the counter ids, alone.
    pub(super) fn with_ids<R>(&self, f: impl FnOnce(&mut Ids) -> R) -> R {
        // A panic in here can only be out of memory, which leaves the ids as they were.
        f(&mut self.ids.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Blocks ever linked, and the cells in them.
    pub(super) fn footprint(&self) -> (usize, usize) {
        self.blocks.iter().fold((0, 0), |(blocks, cells), block| {
            (blocks + 1, cells + block.cells())
        })
    }
}

#[cfg(not(any(loom, shuttle)))]
static LEDGER: Ledger = Ledger::new();

// A model's ledger is leaked: threads of a model end, and so give their block back, after its statics are gone.
#[cfg(any(loom, shuttle))]
sync_base::global! {
    static LEDGER: &'static Ledger = Box::leak(Box::new(Ledger::new()));
}

/// The ledger of this process, or of this execution of a model.
pub(super) fn ledger() -> &'static Ledger {
    &LEDGER
}

/// Holds a thread's block, and gives it back when the thread ends.
#[derive(Debug)]
struct Hold(OnceCell<Claim<'static, Block>>);

impl Drop for Hold {
    fn drop(&mut self) {
        // The view goes before the claim: an add in a later destructor finds no cell and takes the overflow.
        let _ = MINE.try_with(|mine| mine.set(Owned::NONE));
    }
}

sync_base::thread_local! {
    static MINE: Cell<Owned> = const { Cell::new(Owned::NONE) };
    static HOLD: Hold = const { Hold(OnceCell::new()) };
}

/// Adds to this thread's cell `id`; false where it has none yet, or no longer.
#[inline(always)]
pub(super) fn bump(id: usize, delta: u64) -> bool {
    // SAFETY: `MINE` is set from the block that `HOLD` owns, and cleared before that block is given back.
    MINE.try_with(|mine| unsafe { mine.get().bump(id, delta) })
        .unwrap_or(false)
}

/// Gives this thread a cell `id`; false when the thread is ending and has given its block back.
#[cold]
pub(super) fn reserve(id: usize) -> bool {
    HOLD.try_with(|hold| {
        let block = hold
            .0
            .get_or_init(|| ledger().blocks.claim_with(Block::new))
            .get();
        // SAFETY: the claim in `HOLD` makes this thread the owner.
        let owned = unsafe { block.owned(id) };
        MINE.try_with(|mine| mine.set(owned)).is_ok()
    })
    .unwrap_or(false)
}
