//! What became of an operation of a batch.

use crate::error::Error;
use crate::ring::Outcome;
use crate::sys::abi::{Sqe, code};

/// How an operation of a batch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It did all it was asked to; the count or descriptor that it gave.
    Done(u32),
    /// It moved less than asked, as at the end of a file. What needs it does not run.
    Short {
        /// Bytes moved.
        got: u32,
        /// Bytes asked for.
        wanted: u32,
    },
    /// It failed.
    Failed(Error),
    /// It did nothing, for a reason outside itself.
    Skipped(Cause),
}

impl Fate {
    /// Whether what needs this operation may run.
    pub fn is_success(self) -> bool {
        matches!(self, Self::Done(_))
    }
}

/// Why an operation did not run, or was stopped before it did anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It needs the operation at this place, which did not succeed.
    Dependency(usize),
    /// The operation at this place failed, and the batch stops at the first failure.
    FailFast(usize),
    /// The time given to the batch ran out.
    Deadline,
    /// The caller cancelled the batch.
    Cancelled,
}

/// What a completion says before it is known why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The fate stands.
    Is(Fate),
    /// Cancelled: by the caller, by a link before it that broke, or with a chain that the kernel refused.
    Cancelled,
}

/// What the completion of an entry is measured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Measure {
    /// So many bytes, or it is short: then the kernel breaks the link behind it.
    wanted: Option<u32>,
    /// Time that passes is no failure.
    waits: bool,
}

impl Measure {
    /// # Safety
    /// A list of buffers that the entry names lies where it says.
    pub(super) unsafe fn of(entry: &Sqe) -> Self {
        let whole_or_short = entry.op_flags & libc::MSG_WAITALL as u32 != 0;
        let wanted = match entry.opcode {
            code::READ | code::WRITE | code::READ_FIXED | code::WRITE_FIXED | code::SPLICE | code::TEE => {
                Some(entry.len)
            }
            code::READV | code::WRITEV => {
                let list = entry.addr as *const libc::iovec;
                // SAFETY: the caller's promise.
                let bytes = (0..entry.len as usize).map(|at| unsafe { (*list.add(at)).iov_len });
                Some(u32::try_from(bytes.sum::<usize>()).unwrap_or(u32::MAX))
            }
            code::SEND | code::SEND_ZC | code::RECV if whole_or_short => Some(entry.len),
            _ => None,
        };
        Self {
            wanted,
            waits: entry.opcode == code::TIMEOUT,
        }
    }

    pub(super) fn judge(self, outcome: Outcome) -> Verdict {
        let waited = self.waits && outcome.raw == -libc::ETIME;
        match outcome.result() {
            Ok(got) => Verdict::Is(match self.wanted {
                Some(wanted) if got != wanted => Fate::Short { got, wanted },
                _ => Fate::Done(got),
            }),
            Err(_) if waited => Verdict::Is(Fate::Done(0)),
            Err(_) if outcome.raw == -libc::ECANCELED => Verdict::Cancelled,
            Err(error) => Verdict::Is(Fate::Failed(error)),
        }
    }
}
