//! The smallest table there is, for models that work on one.

use crate::payload::{Payload, backend};
use epoch_fdtable::FdTable;
use sync_base::sync::Arc;

pub(crate) type Table = FdTable<Payload>;

/// A table of two pages of one word of two numbers each, in one group: the sizes under loom.
pub(crate) fn table(batch: usize) -> Arc<Table> {
    Arc::new(FdTable::with_reclaim(4, 4, backend(batch)))
}
