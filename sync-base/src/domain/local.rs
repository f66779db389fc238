//! Which records the running thread owns.

use super::bag::Waiting;
use super::core::Core;
use super::record::Record;
use super::word::TRANSIENT;
use crate::atomic::Ordering;
use std::cell::{Cell, RefCell};
use std::ptr;

/// Short cuts a thread keeps: slot 0 is the global domain's, the others are shared by the rest.
pub(super) const SLOTS: usize = 8;

/// The record this thread last used for a domain.
struct Cached {
    core: Cell<*const Core>,
    record: Cell<*const Record>,
}

impl Cached {
    const fn empty() -> Self {
        Self {
            core: Cell::new(ptr::null()),
            record: Cell::new(ptr::null()),
        }
    }
}

crate::thread_local! {
    // No destructor: it can be read while every other thread-local dies, and reading it is two loads.
    static CACHED: [Cached; SLOTS] = const { [const { Cached::empty() }; SLOTS] };
    // Touched when registering, and by its destructor at thread exit.
    static OWNED: Owned = const { Owned(RefCell::new(Vec::new())) };
}

/// The records of this thread.
struct Owned(RefCell<Vec<Entry>>);

/// A record of this thread, and a hold on its core.
struct Entry {
    core: *const Core,
    slot: usize,
    record: *const Record,
}

impl Drop for Owned {
    fn drop(&mut self) {
        // One at a time, and never under the borrow: reclaim functions run here.
        while let Some(entry) = self.0.get_mut().pop() {
            entry.end();
        }
    }
}

/// The calling thread's record in a domain, if the short cut has it.
#[inline(always)]
pub(super) fn cached(core: *const Core, slot: usize) -> Option<*const Record> {
    CACHED
        .try_with(|cached| {
            let cached = &cached[slot & (SLOTS - 1)];
            (ptr::eq(cached.core.get(), core)).then(|| cached.record.get())
        })
        .ok()
        .flatten()
}

/// The calling thread's record in a domain, if it has one.
pub(super) fn find(core: *const Core, slot: usize) -> Option<*const Record> {
    if let Some(record) = cached(core, slot) {
        return Some(record);
    }
    #[cfg(loom)]
    if crate::thread::is_ending() {
        return None;
    }
    let found = OWNED
        .try_with(|owned| {
            let owned = owned.0.try_borrow().ok()?;
            owned
                .iter()
                .find(|entry| ptr::eq(entry.core, core))
                .map(|entry| entry.record)
        })
        .ok()
        .flatten()?;
    remember(core, slot, found);
    Some(found)
}

/// The calling thread's record in a domain, registering it at first use; none while the thread's locals are torn down.
#[cold]
pub(super) fn register(core: *const Core, slot: usize) -> Option<*const Record> {
    #[cfg(loom)]
    if crate::thread::is_ending() {
        return None;
    }
    if let Some(record) = find(core, slot) {
        return Some(record);
    }
    let closed = OWNED
        .try_with(|owned| {
            let mut owned = owned.0.borrow_mut();
            // Acquire: pairs with the Release in `Core::drop_handle`; the bags of a closed domain are drained.
            // weaken-ok(Acquire->Relaxed): the bags are drained under `handing_over`, which orders the two by itself.
            // SAFETY: the entry holds its core.
            let (closed, kept) = owned
                .drain(..)
                .partition(|entry| unsafe { &*entry.core }.closed.load(Ordering::Acquire));
            *owned = kept;
            closed
        })
        .ok()?;
    let _: &Vec<Entry> = &closed;
    for entry in closed {
        entry.end();
    }
    let record = claim(core);
    // SAFETY: the caller's handle keeps the core alive; the hold does from here on.
    unsafe { &*core }.add_hold();
    let kept = OWNED.try_with(|owned| owned.0.borrow_mut().push(Entry { core, slot, record }));
    debug_assert!(kept.is_ok());
    remember(core, slot, record);
    Some(record)
}

/// Seals the calling thread's open bag, if it has one here.
pub(super) fn seal_own(core: &Core) {
    if let Some(record) = find(core, core.slot) {
        // SAFETY: `find` returns the calling thread's record.
        unsafe { core.seal(&*record) };
    }
}

fn remember(core: *const Core, slot: usize, record: *const Record) {
    let _ = CACHED.try_with(|cached| {
        let cached = &cached[slot & (SLOTS - 1)];
        cached.core.set(core);
        cached.record.set(record);
    });
}

fn forget(core: *const Core, slot: usize) {
    let _ = CACHED.try_with(|cached| {
        let cached = &cached[slot & (SLOTS - 1)];
        if ptr::eq(cached.core.get(), core) {
            cached.core.set(ptr::null());
        }
    });
}

/// Takes ownership of a free record.
pub(super) fn claim(core: *const Core) -> *const Record {
    super::fork::watch();
    // SAFETY: the caller's handle keeps the core alive while the record is claimed.
    let this: &'static Core = unsafe { &*core };
    let claim = this.records.claim_with(|| Record::new(core, Core::idle()));
    let record = claim.get();
    record.belong();
    this.live.add(1);
    // SAFETY: the claim makes this thread the owner.
    unsafe {
        record.with_owner(|owner| {
            owner.claim = Some(claim);
            owner.blocker = None;
            owner.collecting = false;
            owner.waiting = Waiting::NOTHING;
        });
    }
    record
}

/// Gives a record back for the next owner.
///
/// # Safety
/// The calling thread owns the record, has no guard on it, and does not use it again.
pub(super) unsafe fn give_back(record: &Record) {
    record.core().live.sub(1);
    let claim = record.while_handing_over(|owner| owner.claim.take());
    drop(claim);
}

/// A record for one read section of a thread that can keep none.
pub(super) fn transient(core: *const Core) -> *const Record {
    let record = claim(core);
    // SAFETY: claimed just now.
    let record_ref = unsafe { &*record };
    // Relaxed: not pinned yet; the pin's Release store publishes it.
    record_ref
        .state
        .store(record_ref.word().0 | TRANSIENT, Ordering::Relaxed);
    record
}

impl Entry {
    /// Gives up the record: hands its garbage over, or leaves the record to the guards still on it.
    fn end(self) {
        forget(self.core, self.slot);
        // SAFETY: the entry's hold keeps the core, and so the record, alive.
        let record = unsafe { &*self.record };
        let core = record.core();
        let word = record.word();
        if word.is_pinned() {
            core.hand_over(record, false);
            // Release: pairs with the Acquire in `Core::scan`, as any store to a pinned state.
            // weaken-ok(Release->Relaxed): loom runs thread-local destructors, this one too, with a barrier at each access.
            record.state.store(word.0 | TRANSIENT, Ordering::Release);
        } else {
            core.live.sub(1);
            drop(core.hand_over(record, true));
            core.collect_orphans();
        }
        // SAFETY: the hold of this entry, which is consumed.
        unsafe { Core::drop_hold(self.core) };
    }
}
