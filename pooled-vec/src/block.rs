//! An idle block carries the links of the list that it is on in its own first bytes.
//!
//! A cache or a shard that holds idle memory needs no memory of its own, so it can be a constant thread-local and can
//! hand a whole batch over by one pointer.
//!
//! Blocks come from anywhere a `Vec<u8>` does, so their addresses need not be aligned: links are read and written
//! unaligned.

use std::ptr::{self, NonNull};

/// Bytes at the front of an idle block that its links overwrite.
pub(crate) const LINK_BYTES: usize = size_of::<Batch>();

/// What every idle block holds.
#[derive(Clone, Copy)]
#[repr(C)]
struct Link {
    /// The block beneath this one.
    next: *mut u8,
    /// Bytes that the allocator gave for this block.
    size: usize,
}

/// What the first block of a batch holds besides: a batch is a list that moves between thread and shard as one.
#[derive(Clone, Copy)]
#[repr(C)]
struct Batch {
    link: Link,
    next_batch: *mut u8,
    bytes: usize,
    len: usize,
}

/// An idle block: at least [`LINK_BYTES`] of memory that nobody but its holder reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) ptr: NonNull<u8>,
    pub(crate) size: usize,
}

/// How a pool disposes of a block for good.
pub(crate) type Free = unsafe fn(Block);

/// Pushes `block` on the list at `head` and returns the new head.
///
/// # Safety
/// The block is idle, owned by the caller and at least [`LINK_BYTES`] long.
#[inline(always)]
pub(crate) unsafe fn push(head: *mut u8, block: Block) -> *mut u8 {
    let link = Link {
        next: head,
        size: block.size,
    };
    let at = block.ptr.as_ptr();
    // SAFETY: the caller owns these bytes and there are enough of them.
    unsafe { at.cast::<Link>().write_unaligned(link) };
    at
}

/// Takes the first block off the list at `head`, returning it with the head that follows.
///
/// # Safety
/// `head` is the head of a list built by [`push`] and owned by the caller.
#[inline(always)]
pub(crate) unsafe fn pop(head: NonNull<u8>) -> (Block, *mut u8) {
    // SAFETY: a block on a list begins with its link.
    let link = unsafe { head.as_ptr().cast::<Link>().read_unaligned() };
    let block = Block {
        ptr: head,
        size: link.size,
    };
    (block, link.next)
}

/// A list of blocks that moves as one, with what it weighs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain {
    pub(crate) head: NonNull<u8>,
    pub(crate) len: usize,
    pub(crate) bytes: usize,
}

impl Chain {
    /// Weighs the list at `head`; `None` when it is empty. O(length).
    ///
    /// # Safety
    /// As for [`pop`], unless `head` is null.
    pub(crate) unsafe fn weigh(head: *mut u8) -> Option<Self> {
        let first = NonNull::new(head)?;
        let (mut len, mut bytes, mut at) = (0, 0, head);
        while let Some(block) = NonNull::new(at) {
            // SAFETY: every block that a list reaches is on that list.
            let (block, next) = unsafe { pop(block) };
            (len, bytes, at) = (len + 1, bytes + block.size, next);
        }
        Some(Self {
            head: first,
            len,
            bytes,
        })
    }

    /// Disposes of every block. A panic of `free` (an object's destructor) goes on to the caller after the others.
    ///
    /// # Safety
    /// The caller owns the chain, and `free` is the one that its pool was made with.
    pub(crate) unsafe fn free(self, free: Free) {
        let mut stack = Stack::EMPTY;
        // SAFETY: the caller owns the chain.
        unsafe { stack.push(self) };
        // SAFETY: passed on.
        unsafe { free_all(&mut [stack], free) };
    }
}

/// A stack of chains linked through their first blocks.
#[derive(Debug)]
pub(crate) struct Stack {
    head: *mut u8,
}

impl Stack {
    pub(crate) const EMPTY: Self = Self {
        head: ptr::null_mut(),
    };

    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_null()
    }

    /// Pushes a chain, which the stack owns from now on.
    ///
    /// # Safety
    /// The caller owns the chain.
    pub(crate) unsafe fn push(&mut self, chain: Chain) {
        let at = chain.head.as_ptr();
        // SAFETY: the chain is the caller's, and every block begins with its link.
        let link = unsafe { at.cast::<Link>().read_unaligned() };
        let batch = Batch {
            link,
            next_batch: self.head,
            bytes: chain.bytes,
            len: chain.len,
        };
        // SAFETY: an idle block has room for `LINK_BYTES`.
        unsafe { at.cast::<Batch>().write_unaligned(batch) };
        self.head = at;
    }

    /// Takes the chain that was pushed last.
    pub(crate) fn pop(&mut self) -> Option<Chain> {
        let head = NonNull::new(self.head)?;
        // SAFETY: the stack owns what `push` put on it, and that begins with a `Batch`.
        let batch = unsafe { head.as_ptr().cast::<Batch>().read_unaligned() };
        self.head = batch.next_batch;
        Some(Chain {
            head,
            len: batch.len,
            bytes: batch.bytes,
        })
    }
}

/// Disposes of every block of every stack. A panic of `free` goes on to the caller after the others.
///
/// # Safety
/// The caller owns the blocks, and `free` is the one that their pool was made with.
pub(crate) unsafe fn free_all(stacks: &mut [Stack], free: Free) {
    /// Runs what is left when a destructor unwinds; a second panic then aborts, as it does in a `Vec`.
    struct Rest<'a> {
        chain: *mut u8,
        stacks: &'a mut [Stack],
        free: Free,
    }
    impl Rest<'_> {
        fn next(&mut self) -> Option<Block> {
            if self.chain.is_null() {
                let chain = self.stacks.iter_mut().find_map(Stack::pop)?;
                self.chain = chain.head.as_ptr();
            }
            // SAFETY: just seen not to be null; what a chain reaches is on it.
            let (block, next) = unsafe { pop(NonNull::new_unchecked(self.chain)) };
            self.chain = next;
            Some(block)
        }
    }
    impl Drop for Rest<'_> {
        fn drop(&mut self) {
            while let Some(block) = self.next() {
                let rest = Rest {
                    chain: self.chain,
                    stacks: self.stacks,
                    free: self.free,
                };
                // SAFETY: off its list, so it is disposed of once.
                unsafe { (rest.free)(block) };
                std::mem::forget(rest);
            }
        }
    }
    drop(Rest {
        chain: ptr::null_mut(),
        stacks,
        free,
    });
}
