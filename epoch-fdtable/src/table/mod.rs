//! The table: slots that readers look through under a guard, numbers that writers take and give back.
//!
//! # States of a number
//! *free*: bit clear, slot empty. *reserved*: bit set, slot empty. *open*: bit set, slot links a node.
//! Legal moves: free -> reserved (a number is taken), reserved -> open (published), open -> open (replaced, or its
//! flags changed), open -> reserved (unlinked), reserved -> free (given back).
//!
//! # Invariants
//! - I1: only the thread that reserved a number publishes under it; only the thread whose compare-exchange emptied the
//!   slot gives the number back. So a double close is decided by the slot, and a number is given back once.
//! - I2: a slot's generation grows with every publication and replacement: the owner of a reserved number alone reads
//!   and writes the counter in the page; a replacement takes the successor of the node that it replaces. No two
//!   openings in a process have one generation, whatever their tables.
//! - I3: a node is retired, or freed after a grace period, only after it was unlinked (entry I1, I3).
//! - I4: whoever changes a slot by compare-exchange is pinned, so there is no ABA (entry I3).
//! - I5: after `shut` has returned, the table is empty and stays so: see `sweep`.
//!
//! # Linearization points
//! `get`: the slot's load. `insert*`: the slot's store, for readers; the number itself is chosen at the moment stated
//! in `numbers`. `replace`, `dup2` onto an open number, `set_flags`, `remove`, `close`: the slot's compare-exchange. A
//! number that is reserved reads as not open, as between Linux's `get_unused_fd_flags` and `fd_install`.
//!
//! # Orderings
//! | access | order | pairs with |
//! |---|---|---|
//! | slot store in `publish` | Release | the Acquire of every slot load: the node |
//! | slot compare-exchange | AcqRel | as above for the new node; Acquire takes over the old one |
//! | slot load | Acquire | those Releases |
//! | generation counter | Relaxed | owned by the reserver; ordered by the number's bit |
//! | `shut` flag | Relaxed | the light barrier in `publish` against the heavy one in `shut` |

mod duplicate;
mod insert;
mod read;
mod remove;
mod sweep;

pub use insert::Placed;
pub use read::{Open, Pinned};
pub use sweep::Swept;

use crate::FdError;
use crate::ending::End;
use crate::entry::{Alias, Body, Link, free_alias};
use crate::numbers::Numbers;
use crate::pages::{Page, Pages};
use crate::reclaim::{Asymmetric, Reclaim};
use crate::sever::Sever;
use std::fmt;
use std::mem::{self, ManuallyDrop};
use std::ptr::{self, NonNull};
use sync_base::atomic::{AtomicBool, AtomicU32, Ordering};

/// The soft limit of [`FdTable::new`], that of most systems.
const DEFAULT_LIMIT: u32 = 1024;
/// The hard limit of [`FdTable::new`].
const DEFAULT_HARD_LIMIT: u32 = 4096;
/// The greatest hard limit that a table can have.
pub(crate) const MAX_HARD_LIMIT: u32 = 1 << 26;

/// A table of descriptors: small numbers for values of any type, looked up wait-free and without a count.
///
/// See the [crate page](crate) for an example, the consistency that it gives and when not to use it.
pub struct FdTable<T: Send + Sync + 'static, R: Reclaim = Asymmetric> {
    pages: Pages,
    numbers: Numbers,
    limit: AtomicU32,
    shut: AtomicBool,
    hard_limit: u32,
    /// Dropped only where `counted`: see `within`.
    reclaim: ManuallyDrop<R>,
    counted: bool,
    /// How values end whose last reference is dropped.
    pub(crate) end: End<T>,
}

// SAFETY: a shared table gives `&T` to every thread and takes and drops `T` on any: hence `T: Send + Sync`. The rest
// is atomics.
unsafe impl<T: Send + Sync, R: Reclaim> Sync for FdTable<T, R> {}
// SAFETY: as above; a `Shared` from the table may stay behind on another thread.
unsafe impl<T: Send + Sync, R: Reclaim> Send for FdTable<T, R> {}

impl<T: Send + Sync + 'static> FdTable<T> {
    /// Makes an empty table with a limit of 1,024 descriptors, which can be raised to 4,096.
    pub fn new() -> Self {
        Self::with_limits(DEFAULT_LIMIT, DEFAULT_HARD_LIMIT)
    }

    /// Makes an empty table with a limit and the most that [`set_limit`](Self::set_limit) may raise it to.
    ///
    /// Allocates 8 bytes for 256 numbers; pages of 4.6 KiB appear as numbers are first used.
    ///
    /// # Panics
    /// When `hard_limit` is above 2^26 or below `limit`.
    pub fn with_limits(limit: u32, hard_limit: u32) -> Self {
        Self::with_reclaim(limit, hard_limit, Asymmetric::default())
    }
}

impl<T: Send + Sync + 'static> Default for FdTable<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Send + Sync + 'static, R: Reclaim> FdTable<T, R> {
    /// What one removed value adds to the garbage until it is freed.
    const NODE_BYTES: usize = mem::size_of::<Body<T>>();

    /// Makes an empty table that reclaims through this backend; otherwise as [`with_limits`](FdTable::with_limits).
    ///
    /// Values that hold the last handle of the backend's own domain are never freed by a thread that lives on: see
    /// [`Domain`](sync_base::Domain).
    ///
    /// # Panics
    /// When `hard_limit` is above 2^26 or below `limit`.
    pub fn with_reclaim(limit: u32, hard_limit: u32, reclaim: R) -> Self {
        assert!(
            limit <= hard_limit,
            "the limit of {limit} is above the hard limit of {hard_limit}"
        );
        assert!(
            hard_limit <= MAX_HARD_LIMIT,
            "the hard limit of {hard_limit} is above {MAX_HARD_LIMIT}"
        );
        Self::build(
            limit,
            hard_limit,
            ManuallyDrop::new(reclaim),
            true,
            End::by_type(),
        )
    }

    /// Makes a table that will itself be freed through `reclaim`. It shares the handle and holds none of its own: one in
    /// the backend's garbage would keep the backend alive, and the backend the garbage.
    ///
    /// # Safety
    /// While anybody uses the table, `reclaim` or a clone of it lives, or the backend is freeing the table.
    pub(crate) unsafe fn within(limit: u32, hard_limit: u32, reclaim: &R, end: End<T>) -> Self {
        // SAFETY: a copy that is never dropped, of a handle that outlives its use, by the caller's promise.
        let copy = ManuallyDrop::new(unsafe { ptr::read(reclaim) });
        Self::build(limit, hard_limit, copy, false, end)
    }

    fn build(limit: u32, hard_limit: u32, reclaim: ManuallyDrop<R>, counted: bool, end: End<T>) -> Self {
        let pages = Pages::new(hard_limit);
        Self {
            numbers: Numbers::new(&pages),
            pages,
            limit: AtomicU32::new(limit),
            shut: AtomicBool::new(false),
            hard_limit,
            reclaim,
            counted,
            end,
        }
    }

    /// Ends each value of this table as soon as its last holder is dropped, and not with a later collection: what
    /// [`close`](Self::close) does becomes what dropping a [`Removed`](crate::Removed), a [`Shared`](crate::Shared) or the
    /// table does. The descriptors of the standard library have that without asking; ask for a type of your own that
    /// owns one. Such a drop costs a heavy barrier, 1 to 4 us.
    ///
    /// ```
    /// use epoch_fdtable::{FdTable, Sever, sever_descriptor};
    /// use std::os::{fd::AsFd, unix::net::UnixStream};
    /// struct Session { socket: UnixStream, user: u32 }
    /// impl Sever for Session {
    ///     fn sever(&self) -> bool {
    ///         sever_descriptor(self.socket.as_fd()).is_ok()
    ///     }
    /// }
    /// let table = FdTable::new().ending_promptly();
    /// let (socket, mut peer) = UnixStream::pair()?;
    /// let fd = table.insert(Session { socket, user: 7 }).map_err(|refused| refused.error)?;
    /// assert_eq!(table.with(fd, |session| session.user), Some(7));
    /// drop(table.remove(fd));
    /// assert_eq!(std::io::Read::read(&mut peer, &mut [0])?, 0, "the peer sees the end");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn ending_promptly(mut self) -> Self
    where
        T: Sever,
    {
        self.end = End::promptly();
        self
    }

    /// The number below which `insert` stays (`RLIMIT_NOFILE`'s soft limit).
    pub fn limit(&self) -> u32 {
        // Relaxed: a setting that publishes nothing.
        self.limit.load(Ordering::Relaxed)
    }

    /// The most that the limit can be raised to.
    pub fn hard_limit(&self) -> u32 {
        self.hard_limit
    }

    /// Changes the limit. Descriptors at or above it stay open, as POSIX has it; nothing moves.
    ///
    /// # Errors
    /// [`FdError::PastHardLimit`] when it is above the hard limit.
    pub fn set_limit(&self, limit: u32) -> Result<(), FdError> {
        if limit > self.hard_limit {
            return Err(FdError::PastHardLimit {
                limit,
                hard_limit: self.hard_limit,
            });
        }
        // Relaxed: a setting that publishes nothing; an insert that runs meanwhile may use either.
        self.limit.store(limit, Ordering::Relaxed);
        Ok(())
    }

    /// Counts the open descriptors, those in the middle of an insert or a remove included. Wait-free; reads one cache
    /// line for 64 numbers that were ever used.
    ///
    /// Exact when nobody writes. Beside writers each descriptor that is open throughout is counted once and each number
    /// that is free throughout is not: never below zero, never above the hard limit, whatever `clear` does meanwhile.
    pub fn len(&self) -> usize {
        self.numbers.count(&self.pages) as usize
    }

    /// Says whether no descriptor is open, as [`len`](Self::len) counts.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Frees removed values that no reader can see any more. Never waits.
    pub fn collect(&self) {
        self.reclaim.collect();
    }

    /// The backend.
    pub fn reclaim(&self) -> &R {
        &self.reclaim
    }

    /// The page of a number that is below the hard limit and has been used.
    fn page(&self, number: u32) -> Option<&Page> {
        self.pages.page(number)
    }

    /// Retires the alias of an unlinked node, if it is one, and returns the reference that the node held.
    fn unlinked(&self, link: Link) -> NonNull<Body<T>> {
        // SAFETY: the caller emptied or replaced the slot, so the node is ours.
        let body = unsafe { link.body::<T>() };
        if let Some(alias) = link.alias::<T>() {
            let bytes = mem::size_of::<Alias<T>>();
            // SAFETY: I3: unlinked by the caller, once; `free_alias` is for this type.
            unsafe { self.reclaim.retire(alias.as_ptr().cast(), bytes, free_alias::<T>) };
        }
        body
    }
}

/// A table's handle to its backend at its last use, with whether it is the table's own.
struct LastUse<'t, R>(&'t mut ManuallyDrop<R>, bool);

impl<R> Drop for LastUse<'_, R> {
    fn drop(&mut self) {
        if self.1 {
            // SAFETY: our own handle, and its last use.
            unsafe { ManuallyDrop::drop(self.0) };
        }
    }
}

impl<T: Send + Sync + 'static, R: Reclaim> Drop for FdTable<T, R> {
    /// Drops every value: before it returns unless some reader of this backend is inside a section (it may be looking
    /// at the value through a duplicate in another table), and then as soon as that one has left; a real descriptor is
    /// severed meanwhile. A value whose drop panics keeps no other from its end.
    fn drop(&mut self) {
        let mut dead = Vec::new();
        for (first, page) in self.pages.present() {
            for number in first..first + crate::pages::PAGE_SLOTS {
                // Relaxed: `&mut self` means that every other thread's use is over and ordered before this.
                let link = Link(page.slot(number).load(Ordering::Relaxed));
                if link.is_empty() {
                    continue;
                }
                let body = self.unlinked(link);
                // SAFETY: the slot's reference, which nobody else gives up, keeps the body until this call.
                if unsafe { body.as_ref() }.release() {
                    dead.push(body);
                }
            }
        }
        let (reclaim, counted, end) = (&mut self.reclaim, self.counted, self.end);
        // Given back also when a value's drop panics.
        let handle = LastUse(reclaim, counted);
        end.end_all(dead, &**handle.0);
    }
}

impl<T: Send + Sync + 'static, R: Reclaim> fmt::Debug for FdTable<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FdTable")
            .field("len", &self.len())
            .field("limit", &self.limit())
            .field("hard_limit", &self.hard_limit)
            .field("reclaim", self.reclaim())
            .finish_non_exhaustive()
    }
}
