//! Taking connections: `accept4(2)`.

use super::result_of;
use super::target::IoFd;
use crate::error::Error;
use crate::ring::operation::sealed::Sealed;
use crate::ring::{Multishot, Operation, Outcome};
use crate::sys::abi::{ACCEPT_MULTISHOT, Sqe, code};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// Accepts a connection, or, in a stream or `submit_each`, one after another.
///
/// The connection that comes is owned by the output: if nobody takes it, it is closed.
#[derive(Debug)]
pub struct Accept<D> {
    fd: D,
    again: bool,
}

impl<D: IoFd> Accept<D> {
    /// Accepts one.
    pub fn new(listener: D) -> Self {
        Self {
            fd: listener,
            again: false,
        }
    }

    /// Goes on after the first connection: for a stream.
    pub fn multishot(mut self) -> Self {
        self.again = true;
        self
    }

    pub(super) fn target_belongs_to(&self, ring: u32) -> bool {
        self.fd.target().belongs_to(ring)
    }

    pub(super) fn entry_with(&self, flags: i32) -> Sqe {
        Sqe {
            op_flags: flags as u32,
            ioprio: if self.again { ACCEPT_MULTISHOT } else { 0 },
            ..self.fd.target().entry(code::ACCEPT)
        }
    }
}

impl<D: IoFd> Sealed for Accept<D> {}

fn connection(outcome: Outcome) -> Result<OwnedFd, Error> {
    // SAFETY: a descriptor that this completion brought, owned by nobody else.
    result_of(outcome, code::ACCEPT).map(|fd| unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

// SAFETY: the entry names no memory.
unsafe impl<D: IoFd> Operation for Accept<D> {
    type Output = Result<OwnedFd, Error>;

    fn belongs_to(&self, ring: u32) -> bool {
        self.target_belongs_to(ring)
    }

    fn entry(&mut self) -> Sqe {
        self.entry_with(libc::SOCK_CLOEXEC)
    }

    fn finish(self, outcome: Outcome) -> Self::Output {
        connection(outcome)
    }
}

// SAFETY: an item owns a descriptor and touches no memory.
unsafe impl<D: IoFd> Multishot for Accept<D> {
    type Item = Result<OwnedFd, Error>;

    fn item(&mut self, outcome: Outcome) -> Self::Item {
        connection(outcome)
    }

    fn goes_on_after(&self, _: Outcome) -> bool {
        self.again
    }
}
