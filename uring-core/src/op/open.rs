//! Opening files: `openat(2)`, `openat2(2)`.

use super::place::{Place, within};
use super::result_of;
use crate::error::Error;
use crate::ring::operation::sealed::Sealed;
use crate::ring::{Operation, Outcome};
use crate::sys::abi::{Sqe, code};
use std::fs::File;
use std::os::fd::{FromRawFd, RawFd};
use std::path::Path;

/// Opens a path. The descriptor that comes is owned by the output: if nobody takes it, it is closed.
///
/// ```
/// use uring_core::{LocalRing, op::Open};
/// let ring = LocalRing::new()?;
/// // Whatever the path says, and whatever links lie on it: nothing outside /proc is opened.
/// let open = Open::new("/proc/version", 0)?.resolve(libc::RESOLVE_NO_XDEV | libc::RESOLVE_NO_SYMLINKS);
/// let refused = ring.block_on(ring.run(open))?.unwrap_err();
/// assert_eq!(refused.errno(), libc::EXDEV);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Open {
    place: Place,
    how: How,
}

/// `struct open_how`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct How {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// Flags that create a file, for which a mode means something.
const CREATES: i32 = libc::O_CREAT | (libc::O_TMPFILE & !libc::O_DIRECTORY);

impl Open {
    /// Opens with the flags of `open(2)`; `O_CLOEXEC` is added. Allocates the path.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a path with a zero byte in it.
    pub fn new(path: impl AsRef<Path>, flags: i32) -> Result<Self, Error> {
        Ok(Self {
            place: Place::new(path)?,
            how: How {
                flags: (flags | libc::O_CLOEXEC) as u32 as u64,
                mode: 0o666,
                resolve: 0,
            },
        })
    }

    /// Sets the permissions of a file that is created, less the umask. 0666 unless said otherwise.
    pub fn mode(mut self, mode: u32) -> Self {
        self.how.mode = u64::from(mode);
        self
    }

    /// Bounds how the path is resolved, in the bits of `openat2(2)` (`RESOLVE_BENEATH`, ...). The kernel checks flags and
    /// mode strictly then.
    pub fn resolve(mut self, resolve: u64) -> Self {
        self.how.resolve = resolve;
        self
    }

    within!(within: place);

    pub(super) fn entry_with(&mut self, cloexec: bool) -> Sqe {
        let cleared = if cloexec { 0 } else { libc::O_CLOEXEC as u64 };
        self.how.flags &= !cleared;
        if self.how.resolve == 0 {
            return Sqe {
                addr: self.place.addr(),
                len: self.how.mode as u32,
                op_flags: self.how.flags as u32,
                ..Sqe::new(code::OPENAT, self.place.dir())
            };
        }
        if self.how.flags as i32 & CREATES == 0 {
            self.how.mode = 0;
        }
        Sqe {
            addr: self.place.addr(),
            off: std::ptr::from_ref(&self.how) as u64,
            len: size_of::<How>() as u32,
            ..Sqe::new(code::OPENAT2, self.place.dir())
        }
    }

    pub(super) fn code(&self) -> u8 {
        if self.how.resolve == 0 {
            code::OPENAT
        } else {
            code::OPENAT2
        }
    }
}

impl Sealed for Open {}

// SAFETY: the entry names the path's heap block, which the operation owns, and the `how` inside, which does not move.
unsafe impl Operation for Open {
    type Output = Result<File, Error>;

    fn entry(&mut self) -> Sqe {
        self.entry_with(true)
    }

    fn finish(self, outcome: Outcome) -> Self::Output {
        // SAFETY: a descriptor that this operation just opened, owned by nobody else.
        result_of(outcome, self.code()).map(|fd| unsafe { File::from_raw_fd(fd as RawFd) })
    }
}
