//! An operation whose type is known again when its result is taken.

use super::fate::{Measure, Verdict};
use crate::ring::operation::sealed::Sealed;
use crate::ring::{Operation, Outcome};
use crate::sys::abi::{Sqe, code};
use std::any::{Any, TypeId};

/// What a batch needs of an operation, whatever its type.
trait Carried: Send {
    fn belongs_to(&self, ring: u32) -> bool;
    fn half_done(&mut self);
    fn arrived(&mut self, outcome: Outcome);
    fn type_id(&self) -> TypeId;
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
    /// Makes the output of it and drops that.
    fn discard(self: Box<Self>, outcome: Outcome);
}

impl<O: Operation> Carried for O {
    fn belongs_to(&self, ring: u32) -> bool {
        Operation::belongs_to(self, ring)
    }
    fn half_done(&mut self) {
        Operation::half_done(self);
    }
    fn arrived(&mut self, outcome: Outcome) {
        Operation::arrived(self, outcome);
    }
    fn type_id(&self) -> TypeId {
        TypeId::of::<O>()
    }
    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
    fn discard(self: Box<Self>, outcome: Outcome) {
        drop(self.finish(outcome));
    }
}

/// An operation of a batch, on the heap, so that its entry can be written when it is added. Completed, it gives itself back
/// with what the completion said.
pub(super) struct Member {
    op: Box<dyn Carried>,
    entry: Sqe,
    linked: Option<Sqe>,
    measure: Measure,
}

impl Member {
    pub(super) fn new<O: Operation>(op: O) -> Self {
        let mut op = Box::new(op);
        let entry = op.entry();
        let linked = if O::ENTRIES > 1 { op.linked() } else { None };
        // SAFETY: what the entry names is the operation's, which is here.
        let measure = unsafe { Measure::of(&entry) };
        Self {
            op,
            entry,
            linked,
            measure,
        }
    }

    /// Whether the kernel may run it as a link of a chain and mean by success what we mean.
    ///
    /// Not with a limit of its own, which is a link itself; not a wait for time, which the kernel calls a failure; not a
    /// zero-copy send, of which two completions come; not a receive in whole, which the kernel calls a failure for a
    /// datagram that was cut, however many bytes came.
    pub(super) fn may_link(&self) -> bool {
        let receives = matches!(self.entry.opcode, code::RECV | code::RECVMSG);
        let whole = self.entry.op_flags & libc::MSG_WAITALL as u32 != 0;
        let apart = matches!(
            self.entry.opcode,
            code::TIMEOUT | code::SEND_ZC | code::SENDMSG_ZC
        );
        self.linked.is_none() && !apart && !(receives && whole)
    }

    /// Submission entries that it takes.
    pub(super) fn entries(&self) -> u32 {
        1 + u32::from(self.linked.is_some())
    }

    pub(super) fn verdict(&self, outcome: Outcome) -> Verdict {
        self.measure.judge(outcome)
    }

    /// Whether it is an `O`.
    pub(super) fn is<O: Operation>(&self) -> bool {
        (*self.op).type_id() == TypeId::of::<O>()
    }

    /// Makes the output of a completion, if it is an `O`.
    pub(super) fn finish<O: Operation>(self, outcome: Outcome) -> Option<O::Output> {
        let op = self.op.into_any().downcast::<O>().ok()?;
        Some(op.finish(outcome))
    }

    /// Drops what it owns, and what the completion brought.
    pub(super) fn discard(self, outcome: Outcome) {
        self.op.discard(outcome);
    }
}

impl Sealed for Member {}

// SAFETY: entries and memory are the operation's own, which is on the heap and so stays where it is although the box moves;
// nobody touches it from `new` on, but by `half_done` and `arrived`, whose contracts are the same.
unsafe impl Operation for Member {
    type Output = (Outcome, Member);

    /// At most; [`Member::entries`] says how many.
    const ENTRIES: u32 = 2;

    fn belongs_to(&self, ring: u32) -> bool {
        self.op.belongs_to(ring)
    }

    fn entry(&mut self) -> Sqe {
        self.entry
    }

    fn linked(&mut self) -> Option<Sqe> {
        self.linked
    }

    fn half_done(&mut self) {
        self.op.half_done();
    }

    fn arrived(&mut self, outcome: Outcome) {
        self.op.arrived(outcome);
    }

    fn finish(self, outcome: Outcome) -> Self::Output {
        (outcome, self)
    }
}
