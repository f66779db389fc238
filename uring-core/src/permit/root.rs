//! The directory that a mount leads to, and how far the kernel may go from it.

use crate::error::Error;
use std::fs::OpenOptions;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

/// A directory held open. Whatever becomes of its name, this stays the directory; what is opened through it lies beneath it.
///
/// Closed when the last policy, edition or operation that has it is gone and the read sections of that time have ended, which may be
/// some batches of retired memory later ([`sync_base::Domain`]).
///
/// ```
/// use uring_core::permit::{Mounts, Root};
/// let mounts = Mounts::builder().mount("/proc", Root::open("/proc")?).build()?;
/// # assert_eq!(mounts.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Root {
    dir: Arc<OwnedFd>,
    follows_links: bool,
    one_filesystem: bool,
}

impl Root {
    /// Opens a directory by a path that *you* trust: links on it are followed, no rule is asked. Blocks.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
            .open(path)?;
        Ok(Self::of(file.into()))
    }

    /// Takes a descriptor, of a directory. Blocks for an `fstat`.
    ///
    /// # Errors
    /// The descriptor comes back with `ENOTDIR` when it is something else.
    pub fn from_fd(dir: OwnedFd) -> Result<Self, (OwnedFd, Error)> {
        let file = std::fs::File::from(dir);
        match file.metadata() {
            Ok(about) if about.is_dir() => Ok(Self::of(file.into())),
            Ok(_) => Err((file.into(), Error::from_errno(libc::ENOTDIR))),
            Err(error) => Err((file.into(), error.into())),
        }
    }

    fn of(dir: OwnedFd) -> Self {
        Self {
            dir: Arc::new(dir),
            follows_links: false,
            one_filesystem: false,
        }
    }

    /// Follows symbolic links that stay beneath the root; without this the kernel refuses a path on which one stands.
    ///
    /// Rules judge names, and a link gives a file a second name. So a policy takes such a root only where its rules say the same of
    /// everything beneath the mount ([`Conflict`](super::Conflict)). An absolute link leads out and is refused, and so are the
    /// links of `/proc`. The kernel may answer `EAGAIN` while something is renamed: ask again.
    pub fn follow_links(mut self) -> Self {
        self.follows_links = true;
        self
    }

    /// Stays on the root's filesystem: what is mounted beneath it, bind mounts among them, is refused. Without this it is part of
    /// the tree, as its administrator made it.
    pub fn one_filesystem(mut self) -> Self {
        self.one_filesystem = true;
        self
    }

    pub(super) fn follows(&self) -> bool {
        self.follows_links
    }

    pub(super) fn dir(&self) -> &Arc<OwnedFd> {
        &self.dir
    }

    /// The bounds of `openat2(2)`. Never 0, which would be an unbounded `openat`.
    pub(super) fn resolve(&self) -> u64 {
        let mut bounds = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_MAGICLINKS;
        if !self.follows_links {
            bounds |= libc::RESOLVE_NO_SYMLINKS;
        }
        if self.one_filesystem {
            bounds |= libc::RESOLVE_NO_XDEV;
        }
        bounds
    }
}
