//! Opening, flushing and closing files.

use super::target::IoFd;
use crate::error::{Error, ErrorKind};
use crate::ring::operation::sealed::Sealed;
use crate::ring::{Operation, Outcome};
use crate::sys::abi::{Sqe, code};
use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Opens a path. The descriptor that comes is owned by the output: if nobody takes it, it is closed.
#[derive(Debug)]
pub struct Open {
    /// On the heap, where the kernel reads it.
    path: CString,
    flags: i32,
    mode: u32,
}

impl Open {
    /// Opens with the flags of `open(2)`; `O_CLOEXEC` is added. Allocates the path.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for a path with a zero byte in it.
    pub fn new(path: impl AsRef<Path>, flags: i32) -> Result<Self, Error> {
        let path = CString::new(path.as_ref().as_os_str().as_bytes());
        let path = path.map_err(|_| Error::of(ErrorKind::InvalidInput))?;
        Ok(Self {
            path,
            flags: flags | libc::O_CLOEXEC,
            mode: 0o666,
        })
    }

    /// Sets the permissions of a file that is created, less the umask. 0666 unless said otherwise.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }
}

impl Sealed for Open {}

// SAFETY: the entry names the path's heap block, which the operation owns.
unsafe impl Operation for Open {
    type Output = Result<File, Error>;

    fn entry(&mut self) -> Sqe {
        Sqe {
            addr: self.path.as_ptr() as u64,
            len: self.mode,
            op_flags: self.flags as u32,
            ..Sqe::new(code::OPENAT, libc::AT_FDCWD)
        }
    }

    fn finish(self, outcome: Outcome) -> Self::Output {
        // SAFETY: a descriptor that this operation just opened, owned by nobody else.
        outcome
            .result()
            .map(|fd| unsafe { File::from_raw_fd(fd as RawFd) })
    }
}

/// Closes a descriptor and tells how that went, which dropping it would not.
///
/// It is closed on every path: by the kernel, or, where the operation never ran, by dropping it.
#[derive(Debug)]
pub struct Close {
    /// Taken out when the operation ran.
    fd: Option<OwnedFd>,
}

impl Close {
    /// Takes the descriptor over.
    pub fn new(fd: impl Into<OwnedFd>) -> Self {
        Self { fd: Some(fd.into()) }
    }
}

impl Sealed for Close {}

// SAFETY: the entry names no memory.
unsafe impl Operation for Close {
    type Output = Result<(), Error>;

    fn entry(&mut self) -> Sqe {
        Sqe::new(code::CLOSE, self.fd.as_ref().map_or(-1, AsRawFd::as_raw_fd))
    }

    fn finish(mut self, outcome: Outcome) -> Self::Output {
        let result = outcome.result().map(drop);
        // A close that ran has freed the number, whatever it returned: it must not be closed again. One that was
        // cancelled or never submitted has not.
        let ran = !result.is_err_and(|error| error.is_cancelled() || error.kind() == ErrorKind::WouldBlock);
        if ran && let Some(fd) = self.fd.take() {
            let _ = fd.into_raw_fd();
        }
        result
    }
}

/// Flushes a file to its device.
#[derive(Debug)]
pub struct Fsync<D> {
    fd: D,
    data_only: bool,
}

impl<D: IoFd> Fsync<D> {
    /// Flushes data and metadata.
    pub fn new(fd: D) -> Self {
        Self { fd, data_only: false }
    }

    /// Flushes data, and metadata only where the data needs it (`fdatasync`).
    pub fn data(fd: D) -> Self {
        Self { fd, data_only: true }
    }
}

impl<D: IoFd> Sealed for Fsync<D> {}

// SAFETY: the entry names no memory.
unsafe impl<D: IoFd> Operation for Fsync<D> {
    type Output = Result<(), Error>;

    fn belongs_to(&self, ring: u32) -> bool {
        self.fd.target().belongs_to(ring)
    }

    fn entry(&mut self) -> Sqe {
        Sqe {
            op_flags: u32::from(self.data_only),
            ..self.fd.target().entry(code::FSYNC)
        }
    }

    fn finish(self, outcome: Outcome) -> Self::Output {
        outcome.result().map(drop)
    }
}
