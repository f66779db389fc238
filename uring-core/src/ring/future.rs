//! Futures: an operation that is submitted when first polled, and let go of when dropped.

use super::core::{Continuation, Core};
use super::operation::{ContVtable, Erased, Operation, Outcome};
use super::table::{OpId, State, Style};
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
    stage: Stage<O>,
}

enum Stage<O> {
    Fresh(O),
    Flying(OpId),
    Over,
}

// Nothing in it is pinned: the operation moves into the ring's table before anybody points at it.
impl<O: Operation> Unpin for Op<'_, O> {}

impl<O: Operation> fmt::Debug for Op<'_, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Fresh(_) => "fresh",
            Stage::Flying(_) => "in flight",
            Stage::Over => "over",
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
            stage: Stage::Fresh(op),
        }
    }
}

impl<O: Operation> Op<'_, O> {
    fn launch(&mut self, op: O, waker: &Waker) -> Poll<O::Output> {
        let cont = Continuation {
            value: waker.clone(),
            vtable: WAKE,
        };
        match self.core.admit(op, Style::Future, O::VTABLE, Some(cont)) {
            Ok(id) => {
                self.stage = Stage::Flying(id);
                Poll::Pending
            }
            Err((op, _waker, error)) => Poll::Ready(op.finish(Outcome::failed(error))),
        }
    }

    fn look(&mut self, id: OpId, waker: &Waker) -> Poll<O::Output> {
        let stale;
        {
            let mut guard = self.core.state.borrow_mut();
            let inner = &mut *guard;
            assert!(
                inner.is_live(self.core.id, id),
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
                        self.rewake(id, waker.clone());
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
            let mut inner = self.core.state.borrow_mut();
            let outcome = inner.table.hot(id.slot).outcome;
            let at = inner.table.op_at(id.slot).cast::<O>();
            // SAFETY: T1: this future submitted an `O` under this id, it is complete, in no list, and freed at once.
            let op = unsafe { at.read() };
            inner.table.free(id.slot);
            (op, outcome)
        };
        Poll::Ready(op.finish(outcome))
    }
}

impl<O: Operation> Op<'_, O> {
    /// Puts another waker in. It was cloned while nothing was borrowed, and by a clone of the caller's that drove the
    /// ring the operation may have completed: then the new one is woken at once.
    #[cold]
    fn rewake(&mut self, id: OpId, fresh: Waker) {
        let old = {
            let mut inner = self.core.state.borrow_mut();
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
        match std::mem::replace(&mut this.stage, Stage::Over) {
            Stage::Fresh(op) => this.launch(op, cx.waker()),
            Stage::Flying(id) => {
                let seen = this.look(id, cx.waker());
                if seen.is_pending() {
                    this.stage = Stage::Flying(id);
                }
                seen
            }
            Stage::Over => panic!("a finished operation was polled again"),
        }
    }
}

impl<O: Operation> Drop for Op<'_, O> {
    fn drop(&mut self) {
        if let Stage::Flying(id) = self.stage {
            self.core.orphan(id);
        }
    }
}
