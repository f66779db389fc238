//! What an operation works on: a descriptor that its owner keeps open meanwhile.

use crate::error::{Error, ErrorKind};
use crate::file::Files;
use crate::ring::Core;
use crate::sys::abi::{self, Sqe};
use epoch_fdtable::{Handle, Reclaim, Shared};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

/// A descriptor, or the slot of a registered file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// A descriptor of this process.
    Fd(RawFd),
    /// A file that the ring of this number knows by index.
    Fixed {
        /// The ring.
        ring: u32,
        /// The index.
        slot: u32,
    },
}

impl Target {
    /// Starts an entry.
    #[inline]
    pub(crate) fn entry(self, opcode: u8) -> Sqe {
        match self {
            Target::Fd(fd) => Sqe::new(opcode, fd),
            Target::Fixed { slot, .. } => Sqe {
                flags: abi::SQE_FIXED_FILE,
                ..Sqe::new(opcode, slot as i32)
            },
        }
    }

    #[inline]
    pub(crate) fn belongs_to(self, ring: u32) -> bool {
        match self {
            Target::Fd(_) => true,
            Target::Fixed { ring: home, .. } => home == ring,
        }
    }
}

/// Something with a descriptor that stays open, and stays the same file, as long as the value lives.
///
/// The operation owns it until it is over, so the number cannot be closed and given to another file in between.
/// An [`Arc`] of a file is the usual choice; a [`FixedFd`] is the cheapest.
pub trait IoFd: Send + 'static {
    /// The descriptor.
    fn target(&self) -> Target;
}

impl<T: AsFd + Send + Sync + 'static> IoFd for Arc<T> {
    #[inline]
    fn target(&self) -> Target {
        Target::Fd((**self).as_fd().as_raw_fd())
    }
}

impl<T: AsFd + Send + Sync + 'static, R: Reclaim> IoFd for Shared<T, R> {
    #[inline]
    fn target(&self) -> Target {
        Target::Fd((**self).as_fd().as_raw_fd())
    }
}

macro_rules! owners {
    ($($owner:ty),* $(,)?) => {$(
        impl IoFd for $owner {
            #[inline]
            fn target(&self) -> Target {
                Target::Fd(self.as_raw_fd())
            }
        }
    )*};
}
owners!(
    OwnedFd,
    BorrowedFd<'static>,
    std::fs::File,
    std::net::TcpListener,
    std::net::TcpStream,
    std::net::UdpSocket,
    std::os::unix::net::UnixDatagram,
    std::os::unix::net::UnixListener,
    std::os::unix::net::UnixStream,
);

/// A file registered with one ring: operations skip the look-up and the reference count of the descriptor.
///
/// Good for that ring only; another ring refuses it. The ring keeps the file open, whatever becomes of the descriptor it
/// was registered from, until it is unregistered or the ring is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedFd {
    ring: u32,
    slot: u32,
}

impl FixedFd {
    /// The index under which the ring knows the file.
    pub fn slot(self) -> u32 {
        self.slot
    }
}

impl IoFd for FixedFd {
    #[inline]
    fn target(&self) -> Target {
        Target::Fixed {
            ring: self.ring,
            slot: self.slot,
        }
    }
}

impl Core {
    /// Registers a file with this ring. One system call.
    ///
    /// A slot is never given to a second file, so a handle kept past [`unregister_file`](Core::unregister_file) fails
    /// with `EBADF` and never reaches another file.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] when the table is used up ([`Options::registered_files`](crate::Options)). Where the
    /// kernel refused the table when the ring was set up, what it said: `EMFILE` when the table, with one slot of the
    /// ring's own, is longer than the limit on open files.
    pub fn register_file(&self, file: &impl AsFd) -> Result<FixedFd, Error> {
        self.check()?;
        let mut inner = self.state.borrow_mut();
        let slot = inner.files_used;
        if slot >= inner.backend().file_slots()? {
            return Err(Error::of(ErrorKind::WouldBlock));
        }
        inner.backend_mut().set_file(slot, file.as_fd().as_raw_fd())?;
        inner.files_used += 1;
        Ok(FixedFd { ring: self.id, slot })
    }

    /// Registers a file that other rings know too: it gets the same slot on each, or is refused. One system call.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`] when the file is closed; [`ErrorKind::InvalidInput`] when other rings have it under another
    /// slot, since they registered other files before it; those of [`register_file`](Core::register_file).
    pub fn register_shared(&self, files: &Files, file: Handle) -> Result<FixedFd, Error> {
        let shared = files.get(file).ok_or(Error::of(ErrorKind::Closed))?;
        let fixed = self.register_file(&*shared)?;
        if let Err(error) = files.bind(file, fixed.slot) {
            self.unregister_file(fixed)?;
            return Err(error);
        }
        Ok(fixed)
    }

    /// Takes a registered file back. What is in flight on it completes; what comes later fails with `EBADF`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for another ring's handle.
    pub fn unregister_file(&self, file: FixedFd) -> Result<(), Error> {
        self.check()?;
        let mut inner = self.state.borrow_mut();
        if file.ring != self.id {
            return Err(Error::of(ErrorKind::InvalidInput));
        }
        // What is queued was meant for the file: it goes first.
        inner.flush()?;
        inner.backend_mut().set_file(file.slot, -1)?;
        Ok(())
    }
}
