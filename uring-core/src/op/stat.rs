//! What a file is: `statx(2)`.

use super::place::{Place, within};
use super::result_of;
use crate::error::Error;
use crate::ring::operation::sealed::Sealed;
use crate::ring::{Operation, Outcome};
use crate::sys::abi::{Sqe, code};
use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

/// What a file is, as the kernel tells it: the fields of `struct statx`, on the heap (256 bytes).
#[derive(Clone)]
pub struct Stat(Box<libc::statx>);

impl Stat {
    fn empty() -> Self {
        // SAFETY: all zeroes is a valid value of plain integers.
        Self(Box::new(unsafe { std::mem::zeroed() }))
    }

    /// Bytes in the file.
    pub fn len(&self) -> u64 {
        self.0.stx_size
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.is(libc::S_IFDIR)
    }

    /// Whether it is a file with content.
    pub fn is_file(&self) -> bool {
        self.is(libc::S_IFREG)
    }

    /// Whether it is a symbolic link.
    pub fn is_symlink(&self) -> bool {
        self.is(libc::S_IFLNK)
    }

    fn is(&self, kind: libc::mode_t) -> bool {
        libc::mode_t::from(self.0.stx_mode) & libc::S_IFMT == kind
    }

    /// The permissions.
    pub fn mode(&self) -> u32 {
        u32::from(self.0.stx_mode) & 0o7777
    }
}

impl Deref for Stat {
    type Target = libc::statx;
    fn deref(&self) -> &libc::statx {
        &self.0
    }
}

impl std::fmt::Debug for Stat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stat")
            .field("len", &self.len())
            .field("mode", &format_args!("{:o}", self.stx_mode))
            .finish_non_exhaustive()
    }
}

/// Tells what a file is.
///
/// ```
/// use uring_core::{LocalRing, op::Statx};
/// let ring = LocalRing::new()?;
/// let stat = ring.block_on(ring.run(Statx::new("/proc/self/exe")?))??;
/// assert!(stat.is_file() && stat.len() > 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Statx {
    place: Place,
    flags: i32,
    mask: u32,
    to: Stat,
}

impl Statx {
    /// Names a path. Allocates it, and the 256 bytes that come.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a path with a zero byte in it.
    pub fn new(path: impl AsRef<Path>) -> Result<Self, Error> {
        Ok(Self {
            place: Place::new(path)?,
            flags: 0,
            mask: libc::STATX_BASIC_STATS,
            to: Stat::empty(),
        })
    }

    /// Names an open file. The kernel takes a descriptor here and no registered slot.
    pub fn of(file: Arc<OwnedFd>) -> Self {
        let mut this = Self::new("").expect("no zero byte in an empty path");
        this.place.dir = Some(file);
        this.flags = libc::AT_EMPTY_PATH;
        this
    }

    /// Tells about a symbolic link and not about what it leads to.
    pub fn no_follow(mut self) -> Self {
        self.flags |= libc::AT_SYMLINK_NOFOLLOW;
        self
    }

    /// Asks for these fields, in the bits of `statx(2)` (`STATX_SIZE`, ...); the basic ones unless said otherwise.
    pub fn mask(mut self, mask: u32) -> Self {
        self.mask = mask;
        self
    }

    within!(within: place);
}

impl Sealed for Statx {}

// SAFETY: the entry names the heap blocks of the path and of what comes, which the operation owns.
unsafe impl Operation for Statx {
    type Output = Result<Stat, Error>;

    fn entry(&mut self) -> Sqe {
        Sqe {
            addr: self.place.addr(),
            off: std::ptr::from_mut(&mut *self.to.0) as u64,
            len: self.mask,
            op_flags: self.flags as u32,
            ..Sqe::new(code::STATX, self.place.dir())
        }
    }

    fn finish(self, outcome: Outcome) -> Self::Output {
        result_of(outcome, code::STATX).map(|_| self.to)
    }
}
