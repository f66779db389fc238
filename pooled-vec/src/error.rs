//! Why memory could not be had, with the value that was asked for.

use std::fmt;
use std::io;

/// Why a buffer could not be made.
///
/// Each case carries the value that was refused; its message names the likely cause and what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BufferError {
    /// The allocator or the kernel had no memory.
    AllocationFailed {
        /// Bytes asked for.
        bytes: usize,
        /// The kernel's error number; zero where the allocator does not say.
        errno: i32,
    },
    /// The kernel refused to place the memory on a NUMA node.
    NumaFailed {
        /// The node asked for.
        node: u32,
        /// The highest node that this machine has, where it says so.
        node_max: Option<u32>,
        /// The kernel's error number; zero when the node was refused before the kernel was asked.
        errno: i32,
    },
    /// The kernel refused to lock the memory.
    LockFailed {
        /// Bytes to be locked.
        bytes: usize,
        /// The process's limit on locked bytes; `None` when there is none.
        limit: Option<u64>,
        /// The kernel's error number.
        errno: i32,
    },
    /// The size is beyond what can be addressed.
    SizeTooLarge {
        /// Bytes asked for.
        bytes: usize,
        /// The most that can be asked for.
        max: usize,
    },
    /// The alignment is not a power of two, or absurdly large.
    InvalidAlignment {
        /// The alignment asked for.
        align: usize,
    },
    /// The process already has as many pools as it can.
    TooManyPools {
        /// The most pools alive at one time.
        max: usize,
    },
    /// The arena hands out no more than its own limit.
    ArenaFull {
        /// Bytes asked for.
        bytes: usize,
        /// Bytes that it would still hand out.
        left: usize,
        /// The limit that it was made with.
        limit: usize,
    },
}

impl BufferError {
    /// Whether the same request may succeed later, when other memory was freed.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::AllocationFailed { .. } | Self::LockFailed { .. } | Self::TooManyPools { .. }
        )
    }

    /// The kernel's error number, where the kernel gave one.
    pub fn errno(&self) -> Option<i32> {
        match *self {
            Self::AllocationFailed { errno, .. }
            | Self::NumaFailed { errno, .. }
            | Self::LockFailed { errno, .. }
                if errno != 0 =>
            {
                Some(errno)
            }
            _ => None,
        }
    }
}

/// The kernel's words for an error number, after a colon; nothing for zero.
struct Reason(i32);

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            errno => write!(f, ": {}", io::Error::from_raw_os_error(errno)),
        }
    }
}

impl fmt::Display for BufferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::AllocationFailed { bytes, errno } => write!(
                f,
                "could not allocate {bytes} bytes{}; free memory, ask for less, or raise the memory limit of the \
                 process or its control group",
                Reason(errno)
            ),
            Self::NumaFailed {
                node,
                node_max,
                errno,
            } => {
                write!(f, "could not place memory on NUMA node {node}{}; ", Reason(errno))?;
                match node_max {
                    Some(max) if node > max => write!(f, "this machine has nodes 0 to {max}"),
                    _ if errno == libc::EPERM => {
                        f.write_str("the sandbox forbids mbind: allow it, or ask for no node")
                    }
                    _ => f.write_str("choose a node listed in /sys/devices/system/node/has_memory, or none"),
                }
            }
            Self::LockFailed { bytes, limit, errno } => {
                write!(f, "could not lock {bytes} bytes in memory{}; ", Reason(errno))?;
                match limit {
                    Some(limit) => write!(
                        f,
                        "RLIMIT_MEMLOCK is {limit} bytes for the process: raise it (ulimit -l, LimitMEMLOCK=) or lock less"
                    ),
                    None => f.write_str("free memory, or lock less"),
                }
            }
            Self::SizeTooLarge { bytes, max } => write!(
                f,
                "a buffer of {bytes} bytes cannot be had: the most is {max} bytes at this alignment; split it"
            ),
            Self::InvalidAlignment { align } => write!(
                f,
                "an alignment of {align} is not a power of two up to 1 GiB; 4096 suits direct I/O"
            ),
            Self::ArenaFull { bytes, left, limit } => write!(
                f,
                "the arena's limit of {limit} bytes has {left} left and not {bytes}; reset it, ask for less, or make it with \
                 a higher limit"
            ),
            Self::TooManyPools { max } => write!(
                f,
                "the process has {max} pools already; drop some, or share one between their users"
            ),
        }
    }
}

impl std::error::Error for BufferError {}

impl From<BufferError> for io::Error {
    fn from(error: BufferError) -> Self {
        let kind = match error {
            BufferError::AllocationFailed { .. }
            | BufferError::LockFailed { .. }
            | BufferError::ArenaFull { .. }
            | BufferError::TooManyPools { .. } => io::ErrorKind::OutOfMemory,
            BufferError::NumaFailed { .. }
            | BufferError::SizeTooLarge { .. }
            | BufferError::InvalidAlignment { .. } => io::ErrorKind::InvalidInput,
        };
        Self::new(kind, error)
    }
}
