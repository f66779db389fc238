//! A read section.

use super::core::Core;
use super::local;
use super::record::Record;
use super::word::{DEPTH_MAX, NEED, TRANSIENT, Word};
use crate::atomic::Ordering;
use crate::barrier::{light_barrier, light_when_granted};
use std::marker::PhantomData;
use std::panic::{RefUnwindSafe, UnwindSafe};

/// A read section: what was reachable when it began, or is found during it, is not freed before it ends.
///
/// Nests freely. Does not move between threads:
///
/// ```compile_fail,E0277
/// fn send<T: Send>(_: T) {}
/// send(sync_base::Domain::global().pin());
/// ```
/// ```
/// fn send<T: Send>(_: T) {}
/// send(sync_base::Domain::global().reader()); // the handle does
/// ```
#[derive(Debug)]
#[must_use = "a read section ends when its guard is dropped"]
pub struct Guard<'d> {
    record: &'d Record,
    /// Pinned to its thread: the record's owner alone writes its state.
    _here: PhantomData<*const ()>,
}

impl RefUnwindSafe for Guard<'_> {}
impl UnwindSafe for Guard<'_> {}

impl<'d> Guard<'d> {
    /// Begins a read section on a record of `core` that the calling thread owns.
    #[inline(always)]
    pub(super) fn enter(core: &Core, record: &'d Record) -> Self {
        if record.word().0 == 0 {
            // Acquire: pairs with the Release in `Core::stamp`; entering at an epoch means not finding what was
            // unlinked before it.
            let epoch = core.epoch.load(Ordering::Acquire);
            // Release: pairs with the Acquire in `Core::scan`; a scan that reads this store and not the one that ended
            // the section before has seen that section end all the same.
            record.state.store(epoch | 1, Ordering::Release);
            light_when_granted();
        } else {
            enter_slow(record);
        }
        Self {
            record,
            _here: PhantomData,
        }
    }

    /// Lets go of everything read so far and begins anew, as if the guard were dropped and another made.
    ///
    /// Returns whether it did: inside another guard of the same thread and domain nothing changes, since the outer one
    /// still protects what it read. Costs what a pin costs.
    ///
    /// ```
    /// let domain = sync_base::Domain::new();
    /// let mut outer = domain.pin();
    /// assert!(outer.repin());
    /// let mut inner = domain.pin();
    /// assert!(!inner.repin());
    /// ```
    pub fn repin(&mut self) -> bool {
        let record = self.record;
        let word = record.word();
        if word.depth() != 1 {
            return false;
        }
        if word.has(NEED) {
            // SAFETY: the one guard there is ends here; `enter` below begins it again on the same record, which is
            // kept by the claim or, if transient, has no NEED.
            unsafe { leave_slow(record) };
            enter_again(record);
            return true;
        }
        // Acquire: pairs with the Release in `Core::stamp`, as in `enter`.
        let epoch = record.core().epoch.load(Ordering::Acquire);
        // Release: pairs with the Acquire in `Core::scan`; the reads of the section so far are over for who sees it.
        record.state.store(word.entered(epoch).0, Ordering::Release);
        // weaken-ok(barrier->dropped): who misses the store sees the section before, at an older epoch: that only delays.
        light_barrier();
        true
    }

    /// Whether this guard protects what `domain` frees.
    #[inline]
    pub fn protects(&self, domain: &super::Domain) -> bool {
        std::ptr::eq(self.record.core, domain.core())
    }
}

impl Drop for Guard<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        let word = self.record.word();
        if word.0 & (super::word::STEP - 1) == 1 {
            // Release: pairs with the Acquire in `Core::scan`; all reads of the section come before what is freed.
            self.record.state.store(0, Ordering::Release);
        } else {
            // SAFETY: this guard is one of the record's, and ends.
            unsafe { leave_slow(self.record) };
        }
    }
}

#[cold]
fn enter_again(record: &Record) {
    std::mem::forget(Guard::enter(record.core(), record));
}

/// Enters where the short way does not apply: nested, or where both sides fence, or on a transient record.
#[cold]
#[inline(never)]
fn enter_slow(record: &Record) {
    let word = record.word();
    if word.depth() == DEPTH_MAX {
        // SAFETY: the calling thread owns the record; the closure only counts.
        unsafe { record.with_owner(|owner| owner.deeper += 1) };
    } else if word.is_pinned() {
        // Release: pairs with the Acquire in `Core::scan`, as in `Guard::enter`; the outer section's epoch stays.
        record.state.store(word.0 + 1, Ordering::Release);
    } else {
        // Acquire: pairs with the Release in `Core::stamp`, as in `Guard::enter`.
        // weaken-ok(Acquire->Relaxed): a fence below makes it one; where none does, on a transient record, loom runs late
        // destructors with a barrier at each access.
        let epoch = record.core().epoch.load(Ordering::Acquire);
        // Release: pairs with the Acquire in `Core::scan`, as in `Guard::enter`.
        record.state.store(word.entered(epoch).0, Ordering::Release);
        light_barrier();
    }
}

/// Leaves where more than one store is owed.
///
/// # Safety
/// A guard of the calling thread's on this record ends here.
#[cold]
#[inline(never)]
unsafe fn leave_slow(record: &Record) {
    let word = record.word();
    if word.depth() == DEPTH_MAX {
        // SAFETY: the calling thread owns the record; the closure only counts.
        let counted = unsafe {
            record.with_owner(|owner| {
                let deeper = owner.deeper > 0;
                owner.deeper -= u64::from(deeper);
                deeper
            })
        };
        if counted {
            return;
        }
    }
    if word.depth() > 1 {
        // Release: pairs with the Acquire in `Core::scan`, as in `Guard::enter`.
        record.state.store(word.0 - 1, Ordering::Release);
        return;
    }
    // Release: pairs with the Acquire in `Core::scan`, as in `Guard::drop`.
    record.state.store(Word(word.0).left().0, Ordering::Release);
    if word.has(TRANSIENT) {
        // SAFETY: the last guard of a record that no thread keeps.
        unsafe { local::give_back(record) };
    } else if word.has(NEED) {
        Core::collect_owed(record);
    }
}
