//! Sockets: accept, connect, send, receive.

use super::target::{IoFd, Target};
use crate::buffer::{BufGroup, IoBuf, IoBufMut, Lease};
use crate::error::{Error, ErrorKind};
use crate::ring::operation::sealed::Sealed;
use crate::ring::{Multishot, Operation, Outcome};
use crate::sys::abi::{ACCEPT_MULTISHOT, RECV_MULTISHOT, SQE_BUFFER_SELECT, Sqe, code};
use std::net::SocketAddr;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Accepts a connection, or, in a stream or `submit_each`, one after another.
///
/// The connection that comes is owned by the output: if nobody takes it, it is closed.
#[derive(Debug)]
pub struct Accept<D> {
    fd: D,
    again: bool,
}

impl<D: IoFd> Accept<D> {
    /// Accepts one.
    pub fn new(listener: D) -> Self {
        Self {
            fd: listener,
            again: false,
        }
    }

    /// Goes on after the first connection: for a stream.
    pub fn multishot(mut self) -> Self {
        self.again = true;
        self
    }
}

impl<D: IoFd> Sealed for Accept<D> {}

fn connection(outcome: Outcome) -> Result<OwnedFd, Error> {
    // SAFETY: a descriptor that this completion brought, owned by nobody else.
    outcome
        .result()
        .map(|fd| unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

// SAFETY: the entry names no memory.
unsafe impl<D: IoFd> Operation for Accept<D> {
    type Output = Result<OwnedFd, Error>;

    fn belongs_to(&self, ring: u32) -> bool {
        self.fd.target().belongs_to(ring)
    }

    fn entry(&mut self) -> Sqe {
        Sqe {
            op_flags: libc::SOCK_CLOEXEC as u32,
            ioprio: if self.again { ACCEPT_MULTISHOT } else { 0 },
            ..self.fd.target().entry(code::ACCEPT)
        }
    }

    fn finish(self, outcome: Outcome) -> Self::Output {
        connection(outcome)
    }
}

// SAFETY: an item owns a descriptor and touches no memory.
unsafe impl<D: IoFd> Multishot for Accept<D> {
    type Item = Result<OwnedFd, Error>;

    fn item(&mut self, outcome: Outcome) -> Self::Item {
        connection(outcome)
    }
}

/// Connects a socket. The address lives in the operation.
pub struct Connect<D> {
    fd: D,
    address: libc::sockaddr_storage,
    len: libc::socklen_t,
}

impl<D> std::fmt::Debug for Connect<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connect").finish_non_exhaustive()
    }
}

impl<D: IoFd> Connect<D> {
    /// Connects to an internet address.
    pub fn new(fd: D, address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(v4) => Self::raw(
                fd,
                libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: v4.port().to_be(),
                    sin_addr: libc::in_addr {
                        s_addr: u32::from_ne_bytes(v4.ip().octets()),
                    },
                    sin_zero: [0; 8],
                },
            ),
            SocketAddr::V6(v6) => Self::raw(
                fd,
                libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: v6.port().to_be(),
                    sin6_flowinfo: v6.flowinfo(),
                    sin6_addr: libc::in6_addr {
                        s6_addr: v6.ip().octets(),
                    },
                    sin6_scope_id: v6.scope_id(),
                },
            ),
        }
    }

    /// Connects to a Unix socket by path.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for a path of more than 107 bytes.
    pub fn unix(fd: D, path: impl AsRef<Path>) -> Result<Self, Error> {
        let bytes = path.as_ref().as_os_str().as_bytes();
        let mut address = libc::sockaddr_un {
            sun_family: libc::AF_UNIX as libc::sa_family_t,
            sun_path: [0; 108],
        };
        if bytes.len() >= address.sun_path.len() || bytes.contains(&0) {
            return Err(Error::of(ErrorKind::InvalidInput));
        }
        for (to, from) in address.sun_path.iter_mut().zip(bytes) {
            *to = *from as libc::c_char;
        }
        Ok(Self::raw(fd, address))
    }

    fn raw<A>(fd: D, address: A) -> Self {
        const { assert!(size_of::<A>() <= size_of::<libc::sockaddr_storage>()) };
        // SAFETY: an all-zero storage is a valid value of plain integers.
        let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
        // SAFETY: the storage is as large as any address (asserted) and aligned for each.
        unsafe { std::ptr::from_mut(&mut storage).cast::<A>().write(address) };
        Self {
            fd,
            address: storage,
            len: size_of::<A>() as libc::socklen_t,
        }
    }
}

impl<D: IoFd> Sealed for Connect<D> {}

// SAFETY: the entry names the address inside the operation, which does not move.
unsafe impl<D: IoFd> Operation for Connect<D> {
    type Output = Result<(), Error>;

    fn belongs_to(&self, ring: u32) -> bool {
        self.fd.target().belongs_to(ring)
    }

    fn entry(&mut self) -> Sqe {
        Sqe {
            addr: std::ptr::from_ref(&self.address) as u64,
            off: u64::from(self.len),
            ..self.fd.target().entry(code::CONNECT)
        }
    }

    fn finish(self, outcome: Outcome) -> Self::Output {
        outcome.result().map(drop)
    }
}

/// Sends the initialised part of a buffer. Gives `(bytes sent, buffer)`; less than all is no error.
///
/// With [`zero_copy`](Send::zero_copy) the buffer comes back only when the network has let go of it; below some 8 KiB
/// copying is faster.
#[derive(Debug)]
pub struct Send<B, D> {
    /// Let go of with the result: see `half_done`.
    fd: Option<D>,
    buf: B,
    zero_copy: bool,
}

impl<B: IoBuf, D: IoFd> Send<B, D> {
    /// Sends with a copy.
    pub fn new(fd: D, buf: B) -> Self {
        Self {
            fd: Some(fd),
            buf,
            zero_copy: false,
        }
    }

    /// Gives the buffer back, unsent.
    pub fn into_parts(self) -> (B, Option<D>) {
        (self.buf, self.fd)
    }

    /// Sends from the buffer itself (Linux 6.0).
    pub fn zero_copy(mut self) -> Self {
        self.zero_copy = true;
        self
    }
}

impl<B: IoBuf, D: IoFd> Sealed for Send<B, D> {}

// SAFETY: the entry names the buffer, which stays where it is by the contract of `IoBuf`; a zero-copy send completes
// with its notification.
unsafe impl<B: IoBuf, D: IoFd> Operation for Send<B, D> {
    type Output = (Result<usize, Error>, B);

    fn belongs_to(&self, ring: u32) -> bool {
        self.fd.as_ref().is_none_or(|fd| fd.target().belongs_to(ring))
    }

    fn entry(&mut self) -> Sqe {
        let target = self.fd.as_ref().map_or(Target::Fd(-1), IoFd::target);
        let opcode = if self.zero_copy { code::SEND_ZC } else { code::SEND };
        Sqe {
            addr: self.buf.stable_ptr() as u64,
            len: self.buf.bytes_init() as u32,
            op_flags: libc::MSG_NOSIGNAL as u32,
            ..target.entry(opcode)
        }
    }

    fn half_done(&mut self) {
        self.fd = None;
    }

    fn finish(self, outcome: Outcome) -> Self::Output {
        (outcome.result().map(|n| n as usize), self.buf)
    }
}

/// Receives into a buffer. Gives `(bytes received, buffer)`; 0 bytes is the end.
#[derive(Debug)]
pub struct Recv<B, D> {
    fd: D,
    buf: B,
}

impl<B: IoBufMut, D: IoFd> Recv<B, D> {
    /// Receives what is there, up to the size of the buffer.
    pub fn new(fd: D, buf: B) -> Self {
        Self { fd, buf }
    }
}

impl<B: IoBufMut, D: IoFd> Sealed for Recv<B, D> {}

// SAFETY: the entry names the buffer, which stays where it is by the contract of `IoBufMut`.
unsafe impl<B: IoBufMut, D: IoFd> Operation for Recv<B, D> {
    type Output = (Result<usize, Error>, B);

    fn belongs_to(&self, ring: u32) -> bool {
        self.fd.target().belongs_to(ring)
    }

    fn entry(&mut self) -> Sqe {
        Sqe {
            addr: self.buf.stable_mut_ptr() as u64,
            len: self.buf.bytes_total() as u32,
            ..self.fd.target().entry(code::RECV)
        }
    }

    fn finish(mut self, outcome: Outcome) -> Self::Output {
        let received = outcome.result().map(|n| n as usize);
        if let Ok(count) = received {
            // SAFETY: the kernel wrote so many bytes, at most as many as the entry offered.
            unsafe { self.buf.set_init(count) };
        }
        (received, self.buf)
    }
}

/// Receives into a buffer that the kernel picks from a group, so that an idle connection holds none.
///
/// `None` is the end. In a stream or `submit_each` it goes on, one lease a piece of data; when the group runs out it ends
/// with [`ErrorKind::WouldBlock`] and is submitted again once leases are back.
#[derive(Debug)]
pub struct RecvLeased<D> {
    fd: D,
    group: BufGroup,
    again: bool,
}

impl<D: IoFd> RecvLeased<D> {
    /// Receives once.
    pub fn new(fd: D, group: &BufGroup) -> Self {
        Self {
            fd,
            group: group.clone(),
            again: false,
        }
    }

    /// Goes on after the first piece: for a stream.
    pub fn multishot(mut self) -> Self {
        self.again = true;
        self
    }

    fn lease(&self, outcome: Outcome) -> Result<Option<Lease>, Error> {
        let len = outcome.result()?;
        Ok(outcome
            .buffer_id()
            .map(|id| self.group.lease(id, len))
            .filter(|lease| !lease.is_empty()))
    }
}

impl<D: IoFd> Sealed for RecvLeased<D> {}

// SAFETY: the kernel writes into the group's memory, which the group keeps; the entry names none itself.
unsafe impl<D: IoFd> Operation for RecvLeased<D> {
    type Output = Result<Option<Lease>, Error>;

    fn belongs_to(&self, ring: u32) -> bool {
        self.group.ring() == ring && self.fd.target().belongs_to(ring)
    }

    fn entry(&mut self) -> Sqe {
        let entry = self.fd.target().entry(code::RECV);
        Sqe {
            flags: entry.flags | SQE_BUFFER_SELECT,
            ioprio: if self.again { RECV_MULTISHOT } else { 0 },
            buf_index: self.group.id(),
            ..entry
        }
    }

    fn finish(self, outcome: Outcome) -> Self::Output {
        self.lease(outcome)
    }
}

// SAFETY: an item owns a buffer that the kernel gave up with this completion.
unsafe impl<D: IoFd> Multishot for RecvLeased<D> {
    type Item = Result<Option<Lease>, Error>;

    fn item(&mut self, outcome: Outcome) -> Self::Item {
        self.lease(outcome)
    }
}
