//! Nothing, there and back.

use crate::error::Error;
use crate::ring::operation::sealed::Sealed;
use crate::ring::{Operation, Outcome};
use crate::sys::abi::{Sqe, code};

/// Does nothing: the cost of the ring itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nop(());

impl Nop {
    /// Makes one.
    pub const fn new() -> Self {
        Self(())
    }
}

impl Sealed for Nop {}

// SAFETY: the entry names no memory.
unsafe impl Operation for Nop {
    type Output = Result<(), Error>;

    #[inline]
    fn entry(&mut self) -> Sqe {
        Sqe::new(code::NOP, -1)
    }

    #[inline]
    fn finish(self, outcome: Outcome) -> Self::Output {
        outcome.result().map(drop)
    }
}
