//! A reader's place kept by a handle instead of a thread.

use super::record::Record;
use super::{Domain, Guard, local};
use crate::atomic::Ordering;
use std::marker::PhantomData;
use std::panic::{RefUnwindSafe, UnwindSafe};

/// A record of its own in a domain: pins without a thread-local look-up, and may move between threads while unpinned.
///
/// Not shared between threads:
///
/// ```compile_fail,E0277
/// fn share<T: Sync>(_: T) {}
/// share(sync_base::Domain::global().reader());
/// ```
///
/// ```
/// let domain = sync_base::Domain::new();
/// let reader = domain.reader();
/// std::thread::spawn(move || drop(reader.pin())).join().unwrap();
/// ```
#[derive(Debug)]
pub struct Reader {
    record: *const Record,
    domain: Domain,
    /// Guards borrow it, so that it cannot move while pinned; two threads must not pin it at once.
    _one_thread: PhantomData<std::cell::Cell<()>>,
}

// SAFETY: guards borrow the reader, so it moves only while it has none; the record then has no thread.
unsafe impl Send for Reader {}
impl RefUnwindSafe for Reader {}
impl UnwindSafe for Reader {}

impl Reader {
    pub(super) fn new(domain: Domain) -> Self {
        Self {
            record: local::claim(domain.core()),
            domain,
            _one_thread: PhantomData,
        }
    }

    /// Begins a read section. Wait-free: two loads and a store (claim `dom.pin`).
    #[inline(always)]
    pub fn pin(&self) -> Guard<'_> {
        // SAFETY: the record is this reader's, and lives as long as the core, which `domain` keeps alive.
        let record = unsafe { &*self.record };
        // Relaxed: written by the reader's own thread, or by one it has moved from.
        if !super::thread_id::is_mine(record.thread.load(Ordering::Relaxed)) {
            move_here(record);
        }
        Guard::enter(self.domain.core(), record)
    }

    /// The domain it reads in.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }
}

#[cold]
fn move_here(record: &Record) {
    record.belong();
}

impl Drop for Reader {
    fn drop(&mut self) {
        // SAFETY: as in `pin`.
        let record = unsafe { &*self.record };
        // A guard that was forgotten can protect nothing any more, since it borrowed this reader.
        // SAFETY: this reader owns the record.
        unsafe { record.with_owner(|owner| owner.deeper = 0) };
        // Release: pairs with the Acquire in `Core::scan`.
        record.state.store(record.word().left().0, Ordering::Release);
        // SAFETY: the reader's own, idle, and not used again.
        unsafe { local::give_back(record) };
    }
}
