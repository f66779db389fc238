//! One value that is replaced whole: readers borrow the version they met, writers swap a pointer.
//!
//! # States
//! Each version is an `Arc`. It is *current* (the cell owns one count) -> *retired* (replaced; the cell's count is given up
//! once no reader can still arrive) -> freed with its last count.
//!
//! # Invariants
//! - C1: `current` is the address of an `Arc`'s value, of which the cell owns one count; never null.
//! - C2: whoever swaps a version out retires it, once. While it is retired and a section that met it is open, the cell's
//!   count stands: a reader in a section may borrow it or take another count.
//! - C3: a version's address is not used again while somebody holds the version or a section that met it is open, so
//!   comparing addresses decides whether a version is still current.
//!
//! # Orderings
//! | access | order | pairs with |
//! |---|---|---|
//! | `current` load | Acquire | the Release of `swap` and `compare_exchange`: the value |
//! | `current` swap | AcqRel | both: publishes the new value, and the former one is read by the caller |
//! | `current` compare-exchange | AcqRel / Acquire | as above; on failure the version met is handed back |
//!
//! # Linearization points
//! The load, the swap, the compare-exchange of `current`. A reader handle's look: its load of `current`.

mod access;
mod reader;

pub use reader::{CellReader, Version};

use crate::error::Rejected;
use std::fmt;
use std::ops::Deref;
use std::ptr;
use sync_base::atomic::{AtomicPtr, Ordering};
use sync_base::sync::Arc;
use sync_base::{Domain, Guard};

/// A shared value that is read all the time and replaced now and then.
///
/// Reading costs a plain store and a load; through a [`reader`](Self::reader) handle one load and a comparison. A reader
/// keeps the version that it met for as long as it holds it, whatever is stored meanwhile.
///
/// Take it for configuration, routing tables, rule sets: things replaced as a whole. For a table whose entries change one
/// by one take [`RcuMap`](crate::RcuMap); for a value that fits a word, an atomic; for a value written as often as it is
/// read, a lock.
///
/// ```
/// use rcu_map::RcuCell;
/// let config = RcuCell::new(String::from("v1"));
/// let now = config.load();
/// config.store(String::from("v2"));
/// assert_eq!((&**now, &**config.load()), ("v1", "v2"));
/// ```
pub struct RcuCell<T: Send + Sync + 'static> {
    current: AtomicPtr<T>,
    domain: Domain,
}

impl<T: Send + Sync + 'static> RcuCell<T> {
    /// What one version occupies, its two counts included, without what the value owns elsewhere.
    const BYTES: usize = size_of::<T>() + 2 * size_of::<usize>();

    /// Makes a cell in the process-wide domain. Allocates.
    pub fn new(value: T) -> Self {
        Self::from_arc(Arc::new(value))
    }

    /// Makes a cell of a shared value, in the process-wide domain.
    pub fn from_arc(value: Arc<T>) -> Self {
        Self::in_domain(value, Domain::global().clone())
    }

    /// Makes a cell in a reclamation domain of one's own.
    pub fn in_domain(value: Arc<T>, domain: Domain) -> Self {
        Self {
            current: AtomicPtr::new(Arc::into_raw(value).cast_mut()),
            domain,
        }
    }

    /// The domain whose guards this cell accepts.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Borrows the current version in a read section of its own. Wait-free; a plain store and a load.
    ///
    /// Versions replaced while the section is open are freed only after it. To keep a version for long, take
    /// [`load_full`](Self::load_full).
    #[inline]
    pub fn load(&self) -> Loaded<'_, T> {
        let guard = self.domain.pin();
        let value = self.acquire();
        Loaded { value, _guard: guard }
    }

    /// Borrows the current version under a guard: several cells and maps in one section.
    ///
    /// # Panics
    /// When the guard belongs to another domain.
    #[inline]
    pub fn get<'g>(&'g self, guard: &'g Guard<'_>) -> &'g T {
        crate::guard::check(&self.domain, guard);
        // SAFETY: C2: met within the section, which the guard keeps open for `'g`.
        unsafe { &*self.acquire() }
    }

    /// Calls `f` with the current version inside a read section.
    #[inline]
    pub fn with<R>(&self, f: impl FnOnce(&T) -> R) -> R {
        f(&self.load())
    }

    /// Takes a count of the current version. Wait-free; threads that do so all the time contend for the count.
    #[inline]
    pub fn load_full(&self) -> Arc<T> {
        let _guard = self.domain.pin();
        let value = self.acquire();
        // SAFETY: C2: met within the section, so the cell's count stands.
        unsafe { Arc::increment_strong_count(value) };
        // SAFETY: the count taken just now.
        unsafe { Arc::from_raw(value) }
    }

    /// Publishes a new version. Wait-free but for the domain's garbage limit: when over it, this waits as long as the
    /// domain's settings say, then stores all the same.
    pub fn store(&self, value: T) {
        self.store_arc(Arc::new(value));
    }

    /// Publishes a shared value as the new version.
    pub fn store_arc(&self, value: Arc<T>) {
        self.domain.admit(Self::BYTES);
        let former = self.exchange(value);
        // SAFETY: C2: this call swapped it out.
        unsafe { self.retire(former) };
    }

    /// Publishes a new version unless stalled readers have brought the domain to its garbage limit.
    ///
    /// # Errors
    /// [`Rejected`] with the value; the cell is unchanged.
    pub fn try_store(&self, value: T) -> Result<(), Rejected<T>> {
        if let Err(stalled) = self.domain.try_admit(Self::BYTES) {
            return Err(Rejected::new(value, stalled));
        }
        self.store(value);
        Ok(())
    }

    /// Publishes a new version and returns the former one, which readers may still hold.
    pub fn swap(&self, value: Arc<T>) -> Arc<T> {
        self.domain.admit(Self::BYTES);
        self.swap_weighed(value, |_| 0)
    }

    /// As [`swap`](Self::swap), without waiting for room; counts what `weigh` says the former version owns elsewhere.
    pub(crate) fn swap_weighed(&self, value: Arc<T>, weigh: impl FnOnce(&T) -> usize) -> Arc<T> {
        let former = self.exchange(value);
        // SAFETY: C2: the cell's count stands until it is retired, below.
        let elsewhere = weigh(unsafe { &*former });
        // SAFETY: as above.
        unsafe { Arc::increment_strong_count(former) };
        // SAFETY: C2: this call swapped it out.
        unsafe { self.retire_bytes(former, Self::BYTES + elsewhere) };
        // SAFETY: the count taken above.
        unsafe { Arc::from_raw(former) }
    }

    /// Publishes `new` if `current` is still the current version, compared by address. Lock-free, never spins.
    ///
    /// A borrow of a version keeps its address from being used again, so there is no ABA.
    ///
    /// # Errors
    /// [`CellExchangeError`] with the version that is current and with `new`.
    ///
    /// ```
    /// use rcu_map::RcuCell;
    /// use std::sync::Arc;
    /// let cell = RcuCell::new(1);
    /// let seen = cell.load();
    /// cell.store(2);
    /// let refused = cell.compare_exchange(&seen, Arc::new(3)).unwrap_err();
    /// assert_eq!((*refused.current, *refused.new), (2, 3));
    /// ```
    pub fn compare_exchange(&self, current: &T, new: Arc<T>) -> Result<Arc<T>, CellExchangeError<T>> {
        // What fails makes no garbage; a version stored between the look and the exchange costs a wait in vain.
        if std::ptr::eq(self.acquire(), current) {
            self.domain.admit(Self::BYTES);
        }
        let _guard = self.domain.pin();
        let fresh = Arc::into_raw(new).cast_mut();
        let seen = ptr::from_ref(current).cast_mut();
        // AcqRel: Release pairs with the Acquire in `acquire`, publishes the new value; Acquire pairs with the Release of
        // the write that published the former one, which the caller reads.
        // weaken-ok(AcqRel->Release): `current` is a borrow of that version, so its publication is already ordered before.
        // Acquire: pairs with the same on failure; the version met is handed back.
        match self
            .current
            .compare_exchange(seen, fresh, Ordering::AcqRel, Ordering::Acquire)
        {
            Ok(former) => {
                // SAFETY: C2: the cell's count stands until it is retired, below.
                unsafe { Arc::increment_strong_count(former) };
                // SAFETY: C2: this call swapped it out.
                unsafe { self.retire(former) };
                // SAFETY: the count taken above.
                Ok(unsafe { Arc::from_raw(former) })
            }
            Err(met) => {
                // SAFETY: C2: met within the section, so the cell's count stands.
                unsafe { Arc::increment_strong_count(met) };
                Err(CellExchangeError {
                    // SAFETY: the count taken above.
                    current: unsafe { Arc::from_raw(met) },
                    // SAFETY: `into_raw` above; never published.
                    new: unsafe { Arc::from_raw(fresh) },
                })
            }
        }
    }

    /// Replaces the current version by what `f` makes of it, and returns the former one. Lock-free.
    ///
    /// **`f` may run more than once**: when another writer gets in between, it runs again on that writer's version, and
    /// what it made before is dropped. It runs outside every lock and may use the cell; if it stores to this very cell
    /// each time, this never ends.
    ///
    /// ```
    /// use rcu_map::RcuCell;
    /// let hits = RcuCell::new(0);
    /// std::thread::scope(|s| {
    ///     for _ in 0..2 {
    ///         s.spawn(|| (0..100).for_each(|_| drop(hits.rcu(|n| n + 1))));
    ///     }
    /// });
    /// assert_eq!(*hits.load(), 200);
    /// ```
    pub fn rcu(&self, mut f: impl FnMut(&T) -> T) -> Arc<T> {
        let mut seen = self.load();
        loop {
            match self.compare_exchange(&seen, Arc::new(f(&seen))) {
                Ok(former) => return former,
                Err(_) => seen = self.load(),
            }
        }
    }

    /// Makes a handle that keeps the version it met last and looks for a newer one by one load and a comparison.
    pub fn reader(&self) -> CellReader<T, &Self> {
        CellReader::new(self)
    }

    #[inline(always)]
    fn acquire(&self) -> *const T {
        // Acquire: pairs with the Release in `exchange` and `compare_exchange`; publishes the value.
        self.current.load(Ordering::Acquire)
    }

    fn exchange(&self, value: Arc<T>) -> *const T {
        let fresh = Arc::into_raw(value).cast_mut();
        // AcqRel: Release pairs with the Acquire in `acquire`, publishes the new value; Acquire pairs with the Release of
        // the write that published the former one, which the caller may read.
        self.current.swap(fresh, Ordering::AcqRel)
    }

    /// Gives up the cell's count of a version once no reader can still arrive.
    ///
    /// # Safety
    /// The version was swapped out by the caller, who retires it once.
    unsafe fn retire(&self, former: *const T) {
        // SAFETY: the caller's promise.
        unsafe { self.retire_bytes(former, Self::BYTES) };
    }

    /// # Safety
    /// As [`retire`](Self::retire).
    unsafe fn retire_bytes(&self, former: *const T, bytes: usize) {
        /// # Safety
        /// `ptr` is a version of which one count is given up.
        unsafe fn release<T>(ptr: *mut ()) {
            // SAFETY: the caller's promise.
            drop(unsafe { Arc::from_raw(ptr.cast::<T>().cast_const()) });
        }
        // SAFETY: C2; `T` is `Send + Sync + 'static`, so its last count may be dropped on any thread at any time.
        unsafe { self.domain.retire(former.cast_mut().cast(), bytes, release::<T>) };
    }
}

impl<T: Send + Sync + 'static> Drop for RcuCell<T> {
    fn drop(&mut self) {
        // Relaxed: `&mut self` means that every other user has synchronised with this thread.
        let value = self.current.load(Ordering::Relaxed);
        // SAFETY: C1: the cell's own count; no section that borrowed the cell is open.
        drop(unsafe { Arc::from_raw(value.cast_const()) });
    }
}

impl<T: Send + Sync + Default + 'static> Default for RcuCell<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: Send + Sync + 'static> From<T> for RcuCell<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: Send + Sync + fmt::Debug + 'static> fmt::Debug for RcuCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RcuCell").field(&*self.load()).finish()
    }
}

/// A version borrowed together with the read section that keeps it.
///
/// It is bound to the thread that loaded it, and to the cell:
/// ```compile_fail,E0505
/// use rcu_map::RcuCell;
/// let cell = RcuCell::new(1);
/// let seen = cell.load();
/// drop(cell);
/// println!("{}", *seen);
/// ```
/// ```
/// use rcu_map::RcuCell;
/// let cell = RcuCell::new(1);
/// let seen = cell.load_full();
/// drop(cell);
/// println!("{}", *seen);
/// ```
pub struct Loaded<'c, T> {
    value: *const T,
    _guard: Guard<'c>,
}

impl<T> Deref for Loaded<'_, T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: C2: met within the section that `_guard` keeps open.
        unsafe { &*self.value }
    }
}

impl<T: fmt::Debug> fmt::Debug for Loaded<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// A [`RcuCell::compare_exchange`] that met another version than expected; the new value comes back.
#[derive(Clone, Debug)]
pub struct CellExchangeError<T> {
    /// The version that is current.
    pub current: Arc<T>,
    /// What was to be stored, as it was given.
    pub new: Arc<T>,
}

impl<T> fmt::Display for CellExchangeError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("another version has been stored meanwhile")
    }
}

impl<T: fmt::Debug> std::error::Error for CellExchangeError<T> {}
