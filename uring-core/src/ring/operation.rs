//! What an operation is to the ring: an entry to submit, and something to make of the completion.

use super::core::Core;
use crate::error::{Error, ErrorKind};
use crate::sys::abi::{self, Sqe};
use std::any::TypeId;

/// What a completion said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// A count, a descriptor, or a negated error number.
    pub raw: i32,
    /// `IORING_CQE_F_*` and the buffer identifier.
    pub flags: u32,
}

/// Flags of no kernel's: the error is of a kind that no number tells.
const CLOSED: u32 = 1 << 14;
const FORKED: u32 = 1 << 13;

impl Outcome {
    pub(crate) const fn failed(error: Error) -> Self {
        Self {
            raw: -error.errno(),
            flags: match error.kind() {
                ErrorKind::Closed => CLOSED,
                ErrorKind::Forked => FORKED,
                _ => 0,
            },
        }
    }

    /// The count or descriptor, or the error.
    #[inline]
    pub fn result(self) -> Result<u32, Error> {
        if self.raw >= 0 {
            Ok(self.raw as u32)
        } else if self.flags & CLOSED != 0 {
            Err(Error::of(ErrorKind::Closed))
        } else if self.flags & FORKED != 0 {
            Err(Error::of(ErrorKind::Forked))
        } else {
            Err(Error::from_errno(-self.raw))
        }
    }

    /// The provided buffer that the kernel picked.
    pub fn buffer_id(self) -> Option<u16> {
        (self.flags & abi::CQE_BUFFER != 0).then_some((self.flags >> 16) as u16)
    }

    /// More completions of the same operation follow.
    pub fn has_more(self) -> bool {
        self.flags & abi::CQE_MORE != 0
    }
}

pub(crate) mod sealed {
    /// Keeps [`super::Operation`] to this crate: its contract is with the operation table.
    pub trait Sealed {}
}

/// An operation that a ring can carry.
///
/// The ring owns it from submission to the last completion, and then makes its output of it. Implemented by the types in
/// [`op`](crate::op); [`op::Raw`](crate::op::Raw) carries any entry there is no type for.
///
/// # Safety
/// Between [`entry`](Operation::entry) and the last completion the operation is neither moved, dropped nor touched. All
/// memory that the entries name must stay valid for that long if only this holds.
pub unsafe trait Operation: sealed::Sealed + Send + Sized + 'static {
    /// What the caller gets: as a rule the result and the buffer.
    type Output;

    /// Submission entries used: 2 where a second entry is linked behind the first.
    const ENTRIES: u32 = 1;

    /// Whether the registered files and buffers that it uses are those of the ring of this number; no other ring takes it.
    fn belongs_to(&self, _ring: u32) -> bool {
        true
    }

    /// Writes the entry. The operation is where it will stay.
    fn entry(&mut self) -> Sqe;

    /// Writes the entry linked behind the first, which completes on an account of its own.
    fn linked(&mut self) -> Option<Sqe> {
        None
    }

    /// The result is there, and only memory is still in use (the first half of a zero-copy send): lets go of the rest.
    ///
    /// A descriptor kept any longer could keep the very socket open whose end would release the memory.
    fn half_done(&mut self) {}

    /// A completion that brings a provided buffer was collected, in the order in which the kernel used them; what is made
    /// of it comes later, and across operations in any order.
    fn arrived(&mut self, _outcome: Outcome) {}

    /// Makes the output of the last completion. Whatever it brought (a descriptor, a buffer) is owned by the output, so
    /// that dropping the output gives it back.
    fn finish(self, outcome: Outcome) -> Self::Output;
}

/// An operation with one completion after another.
///
/// # Safety
/// As [`Operation`]; [`item`](Multishot::item) may be called while the operation is in flight and must not touch memory
/// that the kernel may write.
pub unsafe trait Multishot: Operation {
    /// What one completion gives.
    type Item;

    /// Makes the item of one completion, which owns what came with it.
    fn item(&mut self, outcome: Outcome) -> Self::Item;

    /// Whether the series is not over although this was its last completion, a success or a cancellation that the caller did
    /// not ask for: what comes meanwhile waits, and the operation submitted again goes on with it.
    fn goes_on_after(&self, _last: Outcome) -> bool {
        false
    }
}

/// What the table must know of an operation whose type it does not know.
pub(crate) struct OpVtable {
    pub(crate) type_id: fn() -> TypeId,
    /// Makes the output of the last completion and drops it. The operation is moved out of its slot.
    pub(crate) discard: unsafe fn(*mut u8, Outcome),
    /// Makes the item of one completion of several and drops it. The operation stays.
    pub(crate) discard_shot: unsafe fn(*mut u8, Outcome),
    /// Calls [`Operation::half_done`].
    pub(crate) half_done: unsafe fn(*mut u8),
    /// Calls [`Operation::arrived`].
    pub(crate) arrived: unsafe fn(*mut u8, Outcome),
    /// Drops the operation where it is.
    pub(crate) drop: unsafe fn(*mut u8),
    /// The operation has several completions, each an item.
    pub(crate) multishot: bool,
}

/// What becomes of a completion: the continuation beside the operation.
pub(crate) struct ContVtable {
    /// Takes operation and continuation out of their slot, frees it and continues with the outcome.
    ///
    /// Called with no borrow of the ring's state held; the slot is `Running`.
    pub(crate) run: unsafe fn(&Core, u32, Outcome),
    /// Takes one completion of several; the operation stays in flight.
    pub(crate) more: unsafe fn(&Core, u32, Outcome),
    /// Drops the continuation where it is.
    pub(crate) drop: unsafe fn(*mut u8),
}

pub(crate) trait Erased: Operation {
    const VTABLE: &'static OpVtable;
}

impl<O: Operation> Erased for O {
    const VTABLE: &'static OpVtable = &OpVtable {
        type_id: TypeId::of::<O>,
        discard: discard::<O>,
        discard_shot: no_shots,
        half_done: half_done::<O>,
        arrived: arrived::<O>,
        drop: drop_op::<O>,
        multishot: false,
    };
}

/// The same for an operation used as multishot.
pub(crate) struct Shots<O>(std::marker::PhantomData<O>);

impl<O: Multishot> Shots<O> {
    pub(crate) const VTABLE: &'static OpVtable = &OpVtable {
        type_id: TypeId::of::<O>,
        discard: discard_item::<O>,
        discard_shot: discard_shot::<O>,
        half_done: half_done::<O>,
        arrived: arrived::<O>,
        drop: drop_op::<O>,
        multishot: true,
    };
}

/// # Safety
/// `at` holds an `O` that nobody uses again.
unsafe fn discard<O: Operation>(at: *mut u8, outcome: Outcome) {
    // SAFETY: the caller's promise; the slot's storage is large and aligned enough (`Table::fits`).
    let op = unsafe { at.cast::<O>().read() };
    drop(op.finish(outcome));
}

/// # Safety
/// As [`discard`].
unsafe fn discard_item<O: Multishot>(at: *mut u8, outcome: Outcome) {
    // SAFETY: as above.
    let mut op = unsafe { at.cast::<O>().read() };
    drop(op.item(outcome));
}

/// # Safety
/// As [`discard`], but the operation stays in use.
unsafe fn discard_shot<O: Multishot>(at: *mut u8, outcome: Outcome) {
    // SAFETY: the caller's promise, and the contract of `Multishot::item`.
    drop(unsafe { &mut *at.cast::<O>() }.item(outcome));
}

/// # Safety
/// `at` holds an `O`, of which the kernel uses only what `half_done` leaves alone.
unsafe fn half_done<O: Operation>(at: *mut u8) {
    // SAFETY: the caller's promise.
    unsafe { &mut *at.cast::<O>() }.half_done();
}

/// # Safety
/// `at` holds an `O`, of which the kernel uses only what `arrived` leaves alone.
unsafe fn arrived<O: Operation>(at: *mut u8, outcome: Outcome) {
    // SAFETY: the caller's promise.
    unsafe { &mut *at.cast::<O>() }.arrived(outcome);
}

unsafe fn no_shots(_: *mut u8, _: Outcome) {}

/// # Safety
/// As [`discard`].
unsafe fn drop_op<O>(at: *mut u8) {
    // SAFETY: as above.
    unsafe { at.cast::<O>().drop_in_place() };
}
