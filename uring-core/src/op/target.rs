//! What an operation works on: a descriptor that its owner keeps open meanwhile.

use crate::file::{DirectFd, FixedFd};
use crate::sys::abi::{self, Sqe};
use epoch_fdtable::{Reclaim, Shared};
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

impl IoFd for FixedFd {
    #[inline]
    fn target(&self) -> Target {
        Target::Fixed {
            ring: self.ring,
            slot: self.slot,
        }
    }
}

impl IoFd for DirectFd {
    #[inline]
    fn target(&self) -> Target {
        Target::Fixed {
            ring: self.ring(),
            slot: self.slot(),
        }
    }
}

impl IoFd for Arc<DirectFd> {
    #[inline]
    fn target(&self) -> Target {
        (**self).target()
    }
}
