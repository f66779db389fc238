//! The handle to a domain, through which everything is done.

use super::bag::Retired;
use super::core::{Core, Settings};
use super::limit::Stalled;
use super::{Guard, Reader, local};
use crate::atomic::{AtomicUsize, Ordering};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

/// Where readers are known and garbage waits for them.
///
/// A value: give a structure its own to bound what its readers can hold back, or share [`Domain::global`]. Clones name
/// the same domain. When the last handle and [`Reader`] is dropped, all garbage is freed; what a thread that is just ending
/// has in hand, by that thread a moment later.
///
/// Garbage that itself holds a handle keeps the domain alive, and the domain the garbage: where that is the last handle, a
/// thread that lives on never frees it. Call [`collect`](Self::collect) before the last other handle goes, or retire nothing
/// that holds one (a map whose values are maps of the same domain).
#[derive(Debug)]
pub struct Domain {
    core: *const Core,
    slot: usize,
}

// SAFETY: a counted reference to a core that is shareable: atomics, and records that argue for themselves.
unsafe impl Send for Domain {}
// SAFETY: as above.
unsafe impl Sync for Domain {}
impl RefUnwindSafe for Domain {}
impl UnwindSafe for Domain {}

#[cfg(not(any(loom, shuttle)))]
mod global {
    use super::{Core, Domain, Settings};
    static CORE: Core = Core::new(
        Settings {
            immortal: true,
            ..Settings::DEFAULT
        },
        0,
    );
    pub(super) static GLOBAL: Domain = Domain {
        core: &raw const CORE,
        slot: 0,
    };
}

#[cfg(any(loom, shuttle))]
mod global {
    use super::Domain;
    crate::global! { pub(super) static GLOBAL: Domain = Domain::builder().build_at(0); }
}

crate::global! { static NEXT_SLOT: AtomicUsize = AtomicUsize::new(0); }

impl Domain {
    /// The domain that all share who do not ask for their own. Never freed, nor is it drained at process exit.
    ///
    /// Its garbage limit is 64 MiB and its writers wait 100 ms for a stalled reader.
    #[inline(always)]
    pub fn global() -> &'static Self {
        &global::GLOBAL
    }

    /// Makes a domain with the default settings.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Makes a domain with settings of its own.
    pub fn builder() -> Builder {
        Builder {
            settings: Settings::DEFAULT,
        }
    }

    #[inline(always)]
    pub(super) fn core(&self) -> &Core {
        // SAFETY: the handle keeps the core alive.
        unsafe { &*self.core }
    }

    /// Begins a read section. Wait-free once the thread is known here: a few loads and one store (claim `dom.pin`).
    ///
    /// The first call of a thread registers it: it claims a record, or allocates one. A thread that is tearing down its
    /// locals claims a record for this section alone. Nests freely.
    ///
    /// May be called in a signal handler only by a thread that is registered: see [`Domain::pin_registered`].
    #[inline(always)]
    pub fn pin(&self) -> Guard<'_> {
        match local::cached(self.core, self.slot) {
            // SAFETY: the calling thread's record, which lives as long as the core that `self` keeps alive.
            Some(record) => Guard::enter(self.core(), unsafe { &*record }),
            None => self.pin_new(),
        }
    }

    #[cold]
    #[inline(never)]
    fn pin_new(&self) -> Guard<'_> {
        let record = local::register(self.core, self.slot).unwrap_or_else(|| local::transient(self.core));
        // SAFETY: claimed by the calling thread; lives as long as the core that `self` keeps alive.
        Guard::enter(self.core(), unsafe { &*record })
    }

    /// Begins a read section if the calling thread has done so before; allocates nothing and takes no lock, so it may be
    /// called in a signal handler.
    #[inline]
    pub fn pin_registered(&self) -> Option<Guard<'_>> {
        let record = local::find(self.core, self.slot)?;
        // SAFETY: as in `pin`.
        Some(Guard::enter(self.core(), unsafe { &*record }))
    }

    /// Makes a reader with a record of its own. Claims a record: visits those there are, allocates if all are in use.
    pub fn reader(&self) -> Reader {
        Reader::new(self.clone())
    }

    /// Hands over an unlinked object to be freed by `reclaim(ptr)` once no reader can hold it.
    ///
    /// Amortised constant time. Each 128 objects (more where many threads read) it looks whether another thread's heavy
    /// barrier allows some to be freed, and each 2,048 objects or 256 KiB it runs a barrier of its own; then it scans
    /// the readers and frees at most four batches (claim `dom.retire.2t`). Inside a guard of the calling thread that part waits
    /// for the guard to end. `bytes` counts towards the garbage limit. A thread that stops retiring leaves what waits unfreed
    /// until it ends or somebody calls [`collect`](Domain::collect). `reclaim` may itself retire. It should not panic: if it does, the
    /// panic comes out of whatever call happened to free it, and everything else is still freed later.
    ///
    /// # Safety
    /// - `ptr` can no longer be reached by a reader whose section begins after this call, and is retired once.
    /// - `reclaim(ptr)` may run on any thread, at any time after the sections that exist now have ended.
    /// - Not called in a signal handler.
    #[inline]
    pub unsafe fn retire(&self, ptr: *mut (), bytes: usize, reclaim: unsafe fn(*mut ())) {
        let item = Retired { ptr, bytes, reclaim };
        let record = match local::cached(self.core, self.slot) {
            Some(record) => Some(record),
            None => local::register(self.core, self.slot),
        };
        match record {
            // SAFETY: the calling thread's record; the caller vouches for the item.
            Some(record) => unsafe { Core::retire_on(&*record, item) },
            None => self.core().retire_orphan(item),
        }
    }

    /// Retires a box that was unlinked; counts the size of `T` towards the garbage limit.
    ///
    /// # Safety
    /// As for [`Domain::retire`]; `ptr` came from `Box::into_raw`, and `T` may be dropped on any thread.
    #[inline]
    pub unsafe fn retire_box<T>(&self, ptr: *mut T) {
        unsafe fn reclaim<T>(ptr: *mut ()) {
            // SAFETY: `retire_box` was given it by `Box::into_raw`, and it is reclaimed once.
            drop(unsafe { Box::from_raw(ptr.cast::<T>()) });
        }
        // SAFETY: the caller's promise.
        unsafe { self.retire(ptr.cast(), size_of::<T>(), reclaim::<T>) };
    }

    /// Asks whether `bytes` more of garbage may be made, before an operation that makes it and can be refused.
    ///
    /// One load while there is room. Past the limit it frees what can be freed, whoever retired it. Where nothing waits and
    /// `bytes` alone are more than the limit, it is refused until each reader that was in the way has left its section, then
    /// let through whoever has begun one since.
    ///
    /// # Errors
    /// [`Stalled`] names the reader that holds the garbage back; the operation should hand back what it was given.
    #[inline]
    pub fn try_admit(&self, bytes: usize) -> Result<(), Stalled> {
        if self.core().has_room(bytes) {
            Ok(())
        } else {
            self.try_admit_full(bytes)
        }
    }

    #[cold]
    fn try_admit_full(&self, bytes: usize) -> Result<(), Stalled> {
        let core = self.core();
        core.make_room(bytes).map_err(|blocker| {
            core.counts.refused.add(1);
            blocker.report(core, bytes)
        })
    }

    /// Makes room for `bytes` more of garbage, before an operation that makes it and cannot be refused; says whether there
    /// is room, or the limit will be exceeded.
    ///
    /// One load while there is room. Past the limit it frees what can be freed, then waits for the stalled reader up to
    /// the domain's stated time, then lets the limit be exceeded and counts that. Never waits for the calling thread's
    /// own guard. Call it before taking a lock or a guard.
    #[inline]
    pub fn admit(&self, bytes: usize) -> bool {
        self.core().has_room(bytes) || self.core().wait_for_room(bytes)
    }

    /// Frees all that can be freed now, whoever retired it; returns how many objects were.
    ///
    /// What another thread has retired and not yet gathered into a batch is not reached: that thread's
    /// [`flush`](Domain::flush), its next batch or its end hands it over. What reclaim functions retire is freed too, up
    /// to 256 levels deep.
    pub fn collect(&self) -> usize {
        self.flush();
        self.core().forget_blocker();
        self.core().sweep().0
    }

    /// Hands over what the calling thread has retired, so that any thread's [`collect`](Domain::collect) reaches it.
    pub fn flush(&self) {
        local::seal_own(self.core());
    }

    /// Retires an object that holds something scarcer than memory, such as a descriptor of the kernel: it is freed at the end
    /// of the guard that the calling thread is inside, or by whoever next calls [`tend`](Self::tend) or collects, once the
    /// readers that may hold it have left. Otherwise as [`retire`](Self::retire), and dearer: it makes a batch of its own.
    ///
    /// # Safety
    /// As for [`retire`](Self::retire).
    pub unsafe fn retire_scarce(&self, ptr: *mut (), bytes: usize, reclaim: unsafe fn(*mut ())) {
        let item = Retired { ptr, bytes, reclaim };
        let record = match local::cached(self.core, self.slot) {
            Some(record) => Some(record),
            None => local::register(self.core, self.slot),
        };
        match record {
            // SAFETY: the calling thread's record; the caller vouches for the item.
            Some(record) => unsafe { Core::retire_scarce_on(&*record, item) },
            None => self.core().retire_scarce_orphan(item),
        }
    }

    /// Frees all that can be freed now, if anything that was retired as scarce waits; returns how many objects were.
    ///
    /// One load if nothing waits; no barrier while the reader that held back the last attempt is still in the same section.
    #[inline]
    pub fn tend(&self) -> usize {
        // Relaxed: a hint; who misses an object leaves it to the next call.
        if self.core().scarce.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        self.core().tend()
    }

    /// Says whether `bytes` more of garbage stay within the limit. One load; frees nothing and counts nothing.
    #[inline]
    pub fn has_room(&self, bytes: usize) -> bool {
        self.core().has_room(bytes)
    }

    /// Whether two handles name the same domain.
    pub fn is_same(&self, other: &Self) -> bool {
        std::ptr::eq(self.core, other.core)
    }
}

impl Clone for Domain {
    fn clone(&self) -> Self {
        self.core().add_handle();
        Self { ..*self }
    }
}

impl Default for Domain {
    /// Another handle to [`Domain::global`].
    fn default() -> Self {
        Self::global().clone()
    }
}

impl Drop for Domain {
    fn drop(&mut self) {
        // SAFETY: this handle is not used again.
        unsafe { Core::drop_handle(self.core) };
    }
}

/// The settings of a [`Domain`] to be.
///
/// ```
/// use std::time::Duration;
/// let domain = sync_base::Domain::builder()
///     .garbage_limit(1 << 20)
///     .stall_wait(Duration::from_millis(5))
///     .build();
/// assert_eq!(domain.stats().limit, 1 << 20);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Builder {
    settings: Settings,
}

impl Builder {
    /// Bytes of garbage past which writers are refused or wait; 64 MiB unless set.
    ///
    /// Bytes in open bags, at most a sixteenth of the limit in all, are not counted until their bag is full.
    #[must_use]
    pub fn garbage_limit(mut self, bytes: usize) -> Self {
        self.settings.garbage_limit = bytes;
        self
    }

    /// How long [`Domain::admit`] waits for a stalled reader; 100 ms unless set.
    #[must_use]
    pub fn stall_wait(mut self, wait: Duration) -> Self {
        self.settings.stall_wait = wait;
        self
    }

    /// Objects that wait before a thread runs a heavy barrier to free them; 2,048 unless set. They are sealed in sixteenths,
    /// none smaller than the live records are many, and what another thread's barrier covers is freed at the next seal.
    #[must_use]
    pub fn batch(mut self, objects: usize) -> Self {
        self.settings.batch = objects.max(1);
        self
    }

    /// Makes the domain.
    pub fn build(self) -> Domain {
        // Relaxed: spreads domains over the short cuts; publishes nothing.
        let turn = NEXT_SLOT.fetch_add(1, Ordering::Relaxed);
        self.build_at(1 + turn % (local::SLOTS - 1))
    }

    pub(super) fn build_at(self, slot: usize) -> Domain {
        let core = Box::into_raw(Box::new(Core::new(self.settings, slot)));
        Domain { core, slot }
    }
}
