//! A path, and the directory that it begins in.

use crate::error::{Error, ErrorKind};
use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

/// A path as the kernel reads it: on the heap, ended by a zero, from a directory that stays open meanwhile.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) dir: Option<Arc<OwnedFd>>,
    path: CString,
}

impl Place {
    pub(super) fn new(path: impl AsRef<Path>) -> Result<Self, Error> {
        Ok(Self {
            dir: None,
            path: c_string(path.as_ref().as_os_str().as_bytes())?,
        })
    }

    /// The directory's descriptor; the working directory's for none.
    pub(super) fn dir(&self) -> i32 {
        self.dir.as_ref().map_or(libc::AT_FDCWD, |dir| dir.as_raw_fd())
    }

    pub(super) fn addr(&self) -> u64 {
        self.path.as_ptr() as u64
    }
}

/// Bytes ended by a zero, with none in them.
pub(super) fn c_string(bytes: &[u8]) -> Result<CString, Error> {
    CString::new(bytes).map_err(|_| Error::of(ErrorKind::InvalidInput))
}

/// The method that lets a path begin elsewhere.
macro_rules! within {
    ($method:ident: $field:ident) => {
        /// Lets a relative path begin in this directory instead of the working directory.
        pub fn $method(mut self, dir: std::sync::Arc<std::os::fd::OwnedFd>) -> Self {
            self.$field.dir = Some(dir);
            self
        }
    };
}
pub(super) use within;
