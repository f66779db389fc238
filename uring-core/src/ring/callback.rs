//! Callbacks: a closure in the slot, beside the operation, run on completion.

use super::core::{Continuation, Core};
use super::operation::{ContVtable, Erased, Multishot, Operation, Outcome, Shots};
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
        let (op, then) = {
            let mut inner = core.state.borrow_mut();
            let (op_at, cont_at) = (
                inner.table.op_at(slot).cast::<O>(),
                inner.table.cont_at(slot).cast::<F>(),
            );
            // SAFETY: the caller's promise; the slot is freed below, so this copy is the only one used.
            let op = unsafe { op_at.read() };
            // SAFETY: as above.
            let then = unsafe { cont_at.read() };
            inner.table.free(slot);
            (op, then)
        };
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
        let (mut op, mut then) = {
            let mut inner = core.state.borrow_mut();
            let (op_at, cont_at) = (
                inner.table.op_at(slot).cast::<O>(),
                inner.table.cont_at(slot).cast::<F>(),
            );
            // SAFETY: as in `Once::run`.
            let op = unsafe { op_at.read() };
            // SAFETY: as above.
            let then = unsafe { cont_at.read() };
            inner.table.free(slot);
            (op, then)
        };
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
            return self.then_fitting::<O, F>(op, then);
        }
        self.state.borrow_mut().stats.counts.boxed += 1;
        self.then_fitting::<O, Box<F>>(op, Box::new(then))
            .map_err(|rejected| {
                let (op, boxed) = rejected.op;
                Rejected {
                    op: (op, *boxed),
                    error: rejected.error,
                }
            })
    }

    fn then_fitting<O, F>(&self, op: O, then: F) -> Result<OpId, Rejected<(O, F)>>
    where
        O: Operation,
        F: FnOnce(O::Output) + 'static,
    {
        let cont = Continuation {
            value: then,
            vtable: Once::<O, F>::VTABLE,
        };
        self.admit(op, Style::Callback, O::VTABLE, Some(cont))
            .map_err(|(op, then, error)| Rejected {
                op: (op, then.expect("the closure comes back with the operation")),
                error,
            })
    }

    /// Takes a multishot operation in with the closure that gets each item, and whether more will come.
    pub(crate) fn submit_each<O, F>(&self, op: O, each: F) -> Result<OpId, Rejected<(O, F)>>
    where
        O: Multishot,
        F: FnMut(O::Item, bool) + 'static,
    {
        if const { Table::fits::<F>(CLOSURE_BYTES) } {
            return self.each_fitting::<O, F>(op, each);
        }
        self.state.borrow_mut().stats.counts.boxed += 1;
        self.each_fitting::<O, Box<F>>(op, Box::new(each))
            .map_err(|rejected| {
                let (op, boxed) = rejected.op;
                Rejected {
                    op: (op, *boxed),
                    error: rejected.error,
                }
            })
    }

    fn each_fitting<O, F>(&self, op: O, each: F) -> Result<OpId, Rejected<(O, F)>>
    where
        O: Multishot,
        F: FnMut(O::Item, bool) + 'static,
    {
        let cont = Continuation {
            value: each,
            vtable: Each::<O, F>::VTABLE,
        };
        self.admit(op, Style::Callback, Shots::<O>::VTABLE, Some(cont))
            .map_err(|(op, each, error)| Rejected {
                op: (op, each.expect("the closure comes back with the operation")),
                error,
            })
    }
}
