//! Closing, and being told how that went: `close(2)`.

use super::result_of;
use crate::error::{Error, ErrorKind};
use crate::file::DirectFd;
use crate::ring::operation::sealed::Sealed;
use crate::ring::{Operation, Outcome};
use crate::sys::abi::{Sqe, code};
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};

/// Closes a descriptor, or a file that only its ring knows, and tells how that went, which dropping it would not.
///
/// It is closed on every path: by the kernel, or, where the operation never ran, by dropping it.
#[derive(Debug)]
pub struct Close {
    what: What,
}

#[derive(Debug)]
enum What {
    Fd(OwnedFd),
    Direct(DirectFd),
}

impl Close {
    /// Takes the descriptor over.
    pub fn new(fd: impl Into<OwnedFd>) -> Self {
        Self {
            what: What::Fd(fd.into()),
        }
    }

    /// Takes a file over that its ring knows by slot.
    pub fn direct(file: DirectFd) -> Self {
        Self {
            what: What::Direct(file),
        }
    }
}

impl Sealed for Close {}

// SAFETY: the entry names no memory.
unsafe impl Operation for Close {
    type Output = Result<(), Error>;

    fn belongs_to(&self, ring: u32) -> bool {
        match &self.what {
            What::Fd(_) => true,
            What::Direct(file) => file.ring() == ring,
        }
    }

    fn entry(&mut self) -> Sqe {
        match &self.what {
            What::Fd(fd) => Sqe::new(code::CLOSE, fd.as_raw_fd()),
            What::Direct(file) => Sqe {
                file_index: file.slot() + 1,
                ..Sqe::new(code::CLOSE, 0)
            },
        }
    }

    fn finish(self, outcome: Outcome) -> Self::Output {
        let result = result_of(outcome, code::CLOSE).map(drop);
        match self.what {
            // A close that ran has freed the number, whatever it returned, `EINTR` too: it must not be closed again. One
            // that was cancelled or never submitted has not.
            What::Fd(fd) => {
                let ran =
                    !result.is_err_and(|error| error.is_cancelled() || error.kind() == ErrorKind::WouldBlock);
                if ran {
                    let _ = fd.into_raw_fd();
                }
            }
            // A slot is emptied or it is not: what fails is left to the ring.
            What::Direct(file) => {
                if result.is_ok() {
                    file.closed();
                }
            }
        }
        result
    }
}
