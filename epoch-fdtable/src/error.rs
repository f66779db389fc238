//! Why an operation was refused.

use std::error::Error;
use std::fmt;
use std::io;

/// Why a descriptor operation was refused. Each has the errno that POSIX gives it, through [`io::Error`]'s `From`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FdError {
    /// The descriptor is not open, or its number now names a later one (`EBADF`).
    NotOpen {
        /// The number asked for.
        number: u32,
    },
    /// Every number asked for that is below the limit is taken (`EMFILE`).
    Full {
        /// The limit in force.
        limit: u32,
    },
    /// The number asked for is not below the limit (`EBADF`).
    PastLimit {
        /// The number asked for.
        number: u32,
        /// The limit in force.
        limit: u32,
    },
    /// The number asked for is taken (`EEXIST`).
    Taken {
        /// The number asked for.
        number: u32,
    },
    /// The floor asked for is not below the limit (`EINVAL`, as `F_DUPFD` has it).
    FloorPastLimit {
        /// The least number asked for.
        floor: u32,
        /// The limit in force.
        limit: u32,
    },
    /// The limit asked for is above the hard limit (`EINVAL`).
    PastHardLimit {
        /// The limit asked for.
        limit: u32,
        /// The most that it can be.
        hard_limit: u32,
    },
    /// The index is one of the two that mean no registered slot (`EINVAL`).
    NoSlot {
        /// The index given.
        slot: u32,
    },
    /// There is no process with this id, or the handle means an earlier one (`ESRCH`).
    NoProcess {
        /// The id asked for.
        process: u32,
    },
    /// There is a process with this id already (`EEXIST`).
    ProcessTaken {
        /// The id asked for.
        process: u32,
    },
    /// The id is not below the number of processes that there is room for (`EAGAIN`, as `fork` has it).
    ProcessPastLimit {
        /// The id asked for.
        process: u32,
        /// How many there is room for.
        limit: u32,
    },
    /// Another thread is in the middle of opening or closing this number (`EBUSY`, as `dup2(2)` has it). Retry.
    Busy {
        /// The number asked for.
        number: u32,
    },
    /// `dup3` from a number to itself (`EINVAL`).
    SameNumber {
        /// The number asked for.
        number: u32,
    },
    /// A reader that does not leave its section holds back as much garbage as the domain allows (`EAGAIN`).
    Stalled {
        /// The kernel's id of the reader's thread.
        thread: u32,
    },
    /// The table was shut: its process has exited (`ESRCH`).
    Shut,
}

impl FdError {
    /// Says whether the same call may succeed later by itself.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Stalled { .. })
    }

    /// The errno that POSIX, or Linux where POSIX is silent, gives this refusal.
    pub fn raw_os_error(&self) -> i32 {
        match self {
            Self::NotOpen { .. } | Self::PastLimit { .. } => libc::EBADF,
            Self::Full { .. } => libc::EMFILE,
            Self::Taken { .. } | Self::ProcessTaken { .. } => libc::EEXIST,
            Self::Busy { .. } => libc::EBUSY,
            Self::SameNumber { .. }
            | Self::FloorPastLimit { .. }
            | Self::PastHardLimit { .. }
            | Self::NoSlot { .. } => libc::EINVAL,
            Self::Stalled { .. } | Self::ProcessPastLimit { .. } => libc::EAGAIN,
            Self::NoProcess { .. } | Self::Shut => libc::ESRCH,
        }
    }
}

impl fmt::Display for FdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOpen { number } => write!(f, "descriptor {number} is not open"),
            Self::Full { limit: 0 } => f.write_str("the limit is 0 descriptors; raise it with set_limit"),
            Self::Full { limit } => {
                write!(
                    f,
                    "every descriptor asked for that is below the limit of {limit} is open; close some or raise the limit \
                     with set_limit"
                )
            }
            Self::FloorPastLimit { floor, limit } => {
                write!(
                    f,
                    "no descriptor at or above {floor} is below the limit of {limit}; ask for a lower one or raise the limit \
                     with set_limit"
                )
            }
            Self::PastHardLimit { limit, hard_limit } => {
                write!(
                    f,
                    "a limit of {limit} is above the hard limit of {hard_limit}; build the table with a greater one"
                )
            }
            Self::NoSlot { slot } => {
                write!(
                    f,
                    "index {slot} means no slot; register the file under a lower one"
                )
            }
            Self::NoProcess { process } => write!(
                f,
                "there is no process {process}, or the handle means an earlier one"
            ),
            Self::ProcessTaken { process } => {
                write!(
                    f,
                    "process {process} exists already; let it exit or take another id"
                )
            }
            Self::ProcessPastLimit { process, limit } => {
                write!(
                    f,
                    "process {process} is not below {limit}, the number of processes that there is room for; make the tables for more"
                )
            }
            Self::PastLimit { number, limit } => {
                write!(
                    f,
                    "descriptor {number} is not below the limit of {limit}; raise it with set_limit"
                )
            }
            Self::Taken { number } => write!(
                f,
                "descriptor {number} is open already; replace it or take another"
            ),
            Self::Busy { number } => write!(f, "descriptor {number} is being opened or closed; try again"),
            Self::SameNumber { number } => write!(f, "descriptor {number} cannot be duplicated onto itself"),
            // SAFETY: a system call without arguments, which cannot fail.
            Self::Stalled { thread } if *thread == unsafe { libc::gettid() }.unsigned_abs() => {
                write!(
                    f,
                    "this very thread ({thread}) holds back too much garbage by its own guard; drop the guard before the call"
                )
            }
            Self::Stalled { thread } => {
                write!(
                    f,
                    "a reader on thread {thread} holds back too much garbage; let it drop its guard"
                )
            }
            Self::Shut => f.write_str("the table was shut because its process exited"),
        }
    }
}

impl Error for FdError {}

impl From<FdError> for io::Error {
    fn from(error: FdError) -> Self {
        Self::from_raw_os_error(error.raw_os_error())
    }
}

/// A refusal that hands back the value it did not take.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Refused<T> {
    /// The caller's value.
    pub value: T,
    /// Why it was refused.
    pub error: FdError,
}

impl<T> fmt::Debug for Refused<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused")
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Display for Refused<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<T> Error for Refused<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

impl<T> From<Refused<T>> for io::Error {
    fn from(refused: Refused<T>) -> Self {
        refused.error.into()
    }
}
