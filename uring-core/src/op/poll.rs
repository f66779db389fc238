//! Readiness of a descriptor: `poll(2)`.

use super::result_of;
use super::target::IoFd;
use crate::error::Error;
use crate::ring::operation::sealed::Sealed;
use crate::ring::{Multishot, Operation, Outcome};
use crate::sys::abi::{POLL_MULTISHOT, Sqe, code};

/// Completes when a descriptor is ready; gives the events that came, in the bits of `poll(2)`.
///
/// In [`Core::stream`](crate::Core::stream) and `submit_each` it goes on, one item an event.
#[derive(Debug)]
pub struct Poll<D> {
    fd: D,
    events: i16,
    again: bool,
}

impl<D: IoFd> Poll<D> {
    /// Waits for any of `events` (`POLLIN`, ...), once.
    pub fn new(fd: D, events: i16) -> Self {
        Self {
            fd,
            events,
            again: false,
        }
    }

    /// Waits until there is something to read.
    pub fn readable(fd: D) -> Self {
        Self::new(fd, libc::POLLIN)
    }

    /// Waits until something can be written.
    pub fn writable(fd: D) -> Self {
        Self::new(fd, libc::POLLOUT)
    }

    /// Goes on after the first event: for a stream.
    pub fn multishot(mut self) -> Self {
        self.again = true;
        self
    }
}

impl<D: IoFd> Sealed for Poll<D> {}

// SAFETY: the entry names no memory.
unsafe impl<D: IoFd> Operation for Poll<D> {
    type Output = Result<i16, Error>;

    fn belongs_to(&self, ring: u32) -> bool {
        self.fd.target().belongs_to(ring)
    }

    fn entry(&mut self) -> Sqe {
        Sqe {
            op_flags: u32::from(self.events as u16),
            len: if self.again { POLL_MULTISHOT } else { 0 },
            ..self.fd.target().entry(code::POLL_ADD)
        }
    }

    fn finish(self, outcome: Outcome) -> Self::Output {
        result_of(outcome, code::POLL_ADD).map(|events| events as i16)
    }
}

// SAFETY: an item is a number.
unsafe impl<D: IoFd> Multishot for Poll<D> {
    type Item = Result<i16, Error>;

    fn item(&mut self, outcome: Outcome) -> Self::Item {
        result_of(outcome, code::POLL_ADD).map(|events| events as i16)
    }

    fn goes_on_after(&self, _: Outcome) -> bool {
        self.again
    }
}
