//! Flushing files to their device: `fsync(2)`, `fdatasync(2)`, `sync_file_range(2)`.

use super::target::IoFd;
use crate::error::Error;
use crate::ring::operation::sealed::Sealed;
use crate::ring::{Operation, Outcome};
use crate::sys::abi::{Sqe, code};

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

succeeds_or_fails!(Fsync, D, code::FSYNC, "no memory", |this| Sqe {
    op_flags: u32::from(this.data_only),
    ..this.fd.target().entry(code::FSYNC)
});

/// Starts or waits for the writing of a part of a file. It is no flush: neither metadata nor the device's own cache is
/// written.
#[derive(Debug)]
pub struct SyncFileRange<D> {
    fd: D,
    offset: u64,
    len: u32,
    flags: u32,
}

impl<D: IoFd> SyncFileRange<D> {
    /// Names the bytes (0 for all up to the end) and what to do, in the bits of `sync_file_range(2)`.
    pub fn new(fd: D, offset: u64, len: u32, flags: u32) -> Self {
        Self {
            fd,
            offset,
            len,
            flags,
        }
    }
}

succeeds_or_fails!(SyncFileRange, D, code::SYNC_FILE_RANGE, "no memory", |this| Sqe {
    off: this.offset,
    len: this.len,
    op_flags: this.flags,
    ..this.fd.target().entry(code::SYNC_FILE_RANGE)
});
