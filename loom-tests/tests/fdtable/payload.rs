//! A value that loom watches.

use epoch_fdtable::{Asymmetric, Sever};
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
        let payload = Self {
            value: UnsafeCell::new(0),
            _alive: Arc::new(()),
        };
        // Written once more, since loom does not always take the making of a cell for a write.
        // SAFETY: not shared yet.
        payload.value.with_mut(|v| unsafe { *v = value });
        payload
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

/// A backend that tries to free at every so many retirements.
pub(crate) fn backend(batch: usize) -> Asymmetric {
    Asymmetric::new(Domain::builder().batch(batch).build())
}
