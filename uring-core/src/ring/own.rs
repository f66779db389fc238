//! Operations of the crate's own, by which a ring's thread is woken: an event counter's read, an inbox, a message.
//!
//! - **W1** they are in no count, latency or kind: what is published is what callers did.
//! - **W2** a ring that keeps slots for them ([`Table::keep`](super::table::Table::keep)) has them in these alone, and
//!   nobody else's, so that neither keeps the other out.

use super::core::Core;
use super::table::OpId;

impl Core {
    /// Makes the one submission of `submit` one of the crate's own. No completion is seen, and nothing of the caller's runs
    /// meanwhile.
    pub(crate) fn submit_own<E>(&self, submit: impl FnOnce(&Self) -> Result<OpId, E>) -> Result<OpId, E> {
        let refused = {
            let mut inner = self.state.borrow_mut();
            inner.table.let_own_in();
            inner.stats.counts.refused
        };
        let submitted = submit(self);
        let mut inner = self.state.borrow_mut();
        inner.table.own_taken(submitted.as_ref().ok().map(|id| id.slot));
        if submitted.is_ok() {
            inner.stats.counts.submitted -= 1;
            inner.own_in_kernel += 1;
        } else {
            inner.stats.counts.refused = refused;
        }
        drop(inner);
        submitted
    }
}
