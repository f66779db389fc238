//! The life of a socket: `socket(2)`, `bind(2)`, `listen(2)`, `connect(2)`, `shutdown(2)`.

use super::address::Address;
use super::result_of;
use super::target::IoFd;
use crate::error::Error;
use crate::ring::operation::sealed::Sealed;
use crate::ring::{Operation, Outcome};
use crate::sys::abi::{Sqe, code};
use std::net::{self, SocketAddr};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::path::Path;

/// Makes a socket (Linux 5.19). The descriptor that comes is owned by the output.
#[derive(Clone, Copy, Debug)]
pub struct Socket {
    domain: i32,
    kind: i32,
    protocol: i32,
}

impl Socket {
    /// Names domain, type and protocol as for `socket(2)`; `SOCK_CLOEXEC` is added.
    pub fn new(domain: i32, kind: i32, protocol: i32) -> Self {
        Self {
            domain,
            kind,
            protocol,
        }
    }

    /// A TCP socket for addresses of this kind.
    pub fn tcp(address: &SocketAddr) -> Self {
        Self::new(domain_of(address), libc::SOCK_STREAM, 0)
    }

    /// A UDP socket for addresses of this kind.
    pub fn udp(address: &SocketAddr) -> Self {
        Self::new(domain_of(address), libc::SOCK_DGRAM, 0)
    }

    pub(super) fn entry_with(&self, flags: i32) -> Sqe {
        Sqe {
            off: u64::from((self.kind | flags) as u32),
            len: self.protocol as u32,
            ..Sqe::new(code::SOCKET, self.domain)
        }
    }
}

fn domain_of(address: &SocketAddr) -> i32 {
    match address {
        SocketAddr::V4(_) => libc::AF_INET,
        SocketAddr::V6(_) => libc::AF_INET6,
    }
}

impl Sealed for Socket {}

// SAFETY: the entry names no memory.
unsafe impl Operation for Socket {
    type Output = Result<OwnedFd, Error>;

    fn entry(&mut self) -> Sqe {
        self.entry_with(libc::SOCK_CLOEXEC)
    }

    fn finish(self, outcome: Outcome) -> Self::Output {
        // SAFETY: a descriptor that this operation just made, owned by nobody else.
        result_of(outcome, code::SOCKET).map(|fd| unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
    }
}

macro_rules! with_address {
    ($(#[$doc:meta])* $name:ident, $code:expr, $verb:literal) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name<D> {
            fd: D,
            address: Address,
        }

        impl<D: IoFd> $name<D> {
            #[doc = concat!($verb, " an internet address.")]
            pub fn new(fd: D, address: SocketAddr) -> Self {
                Self {
                    fd,
                    address: address.into(),
                }
            }

            #[doc = concat!($verb, " a Unix socket's address by path.")]
            ///
            /// # Errors
            /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a path of more than 107 bytes, or with a zero
            /// byte in it.
            pub fn unix(fd: D, path: impl AsRef<Path>) -> Result<Self, Error> {
                let address = Address::unix(path)?;
                Ok(Self { fd, address })
            }
        }

        succeeds_or_fails!($name, D, $code, "the address inside the operation, which does not move", |this| Sqe {
            addr: this.address.as_ptr() as u64,
            off: u64::from(this.address.len()),
            ..this.fd.target().entry($code)
        });
    };
}

with_address! {
    /// Connects a socket. The address lives in the operation.
    Connect, code::CONNECT, "Connects to"
}

with_address! {
    /// Gives a socket its address (Linux 6.11). The address lives in the operation.
    Bind, code::BIND, "Binds to"
}

/// Lets a bound socket take connections (Linux 6.11).
#[derive(Debug)]
pub struct Listen<D> {
    fd: D,
    backlog: i32,
}

impl<D: IoFd> Listen<D> {
    /// Keeps up to `backlog` connections for `accept`, and no more than the system allows.
    pub fn new(fd: D, backlog: i32) -> Self {
        Self { fd, backlog }
    }
}

succeeds_or_fails!(Listen, D, code::LISTEN, "no memory", |this| Sqe {
    len: this.backlog as u32,
    ..this.fd.target().entry(code::LISTEN)
});

/// Ends one direction of a connection, or both, whoever else has a descriptor of it (Linux 5.11).
#[derive(Debug)]
pub struct Shutdown<D> {
    fd: D,
    how: net::Shutdown,
}

impl<D: IoFd> Shutdown<D> {
    /// Names what to end.
    pub fn new(fd: D, how: net::Shutdown) -> Self {
        Self { fd, how }
    }
}

succeeds_or_fails!(Shutdown, D, code::SHUTDOWN, "no memory", |this| {
    let how = match this.how {
        net::Shutdown::Read => libc::SHUT_RD,
        net::Shutdown::Write => libc::SHUT_WR,
        net::Shutdown::Both => libc::SHUT_RDWR,
    };
    Sqe {
        len: how as u32,
        ..this.fd.target().entry(code::SHUTDOWN)
    }
});
