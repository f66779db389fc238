//! One operation in the ring and the seat where it lands.
//!
//! # When the thread that submitted exits
//! The kernel ties what is in flight to the *thread* whose call submitted it: when that thread exits, a read that waits for its
//! socket completes with `ECANCELED` once the socket is ready, or at once. In a ring that many share, the thread whose call it
//! was is anybody, and its exit nobody's business. So an operation that comes back cancelled without having been asked to is
//! submitted again, by whoever collected it: it has done nothing yet. At most [`TRIES`] times, so that a driver that cancels
//! by itself is believed in the end.
//!
//! It cannot be told in this way that a *limit of time* linked behind an operation ([`Within`](crate::op::Within)) cancelled it,
//! and the kernel drops such a limit with its thread. So operations of two entries are not taken, when compiled.

use super::seat::{Claim, Landing, seat};
use crate::error::{ErrorKind, Rejected};
use crate::ring::core::Continuation;
use crate::ring::operation::{ContVtable, Erased};
use crate::ring::table::Style;
use crate::ring::{Core, OpId, Operation, Outcome};
use sync_base::atomic::{AtomicBool, AtomicU64, Ordering};

/// How often an operation is submitted anew.
const TRIES: u8 = 8;

/// The end of an operation that a ticket has.
pub(super) type Berth<O> = Claim<Cargo<O>, Note>;

/// What a ticket and the ring know of an operation; written and read under the lock.
#[derive(Debug, Default)]
pub(super) struct Note {
    /// Slot and generation.
    name: AtomicU64,
    /// Its owner asked for its cancellation.
    unwanted: AtomicBool,
}

/// An operation that is over. Dropped, it drops what the operation owned and brought.
#[derive(Debug)]
pub(super) struct Cargo<O: Operation>(Option<(O, Outcome)>);

impl<O: Operation> Cargo<O> {
    pub(super) fn unload(mut self) -> O::Output {
        let (op, outcome) = self.0.take().expect("cargo is unloaded once");
        op.finish(outcome)
    }
}

impl<O: Operation> Drop for Cargo<O> {
    fn drop(&mut self) {
        if let Some((op, outcome)) = self.0.take() {
            drop(op.finish(outcome));
        }
    }
}

/// The continuation of an operation in flight.
pub(super) struct Bound<O: Operation> {
    landing: Landing<Cargo<O>, Note>,
    tries: u8,
}

/// Makes the two ends of an operation to be submitted.
pub(super) fn berth<O: Operation>() -> (Berth<O>, Bound<O>) {
    let (claim, landing) = seat(Note::default());
    (claim, Bound { landing, tries: 0 })
}

impl Note {
    /// Says that it is to be cancelled, and by what name. Under the lock.
    pub(super) fn give_up(&self, core: &Core) -> OpId {
        // Relaxed: under the lock.
        self.unwanted.store(true, Ordering::Relaxed);
        // Relaxed: as above.
        let name = self.name.load(Ordering::Relaxed);
        OpId {
            slot: name as u32,
            generation: (name >> 32) as u32,
            ring: core.id,
        }
    }
}

impl<O: Operation> Bound<O> {
    /// Puts an operation into the ring. Under the lock.
    pub(super) fn submit(self, core: &Core, op: O) -> Result<(), Rejected<O>> {
        const {
            assert!(
                O::ENTRIES == 1,
                "a shared ring takes no limit of time with an operation: wait for its ticket with a timeout, then cancel it"
            )
        };
        self.send(core, op)
            .map_err(|(op, _, error)| Rejected { op, error })
    }

    fn send(self, core: &Core, op: O) -> Result<(), (O, Self, crate::Error)> {
        let cont = Continuation {
            value: self,
            vtable: Self::LANDING,
        };
        let id = match core.admit(op, Style::Callback, O::VTABLE, Some(cont)) {
            Ok(id) => id,
            Err((op, bound, error)) => {
                return Err((op, bound.expect("what was not taken comes back"), error));
            }
        };
        let bound_at = core.state.borrow().table.cont_at(id.slot).cast::<Self>();
        // SAFETY: T1: just put there, in flight, and nobody else reaches it while the ring is held.
        let note = unsafe { &*bound_at }.landing.note();
        // Relaxed: under the lock.
        note.name.store(id.user_data(), Ordering::Relaxed);
        Ok(())
    }

    const LANDING: &'static ContVtable = &ContVtable {
        run: Self::run,
        more: Self::more,
        drop: Self::drop_bound,
    };

    /// # Safety
    /// As [`ContVtable::run`], for a slot that holds an `O` and a `Bound<O>`.
    unsafe fn run(core: &Core, slot: u32, outcome: Outcome) {
        let (op, mut bound) = {
            let mut inner = core.state.borrow_mut();
            let (op_at, bound_at) = (
                inner.table.op_at(slot).cast::<O>(),
                inner.table.cont_at(slot).cast::<Self>(),
            );
            // SAFETY: the caller's promise; the slot is freed below, so this copy is the only one used.
            let op = unsafe { op_at.read() };
            // SAFETY: as above.
            let bound = unsafe { bound_at.read() };
            inner.table.free(slot);
            (op, bound)
        };
        // Relaxed: under the lock.
        let unwanted = bound.landing.note().unwanted.load(Ordering::Relaxed);
        if outcome.raw != -libc::ECANCELED || unwanted || bound.tries >= TRIES {
            return bound.land(op, outcome);
        }
        bound.tries += 1;
        if let Err((op, bound, error)) = bound.send(core, op) {
            debug_assert!(matches!(error.kind(), ErrorKind::Closed | ErrorKind::WouldBlock));
            bound.land(op, outcome);
        }
    }

    unsafe fn more(_: &Core, _: u32, _: Outcome) {}

    /// # Safety
    /// `at` holds a `Bound<O>` that nobody uses again.
    unsafe fn drop_bound(at: *mut u8) {
        // SAFETY: the caller's promise.
        unsafe { at.cast::<Self>().drop_in_place() };
    }

    fn land(self, op: O, outcome: Outcome) {
        self.landing.land(Cargo(Some((op, outcome))));
    }
}
