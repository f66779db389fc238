//! Files that get a slot of the ring and no descriptor: `openat(2)`, `accept4(2)`, `socket(2)` into a slot.
//!
//! A carrier that interprets entries finds the slot in `file_index`: one more than its number, or `FILE_INDEX_ALLOC` for one
//! of its own choice, which is then the result.

use super::accept::Accept;
use super::open::Open;
use super::result_of;
use super::socket::Socket;
use super::target::IoFd;
use crate::error::Error;
use crate::file::{DirectFd, DirectSlots, EmptySlot};
use crate::ring::operation::sealed::Sealed;
use crate::ring::{Multishot, Operation, Outcome};
use crate::sys::abi::{FILE_INDEX_ALLOC, Sqe, code};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// An operation that opens something: a path, a connection, a socket.
pub trait Opens: Operation {
    /// Writes the entry of the same operation without the close-on-exec flag, which a slot does not have.
    #[doc(hidden)]
    fn entry_into_slot(&mut self) -> Sqe;

    /// The number of the operation.
    #[doc(hidden)]
    fn opcode(&self) -> u8;
}

impl Opens for Open {
    fn entry_into_slot(&mut self) -> Sqe {
        self.entry_with(false)
    }

    fn opcode(&self) -> u8 {
        self.code()
    }
}

impl Opens for Socket {
    fn entry_into_slot(&mut self) -> Sqe {
        self.entry_with(0)
    }

    fn opcode(&self) -> u8 {
        code::SOCKET
    }
}

impl<D: IoFd> Opens for Accept<D> {
    fn entry_into_slot(&mut self) -> Sqe {
        self.entry_with(0)
    }

    fn opcode(&self) -> u8 {
        code::ACCEPT
    }
}

/// Opens into a slot of the ring instead of a descriptor: no entry in the process's table, no limit on open files.
///
/// ```
/// use uring_core::{LocalRing, op::{Direct, Open, Read}};
/// let ring = LocalRing::new()?;
/// let open = Direct::into(Open::new("/proc/self/exe", 0)?, ring.reserve_slot()?);
/// let file = ring.block_on(ring.run(open))??;
/// let (read, buf) = ring.block_on(ring.run(Read::new(file, vec![0; 4]).at(0)))?;
/// assert_eq!((read?, &buf[..]), (4, &b"\x7fELF"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Direct<O> {
    op: O,
    to: To,
}

#[derive(Debug)]
enum To {
    Reserved(EmptySlot),
    Any(DirectSlots),
}

impl<O: Opens> Direct<O> {
    /// Opens into a slot that was reserved (Linux 5.15; sockets 5.19). If it fails the slot is free again.
    pub fn into(op: O, slot: EmptySlot) -> Self {
        Self {
            op,
            to: To::Reserved(slot),
        }
    }

    /// Opens into a slot of the kernel's choice (Linux 6.0): the way for a multishot accept. Fails with `ENFILE` when none
    /// is free.
    pub fn anywhere(op: O, slots: &DirectSlots) -> Self {
        Self {
            op,
            to: To::Any(slots.clone()),
        }
    }
}

impl<O: Opens> Sealed for Direct<O> {}

// SAFETY: the entry is the inner operation's, which does not move either.
unsafe impl<O: Opens> Operation for Direct<O> {
    type Output = Result<DirectFd, Error>;
    const ENTRIES: u32 = O::ENTRIES;

    fn belongs_to(&self, ring: u32) -> bool {
        let home = match &self.to {
            To::Reserved(slot) => slot.ring(),
            To::Any(slots) => slots.ring(),
        };
        home == ring && self.op.belongs_to(ring)
    }

    fn entry(&mut self) -> Sqe {
        let file_index = match &self.to {
            To::Reserved(slot) => slot.slot() + 1,
            To::Any(_) => FILE_INDEX_ALLOC,
        };
        Sqe {
            file_index,
            ..self.op.entry_into_slot()
        }
    }

    fn finish(self, outcome: Outcome) -> Self::Output {
        let slot = result_of(outcome, self.op.opcode())?;
        Ok(match self.to {
            To::Reserved(reserved) => reserved.filled(),
            To::Any(slots) => slots.filled(slot),
        })
    }
}

// SAFETY: an item owns a slot and touches no memory.
unsafe impl<D: IoFd> Multishot for Direct<Accept<D>> {
    type Item = Result<DirectFd, Error>;

    fn item(&mut self, outcome: Outcome) -> Self::Item {
        let slot = result_of(outcome, self.op.opcode())?;
        match &self.to {
            To::Any(slots) => Ok(slots.filled(slot)),
            // The kernel refuses several connections for one slot, so nothing came.
            To::Reserved(_) => Err(Error::from_errno(libc::EINVAL)),
        }
    }

    fn goes_on_after(&self, last: Outcome) -> bool {
        self.op.goes_on_after(last)
    }
}

/// Gives a file that only its ring knows a descriptor (Linux 6.8), to hand it to other code. The slot stays.
#[derive(Debug)]
pub struct Install<D> {
    fd: D,
}

impl<D: IoFd> Install<D> {
    /// Names the file; one that has a descriptor already is refused with `EBADF`.
    pub fn new(file: D) -> Self {
        Self { fd: file }
    }
}

impl<D: IoFd> Sealed for Install<D> {}

// SAFETY: the entry names no memory.
unsafe impl<D: IoFd> Operation for Install<D> {
    type Output = Result<OwnedFd, Error>;

    fn belongs_to(&self, ring: u32) -> bool {
        self.fd.target().belongs_to(ring)
    }

    fn entry(&mut self) -> Sqe {
        self.fd.target().entry(code::FIXED_FD_INSTALL)
    }

    fn finish(self, outcome: Outcome) -> Self::Output {
        // SAFETY: a descriptor that this operation just made, owned by nobody else.
        result_of(outcome, code::FIXED_FD_INSTALL).map(|fd| unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
    }
}
