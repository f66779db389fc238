//! Extended attributes of files: `fgetxattr(2)`, `fsetxattr(2)`, `getxattr(2)`, `setxattr(2)`.

use super::place::{Place, c_string};
use super::result_of;
use super::target::IoFd;
use crate::buffer::{IoBuf, IoBufMut};
use crate::error::Error;
use crate::ring::operation::sealed::Sealed;
use crate::ring::{Operation, Outcome};
use crate::sys::abi::{Sqe, code};
use std::ffi::CString;
use std::path::Path;

/// What setting and getting have in common: the name, on the heap, and the value.
#[derive(Debug)]
struct Attribute<B> {
    name: CString,
    value: B,
    flags: i32,
}

impl<B> Attribute<B> {
    fn new(name: &str, value: B) -> Result<Self, (Error, B)> {
        match c_string(name.as_bytes()) {
            Ok(name) => Ok(Self {
                name,
                value,
                flags: 0,
            }),
            Err(error) => Err((error, value)),
        }
    }

    fn entry(&self, addr: *const u8, bytes: usize, entry: Sqe) -> Sqe {
        Sqe {
            addr: self.name.as_ptr() as u64,
            off: addr as u64,
            len: u32::try_from(bytes).unwrap_or(u32::MAX),
            op_flags: self.flags as u32,
            ..entry
        }
    }
}

impl<B: IoBuf> Attribute<B> {
    fn setting(&self, entry: Sqe) -> Sqe {
        self.entry(self.value.stable_ptr(), self.value.bytes_init(), entry)
    }
}

impl<B: IoBufMut> Attribute<B> {
    fn getting(&mut self, entry: Sqe) -> Sqe {
        let addr = self.value.stable_mut_ptr();
        self.entry(addr, self.value.bytes_total(), entry)
    }

    fn got(mut self, outcome: Outcome, code: u8) -> (Result<usize, Error>, B) {
        let room = self.value.bytes_total();
        let got = result_of(outcome, code).map(|n| n as usize);
        if let Ok(count) = got {
            // SAFETY: the kernel wrote so many bytes, at most as many as there is room for; with no room it only told how
            // many there are.
            unsafe { self.value.set_init(count.min(room)) };
        }
        (got, self.value)
    }
}

/// The constructor of an operation on a path.
macro_rules! on_path {
    ($name:ident) => {
        /// Names the path, the attribute (`user.something`) and its value. Allocates path and name.
        ///
        /// # Errors
        /// The value comes back with [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a path or name with
        /// a zero byte in it.
        pub fn new(path: impl AsRef<Path>, name: &str, value: B) -> Result<Self, (Error, B)> {
            match Place::new(path) {
                Ok(place) => Ok(Self {
                    place,
                    attribute: Attribute::new(name, value)?,
                }),
                Err(error) => Err((error, value)),
            }
        }
    };
}

/// The constructor of an operation on an open file.
macro_rules! on_file {
    ($name:ident) => {
        /// Names the file, the attribute (`user.something`) and its value. Allocates the name.
        ///
        /// # Errors
        /// The value comes back with [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a name with a zero
        /// byte in it.
        pub fn new(fd: D, name: &str, value: B) -> Result<Self, (Error, B)> {
            let attribute = Attribute::new(name, value)?;
            Ok(Self { fd, attribute })
        }
    };
}

/// How a value is set.
macro_rules! flags {
    () => {
        /// Sets the flags of `setxattr(2)`: `XATTR_CREATE`, `XATTR_REPLACE`.
        pub fn flags(mut self, flags: i32) -> Self {
            self.attribute.flags = flags;
            self
        }
    };
}

/// Sets an attribute of an open file (Linux 5.19). Gives `(result, value)`.
#[derive(Debug)]
pub struct SetXattr<D, B> {
    fd: D,
    attribute: Attribute<B>,
}

impl<D: IoFd, B: IoBuf> SetXattr<D, B> {
    on_file!(SetXattr);
    flags!();
}

impl<D: IoFd, B: IoBuf> Sealed for SetXattr<D, B> {}

// SAFETY: the entry names the heap block of the name and the value, which stays where it is by the contract of `IoBuf`.
unsafe impl<D: IoFd, B: IoBuf> Operation for SetXattr<D, B> {
    type Output = (Result<(), Error>, B);

    fn belongs_to(&self, ring: u32) -> bool {
        self.fd.target().belongs_to(ring)
    }

    fn entry(&mut self) -> Sqe {
        self.attribute.setting(self.fd.target().entry(code::FSETXATTR))
    }

    fn finish(self, outcome: Outcome) -> Self::Output {
        (
            result_of(outcome, code::FSETXATTR).map(drop),
            self.attribute.value,
        )
    }
}

/// Sets an attribute of a path (Linux 5.19). Gives `(result, value)`.
#[derive(Debug)]
pub struct SetXattrAt<B> {
    place: Place,
    attribute: Attribute<B>,
}

impl<B: IoBuf> SetXattrAt<B> {
    on_path!(SetXattrAt);
    flags!();
}

impl<B: IoBuf> Sealed for SetXattrAt<B> {}

// SAFETY: as for `SetXattr`, and the path's heap block.
unsafe impl<B: IoBuf> Operation for SetXattrAt<B> {
    type Output = (Result<(), Error>, B);

    fn entry(&mut self) -> Sqe {
        self.attribute.setting(Sqe {
            addr3: self.place.addr(),
            ..Sqe::new(code::SETXATTR, 0)
        })
    }

    fn finish(self, outcome: Outcome) -> Self::Output {
        (result_of(outcome, code::SETXATTR).map(drop), self.attribute.value)
    }
}

/// Gets an attribute of an open file (Linux 5.19). Gives `(bytes, value)`: with no room for any, the bytes that there are.
#[derive(Debug)]
pub struct GetXattr<D, B> {
    fd: D,
    attribute: Attribute<B>,
}

impl<D: IoFd, B: IoBufMut> GetXattr<D, B> {
    on_file!(GetXattr);
}

impl<D: IoFd, B: IoBufMut> Sealed for GetXattr<D, B> {}

// SAFETY: the entry names the heap block of the name and the value, which stays where it is by the contract of `IoBufMut`.
unsafe impl<D: IoFd, B: IoBufMut> Operation for GetXattr<D, B> {
    type Output = (Result<usize, Error>, B);

    fn belongs_to(&self, ring: u32) -> bool {
        self.fd.target().belongs_to(ring)
    }

    fn entry(&mut self) -> Sqe {
        self.attribute.getting(self.fd.target().entry(code::FGETXATTR))
    }

    fn finish(self, outcome: Outcome) -> Self::Output {
        self.attribute.got(outcome, code::FGETXATTR)
    }
}

/// Gets an attribute of a path (Linux 5.19). Gives `(bytes, value)`: with no room for any, the bytes that there are.
#[derive(Debug)]
pub struct GetXattrAt<B> {
    place: Place,
    attribute: Attribute<B>,
}

impl<B: IoBufMut> GetXattrAt<B> {
    on_path!(GetXattrAt);
}

impl<B: IoBufMut> Sealed for GetXattrAt<B> {}

// SAFETY: as for `GetXattr`, and the path's heap block.
unsafe impl<B: IoBufMut> Operation for GetXattrAt<B> {
    type Output = (Result<usize, Error>, B);

    fn entry(&mut self) -> Sqe {
        self.attribute.getting(Sqe {
            addr3: self.place.addr(),
            ..Sqe::new(code::GETXATTR, 0)
        })
    }

    fn finish(self, outcome: Outcome) -> Self::Output {
        self.attribute.got(outcome, code::GETXATTR)
    }
}
