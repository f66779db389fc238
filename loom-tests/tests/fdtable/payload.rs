//! A value that loom watches.

// Each file of models uses its own part of this.
#![allow(dead_code)]

use epoch_fdtable::{Asymmetric, FdTable, Sever};
use sync_base::Domain;
use sync_base::cell::UnsafeCell;
use sync_base::sync::Arc;

/// Dropping it is a write, so a drop beside a read is reported as a race; dropping it twice panics; leaking it leaks an
/// `Arc`, which loom reports.
pub(crate) struct Payload {
    value: UnsafeCell<u64>,
    _alive: Arc<()>,
}

// SAFETY: shared by reference to be read, written by its drop alone; loom reports it if the table lets both happen at once.
unsafe impl Sync for Payload {}
// SAFETY: as above.
unsafe impl Send for Payload {}

impl Payload {
    pub(crate) fn new(value: u64) -> Self {
        Self {
            value: UnsafeCell::new(value),
            _alive: Arc::new(()),
        }
    }

    pub(crate) fn get(&self) -> u64 {
        // SAFETY: see `Sync`.
        let value = self.value.with(|v| unsafe { *v });
        assert_ne!(value, 0, "read after it was dropped");
        value
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        // SAFETY: see `Sync`.
        let before = self.value.with_mut(|v| unsafe { v.replace(0) });
        assert_ne!(before, 0, "dropped twice");
    }
}

impl Sever for Payload {}

pub(crate) type Table = FdTable<Payload>;

/// A backend that tries to free at every so many retirements.
pub(crate) fn backend(batch: usize) -> Asymmetric {
    Asymmetric::new(Domain::builder().batch(batch).build())
}

/// A table of two pages of one word of two numbers each, in one group: the sizes under loom.
pub(crate) fn table(batch: usize) -> Arc<Table> {
    Arc::new(FdTable::with_reclaim(4, 4, backend(batch)))
}
