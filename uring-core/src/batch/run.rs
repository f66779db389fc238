//! A batch on a ring.
//!
//! Each operation is submitted with a callback that knows its place, so a completion finds its entry in one step, whatever
//! the size of the batch (`user_data` leads to the slot, the slot to the callback, the callback to the place), and completions
//! of other operations never come near it.

use super::build::{Batch, BatchError, Refused};
use super::fate::{Cause, Fate};
use super::member::Member;
use super::plan::{self, Wait};
use super::progress::Progress;
use super::results::{NOT_RUN, Results};
use crate::error::ErrorKind;
use crate::op::Timeout;
use crate::ring::{Core, Op, OpId, Operation, Outcome};
use crate::sys::abi;
use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// A batch as a future. Made by [`Core::run_batch`].
///
/// Resolves when every operation ended or was skipped. Dropped before that, what is in flight is cancelled, and the ring keeps
/// what it owns until the kernel is done with it, as for a single operation. Forgotten, what was not in flight is never freed.
#[must_use = "nothing is submitted before the first poll"]
pub struct Run<'r> {
    core: &'r Core,
    shared: Rc<RefCell<Shared>>,
    limit: Option<Duration>,
    deadline: Option<Op<'r, Timeout>>,
    batch: u64,
    /// What is in flight was to be cancelled. Once is enough: nothing is submitted after a stop, and the ring asks again where it
    /// was too early.
    cancelled: bool,
    over: bool,
}

/// What the callbacks of the operations in flight write to. They and the future are on one thread: the future borrows the
/// ring, so that the ring moves only when the future is gone, or forgotten and never used again.
struct Shared {
    progress: Progress,
    parts: Vec<Option<(Outcome, Member)>>,
    ids: Vec<Option<OpId>>,
    waker: Option<Waker>,
}

impl Shared {
    fn member(&self, at: u16) -> &Member {
        let part = self.parts[at as usize].as_ref();
        &part.expect("not in flight, so it is here").1
    }

    /// Takes a completion in; returns whom to wake.
    fn ended(&mut self, at: u16, outcome: Outcome, member: Member) -> Option<Waker> {
        let verdict = member.verdict(outcome);
        self.ids[at as usize] = None;
        self.parts[at as usize] = Some((outcome, member));
        self.progress.ended(at, verdict);
        let idle = self.progress.next().is_none() && !self.progress.is_over() && !self.progress.is_stopping();
        if idle { None } else { self.waker.take() }
    }
}

impl Core {
    /// Plans a batch and makes a future of it. Costs a few allocations, whatever the number of operations.
    ///
    /// A chain is submitted whole, with nothing else between its entries and in one `io_uring_enter`; when the ring has no
    /// room for it, it waits until there is, or goes in parts when nothing of the batch is in flight. Where the kernel refuses
    /// a chain for the sake of one entry, the others run alone.
    ///
    /// # Errors
    /// The batch comes back when it is empty, has a cycle, or uses what another ring knows.
    pub fn run_batch(&self, batch: Batch) -> Result<Run<'_>, Refused<Batch>> {
        let error = match self.plan(&batch) {
            Ok(plan) => return Ok(Run::new(self, batch, plan)),
            Err(error) => error,
        };
        Err(Refused { value: batch, error })
    }

    fn plan(&self, batch: &Batch) -> Result<plan::Plan, BatchError> {
        if batch.members.is_empty() {
            return Err(BatchError::Empty);
        }
        if let Some(at) = batch
            .members
            .iter()
            .position(|member| !member.belongs_to(self.id))
        {
            return Err(BatchError::OtherRing(at));
        }
        let mut edges = batch.edges.clone();
        if batch.fail_fast {
            // Nothing starts behind a failure, so the kernel need not either.
            edges.iter_mut().for_each(|edge| edge.wait = Wait::Success);
        }
        let may_link = |node: u16| batch.members[node as usize].may_link();
        plan::plan(batch.members.len(), &edges, may_link, self.chain_max())
            .map_err(|at| BatchError::Cycle(at as usize))
    }
}

impl<'r> Run<'r> {
    fn new(core: &'r Core, batch: Batch, plan: plan::Plan) -> Self {
        let nodes = batch.members.len();
        let parts = batch.members.into_iter().map(|member| Some((NOT_RUN, member)));
        Self {
            core,
            shared: Rc::new(RefCell::new(Shared {
                progress: Progress::new(plan, batch.fail_fast),
                parts: parts.collect(),
                ids: vec![None; nodes],
                waker: None,
            })),
            limit: batch.deadline,
            deadline: None,
            batch: batch.id,
            cancelled: false,
            over: false,
        }
    }

    /// Skips what was not submitted and asks for the cancellation of what is in flight. The future resolves soon after, and
    /// every buffer is in its results.
    pub fn cancel(&mut self) {
        let waker = {
            let mut shared = self.shared.borrow_mut();
            shared.progress.stop(Cause::Cancelled);
            shared.waker.take()
        };
        self.cancel_in_flight();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Nothing is borrowed while a cancellation is asked for: that wakes whoever drives the ring, who may run callbacks.
    fn cancel_in_flight(&mut self) {
        self.cancelled = true;
        let operations = self.shared.borrow().ids.len();
        for at in 0..operations {
            let id = self.shared.borrow().ids[at];
            if let Some(id) = id {
                // Stale: it completed, and its callback will say so.
                let _ = self.core.cancel(id);
            }
        }
    }

    /// Starts the clock, then looks at it.
    fn keep_time(&mut self, cx: &mut Context<'_>) {
        if let Some(limit) = self.limit.take() {
            self.deadline = Some(self.core.run(Timeout::after(limit)));
        }
        let Some(deadline) = &mut self.deadline else {
            return;
        };
        match Pin::new(deadline).poll(cx) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => {
                self.deadline = None;
                self.shared.borrow_mut().progress.stop(Cause::Deadline);
            }
            Poll::Ready(Err(error)) => {
                // Without its clock the batch does not begin.
                self.deadline = None;
                self.shared.borrow_mut().progress.refuse(error);
            }
        }
    }

    /// Submits what may begin, and says so to whoever drives the ring or makes room in it.
    fn launch(&mut self, cx: &mut Context<'_>) {
        // Wakers are the caller's code, which may turn the ring: they are called with nothing borrowed.
        match self.fill() {
            Filled::All => {}
            Filled::Some => self.core.nudge(),
            Filled::UpToTheBrim => self.core.wait_for_room(cx.waker()),
        }
    }

    /// Submits chain after chain as long as there is room. Allocates nothing.
    fn fill(&self) -> Filled {
        let mut guard = self.shared.borrow_mut();
        let shared = &mut *guard;
        let mut filled = Filled::All;
        while let Some(chain) = shared.progress.next() {
            let entries = chain.iter().map(|&at| shared.member(at).entries()).sum();
            if let Err(error) = self.core.room_for_chain(chain.len(), entries) {
                if error.kind() != ErrorKind::WouldBlock {
                    shared.progress.refuse(error);
                } else if chain.len() > 1 && shared.progress.in_flight() == 0 {
                    // Nothing of ours will make room, and others may never make so much.
                    let half = chain.len() / 2;
                    shared.progress.cut(half);
                    continue;
                } else {
                    filled = Filled::UpToTheBrim;
                }
                break;
            }
            filled = Filled::Some;
            let last = chain.len() - 1;
            for (place, &at) in chain.iter().enumerate() {
                let (_, member) = shared.parts[at as usize]
                    .take()
                    .expect("not in flight, so it is here");
                let then = on_end(Rc::clone(&self.shared), at);
                // Tied to the next, but for the last: one that runs alone now may have been tied before.
                let flags = if place == last { 0 } else { abi::SQE_IO_LINK };
                shared.ids[at as usize] = Some(self.core.place_in_chain(member, then, flags));
            }
            shared.progress.submitted();
        }
        filled
    }
}

/// How far a batch got into the ring.
enum Filled {
    /// Nothing was to be submitted.
    All,
    /// Something was.
    Some,
    /// There is more, and no room.
    UpToTheBrim,
}

/// What follows when the operation at this place ends.
fn on_end(shared: Rc<RefCell<Shared>>, at: u16) -> impl FnOnce((Outcome, Member)) {
    move |(outcome, member)| {
        let waker = shared.borrow_mut().ended(at, outcome, member);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Future for Run<'_> {
    type Output = Results;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Results> {
        let this = self.get_mut();
        assert!(!this.over, "a finished batch was polled again");
        let old = this.shared.borrow_mut().waker.replace(cx.waker().clone());
        drop(old);
        this.keep_time(cx);
        this.launch(cx);
        if !this.cancelled && this.shared.borrow().progress.is_stopping() {
            this.cancel_in_flight();
        }
        let mut shared = this.shared.borrow_mut();
        if !shared.progress.is_over() {
            return Poll::Pending;
        }
        this.over = true;
        let fates: Vec<Fate> = shared.progress.take_fates();
        let parts = std::mem::take(&mut shared.parts);
        drop(shared);
        this.deadline = None;
        Poll::Ready(Results::new(this.batch, fates, parts))
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        let ids = std::mem::take(&mut self.shared.borrow_mut().ids);
        for id in ids.into_iter().flatten() {
            self.core.orphan(id);
        }
        // What was not in flight is dropped here, and not by the last callback.
        let parts = std::mem::take(&mut self.shared.borrow_mut().parts);
        for (outcome, member) in parts.into_iter().flatten() {
            member.discard(outcome);
        }
    }
}

impl fmt::Debug for Run<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("in_flight", &self.shared.borrow().progress.in_flight())
            .finish_non_exhaustive()
    }
}
