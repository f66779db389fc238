//! The one way past the types: any entry, vouched for by the caller.

use crate::ring::operation::sealed::Sealed;
use crate::ring::{Operation, Outcome};
use crate::sys::abi::Sqe;

/// Any submission entry, with what it must keep alive.
#[derive(Debug)]
pub struct Raw<K> {
    entry: Sqe,
    keep: K,
}

impl<K: Send + 'static> Raw<K> {
    /// Wraps an entry; its `user_data` is the ring's to set.
    ///
    /// # Safety
    /// All memory that the entry names is owned by `keep` at a fixed address (not inside `keep` itself), or lives as long
    /// as the program, and nobody touches it before the output comes. The operation has exactly one completion without
    /// `IORING_CQE_F_MORE`, whose result is not the only owner of anything. Its flags link it to no other entry.
    pub unsafe fn new(entry: Sqe, keep: K) -> Self {
        Self { entry, keep }
    }
}

impl<K: Send + 'static> Sealed for Raw<K> {}

// SAFETY: the caller's promise in `new`.
unsafe impl<K: Send + 'static> Operation for Raw<K> {
    type Output = (Outcome, K);

    fn entry(&mut self) -> Sqe {
        self.entry
    }

    fn finish(self, outcome: Outcome) -> Self::Output {
        (outcome, self.keep)
    }
}
