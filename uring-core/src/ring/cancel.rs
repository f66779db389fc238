//! Cancelling: asked for by the caller, queued when there is room, and asked for again where it came too early.
//!
//! The kernel finds what it has begun. An operation linked behind another has begun only when the other is over, and that may
//! be a moment after the completion of the other was seen: a cancellation in between finds nothing (`ENOENT`), and without more
//! the operation would then run as long as it likes. So what was not found is asked for again: [`TRIES`] times after each
//! completion, since each may be the one that it waited for, and then, where a thread of the kernel that has completed the one has
//! yet to come to the other, after pauses of growing length for as long as the operation is in flight. A pause is a timeout of the
//! ring's own, so that whoever sleeps on the ring wakes for it.

use super::core::{Core, Inner};
use super::table::{CANCEL_ASKED, CANCEL_TOLD, CANCEL_WANTED, FIXED, Hot, OWN, OpId, State};
use crate::error::{Error, ErrorKind};
use crate::sys::abi::{Sqe, code};
use std::os::fd::{AsRawFd, BorrowedFd};

/// The slot number of cancellations; the slot that each is meant for stands where others have the generation.
pub(crate) const CANCELLATION: u32 = u32::MAX - 1;

/// What stands in place of the slot when a pause is over.
const PAUSE: u32 = u32::MAX;

/// How often, after a completion, the same cancellation is submitted without a pause. Two calls pass at most until work that the
/// ring's own thread runs has begun what was linked: one that runs the work, and one whose submissions came before it.
const TRIES: u8 = 3;

/// `struct __kernel_timespec`.
struct Timespec([i64; 2]);

const fn millis(n: i64) -> Timespec {
    Timespec([0, n * 1_000_000])
}

/// How long the ring pauses before it asks once more: the last of these again and again.
static PAUSES: [Timespec; 5] = [millis(1), millis(2), millis(8), millis(32), millis(128)];

/// Cancellations that found nothing although their operation is in flight.
#[derive(Debug, Default)]
pub(crate) struct Early {
    slots: Vec<u32>,
    tries: u8,
    /// Pauses since something completed.
    pauses: u8,
    /// A pause is in flight.
    pausing: bool,
}

impl Early {
    /// Something completed, so that something linked behind it may have begun.
    #[inline(always)]
    pub(crate) fn may_have_begun(&mut self) {
        self.tries = TRIES;
        self.pauses = 0;
    }

    /// Something is to be asked for again: the end of a pause must not have to wait for other completions.
    #[inline(always)]
    pub(crate) fn is_pausing(&self) -> bool {
        self.pausing
    }
}

impl Core {
    /// Asks that an operation be cancelled, whatever its style. It still completes, as a rule with
    /// [`ErrorKind::Cancelled`], and gives back what it owns that way.
    ///
    /// # Errors
    /// [`ErrorKind::Stale`] when it completed already.
    pub fn cancel(&self, id: impl Into<OpId>) -> Result<(), Error> {
        self.check()?;
        let id = id.into();
        let mut inner = self.state.borrow_mut();
        if !inner.is_live(self.id, id) || inner.table.hot(id.slot).state != State::InFlight {
            return Err(Error::of(ErrorKind::Stale));
        }
        inner.told_to_cancel(id.slot);
        drop(inner);
        self.nudge();
        Ok(())
    }

    /// Asks that everything in flight on this descriptor be cancelled; returns how many operations that is.
    ///
    /// # Errors
    /// Only in a forked child.
    pub fn cancel_fd(&self, fd: BorrowedFd<'_>) -> Result<usize, Error> {
        let number = fd.as_raw_fd();
        self.cancel_where(|hot| hot.fd == number && hot.flags & FIXED == 0)
    }

    /// Asks that everything in flight be cancelled; returns how many operations that is.
    ///
    /// # Errors
    /// Only in a forked child.
    pub fn cancel_all(&self) -> Result<usize, Error> {
        self.cancel_where(|_| true)
    }

    fn cancel_where(&self, wanted: impl Fn(&Hot) -> bool) -> Result<usize, Error> {
        self.check()?;
        let mut inner = self.state.borrow_mut();
        let mut count = 0;
        for slot in inner.table.occupied() {
            let hot = inner.table.hot(slot);
            if hot.state == State::InFlight && wanted(hot) {
                inner.told_to_cancel(slot);
                count += 1;
            }
        }
        drop(inner);
        self.nudge();
        Ok(count)
    }
}

impl Inner {
    /// Puts an operation in flight on the list of those to cancel.
    pub(crate) fn want_cancel(&mut self, slot: u32) {
        let hot = self.table.hot(slot);
        debug_assert_eq!(hot.state, State::InFlight);
        if hot.flags & CANCEL_WANTED == 0 {
            hot.flags |= CANCEL_WANTED;
            self.cancels.push_back(&mut self.table, slot);
        }
    }

    /// The same for a cancellation that the caller asked for.
    fn told_to_cancel(&mut self, slot: u32) {
        self.table.hot(slot).flags |= CANCEL_TOLD;
        self.want_cancel(slot);
    }

    /// Turns wanted cancellations into submissions, as far as room and credit reach; the rest stays wanted.
    pub(crate) fn queue_cancels(&mut self) {
        while self.cancels.len() > 0 && self.credits_used < self.credits {
            let refresh = self.backend_mut().space(false) == 0;
            if self.backend_mut().space(refresh) == 0 {
                return;
            }
            let Some(slot) = self.cancels.pop_front(&mut self.table) else {
                return;
            };
            let generation = self.table.generation(slot);
            let hot = self.table.hot(slot);
            hot.flags = (hot.flags & !CANCEL_WANTED) | CANCEL_ASKED;
            let own = hot.flags & OWN != 0;
            let entry = Sqe {
                addr: (u64::from(generation) << 32) | u64::from(slot),
                user_data: (u64::from(slot) << 32) | u64::from(CANCELLATION),
                ..Sqe::new(code::ASYNC_CANCEL, -1)
            };
            let pushed = self.backend_mut().push(&entry);
            debug_assert!(pushed, "room was checked");
            self.credits_used += 1;
            self.stats.counts.cancels += u64::from(!own);
        }
    }

    /// A cancellation is over, or a pause.
    pub(crate) fn cancel_ended(&mut self, slot: u32, result: i32) {
        if slot == PAUSE {
            self.early.pausing = false;
            self.early.tries = self.early.tries.max(1);
            return;
        }
        // It found nothing: something linked that has not begun, or over already.
        if result == -libc::ENOENT && slot < self.table.capacity() && !self.early.slots.contains(&slot) {
            self.early.slots.push(slot);
        }
    }

    /// Asks again for the cancellations that came too early.
    pub(crate) fn ask_again(&mut self) {
        if self.early.slots.is_empty() {
            return;
        }
        // Another operation may have the slot by now; if it was to be cancelled too, once more does no harm.
        let table = &mut self.table;
        self.early.slots.retain(|&slot| {
            let hot = table.hot(slot);
            hot.state == State::InFlight && hot.flags & CANCEL_ASKED != 0
        });
        if self.early.tries == 0 {
            self.pause();
            return;
        }
        self.early.tries -= 1;
        for slot in std::mem::take(&mut self.early.slots) {
            self.want_cancel(slot);
        }
    }

    /// Begins a pause, if there is room for its entry; at the next turn otherwise.
    fn pause(&mut self) {
        if self.early.pausing || self.early.slots.is_empty() || self.credits_used >= self.credits {
            return;
        }
        let refresh = self.backend_mut().space(false) == 0;
        if self.backend_mut().space(refresh) == 0 {
            return;
        }
        let length = usize::from(self.early.pauses).min(PAUSES.len() - 1);
        let entry = Sqe {
            addr: (&raw const PAUSES[length].0) as u64,
            len: 1,
            user_data: (u64::from(PAUSE) << 32) | u64::from(CANCELLATION),
            ..Sqe::new(code::TIMEOUT, -1)
        };
        let pushed = self.backend_mut().push(&entry);
        debug_assert!(pushed, "room was checked");
        self.credits_used += 1;
        self.early.pausing = true;
        self.early.pauses = self.early.pauses.saturating_add(1);
    }
}
