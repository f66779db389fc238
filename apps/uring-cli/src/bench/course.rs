//! What every reader of a run is given, and what it gives back.

use super::content::{Content, FULL_EVERY};
use super::gate::Gate;
use crate::args::Rw;
use crate::failure::FailureKind;
use inline_error::InlineError;
use pooled_vec::Slab;
use std::time::Instant;
use uring_core::engine::SharedSettings;
use uring_core::file::Files;
use uring_core::pace::WindowOptions;

/// One file of a run.
#[derive(Debug)]
pub struct Part<'a> {
    /// The file among those of the course.
    pub file: epoch_fdtable::Handle,
    /// What must be in it.
    pub content: &'a Content,
    /// How many blocks it has.
    pub blocks: u64,
}

/// The work of one run.
#[derive(Debug)]
pub struct Course<'a> {
    /// Owns the descriptors; knows under which slots rings have registered them.
    pub files: &'a Files,
    /// The files, whose blocks are numbered one file after the other.
    pub parts: Vec<Part<'a>>,
    /// Reads or writes, in which order.
    pub rw: Rw,
    /// How a ring limits what is in flight.
    pub window: WindowOptions,
    /// Bytes a block.
    pub block: usize,
    /// Where buffers come from.
    pub slab: &'a Slab,
    /// What may change.
    pub settings: &'a SharedSettings,
    /// Readers wait here with their set-up done, and start together.
    pub start: Gate,
    /// The processors to use.
    pub cpus: &'a [usize],
}

/// What one reader did.
#[derive(Clone, Debug, Default)]
pub struct Done {
    /// Reads that came back whole and right.
    pub reads: u64,
    /// Of those, how many were checked word by word.
    pub checked_in_full: u64,
    /// CPU time of the reader's thread.
    pub cpu_ns: u64,
    /// When the reader began, and when the last read came back.
    pub span: Option<(Instant, Instant)>,
    /// The slot under which the file was registered.
    pub slot: Option<u32>,
    /// How the ring was set up.
    pub ring: Option<String>,
}

/// A failed read or a wrong block, told with kind and number.
pub type ReadError = InlineError<FailureKind>;

impl Course<'_> {
    /// Blocks of all files.
    pub fn blocks(&self) -> u64 {
        self.parts.iter().map(|part| part.blocks).sum()
    }

    /// The file that holds a block, and the block's number in it.
    #[inline]
    pub(super) fn locate(&self, number: u64) -> (usize, u64) {
        let mut number = number;
        for (at, part) in self.parts.iter().enumerate() {
            if number < part.blocks {
                return (at, number);
            }
            number -= part.blocks;
        }
        unreachable!("a walk stays within the blocks of the course")
    }

    /// Fills a buffer with what is to be written to a block.
    pub(super) fn make(&self, number: u64, bytes: &mut [u8]) {
        let (at, number) = self.locate(number);
        self.parts[at].content.make(number, bytes);
    }

    /// Checks an operation that came back, by what is in the buffer; a write left it as it was made.
    ///
    /// # Errors
    /// A short read or wrong bytes, naming the offset.
    #[inline]
    pub fn check(&self, done: &mut Done, number: u64, read: usize, bytes: &[u8]) -> Result<(), ReadError> {
        let full = done.reads.is_multiple_of(FULL_EVERY);
        let (at, local) = self.locate(number);
        if read == self.block && self.parts[at].content.holds(local, bytes, full) {
            done.reads += 1;
            done.checked_in_full += u64::from(full);
            return Ok(());
        }
        Err(self.wrong(number, read))
    }

    #[cold]
    fn wrong(&self, number: u64, read: usize) -> ReadError {
        let (at, local) = self.locate(number);
        let (block, offset) = (self.block, local * self.block as u64);
        if read != block {
            let message = format_args!(
                "operation of {block} bytes at offset {offset} gave {read}{}",
                self.which(at)
            );
            return InlineError::new(FailureKind::Wrong, message);
        }
        let message = format_args!(
            "the block at offset {offset} is not what was written there{}",
            self.which(at)
        );
        InlineError::new(FailureKind::Wrong, message)
    }

    /// Says which file, where there are several.
    fn which(&self, at: usize) -> String {
        match self.parts.len() {
            1 => String::new(),
            files => format!(", file {} of {files}", at + 1),
        }
    }
}

/// What one reader does next: block after block in an order of its own, reads and writes in the share asked for.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    /// xorshift64*, different for each reader.
    state: u64,
    next: u64,
    count: u64,
    rw: Rw,
}

impl Walk {
    pub(super) fn new(reader: usize, readers: usize, count: u64, rw: Rw) -> Self {
        let state = (reader as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        // Each has a part of its own to go through.
        let next = count / readers.max(1) as u64 * reader as u64 % count.max(1);
        Self {
            state,
            next,
            count,
            rw,
        }
    }

    #[inline]
    fn random(&mut self, below: u64) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let random = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d);
        ((u128::from(random) * u128::from(below)) >> 64) as u64
    }

    /// The next block, and whether it is to be written.
    #[inline]
    pub(super) fn next(&mut self) -> (u64, bool) {
        let number = if self.rw.random {
            self.random(self.count)
        } else {
            let number = self.next;
            self.next = (self.next + 1) % self.count;
            number
        };
        let writes = match self.rw.reads {
            100 => false,
            0 => true,
            reads => self.random(100) >= u64::from(reads),
        };
        (number, writes)
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    fn walk(rw: &str) -> Vec<(u64, bool)> {
        let mut walk = Walk::new(1, 2, 1_000, rw.parse().unwrap());
        (0..10_000).map(|_| walk.next()).collect()
    }

    #[test]
    fn a_walk_keeps_its_order_and_its_share() {
        assert_eq!(walk("read")[..3], [(500, false), (501, false), (502, false)]);
        assert_eq!(walk("write")[499..501], [(999, true), (0, true)]);
        assert!(walk("randread").iter().all(|(n, writes)| *n < 1_000 && !writes));
        let random = walk("randwrite");
        assert!(random.iter().all(|(_, writes)| *writes) && random[0].0 + 1 != random[1].0);
        let reads = walk("mix:70").iter().filter(|(_, writes)| !writes).count();
        assert!((6_700..7_300).contains(&reads), "{reads}");
    }
}
