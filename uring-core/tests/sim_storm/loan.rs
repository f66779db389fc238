//! Buffers that are counted, and whose memory is watched for ever: none of it goes back to the allocator.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use uring_core::buffer::{IoBuf, IoBufMut};

/// Bytes of each buffer.
pub(crate) const BYTES: usize = 24;
/// What lies in memory that nobody has.
const FREE: u8 = 0xF5;

type Block = Box<[u8; BYTES]>;

/// Where buffers come from and go to.
#[derive(Default)]
pub(crate) struct Arena {
    free: Mutex<Vec<Block>>,
    alive: AtomicU64,
    corrupt: AtomicU64,
}

impl Arena {
    /// Lends a buffer; what is in it was written by nobody since it came back.
    pub(crate) fn lend(self: &Arc<Self>, len: usize) -> Loan {
        let block = self.free.lock().unwrap().pop();
        let mut block = block.unwrap_or_else(|| Box::new([FREE; BYTES]));
        self.check(&block);
        block.fill(0);
        self.alive.fetch_add(1, Ordering::Relaxed);
        Loan {
            block: Some(block),
            len,
            arena: Arc::clone(self),
        }
    }

    fn check(&self, block: &Block) {
        if block.iter().any(|&byte| byte != FREE) {
            self.corrupt.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Buffers that are out, and blocks that were written while nobody had them.
    pub(crate) fn audit(&self) -> (u64, u64) {
        let free = self.free.lock().unwrap();
        free.iter().for_each(|block| self.check(block));
        (
            self.alive.load(Ordering::Relaxed),
            self.corrupt.load(Ordering::Relaxed),
        )
    }
}

/// A buffer out of the arena.
pub(crate) struct Loan {
    block: Option<Block>,
    len: usize,
    arena: Arc<Arena>,
}

impl Loan {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.block.as_ref().unwrap()[..self.len]
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.block.as_mut().unwrap()[..self.len]
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        let mut block = self.block.take().unwrap();
        block.fill(FREE);
        self.arena.free.lock().unwrap().push(block);
        self.arena.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

// SAFETY: the block stays where it is and has one owner.
unsafe impl IoBuf for Loan {
    fn stable_ptr(&self) -> *const u8 {
        self.bytes().as_ptr()
    }
    fn bytes_init(&self) -> usize {
        self.len
    }
}

// SAFETY: as above.
unsafe impl IoBufMut for Loan {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.bytes_mut().as_mut_ptr()
    }
    fn bytes_total(&self) -> usize {
        self.len
    }
    unsafe fn set_init(&mut self, _: usize) {}
}
