//! A handle that keeps the version it met last.
//!
//! # Invariants
//! - R1: `kept` owns its version, so while it stands no other version has its address, and `current == kept` means that
//!   `kept` is current.
//! - R2: `kept` is replaced only while `held` is zero or through `&mut self`: a [`Version`] that is lent stays.

use super::RcuCell;
// Both stand outside the models: a reader is not `Sync`, so one thread alone touches them.
use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::ops::Deref;
use sync_base::sync::Arc;

/// Reads a [`RcuCell`] by one load and a comparison; the slow path, when the version has changed, takes a count.
///
/// While a [`Version`] is held, every further [`load`](Self::load) of this handle gives the same version: a request that
/// holds one sees one version throughout, however deep its calls go. An idle handle keeps one version alive until its next
/// look: at most one a handle; [`refresh`](Self::refresh) lets go of it. A [`Version`] given to `mem::forget` counts as held until the next
/// `refresh`, or until [`get`](Self::get) finds a newer version.
///
/// `C` is whatever leads to the cell: `&RcuCell<T>`, `Arc<RcuCell<T>>`, a `&'static`.
///
/// ```
/// use rcu_map::{CellReader, RcuCell};
/// use std::sync::Arc;
/// let cell = Arc::new(RcuCell::new(1));
/// let reader = CellReader::new(Arc::clone(&cell));
/// let request = reader.load();
/// cell.store(2);
/// assert_eq!((*request, *reader.load()), (1, 1));
/// drop(request);
/// assert_eq!(*reader.load(), 2);
/// ```
///
/// It is `Send` and not `Sync`: one to a thread.
/// ```compile_fail,E0277
/// use rcu_map::RcuCell;
/// let cell = RcuCell::new(1);
/// let reader = cell.reader();
/// std::thread::scope(|s| {
///     s.spawn(|| *reader.load());
/// });
/// ```
/// ```
/// use rcu_map::RcuCell;
/// let cell = RcuCell::new(1);
/// let reader = cell.reader();
/// std::thread::scope(|s| {
///     s.spawn(move || *reader.load());
/// });
/// ```
pub struct CellReader<T: Send + Sync + 'static, C = Arc<RcuCell<T>>> {
    cell: C,
    kept: UnsafeCell<Arc<T>>,
    /// Versions lent and not yet dropped.
    held: Cell<usize>,
}

impl<T: Send + Sync + 'static, C: Deref<Target = RcuCell<T>>> CellReader<T, C> {
    /// Makes a handle. Takes a count of the current version.
    pub fn new(cell: C) -> Self {
        let kept = UnsafeCell::new(cell.load_full());
        Self {
            cell,
            kept,
            held: Cell::new(0),
        }
    }

    /// Borrows the current version, or the one already held. Wait-free; no read section, no shared count unless the
    /// version has changed since the last look.
    #[inline(always)]
    pub fn load(&self) -> Version<'_, T> {
        if self.held.get() == 0 && !self.is_current() {
            self.renew();
        }
        // Read anew: user code that ran in `renew` may have borrowed from this very handle.
        self.held.set(self.held.get() + 1);
        Version {
            // SAFETY: R2: not replaced while `held` counts this version.
            value: unsafe { &**self.kept.get() },
            held: &self.held,
        }
    }

    /// Borrows the current version through an exclusive handle: nothing to count.
    #[inline(always)]
    pub fn get(&mut self) -> &T {
        // Read before the cell's: no load after an Acquire is taken for one before it.
        let kept = Arc::as_ptr(self.kept.get_mut());
        if self.cell.acquire() == kept {
            // SAFETY: kept by this handle, which is borrowed exclusively.
            return unsafe { &*kept };
        }
        *self.held.get_mut() = 0; // an exclusive handle has lent nothing: a `Version` was forgotten
        self.renew();
        self.kept.get_mut()
    }

    /// Calls `f` with the current version, or the one already held.
    #[inline]
    pub fn with<R>(&self, f: impl FnOnce(&T) -> R) -> R {
        f(&self.load())
    }

    /// Lets go of a version that is no longer current, and says whether it did.
    pub fn refresh(&mut self) -> bool {
        *self.held.get_mut() = 0; // as in `get`
        let stale = !self.is_current();
        if stale {
            self.renew();
        }
        stale
    }

    /// The cell.
    pub fn cell(&self) -> &C {
        &self.cell
    }

    #[inline(always)]
    fn is_current(&self) -> bool {
        // SAFETY: R2: replaced by this thread alone, and not now.
        let kept = Arc::as_ptr(unsafe { &*self.kept.get() });
        self.cell.acquire() == kept
    }

    /// Takes the current version; called only while none is lent.
    #[cold]
    #[inline(never)]
    fn renew(&self) {
        let now = self.cell.load_full();
        // `C::deref` is user code and may have borrowed from this very handle: then the version lent stays.
        if self.held.get() != 0 {
            return;
        }
        // SAFETY: R2: none is lent, and the handle is not `Sync`. The former is dropped after the handle has the new one,
        // since its drop may run user code that comes back here.
        let former = unsafe { std::mem::replace(&mut *self.kept.get(), now) };
        drop(former);
    }
}

impl<T: Send + Sync + fmt::Debug + 'static, C> fmt::Debug for CellReader<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CellReader")
            .field("held", &self.held.get())
            .finish_non_exhaustive()
    }
}

/// A version lent by a [`CellReader`], which gives no other until this is dropped.
pub struct Version<'r, T> {
    value: &'r T,
    held: &'r Cell<usize>,
}

impl<T> Deref for Version<'_, T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        self.value
    }
}

impl<T> Drop for Version<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        self.held.set(self.held.get() - 1);
    }
}

impl<T: fmt::Debug> fmt::Debug for Version<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}
