//! Several entries that the kernel takes as one: all of them, in order, with none of another between.

use super::callback::Once;
use super::core::{Continuation, Core};
use super::operation::{Erased, Operation};
use super::table::{CLOSURE_BYTES, OP_BYTES, OpId, Style, Table};
use crate::error::Error;

impl Core {
    /// The longest chain that the ring takes at once when nothing else is in it.
    pub(crate) fn chain_max(&self) -> usize {
        let inner = self.state.borrow();
        let queue = inner.backend().info().sq_entries.saturating_sub(inner.reserve);
        queue.min(inner.credits).min(inner.table.callers()).max(1) as usize
    }

    /// Sees that there is room for a whole chain, which [`place_in_chain`](Self::place_in_chain) then puts in, operation by
    /// operation and with nothing else between.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`](crate::ErrorKind::WouldBlock) when there is no room for all of it.
    pub(crate) fn room_for_chain(&self, operations: usize, entries: u32) -> Result<(), Error> {
        self.check()?;
        self.state.borrow_mut().room_for(operations as u32, entries)
    }

    /// Puts one operation of a chain in, and tells nobody: [`nudge`](Core::nudge) is the caller's to do. `flags` tie it to the next
    /// (`IOSQE_IO_LINK`); 0 on the last.
    pub(crate) fn place_in_chain<O, F>(&self, op: O, then: F, flags: u8) -> OpId
    where
        O: Operation,
        F: FnOnce(O::Output) + 'static,
    {
        const {
            assert!(
                Table::fits::<F>(CLOSURE_BYTES),
                "the callback of a chain is small"
            )
        };
        const { assert!(Table::fits::<O>(OP_BYTES), "so is its operation") };
        let cont = Continuation {
            value: then,
            vtable: Once::<O, F>::VTABLE,
        };
        let mut inner = self.state.borrow_mut();
        inner.place(self.id, op, Style::Callback, O::VTABLE, Some(cont), flags)
    }
}
