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

/// The continuation of a future is its waker, which the turn takes that collects the completion: it is in no list of what
/// is to be run, and its vtable serves to drop it.
const WAKE: &ContVtable = &ContVtable {
    run: never,
    more: never,
    drop: drop_waker,
};

unsafe fn never(_: &Core, _: u32, _: Outcome) {
    unreachable!("a future's completion is not dispatched");
}

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
        // In place: moving the operation in and out would cost as much as looking.
        if let Flight::Flying(id) = *self {
            let seen = Self::look(core, id, waker);
            if seen.is_ready() {
                *self = Flight::Over;
            }
            return seen.map(Ok);
        }
        match std::mem::replace(self, Flight::Over) {
            Flight::Fresh(op) => self.launch(core, op, waker).map(Err),
            Flight::Flying(_) | Flight::Over => panic!("a finished operation was polled again"),
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

    #[inline]
    fn look(core: &Core, id: OpId, waker: &Waker) -> Poll<O::Output> {
        let mut guard = core.state.borrow_mut();
        let inner = &mut *guard;
        let hot = inner.table.find(id.slot, id.generation);
        let hot = hot.filter(|_| id.ring == core.id);
        let hot = hot.expect("T3: the future's own operation is there");
        let (state, outcome) = (hot.state, hot.outcome);
        match state {
            State::Done => {
                let at = inner.table.op_at(id.slot).cast::<O>();
                // SAFETY: T1: this future submitted an `O` under this id, it is complete, in no list, and freed at once.
                let op = unsafe { at.read() };
                inner.table.free(id.slot);
                drop(guard);
                core.offer_room();
                Poll::Ready(op.finish(outcome))
            }
            State::InFlight => {
                let at = inner.table.cont_at(id.slot).cast::<Waker>();
                // SAFETY: an operation of a future has its waker there as long as it is in flight.
                let known = unsafe { &*at }.will_wake(waker);
                drop(guard);
                if !known {
                    Self::rewake(core, id, waker.clone());
                }
                Poll::Pending
            }
            State::Free | State::Ready | State::Dispatch | State::Running => {
                unreachable!("a future's operation is never reaped or dispatched")
            }
        }
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
