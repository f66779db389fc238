//! What a thread keeps of one class of one pool: a block at hand and two halves of a list, in one cache line.
//!
//! A *seat* is a class's number within its pool, such that seat 0 is the class of the first capacity: then the way to
//! the buffer that is asked for most is a constant.
//!
//! Blocks come from and go to the *loaded* half; the *spare* one is full or empty. Both full: the spare goes to the
//! second level as one batch. Both empty: a batch comes from there. So the second level is touched once in `half`
//! operations at most, however gets and drops alternate.
//!
//! The block at hand is there for the processor's sake. A list is two counters and a head that each get and each drop
//! reads, changes and writes back; the block at hand is one word that a get empties and a drop fills, and its size is
//! never written.
//!
//! # Invariants
//! - C1: every block in a seat belongs to the pool that its tag names, serves its class, and is owned by the seat. A seat
//!   without a tag ([`Tag::NONE`]) is empty.
//! - C2: the bytes of the lists, `room` and, unless it is [`CLOSED`], `hand_size` were charged to the pool.
//! - C4: the block at hand, if there is one, has exactly `hand_size` bytes.

use crate::block::{self, Block, Chain};
use crate::table::Tag;
use std::cell::Cell;
use std::ptr::{self, NonNull};

/// The size of a hand that takes no block: no block has so many bytes.
const CLOSED: usize = usize::MAX;

#[repr(align(64))]
pub(crate) struct Seat {
    pub(crate) tag: Cell<Tag>,
    hand: Cell<*mut u8>,
    hand_size: Cell<usize>,
    loaded: Cell<*mut u8>,
    spare: Cell<*mut u8>,
    /// Bytes charged to the pool and not yet filled.
    pub(crate) room: Cell<usize>,
    loaded_len: Cell<u32>,
    spare_len: Cell<u32>,
}

impl Seat {
    pub(crate) const fn empty() -> Self {
        Self {
            tag: Cell::new(Tag::NONE),
            hand: Cell::new(ptr::null_mut()),
            hand_size: Cell::new(CLOSED),
            loaded: Cell::new(ptr::null_mut()),
            spare: Cell::new(ptr::null_mut()),
            room: Cell::new(0),
            loaded_len: Cell::new(0),
            spare_len: Cell::new(0),
        }
    }

    /// Takes the block at hand.
    #[inline(always)]
    pub(crate) fn take_hand(&self) -> Option<Block> {
        let ptr = NonNull::new(self.hand.replace(ptr::null_mut()))?;
        let size = self.hand_size.get();
        Some(Block { ptr, size })
    }

    /// Keeps a block at hand if there is none and it has the size for it.
    ///
    /// # Safety
    /// As [`push`](Self::push).
    #[inline(always)]
    pub(crate) unsafe fn put_hand(&self, block: Block) -> bool {
        let kept = block.size == self.hand_size.get() && self.hand.get().is_null();
        if kept {
            self.hand.set(block.ptr.as_ptr());
        }
        kept
    }

    pub(crate) fn pop(&self) -> Option<Block> {
        let head = NonNull::new(self.loaded.get())?;
        // SAFETY: C1: the seat owns the list.
        let (block, next) = unsafe { block::pop(head) };
        self.loaded.set(next);
        self.loaded_len.set(self.loaded_len.get() - 1);
        self.room.set(self.room.get() + block.size);
        Some(block)
    }

    /// Keeps a block if there is room for it in the loaded half.
    ///
    /// # Safety
    /// The block is the caller's, belongs to this pool and serves this class.
    pub(crate) unsafe fn push(&self, block: Block, half: u32) -> bool {
        let room = self.room.get();
        let len = self.loaded_len.get();
        if len >= half || room < block.size {
            return false;
        }
        // SAFETY: by the contract; a class is no smaller than the links.
        let head = unsafe { block::push(self.loaded.get(), block) };
        self.loaded.set(head);
        self.loaded_len.set(len + 1);
        self.room.set(room - block.size);
        true
    }

    /// Makes the loaded half the spare one, and the spare one's list the loaded one.
    pub(crate) fn swap(&self) {
        self.loaded.swap(&self.spare);
        self.loaded_len.swap(&self.spare_len);
    }

    /// Whether the loaded half is full.
    pub(crate) fn is_full(&self, half: u32) -> bool {
        self.loaded_len.get() >= half
    }

    /// Makes a batch the loaded half, which is empty.
    pub(crate) fn load(&self, chain: Chain) {
        self.loaded.set(chain.head.as_ptr());
        self.loaded_len.set(chain.len as u32);
    }

    /// Takes one half out.
    fn take(list: &Cell<*mut u8>, len: &Cell<u32>) -> Option<Chain> {
        len.set(0);
        // SAFETY: C1: the list was the seat's, and is the caller's now.
        unsafe { Chain::weigh(list.replace(ptr::null_mut())) }
    }

    /// Opens the hand if it is closed and there is room for a block of `size` bytes.
    pub(crate) fn open_hand(&self, size: usize) {
        let room = self.room.get();
        if self.hand_size.get() == CLOSED && room >= size {
            self.room.set(room - size);
            self.hand_size.set(size);
        }
    }

    /// Gives up the hand: the block in it as a batch of one, or the bytes that were charged for it.
    pub(crate) fn close_hand(&self) -> (Option<Chain>, usize) {
        let block = self.take_hand();
        let size = self.hand_size.replace(CLOSED);
        let Some(block) = block else {
            return (None, if size == CLOSED { 0 } else { size });
        };
        // SAFETY: C1: the block was the seat's, and is the caller's now; a class is no smaller than the links.
        let head = unsafe { block::push(ptr::null_mut(), block) };
        // SAFETY: as above.
        (unsafe { Chain::weigh(head) }, 0)
    }

    pub(crate) fn take_spare(&self) -> Option<Chain> {
        Self::take(&self.spare, &self.spare_len)
    }

    pub(crate) fn take_loaded(&self) -> Option<Chain> {
        Self::take(&self.loaded, &self.loaded_len)
    }
}
