//! What every reader of a run is given, and what it gives back.

use super::content::{Content, FULL_EVERY};
use super::gate::Gate;
use crate::failure::FailureKind;
use inline_error::InlineError;
use pooled_vec::Slab;
use std::time::Instant;
use uring_core::engine::SharedSettings;
use uring_core::file::Files;

/// The work of one run.
#[derive(Debug)]
pub struct Course<'a> {
    /// Owns the descriptor; knows under which slot rings have registered it.
    pub files: &'a Files,
    /// The file among them.
    pub file: epoch_fdtable::Handle,
    /// What must be in it.
    pub content: &'a Content,
    /// How many blocks it has.
    pub blocks: u64,
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
    /// Checks a read that came back.
    ///
    /// # Errors
    /// A short read or wrong bytes, naming the offset.
    #[inline]
    pub fn check(&self, done: &mut Done, number: u64, read: usize, bytes: &[u8]) -> Result<(), ReadError> {
        let full = done.reads.is_multiple_of(FULL_EVERY);
        if read == self.block && self.content.holds(number, bytes, full) {
            done.reads += 1;
            done.checked_in_full += u64::from(full);
            return Ok(());
        }
        Err(self.wrong(number, read))
    }

    #[cold]
    fn wrong(&self, number: u64, read: usize) -> ReadError {
        let (block, offset) = (self.block, number * self.block as u64);
        if read != block {
            let message = format_args!("read of {block} bytes at offset {offset} gave {read}");
            return InlineError::new(FailureKind::Wrong, message);
        }
        let message = format_args!("the block at offset {offset} is not what was written there");
        InlineError::new(FailureKind::Wrong, message)
    }
}

/// A sequence of random block numbers (xorshift64*), different for each reader.
#[derive(Clone, Debug)]
pub(super) struct Blocks {
    state: u64,
    count: u64,
}

impl Blocks {
    pub(super) fn new(reader: usize, count: u64) -> Self {
        let state = (reader as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Self { state, count }
    }

    #[inline]
    pub(super) fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let random = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d);
        ((u128::from(random) * u128::from(self.count)) >> 64) as u64
    }
}
