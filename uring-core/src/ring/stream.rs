//! Streams: a multishot operation, one item a completion.

use super::core::{Continuation, Core};
use super::operation::{ContVtable, Multishot, Outcome, Shots};
use super::table::{CANCEL_TOLD, OP_BYTES, OpId, State, Style};
use crate::error::{Error, ErrorKind};
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Items that may wait for their consumer. Beyond it the stream cancels its operation, so that a consumer that does not keep
/// up costs a bounded amount of memory, and submits it again when all are taken; what cannot be submitted again ends there.
const BACKLOG: usize = 1024;

/// A multishot operation as a stream of items. Made by [`Core::stream`].
///
/// Ends after the item that says why: an error, or the last of a finite series. A series that the kernel breaks off, for want
/// of room for its completions, is none, nor is one that the stream itself broke off because 1,024 items waited for their
/// consumer: once they are taken the operation is submitted again, under another [`id`](Items::id), and what came meanwhile
/// waits where it came. An [`Inbox`](crate::op::Inbox), known to others by its id, ends there instead, with
/// [`ErrorKind::WouldBlock`].
///
/// Dropping it cancels the operation and gives back what came and was not taken.
#[must_use = "nothing is submitted before the first poll"]
pub struct Items<'r, O: Multishot> {
    core: &'r Core,
    stage: Stage<O>,
}

enum Stage<O> {
    Fresh(O),
    /// The series was broken off: to be submitted again as soon as there is room.
    Again(O),
    Flying(OpId),
    /// The same, but the caller had asked for its cancellation: to be told.
    Called(O),
    Over,
}

impl<O: Multishot> Unpin for Items<'_, O> {}

impl<O: Multishot> fmt::Debug for Items<'_, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Items").finish_non_exhaustive()
    }
}

/// The continuation: what came, and whom to tell.
struct Queue {
    items: VecDeque<Outcome>,
    waker: Option<Waker>,
    /// So many waited that the stream cancelled the operation.
    full: bool,
}

struct OfStream<O>(PhantomData<O>);

impl<O: Multishot> OfStream<O> {
    const VTABLE: &'static ContVtable = &ContVtable {
        run: Self::run,
        more: Self::more,
        drop: Self::drop,
    };

    /// # Safety
    /// As [`ContVtable::run`], for a slot that holds an `O` and a `Queue`. Both stay until the stream takes them.
    unsafe fn run(core: &Core, slot: u32, _: Outcome) {
        let waker = {
            let mut inner = core.state.borrow_mut();
            inner.table.hot(slot).state = State::Done;
            // SAFETY: the caller's promise; the state is borrowed, so nobody else has a reference to the queue.
            unsafe { &mut *inner.table.cont_at(slot).cast::<Queue>() }
                .waker
                .take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// # Safety
    /// As [`ContVtable::more`], for a slot that holds an `O` and a `Queue`.
    unsafe fn more(core: &Core, slot: u32, outcome: Outcome) {
        let waker = {
            let mut inner = core.state.borrow_mut();
            // SAFETY: as in `run`.
            let queue = unsafe { &mut *inner.table.cont_at(slot).cast::<Queue>() };
            queue.items.push_back(outcome);
            let (waker, full) = (queue.waker.take(), queue.items.len() >= BACKLOG);
            if full && inner.table.hot(slot).state == State::InFlight {
                queue.full = true;
                inner.want_cancel(slot);
            }
            waker
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// # Safety
    /// `at` holds a `Queue` that nobody uses again, beside the `O` of the same slot.
    unsafe fn drop(at: *mut u8) {
        // SAFETY: the caller's promise.
        let queue = unsafe { at.cast::<Queue>().read() };
        for outcome in queue.items {
            // SAFETY: the operation lies before its continuation (`Cold`), and is still there.
            let op = unsafe { &mut *at.sub(OP_BYTES).cast::<O>() };
            drop(op.item(outcome));
        }
    }
}

impl Core {
    /// Makes a stream of a multishot operation. Allocates a queue when items wait for their consumer.
    pub fn stream<O: Multishot>(&self, op: O) -> Items<'_, O> {
        Items {
            core: self,
            stage: Stage::Fresh(op),
        }
    }
}

impl<O: Multishot> Items<'_, O> {
    /// Names the operation while it is in flight: after the first poll, before the last item.
    pub fn id(&self) -> Option<OpId> {
        match self.stage {
            Stage::Flying(id) => Some(id),
            _ => None,
        }
    }

    /// Waits for the next item; `None` after the last.
    pub async fn next(&mut self) -> Option<O::Item> {
        poll_fn(|cx| self.poll_item(cx)).await
    }

    /// The poll of a stream.
    pub fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<O::Item>> {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Over => Poll::Ready(None),
            Stage::Fresh(op) => match self.launch(op, cx) {
                Ok(()) => Poll::Pending,
                Err((mut op, error)) => Poll::Ready(Some(op.item(Outcome::failed(error)))),
            },
            Stage::Again(op) => match self.launch(op, cx) {
                Ok(()) => Poll::Pending,
                Err((op, error)) if error.is_retryable() => {
                    self.stage = Stage::Again(op);
                    self.core.wait_for_room(cx.waker());
                    Poll::Pending
                }
                Err((mut op, error)) => Poll::Ready(Some(op.item(Outcome::failed(error)))),
            },
            Stage::Called(mut op) => {
                let error = Error::of(ErrorKind::Cancelled);
                Poll::Ready(Some(op.item(Outcome::failed(error))))
            }
            Stage::Flying(id) => self.look(id, cx),
        }
    }

    fn launch(&mut self, op: O, cx: &Context<'_>) -> Result<(), (O, Error)> {
        let queue = Queue {
            items: VecDeque::new(),
            waker: Some(cx.waker().clone()),
            full: false,
        };
        let cont = Continuation {
            value: queue,
            vtable: OfStream::<O>::VTABLE,
        };
        let admitted = self.core.admit(op, Style::Stream, Shots::<O>::VTABLE, Some(cont));
        let id = admitted.map_err(|(op, _queue, error)| (op, error))?;
        self.stage = Stage::Flying(id);
        self.core.nudge();
        Ok(())
    }

    fn look(&mut self, id: OpId, cx: &mut Context<'_>) -> Poll<Option<O::Item>> {
        let waker = cx.waker().clone();
        let mut guard = self.core.state.borrow_mut();
        let inner = &mut *guard;
        assert!(
            inner.is_live(self.core.id, id),
            "T3: the stream's own operation is gone"
        );
        let op_at = inner.table.op_at(id.slot).cast::<O>();
        let cont_at = inner.table.cont_at(id.slot).cast::<Queue>();
        // SAFETY: a stream's queue stays in its slot until the stream takes it below; the state is borrowed.
        let queue = unsafe { &mut *cont_at };
        if let Some(outcome) = queue.items.pop_front() {
            drop(guard);
            self.stage = Stage::Flying(id);
            // SAFETY: T1: this stream's `O`; `item` may be called while it is in flight.
            return Poll::Ready(Some(unsafe { &mut *op_at }.item(outcome)));
        }
        if inner.table.state(id.slot) != State::Done {
            let old = queue.waker.replace(waker);
            drop(guard);
            drop(old);
            self.stage = Stage::Flying(id);
            return Poll::Pending;
        }
        let hot = inner.table.hot(id.slot);
        let (outcome, told) = (hot.outcome, hot.flags & CANCEL_TOLD != 0);
        // SAFETY: T1: complete, in no list, freed at once.
        let op = unsafe { op_at.read() };
        // SAFETY: as above.
        let queue = unsafe { cont_at.read() };
        inner.table.free(id.slot);
        drop(guard);
        let full = queue.full;
        drop(queue);
        self.core.offer_room();
        self.ended(op, outcome, full, told, cx)
    }

    /// Goes on from the last completion of a series: its end, or not.
    fn ended(
        &mut self,
        mut op: O,
        last: Outcome,
        full: bool,
        told: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Option<O::Item>> {
        let goes_on = op.goes_on_after(last);
        if full && !told && last.raw == -libc::ECANCELED {
            if goes_on {
                self.stage = Stage::Again(op);
                return self.poll_item(cx);
            }
            let error = Error::of(ErrorKind::WouldBlock);
            return Poll::Ready(Some(op.item(Outcome::failed(error))));
        }
        let item = op.item(last);
        if goes_on && last.raw >= 0 {
            self.stage = if told { Stage::Called(op) } else { Stage::Again(op) };
        }
        Poll::Ready(Some(item))
    }
}

impl<O: Multishot> futures_core::Stream for Items<'_, O> {
    type Item = O::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<O::Item>> {
        self.get_mut().poll_item(cx)
    }
}

impl<O: Multishot> Drop for Items<'_, O> {
    fn drop(&mut self) {
        if let Stage::Flying(id) = self.stage {
            self.core.orphan(id);
        }
    }
}

const _: () = assert!(size_of::<Queue>() <= super::table::CLOSURE_BYTES);
