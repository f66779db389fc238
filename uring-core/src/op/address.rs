//! The address of a socket.

use crate::error::{Error, ErrorKind};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The address of a socket as the kernel reads and writes it: internet or Unix.
#[derive(Clone, Copy)]
pub struct Address {
    storage: libc::sockaddr_storage,
    len: libc::socklen_t,
}

const PATH_AT: usize = std::mem::offset_of!(libc::sockaddr_un, sun_path);

impl Address {
    /// No address yet, with room for any.
    pub(super) fn room() -> Self {
        Self {
            // SAFETY: an all-zero storage is a valid value of plain integers.
            storage: unsafe { std::mem::zeroed() },
            len: size_of::<libc::sockaddr_storage>() as libc::socklen_t,
        }
    }

    fn of<A>(address: A) -> Self {
        const { assert!(size_of::<A>() <= size_of::<libc::sockaddr_storage>()) };
        let mut this = Self::room();
        // SAFETY: the storage is as large as any address (asserted) and aligned for each.
        unsafe { std::ptr::from_mut(&mut this.storage).cast::<A>().write(address) };
        this.len = size_of::<A>() as libc::socklen_t;
        this
    }

    /// A Unix socket's address by path.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for a path of more than 107 bytes, or with a zero byte in it.
    pub fn unix(path: impl AsRef<Path>) -> Result<Self, Error> {
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
        Ok(Self::of(address))
    }

    /// The internet address, if it is one.
    pub fn ip(&self) -> Option<SocketAddr> {
        match i32::from(self.storage.ss_family) {
            libc::AF_INET => {
                let v4: libc::sockaddr_in = self.read()?;
                let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
                Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
            }
            libc::AF_INET6 => {
                let v6: libc::sockaddr_in6 = self.read()?;
                let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                let port = u16::from_be(v6.sin6_port);
                Some(SocketAddrV6::new(ip, port, v6.sin6_flowinfo, v6.sin6_scope_id).into())
            }
            _ => None,
        }
    }

    /// The path, if it is that of a Unix socket that has one.
    pub fn path(&self) -> Option<PathBuf> {
        let len = self.len as usize;
        if i32::from(self.storage.ss_family) != libc::AF_UNIX || len <= PATH_AT {
            return None;
        }
        let end = len.min(size_of::<libc::sockaddr_un>());
        // SAFETY: bytes within the storage, which is wholly initialised.
        let bytes = unsafe { std::slice::from_raw_parts(self.as_ptr().cast::<u8>(), end) };
        let path = bytes[PATH_AT..].split(|&byte| byte == 0).next()?;
        (!path.is_empty()).then(|| PathBuf::from(std::ffi::OsStr::from_bytes(path)))
    }

    fn read<A: Copy>(&self) -> Option<A> {
        let fits = self.len as usize >= size_of::<A>();
        // SAFETY: the storage is large and aligned enough for each address, and wholly initialised.
        fits.then(|| unsafe { std::ptr::from_ref(&self.storage).cast::<A>().read() })
    }

    pub(super) fn as_ptr(&self) -> *const libc::sockaddr_storage {
        &self.storage
    }

    pub(super) fn len(&self) -> libc::socklen_t {
        self.len
    }

    /// The kernel wrote so many bytes; 0 for a peer without an address.
    pub(super) fn written(mut self, len: libc::socklen_t) -> Option<Self> {
        self.len = len.min(size_of::<libc::sockaddr_storage>() as libc::socklen_t);
        (len > 0).then_some(self)
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        match address {
            SocketAddr::V4(v4) => Self::of(libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr {
                    s_addr: u32::from_ne_bytes(v4.ip().octets()),
                },
                sin_zero: [0; 8],
            }),
            SocketAddr::V6(v6) => Self::of(libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr {
                    s6_addr: v6.ip().octets(),
                },
                sin6_scope_id: v6.scope_id(),
            }),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.ip(), self.path()) {
            (Some(ip), _) => ip.fmt(f),
            (None, Some(path)) => path.fmt(f),
            (None, None) => write!(f, "family {}", self.storage.ss_family),
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn b9_an_address_is_read_back_as_it_was_written() {
        for text in ["1.2.3.4:5", "[2001:db8::1]:65535", "[fe80::1%7]:1"] {
            let Ok(ip) = text.parse::<SocketAddr>() else {
                continue;
            };
            let address = Address::from(ip);
            assert_eq!((address.ip(), address.path()), (Some(ip), None));
        }
        let path = "a".repeat(107);
        let unix = Address::unix(&path).unwrap();
        assert_eq!(
            (unix.path().unwrap().to_str(), unix.ip()),
            (Some(&path[..]), None)
        );
        for wrong in ["a".repeat(108), "a\0b".into()] {
            assert_eq!(Address::unix(wrong).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        assert!(Address::room().written(0).is_none());
    }
}
