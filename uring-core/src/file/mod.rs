//! Files that several rings know, each under one slot everywhere.
//!
//! The descriptors live in an `epoch_fdtable::RegisteredFiles`: owned, found by a handle that the reuse of a number
//! cannot fool. A ring that registers a file finds it there; the first binds the slot, every other must arrive at the
//! same one, so that a slot means the same file whichever ring an operation is submitted to.

use crate::error::{Error, ErrorKind};
use epoch_fdtable::{Asymmetric, Closed, FdError, Handle, RegisteredFile, RegisteredFiles, Shared};
use std::os::fd::OwnedFd;

/// Owns files and knows under which slot rings have registered each.
///
/// ```
/// use uring_core::{LocalRing, Options, file::Files};
/// # if uring_core::probe().refused.is_some() { return Ok(()) }
/// let files = Files::new(8);
/// let null = files.adopt(std::fs::File::open("/dev/null")?.into()).map_err(|(error, _)| error)?;
/// let ring = LocalRing::with(&Options::new().registered_files(8))?;
/// let fixed = ring.register_shared(&files, null)?;
/// assert_eq!(files.slot(null), Some(fixed.slot()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Files {
    table: RegisteredFiles,
}

impl Files {
    /// Makes room for so many files.
    ///
    /// # Panics
    /// When `limit` is above 2^26.
    pub fn new(limit: u32) -> Self {
        Self {
            table: RegisteredFiles::new(limit),
        }
    }

    /// Takes over a file, which has no slot yet. Lock-free, allocates.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] with the file when there is no room for another.
    pub fn adopt(&self, file: OwnedFd) -> Result<Handle, (Error, OwnedFd)> {
        self.table
            .adopt(file)
            .map_err(|refused| (Error::of(ErrorKind::WouldBlock), refused.value))
    }

    /// Keeps a file open past its handle, to use it by number. `None` when it is closed.
    pub fn get(&self, file: Handle) -> Option<Shared<RegisteredFile, Asymmetric>> {
        self.table.get_cloned(file)
    }

    /// The slot under which rings know the file. Wait-free.
    pub fn slot(&self, file: Handle) -> Option<u32> {
        self.table.pin().slot(file)
    }

    /// Notes that a ring has registered the file under `slot`.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`] when the file is closed, [`ErrorKind::InvalidInput`] when other rings know it under another
    /// slot: the caller takes the slot back from its ring.
    pub(crate) fn bind(&self, file: Handle, slot: u32) -> Result<(), Error> {
        match self.table.bind(file, slot) {
            Ok(()) => Ok(()),
            Err(FdError::Taken { .. }) if self.slot(file) == Some(slot) => Ok(()),
            Err(FdError::NotOpen { .. }) => Err(Error::of(ErrorKind::Closed)),
            Err(_) => Err(Error::of(ErrorKind::InvalidInput)),
        }
    }

    /// Closes a file promptly and gives the slot that each ring still has to unregister.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`] when it is closed already.
    pub fn close(&self, file: Handle) -> Result<(Option<u32>, Closed), Error> {
        self.table.close(file).map_err(|_| Error::of(ErrorKind::Closed))
    }
}
