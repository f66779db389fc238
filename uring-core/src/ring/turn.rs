//! One turn of the ring: pass submissions on, wait, sort what completed.

use super::cancel::CANCELLATION;
use super::core::{AUXILIARY, Core, Inner};
use super::observe::Seen;
use super::operation::Outcome;
use super::registry::Leaving;
use super::table::{CANCEL_WANTED, OWN, PLACED, RESULT_SEEN, State, Style};
use crate::error::{Error, ErrorKind};
use crate::sys::abi::{self, Cqe, Sqe, code};
use std::task::Waker;
use std::time::Duration;
use sync_base::sync::Arc;

impl Core {
    /// Passes everything queued to the kernel: one system call, none if nothing is queued. Does not wait.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] when the kernel takes nothing before completions are reaped; what is queued stays so.
    pub fn flush(&self) -> Result<(), Error> {
        self.check()?;
        let mut inner = self.state.borrow_mut();
        let flushed = inner.flush();
        inner.stats.publish();
        flushed
    }

    /// Passes everything queued to the kernel, collects what completed and runs what follows from it (callbacks,
    /// wake-ups), without waiting. Returns how many operations completed.
    ///
    /// # Errors
    /// As [`flush`](Core::flush).
    pub fn poll(&self) -> Result<usize, Error> {
        self.wait(0, Duration::ZERO)
    }

    /// Passes everything queued to the kernel and waits, in the same system call, until `want` operations completed or
    /// the time is up; then collects and runs what follows, as [`poll`](Core::poll). Returns how many completed.
    ///
    /// Asks for no more than are in flight. A signal ends the wait early. Where enough completed already and nothing is
    /// queued there is no system call at all.
    ///
    /// # Errors
    /// As [`flush`](Core::flush).
    pub fn wait(&self, want: usize, timeout: Duration) -> Result<usize, Error> {
        self.check()?;
        let (done, follows) = {
            let mut inner = self.state.borrow_mut();
            let done = inner.turn(want as u32, timeout);
            (done, inner.something_follows())
        };
        self.tell_observer();
        if follows {
            self.dispatch();
        }
        self.offer_room();
        done.map(|n| n as usize)
    }
}

impl Inner {
    /// Passes on what is queued, cancellations first in line for the room that is left.
    pub(crate) fn flush(&mut self) -> Result<(), Error> {
        self.queue_cancels();
        self.take_back();
        self.batch_ns = 0;
        // Without SUBMIT_ALL the kernel stops behind an entry that it refuses, so one call may not pass them all on.
        if self.backend().info().sqpoll {
            // The kernel's thread takes them in its own time; all that is to do is to see that it is awake.
            return self.enter(0, None);
        }
        while self.backend_mut().queued() > 0 {
            let before = self.backend_mut().queued();
            self.enter(0, None)?;
            if self.backend_mut().queued() >= before {
                return Err(Error::of(ErrorKind::WouldBlock));
            }
        }
        self.queue_cancels();
        if self.backend_mut().queued() > 0 {
            self.enter(0, None)
        } else {
            Ok(())
        }
    }

    /// One turn; returns how many operations completed.
    pub(crate) fn turn(&mut self, want: u32, timeout: Duration) -> Result<u32, Error> {
        if self.announcing {
            // First: what comes later is announced anew.
            self.backend_mut().hush();
        }
        self.ask_again();
        self.queue_cancels();
        self.take_back();
        let queued = self.backend_mut().queued();
        // Where all that is out has yet to be passed on there is nothing to collect.
        let none_in_kernel = queued > 0 && self.credits_used == queued;
        let mut done = if none_in_kernel { 0 } else { self.collect() };
        if self.cancels.len() > 0 {
            // The queue was full: what is in it goes first, or the wait below might be for what has yet to be cancelled.
            let _ = self.flush();
        }
        let in_kernel = self.in_kernel();
        let mut want = want.saturating_sub(done).min(in_kernel);
        if self.early.is_pausing() {
            want = want.min(1);
        }
        let mut entered = Ok(());
        if want > 0 || self.backend_mut().queued() > 0 || self.backend().owes_enter() {
            self.batch_ns = 0;
            entered = self.enter(want, (want > 0).then_some(timeout));
            done += self.collect();
            if entered.is_ok() && self.backend_mut().queued() > 0 && !self.backend().info().sqpoll {
                entered = self.flush();
                done += self.collect();
            }
        }
        self.stats.counts.in_flight = i64::from(self.in_kernel() - self.own_in_kernel);
        self.stats.publish();
        match entered {
            // Completions came: whatever the kernel refused, there is progress to be made first.
            Err(_) if done > 0 => Ok(done),
            Err(error) => Err(error),
            Ok(()) => Ok(done),
        }
    }

    /// Whether something is to be run that follows from completions.
    #[inline]
    pub(crate) fn something_follows(&self) -> bool {
        self.dispatch.len() > 0 || !self.wakers.is_empty() || !self.shots.is_empty()
    }

    /// Operations whose last completion has not been seen.
    pub(crate) fn in_kernel(&self) -> u32 {
        let counts = &self.stats.counts;
        (counts.submitted - counts.completed) as u32 + self.own_in_kernel
    }

    fn enter(&mut self, want: u32, timeout: Option<Duration>) -> Result<(), Error> {
        self.stats.counts.enters += 1;
        self.backend_mut()
            .enter(want, timeout)
            .map(drop)
            .map_err(Error::from)
    }

    /// Tells the kernel what handles dropped since the last turn named, as far as room and credit reach.
    #[inline]
    pub(crate) fn take_back(&mut self) {
        if self.registry.is_waiting() {
            self.take_back_now();
        }
    }

    #[cold]
    fn take_back_now(&mut self) {
        let registry = Arc::clone(&self.registry);
        // The kernel's thread takes entries in its own time, and a slot may be filled by a system call meanwhile.
        let at_once = self.backend().info().sqpoll;
        while at_once && let Some(slot) = registry.next_closing() {
            let emptied = self.backend_mut().set_file(slot, -1);
            debug_assert!(emptied.is_ok(), "a slot that was filled can be emptied");
        }
        while self.credits_used < self.credits {
            let refresh = self.backend_mut().space(false) <= self.reserve;
            if self.backend_mut().space(refresh) <= self.reserve {
                break;
            }
            let Some(slot) = registry.next_closing() else {
                break;
            };
            let entry = Sqe {
                file_index: slot + 1,
                user_data: u64::from(AUXILIARY),
                ..Sqe::new(code::CLOSE, 0)
            };
            let pushed = self.backend_mut().push(&entry);
            debug_assert!(pushed, "room was checked");
            self.credits_used += 1;
        }
        while let Some(leaving) = registry.next_leaving() {
            // Nothing in flight names it (N2), so that the kernel cannot refuse but for a ring that is broken.
            match leaving {
                Leaving::Buffer(slot) => {
                    // SAFETY: the slot is emptied, and its memory given up only afterwards.
                    if unsafe { self.backend_mut().set_buffer(slot, None) }.is_ok() {
                        drop(registry.give_buffer_back(slot));
                    }
                }
                Leaving::Group(group, kept) => match self.backend_mut().unregister_buf_ring(group) {
                    Ok(()) => registry.give_group_back(group),
                    Err(_) => self.keep_alive.push(Box::new(kept)),
                },
            }
        }
    }

    /// Moves every completion from the queue to where it belongs; returns how many were last ones.
    pub(crate) fn collect(&mut self) -> u32 {
        let mut done = 0;
        let mut now = 0;
        // Taken out for the while; by pointer, since half a kilobyte copied would show in a turn of one operation.
        let mut lot = self.lot.take().unwrap_or_default();
        loop {
            let count = self.backend_mut().drain(&mut lot);
            if count == 0 {
                break;
            }
            if now == 0 {
                now = self.read_clock();
            }
            for cqe in &lot[..count] {
                done += u32::from(self.sort(*cqe, now));
            }
            if count < lot.len() && !self.overflowed() {
                break;
            }
        }
        self.lot = Some(lot);
        done
    }

    /// Completions that found the queue full wait in the kernel for a call that brings them in.
    fn overflowed(&mut self) -> bool {
        if !self.backend().overflowed() {
            return false;
        }
        self.stats.counts.overflows += 1;
        // The same call would run the submissions; it is wanted for GETEVENTS, which an overflow always brings.
        self.enter(0, None).is_ok()
    }

    /// Sorts one completion; `true` when it was the last of its operation.
    #[inline]
    fn sort(&mut self, cqe: Cqe, now: u64) -> bool {
        let (slot, generation) = (cqe.user_data as u32, (cqe.user_data >> 32) as u32);
        if slot == AUXILIARY || slot == CANCELLATION {
            self.credits_used -= 1;
            if slot == CANCELLATION {
                // What stands in place of the generation is the slot that was meant.
                self.cancel_ended(generation, cqe.result);
            }
            return false;
        }
        let outcome = Outcome {
            raw: cqe.result,
            flags: cqe.flags,
        };
        let Some(hot) = self.table.in_flight(slot, generation) else {
            self.stats.counts.stale += 1;
            return false;
        };
        let multishot = hot.op.is_some_and(|op| op.multishot);
        if multishot && hot.flags & OWN == 0 {
            self.stats.shot(hot.opcode, outcome, outcome.has_more());
        }
        if cqe.flags & abi::CQE_BUFFER != 0
            && let Some(op) = hot.op
        {
            let at = self.table.op_at(slot);
            // SAFETY: T1: the operation is there; what the completion brought is not the kernel's any more.
            unsafe { (op.arrived)(at, outcome) };
        }
        let hot = self.table.hot(slot);
        if cqe.flags & abi::CQE_MORE != 0 {
            if multishot {
                self.shots.push_back((slot, generation, outcome));
            } else {
                hot.outcome = outcome;
                hot.flags |= RESULT_SEEN;
                self.shots.push_back((slot, generation, outcome));
            }
            return false;
        }
        if hot.flags & RESULT_SEEN == 0 {
            hot.outcome = outcome;
        }
        self.complete(slot, now);
        true
    }

    /// Takes a slot out of flight.
    #[inline]
    fn complete(&mut self, slot: u32, now: u64) {
        let hot = self.table.hot(slot);
        let (result, style, started, opcode) = (hot.outcome.raw, hot.style, hot.started_ns, hot.opcode);
        let (placed, own) = (hot.flags & PLACED != 0, hot.flags & OWN != 0);
        if hot.flags & CANCEL_WANTED != 0 {
            hot.flags &= !CANCEL_WANTED;
            self.cancels.unlink(&mut self.table, slot);
        }
        self.credits_used -= 1;
        self.early.may_have_begun();
        if own {
            self.own_in_kernel -= 1;
        } else {
            self.stats.operation(opcode, result, now.saturating_sub(started));
        }
        if placed {
            self.places.note(Seen {
                slot,
                failed: result < 0,
                started_ns: started,
                now_ns: now,
            });
        }
        self.ledger.returned(slot, result);
        let hot = self.table.hot(slot);
        match style {
            Style::Token => {
                hot.state = State::Ready;
                self.ready.push_back(&mut self.table, slot);
            }
            Style::Future => {
                hot.state = State::Done;
                hot.cont = None;
                let at = self.table.cont_at(slot).cast::<Waker>();
                // SAFETY: an operation of a future has its waker there as long as it is in flight; without its vtable the
                // slot counts as having no continuation.
                self.wakers.push(unsafe { at.read() });
            }
            Style::Callback | Style::Stream | Style::Orphan => {
                hot.state = State::Dispatch;
                self.dispatch.push_back(&mut self.table, slot);
            }
        }
    }
}
