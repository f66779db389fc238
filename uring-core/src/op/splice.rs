//! Moving data without a buffer of ours, through a pipe: `splice(2)`, `tee(2)`.

use super::file::CURRENT;
use super::result_of;
use super::target::{IoFd, Target};
use crate::error::Error;
use crate::ring::operation::sealed::Sealed;
use crate::ring::{Operation, Outcome};
use crate::sys::abi::{SPLICE_FD_IN_FIXED, Sqe, code};

/// Two descriptors, and how much goes from one to the other.
#[derive(Debug)]
struct Flow<F, T> {
    from: F,
    to: T,
    len: u32,
    flags: u32,
}

impl<F: IoFd, T: IoFd> Flow<F, T> {
    fn belongs_to(&self, ring: u32) -> bool {
        self.from.target().belongs_to(ring) && self.to.target().belongs_to(ring)
    }

    fn entry(&self, opcode: u8) -> Sqe {
        let (from, flags) = match self.from.target() {
            Target::Fd(fd) => (fd as u32, self.flags),
            Target::Fixed { slot, .. } => (slot, self.flags | SPLICE_FD_IN_FIXED),
        };
        Sqe {
            len: self.len,
            op_flags: flags,
            file_index: from,
            ..self.to.target().entry(opcode)
        }
    }
}

/// Moves up to `len` bytes from one descriptor to another, one of which is a pipe (Linux 5.7). Gives the bytes moved; 0 is
/// the end.
///
/// The kernel runs it on a thread of its own.
#[derive(Debug)]
pub struct Splice<F, T> {
    flow: Flow<F, T>,
    from_offset: u64,
    to_offset: u64,
}

impl<F: IoFd, T: IoFd> Splice<F, T> {
    /// Works at the descriptors' own positions.
    pub fn new(from: F, to: T, len: u32) -> Self {
        Self {
            flow: Flow {
                from,
                to,
                len,
                flags: 0,
            },
            from_offset: CURRENT,
            to_offset: CURRENT,
        }
    }

    /// Reads at an offset instead; a pipe has none and is refused with `ESPIPE`.
    pub fn from_offset(mut self, offset: u64) -> Self {
        self.from_offset = offset;
        self
    }

    /// Writes at an offset instead; a pipe has none and is refused with `ESPIPE`.
    pub fn to_offset(mut self, offset: u64) -> Self {
        self.to_offset = offset;
        self
    }

    /// Sets flags, in the bits of `splice(2)` (`SPLICE_F_MORE`, ...).
    pub fn flags(mut self, flags: u32) -> Self {
        self.flow.flags = flags & !SPLICE_FD_IN_FIXED;
        self
    }
}

impl<F: IoFd, T: IoFd> Sealed for Splice<F, T> {}

// SAFETY: the entry names no memory.
unsafe impl<F: IoFd, T: IoFd> Operation for Splice<F, T> {
    type Output = Result<usize, Error>;

    fn belongs_to(&self, ring: u32) -> bool {
        self.flow.belongs_to(ring)
    }

    fn entry(&mut self) -> Sqe {
        Sqe {
            off: self.to_offset,
            addr: self.from_offset,
            ..self.flow.entry(code::SPLICE)
        }
    }

    fn finish(self, outcome: Outcome) -> Self::Output {
        result_of(outcome, code::SPLICE).map(|n| n as usize)
    }
}

/// Copies up to `len` bytes from a pipe to another and leaves them in the first (Linux 5.8). Gives the bytes copied.
#[derive(Debug)]
pub struct Tee<F, T> {
    flow: Flow<F, T>,
}

impl<F: IoFd, T: IoFd> Tee<F, T> {
    /// Names the pipes.
    pub fn new(from: F, to: T, len: u32) -> Self {
        Self {
            flow: Flow {
                from,
                to,
                len,
                flags: 0,
            },
        }
    }
}

impl<F: IoFd, T: IoFd> Sealed for Tee<F, T> {}

// SAFETY: the entry names no memory.
unsafe impl<F: IoFd, T: IoFd> Operation for Tee<F, T> {
    type Output = Result<usize, Error>;

    fn belongs_to(&self, ring: u32) -> bool {
        self.flow.belongs_to(ring)
    }

    fn entry(&mut self) -> Sqe {
        self.flow.entry(code::TEE)
    }

    fn finish(self, outcome: Outcome) -> Self::Output {
        result_of(outcome, code::TEE).map(|n| n as usize)
    }
}
