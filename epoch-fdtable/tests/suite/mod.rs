//! What every backend must pass; the including file says which.

use super::Backend;
use epoch_fdtable::{Closed, FdTable, Sever};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

mod close;
mod descriptors;
mod oracle;
mod processes;
mod stress;

/// A table on the backend under test.
type Table<T> = FdTable<T, Backend>;

fn table<T: Send + Sync + 'static>(limit: u32) -> Table<T> {
    FdTable::with_reclaim(limit, limit, Backend::default())
}

/// Counts the values that live, and panics when one is dropped twice.
#[derive(Clone, Debug, Default)]
struct Census(Arc<AtomicUsize>);

#[derive(Debug)]
struct Counted {
    census: Census,
    payload: u64,
    gone: bool,
}

impl Census {
    fn value(&self, payload: u64) -> Counted {
        self.0.fetch_add(1, Ordering::Relaxed);
        Counted {
            census: self.clone(),
            payload,
            gone: false,
        }
    }

    fn living(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Collects until nothing lives that should not. Bounded: other tests of the process may be inside sections.
    fn settles_at(&self, living: usize, collect: impl Fn()) {
        for _ in 0..20_000 {
            if self.living() == living {
                return;
            }
            collect();
            std::thread::yield_now();
        }
        assert_eq!(self.living(), living, "values that were never dropped");
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        assert!(!self.gone, "dropped twice");
        self.gone = true;
        self.census.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Sever for Counted {}

/// Whether a close is over, or will be when the sections of other tests end.
fn ended(closed: Closed) -> bool {
    matches!(closed, Closed::Now | Closed::Deferred | Closed::Severed)
}
