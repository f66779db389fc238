//! The space that a file takes: `fallocate(2)`, `ftruncate(2)`.

use super::target::IoFd;
use crate::error::Error;
use crate::ring::operation::sealed::Sealed;
use crate::ring::{Operation, Outcome};
use crate::sys::abi::{Sqe, code};

/// Reserves space for a part of a file, or, by its mode, releases, zeroes or moves it.
#[derive(Debug)]
pub struct Fallocate<D> {
    fd: D,
    mode: i32,
    offset: u64,
    len: u64,
}

impl<D: IoFd> Fallocate<D> {
    /// Reserves `len` bytes from `offset` on; the file grows to hold them.
    pub fn new(fd: D, offset: u64, len: u64) -> Self {
        Self {
            fd,
            mode: 0,
            offset,
            len,
        }
    }

    /// Does something else with them, in the bits of `fallocate(2)` (`FALLOC_FL_PUNCH_HOLE`, ...).
    pub fn mode(mut self, mode: i32) -> Self {
        self.mode = mode;
        self
    }
}

succeeds_or_fails!(Fallocate, D, code::FALLOCATE, "no memory", |this| Sqe {
    off: this.offset,
    addr: this.len,
    len: this.mode as u32,
    ..this.fd.target().entry(code::FALLOCATE)
});

/// Sets the length of a file: cuts it, or lets it end in a hole (Linux 6.9).
#[derive(Debug)]
pub struct Ftruncate<D> {
    fd: D,
    len: u64,
}

impl<D: IoFd> Ftruncate<D> {
    /// Sets it to so many bytes.
    pub fn new(fd: D, len: u64) -> Self {
        Self { fd, len }
    }
}

succeeds_or_fails!(Ftruncate, D, code::FTRUNCATE, "no memory", |this| Sqe {
    off: this.len,
    ..this.fd.target().entry(code::FTRUNCATE)
});
