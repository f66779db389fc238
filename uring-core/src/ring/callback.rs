//! Callbacks: a closure in the slot, beside the operation, run on completion.

use super::core::{Continuation, Core};
use super::operation::{ContVtable, Erased, Multishot, OpVtable, Operation, Outcome, Shots};
use super::table::{CLOSURE_BYTES, OpId, Style, Table};
use crate::error::Rejected;
use std::marker::PhantomData;

/// The two vtables of a closure `F` that follows an `O`.
pub(super) struct Once<O, F>(PhantomData<(O, F)>);
struct Each<O, F>(PhantomData<(O, F)>);

impl<O: Operation, F: FnOnce(O::Output) + 'static> Once<O, F> {
    pub(super) const VTABLE: &'static ContVtable = &ContVtable {
        run: Self::run,
        more: Self::more,
        drop: drop_closure::<F>,
    };

    /// # Safety
    /// As [`ContVtable::run`], for a slot that holds an `O` and an `F`.
    unsafe fn run(core: &Core, slot: u32, outcome: Outcome) {
        // SAFETY: the caller's promise.
        let (op, then) = unsafe { take_both::<O, F>(core, slot) };
        then(op.finish(outcome));
    }

    unsafe fn more(_: &Core, _: u32, _: Outcome) {}
}

impl<O: Multishot, F: FnMut(O::Item, bool) + 'static> Each<O, F> {
    const VTABLE: &'static ContVtable = &ContVtable {
        run: Self::run,
        more: Self::more,
        drop: drop_closure::<F>,
    };

    /// # Safety
    /// As [`ContVtable::run`], for a slot that holds an `O` and an `F`.
    unsafe fn run(core: &Core, slot: u32, outcome: Outcome) {
        // SAFETY: the caller's promise.
        let (mut op, mut then) = unsafe { take_both::<O, F>(core, slot) };
        then(op.item(outcome), false);
    }

    /// # Safety
    /// As [`ContVtable::more`], for a slot that holds an `O` and an `F`.
    unsafe fn more(core: &Core, slot: u32, outcome: Outcome) {
        // The closure runs outside its slot, since it may abandon its own operation.
        let (generation, op_at, cont_at, mut then) = {
            let mut inner = core.state.borrow_mut();
            let (op_at, cont_at) = (
                inner.table.op_at(slot).cast::<O>(),
                inner.table.cont_at(slot).cast::<F>(),
            );
            inner.table.hot(slot).cont = None;
            // SAFETY: the caller's promise; without its vtable the slot counts as having no closure.
            let then = unsafe { cont_at.read() };
            (inner.table.generation(slot), op_at, cont_at, then)
        };
        // SAFETY: T1; `item` may be called while the operation is in flight.
        let item = unsafe { &mut *op_at }.item(outcome);
        then(item, true);
        let mut inner = core.state.borrow_mut();
        if inner.table.holds(slot, generation) && inner.table.hot(slot).style == Style::Callback {
            // SAFETY: the slot is the closure's own, and empty since the read above.
            unsafe { cont_at.write(then) };
            inner.table.hot(slot).cont = Some(Self::VTABLE);
            return;
        }
        drop(inner);
        drop(then);
    }
}

/// Moves operation and closure out of their slot, and frees it.
///
/// # Safety
/// As [`ContVtable::run`], for a slot that holds an `O` and an `F`.
unsafe fn take_both<O, F>(core: &Core, slot: u32) -> (O, F) {
    let mut inner = core.state.borrow_mut();
    let (op_at, cont_at) = (
        inner.table.op_at(slot).cast::<O>(),
        inner.table.cont_at(slot).cast::<F>(),
    );
    // SAFETY: the caller's promise; the slot is freed below, so this copy is the only one used.
    let op = unsafe { op_at.read() };
    // SAFETY: as above.
    let closure = unsafe { cont_at.read() };
    inner.table.free(slot);
    (op, closure)
}

/// # Safety
/// `at` holds an `F` that nobody uses again.
unsafe fn drop_closure<F>(at: *mut u8) {
    // SAFETY: the caller's promise.
    unsafe { at.cast::<F>().drop_in_place() };
}

impl Core {
    /// Takes an operation in with the closure that gets its output. `Ring` and `LocalRing` add what the closure must be.
    pub(crate) fn submit_then<O, F>(&self, op: O, then: F) -> Result<OpId, Rejected<(O, F)>>
    where
        O: Operation,
        F: FnOnce(O::Output) + 'static,
    {
        if const { Table::fits::<F>(CLOSURE_BYTES) } {
            return self.with_closure(op, then, O::VTABLE, Once::<O, F>::VTABLE);
        }
        self.with_box(op, then, O::VTABLE, Once::<O, Box<F>>::VTABLE)
    }

    /// Takes a multishot operation in with the closure that gets each item, and whether more will come.
    pub(crate) fn submit_each<O, F>(&self, op: O, each: F) -> Result<OpId, Rejected<(O, F)>>
    where
        O: Multishot,
        F: FnMut(O::Item, bool) + 'static,
    {
        if const { Table::fits::<F>(CLOSURE_BYTES) } {
            return self.with_closure(op, each, Shots::<O>::VTABLE, Each::<O, F>::VTABLE);
        }
        self.with_box(op, each, Shots::<O>::VTABLE, Each::<O, Box<F>>::VTABLE)
    }

    #[inline]
    fn with_closure<O: Operation, F>(
        &self,
        op: O,
        closure: F,
        of_op: &'static OpVtable,
        of_closure: &'static ContVtable,
    ) -> Result<OpId, Rejected<(O, F)>> {
        let cont = Continuation {
            value: closure,
            vtable: of_closure,
        };
        self.admit(op, Style::Callback, of_op, Some(cont))
            .map_err(|(op, closure, error)| Rejected {
                op: (op, closure.expect("the closure comes back with the operation")),
                error,
            })
    }

    /// The same for a closure that does not fit its slot: `of_closure` is that of a box.
    fn with_box<O: Operation, F>(
        &self,
        op: O,
        closure: F,
        of_op: &'static OpVtable,
        of_closure: &'static ContVtable,
    ) -> Result<OpId, Rejected<(O, F)>> {
        self.state.borrow_mut().stats.counts.boxed += 1;
        self.with_closure(op, Box::new(closure), of_op, of_closure)
            .map_err(|rejected| {
                let (op, boxed) = rejected.op;
                Rejected {
                    op: (op, *boxed),
                    error: rejected.error,
                }
            })
    }
}
