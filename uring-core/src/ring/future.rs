//! Futures: an operation that is submitted when first polled, and let go of when dropped.

use super::core::{Continuation, Core};
use super::operation::{ContVtable, Erased, Operation, Outcome};
use super::table::{OpId, State, Style};
use crate::error::Rejected;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// An operation as a future. Made by [`Core::run`].
///
/// Resolves to the operation's output, a rejected submission's too: buffer and error come back the same way. Dropped
/// before that, the operation is cancelled and the ring keeps what it owns until the kernel is done with it; forgotten,
/// the ring keeps it until it is dropped itself.
#[must_use = "nothing is submitted before the first poll"]
pub struct Op<'r, O: Operation> {
    core: &'r Core,
    flight: Flight<O>,
}

/// The way of an operation from its first poll to its output. It does not know the ring: whoever holds it passes in the
/// same one each time, and lets go of it by [`Flight::let_go`].
pub(crate) enum Flight<O> {
    Fresh(O),
    Flying(OpId),
    Over,
}

// Nothing in it is pinned: the operation moves into the ring's table before anybody points at it.
impl<O: Operation> Unpin for Op<'_, O> {}

impl<O: Operation> fmt::Debug for Op<'_, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.flight {
            Flight::Fresh(_) => "fresh",
            Flight::Flying(_) => "in flight",
            Flight::Over => "over",
        };
        f.debug_struct("Op").field("stage", &stage).finish()
    }
}

/// The continuation of a future is its waker.
const WAKE: &ContVtable = &ContVtable {
    run: wake,
    more: wake_for_more,
    drop: drop_waker,
};

/// # Safety
/// As [`ContVtable::run`], for a slot whose continuation is a `Waker`.
unsafe fn wake(core: &Core, slot: u32, _: Outcome) {
    let waker = {
        let mut inner = core.state.borrow_mut();
        let at = inner.table.cont_at(slot).cast::<Waker>();
        let hot = inner.table.hot(slot);
        hot.state = State::Done;
        hot.cont = None;
        // SAFETY: the caller's promise; without its vtable the slot counts as having no continuation.
        unsafe { at.read() }
    };
    waker.wake();
}

unsafe fn wake_for_more(_: &Core, _: u32, _: Outcome) {}

/// # Safety
/// `at` holds a `Waker` that nobody uses again.
unsafe fn drop_waker(at: *mut u8) {
    // SAFETY: the caller's promise.
    unsafe { at.cast::<Waker>().drop_in_place() };
}

impl Core {
    /// Makes a future of an operation. Allocates nothing.
    pub fn run<O: Operation>(&self, op: O) -> Op<'_, O> {
        Op {
            core: self,
            flight: Flight::Fresh(op),
        }
    }
}

impl<O: Operation> Flight<O> {
    /// Submits on the first call, looks on the later ones. A submission that was not taken comes back with the reason.
    pub(crate) fn poll(&mut self, core: &Core, waker: &Waker) -> Poll<Result<O::Output, Rejected<O>>> {
        match std::mem::replace(self, Flight::Over) {
            Flight::Fresh(op) => self.launch(core, op, waker).map(Err),
            Flight::Flying(id) => {
                let seen = Self::look(core, id, waker);
                if seen.is_pending() {
                    *self = Flight::Flying(id);
                }
                seen.map(Ok)
            }
            Flight::Over => panic!("a finished operation was polled again"),
        }
    }

    /// Cancels an operation in flight; the ring keeps what it owns until the kernel is done with it.
    pub(crate) fn let_go(&mut self, core: &Core) {
        if let Flight::Flying(id) = std::mem::replace(self, Flight::Over) {
            core.orphan(id);
        }
    }

    fn launch(&mut self, core: &Core, op: O, waker: &Waker) -> Poll<Rejected<O>> {
        let cont = Continuation {
            value: waker.clone(),
            vtable: WAKE,
        };
        match core.admit(op, Style::Future, O::VTABLE, Some(cont)) {
            Ok(id) => {
                *self = Flight::Flying(id);
                core.nudge();
                Poll::Pending
            }
            Err((op, _waker, error)) => Poll::Ready(Rejected { op, error }),
        }
    }

    fn look(core: &Core, id: OpId, waker: &Waker) -> Poll<O::Output> {
        let stale;
        {
            let mut guard = core.state.borrow_mut();
            let inner = &mut *guard;
            assert!(
                inner.is_live(core.id, id),
                "T3: the future's own operation is gone"
            );
            let at = inner.table.cont_at(id.slot).cast::<Waker>();
            let hot = inner.table.hot(id.slot);
            match hot.state {
                State::InFlight => {
                    // SAFETY: an operation of a future has its waker there as long as it is in flight.
                    let known = unsafe { &*at }.will_wake(waker);
                    drop(guard);
                    if !known {
                        Self::rewake(core, id, waker.clone());
                    }
                    return Poll::Pending;
                }
                State::Dispatch => {
                    inner.dispatch.unlink(&mut inner.table, id.slot);
                    inner.table.hot(id.slot).cont = None;
                    // SAFETY: complete and not yet woken, so the waker is there; without its vtable it counts as gone.
                    stale = Some(unsafe { at.read() });
                }
                State::Done => stale = None,
                State::Free | State::Ready | State::Running => {
                    unreachable!("a future's operation is never reaped")
                }
            }
        }
        drop(stale);
        let (op, outcome) = {
            let mut inner = core.state.borrow_mut();
            let outcome = inner.table.hot(id.slot).outcome;
            let at = inner.table.op_at(id.slot).cast::<O>();
            // SAFETY: T1: this future submitted an `O` under this id, it is complete, in no list, and freed at once.
            let op = unsafe { at.read() };
            inner.table.free(id.slot);
            (op, outcome)
        };
        core.offer_room();
        Poll::Ready(op.finish(outcome))
    }

    /// Puts another waker in. It was cloned while nothing was borrowed, and by a clone of the caller's that drove the
    /// ring the operation may have completed: then the new one is woken at once.
    #[cold]
    fn rewake(core: &Core, id: OpId, fresh: Waker) {
        let old = {
            let mut inner = core.state.borrow_mut();
            let at = inner.table.cont_at(id.slot).cast::<Waker>();
            if inner.table.hot(id.slot).state == State::InFlight {
                // SAFETY: as in `look`.
                std::mem::replace(unsafe { &mut *at }, fresh)
            } else {
                drop(inner);
                fresh.wake();
                return;
            }
        };
        drop(old);
    }
}

impl<O: Operation> Future for Op<'_, O> {
    type Output = O::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O::Output> {
        let this = self.get_mut();
        let polled = this.flight.poll(this.core, cx.waker());
        polled.map(|done| done.unwrap_or_else(|rejected| rejected.op.finish(Outcome::failed(rejected.error))))
    }
}

impl<O: Operation> Drop for Op<'_, O> {
    fn drop(&mut self) {
        self.flight.let_go(self.core);
    }
}
