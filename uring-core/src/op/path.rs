//! Names in directories: `renameat2(2)`, `unlinkat(2)`, `mkdirat(2)`, `symlinkat(2)`, `linkat(2)`.

use super::place::{Place, within};
use crate::error::Error;
use crate::ring::operation::sealed::Sealed;
use crate::ring::{Operation, Outcome};
use crate::sys::abi::{Sqe, code};
use std::path::Path;

/// Moves a name to another, replacing what is there (Linux 5.11). Atomic within a filesystem.
#[derive(Debug)]
pub struct Rename {
    from: Place,
    to: Place,
    flags: u32,
}

impl Rename {
    /// Names both. Allocates the paths.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a path with a zero byte in it.
    pub fn new(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<Self, Error> {
        Ok(Self {
            from: Place::new(from)?,
            to: Place::new(to)?,
            flags: 0,
        })
    }

    within!(from_within: from);
    within!(to_within: to);

    /// Fails with `EEXIST` instead of replacing what is there.
    pub fn no_replace(mut self) -> Self {
        self.flags |= libc::RENAME_NOREPLACE;
        self
    }

    /// Exchanges the two names, which must both exist.
    pub fn exchange(mut self) -> Self {
        self.flags |= libc::RENAME_EXCHANGE;
        self
    }
}

succeeds_or_fails!(Rename, , code::RENAMEAT, "heap blocks that the operation owns", |this| Sqe {
    addr: this.from.addr(),
    len: this.to.dir() as u32,
    off: this.to.addr(),
    op_flags: this.flags,
    ..Sqe::new(code::RENAMEAT, this.from.dir())
});

/// Removes a name (Linux 5.11); the file goes with its last name and its last descriptor.
#[derive(Debug)]
pub struct Unlink {
    place: Place,
    flags: i32,
}

impl Unlink {
    /// Removes the name of a file. Allocates the path.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a path with a zero byte in it.
    pub fn new(path: impl AsRef<Path>) -> Result<Self, Error> {
        Ok(Self {
            place: Place::new(path)?,
            flags: 0,
        })
    }

    /// Removes an empty directory instead.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn directory(path: impl AsRef<Path>) -> Result<Self, Error> {
        Ok(Self {
            flags: libc::AT_REMOVEDIR,
            ..Self::new(path)?
        })
    }

    within!(within: place);
}

succeeds_or_fails!(Unlink, , code::UNLINKAT, "a heap block that the operation owns", |this| Sqe {
    addr: this.place.addr(),
    op_flags: this.flags as u32,
    ..Sqe::new(code::UNLINKAT, this.place.dir())
});

/// Makes a directory (Linux 5.15).
#[derive(Debug)]
pub struct Mkdir {
    place: Place,
    mode: u32,
}

impl Mkdir {
    /// Makes it with permissions 0777, less the umask. Allocates the path.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a path with a zero byte in it.
    pub fn new(path: impl AsRef<Path>) -> Result<Self, Error> {
        Ok(Self {
            place: Place::new(path)?,
            mode: 0o777,
        })
    }

    /// Sets the permissions, less the umask.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    within!(within: place);
}

succeeds_or_fails!(Mkdir, , code::MKDIRAT, "a heap block that the operation owns", |this| Sqe {
    addr: this.place.addr(),
    len: this.mode,
    ..Sqe::new(code::MKDIRAT, this.place.dir())
});

/// Makes a symbolic link (Linux 5.15).
#[derive(Debug)]
pub struct Symlink {
    target: Place,
    link: Place,
}

impl Symlink {
    /// Makes `link` lead to `target`, whether that exists or not. Allocates the paths.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a path with a zero byte in it.
    pub fn new(target: impl AsRef<Path>, link: impl AsRef<Path>) -> Result<Self, Error> {
        Ok(Self {
            target: Place::new(target)?,
            link: Place::new(link)?,
        })
    }

    within!(within: link);
}

succeeds_or_fails!(Symlink, , code::SYMLINKAT, "heap blocks that the operation owns", |this| Sqe {
    addr: this.target.addr(),
    off: this.link.addr(),
    ..Sqe::new(code::SYMLINKAT, this.link.dir())
});

/// Gives a file a second name (Linux 5.15).
#[derive(Debug)]
pub struct Link {
    from: Place,
    to: Place,
    flags: i32,
}

impl Link {
    /// Names the file and its second name. Allocates the paths.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a path with a zero byte in it.
    pub fn new(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<Self, Error> {
        Ok(Self {
            from: Place::new(from)?,
            to: Place::new(to)?,
            flags: 0,
        })
    }

    /// Names the file that a symbolic link leads to, and not the link.
    pub fn follow(mut self) -> Self {
        self.flags |= libc::AT_SYMLINK_FOLLOW;
        self
    }

    within!(from_within: from);
    within!(to_within: to);
}

succeeds_or_fails!(Link, , code::LINKAT, "heap blocks that the operation owns", |this| Sqe {
    addr: this.from.addr(),
    len: this.to.dir() as u32,
    off: this.to.addr(),
    op_flags: this.flags as u32,
    ..Sqe::new(code::LINKAT, this.from.dir())
});
