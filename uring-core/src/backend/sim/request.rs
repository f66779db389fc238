//! A request of the simulated kernel, and what its kind implies.

use crate::sys::abi::{
    ACCEPT_MULTISHOT, POLL_MULTISHOT, RECV_MULTISHOT, SQE_BUFFER_SELECT, SQE_FIXED_FILE, Sqe, code,
};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use sync_base::sync::Arc;

/// Bytes at the front of a buffer that are sealed while the kernel has it.
const SEALED: usize = 64;

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Starts some time after what it is linked behind is over.
    Linked,
    /// What it was linked behind is over; starts at its time.
    Next,
    /// Will be attempted at its time.
    Scheduled,
    /// Waits for its descriptor to become ready.
    Blocked,
    /// Ends when the ring is gone.
    Stuck,
    /// A zero-copy send whose result is out and whose memory is still in use.
    Notifying,
}

/// What was seen in the memory lent, to be found so again at the end.
#[derive(Clone, Copy)]
enum Seal {
    None,
    /// Lent for reading from: a digest of its front.
    Digest(u64),
    /// Lent for writing to: we filled its front with this byte, and put aside what was there.
    Scribble(u8, [MaybeUninit<u8>; SEALED]),
}

pub(super) struct Request {
    pub(super) sqe: Sqe,
    /// Its place among all requests: tells apart what reuses an index.
    pub(super) order: u64,
    pub(super) due: u64,
    pub(super) phase: Phase,
    /// A registered file, held open as the kernel holds it.
    pub(super) file: Option<Arc<OwnedFd>>,
    /// What is linked behind it.
    pub(super) next: Option<u32>,
    /// When a linked timeout cancels it (once it has started; in how long before), and whose completion tells so.
    pub(super) bound: Option<(u64, u64)>,
    /// It was interrupted where it ran, and ends with this at its next attempt.
    pub(super) doomed: Option<i32>,
    /// A cancellation found it running: it ends rather than wait.
    pub(super) hurried: bool,
    /// Faults of the result were drawn already.
    pub(super) drawn: bool,
    /// A connection is under way.
    pub(super) begun: bool,
    /// Tells a multishot poll what is new.
    pub(super) edge: Option<OwnedFd>,
    seal: Seal,
}

impl Request {
    pub(super) fn new(sqe: Sqe, order: u64) -> Self {
        let mut this = Self {
            sqe,
            order,
            due: 0,
            phase: Phase::Linked,
            file: None,
            next: None,
            bound: None,
            doomed: None,
            hurried: false,
            drawn: false,
            begun: false,
            edge: None,
            seal: Seal::None,
        };
        if this.is_outgoing() {
            this.seal = Seal::Digest(this.digest());
        }
        this
    }

    /// The descriptor that it works on.
    pub(super) fn fd(&self) -> RawFd {
        match &self.file {
            Some(file) => file.as_raw_fd(),
            None if self.sqe.flags & SQE_FIXED_FILE != 0 => -1,
            None => self.sqe.fd,
        }
    }

    pub(super) fn is_multishot(&self) -> bool {
        match self.sqe.opcode {
            code::ACCEPT => self.sqe.ioprio & ACCEPT_MULTISHOT != 0,
            code::RECV => self.sqe.ioprio & RECV_MULTISHOT != 0,
            code::POLL_ADD => self.sqe.len & POLL_MULTISHOT != 0,
            _ => false,
        }
    }

    /// Picks its buffer from a group.
    pub(super) fn selects(&self) -> bool {
        self.sqe.flags & SQE_BUFFER_SELECT != 0
    }

    /// Writes into memory that the entry names.
    pub(super) fn is_incoming(&self) -> bool {
        matches!(self.sqe.opcode, code::READ | code::READ_FIXED | code::RECV) && !self.selects()
    }

    /// Reads from memory that the entry names.
    pub(super) fn is_outgoing(&self) -> bool {
        matches!(
            self.sqe.opcode,
            code::WRITE | code::WRITE_FIXED | code::SEND | code::SEND_ZC
        )
    }

    /// Moves data one way or the other.
    pub(super) fn is_transfer(&self) -> bool {
        self.is_incoming() || self.is_outgoing() || self.selects()
    }

    /// Waits for bytes to come, not for room.
    pub(super) fn waits_for_input(&self) -> bool {
        !self.is_outgoing() && self.sqe.opcode != code::CONNECT
    }

    /// Whether such a result breaks the chain behind it.
    pub(super) fn is_failed_by(&self, result: i32) -> bool {
        let whole = libc::MSG_WAITALL as u32;
        let wanted = match self.sqe.opcode {
            code::READ | code::READ_FIXED | code::WRITE | code::WRITE_FIXED => self.sqe.len,
            code::SEND | code::RECV if self.sqe.op_flags & whole != 0 => self.sqe.len,
            code::READV | code::WRITEV => {
                let list = self.sqe.addr as *const libc::iovec;
                // SAFETY: the list that the entry names, which its owner keeps until the last completion.
                let bytes = (0..self.sqe.len as usize).map(|at| unsafe { (*list.add(at)).iov_len as u32 });
                bytes.sum()
            }
            _ => 0,
        };
        u32::try_from(result).map_or(true, |moved| moved < wanted)
    }

    fn front(&self) -> usize {
        (self.sqe.len as usize).min(SEALED)
    }

    fn digest(&self) -> u64 {
        // SAFETY: memory of the entry, which its owner keeps valid and unwritten until the last completion.
        let front = unsafe { std::slice::from_raw_parts(self.sqe.addr as *const u8, self.front()) };
        front.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }

    /// Writes into the buffer while it is ours, as a kernel may.
    pub(super) fn scribble(&mut self, byte: u8) {
        if !self.is_incoming() || self.sqe.len == 0 {
            return;
        }
        let at = self.sqe.addr as *mut MaybeUninit<u8>;
        let aside = match self.seal {
            Seal::Scribble(_, aside) => aside,
            _ => {
                let mut aside = [MaybeUninit::uninit(); SEALED];
                // SAFETY: memory of the entry, lent until the last completion; uninitialised bytes are copied as such.
                unsafe { std::ptr::copy_nonoverlapping(at, aside.as_mut_ptr(), self.front()) };
                aside
            }
        };
        // SAFETY: as above, lent for writing.
        unsafe { std::ptr::write_bytes(at.cast::<u8>(), byte, self.front()) };
        self.seal = Seal::Scribble(byte, aside);
    }

    /// Puts back what was scribbled over and is not data: all from offset `from` on.
    pub(super) fn wipe(&mut self, from: usize) {
        if let Seal::Scribble(_, aside) = &self.seal
            && from < self.front()
        {
            let at = self.sqe.addr as *mut MaybeUninit<u8>;
            // SAFETY: memory of the entry, lent for writing until the last completion, which has yet to come.
            unsafe {
                std::ptr::copy_nonoverlapping(aside[from..].as_ptr(), at.add(from), self.front() - from)
            };
        }
    }

    /// Whether the memory lent is as we left it: its owner keeps off.
    pub(super) fn is_intact(&self) -> bool {
        match self.seal {
            Seal::None => true,
            Seal::Digest(seen) => seen == self.digest(),
            Seal::Scribble(byte, _) => {
                // SAFETY: memory of the entry, written by `scribble` and lent until the last completion.
                let front = unsafe { std::slice::from_raw_parts(self.sqe.addr as *const u8, self.front()) };
                front.iter().all(|&b| b == byte)
            }
        }
    }
}
