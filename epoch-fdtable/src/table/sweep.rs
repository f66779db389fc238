//! Closing many descriptors in one go.
//!
//! # Shutting
//! `shut` sets the flag, passes the heavy barrier, then empties every slot. `publish` stores into its slot, passes the
//! light barrier, then reads the flag. The barriers order the two sides as `SeqCst` fences would: either the sweep sees
//! the slot or the publisher sees the flag and closes the descriptor itself. Of the two, the slot's compare-exchange
//! lets one. So no descriptor survives a shut (table I5), and inserts pay nothing for it.

use super::FdTable;
use crate::FdError;
use crate::Flags;
use crate::ending;
use crate::entry::Body;
use crate::reclaim::Reclaim;
use crate::removed::Removed;
use crate::sever::Sever;
use std::ops::{Bound, RangeBounds};
use std::ptr::NonNull;
use sync_base::atomic::Ordering;
use sync_base::heavy_barrier;

/// How many descriptors a sweep closed, and how far each came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Values dropped before the sweep returned.
    pub now: usize,
    /// Values cut off under a reader; see [`Closed::Severed`](crate::Closed::Severed).
    pub severed: usize,
    /// Values that follow when a reader has left; see [`Closed::Deferred`](crate::Closed::Deferred).
    pub deferred: usize,
    /// Values that another descriptor or handle still holds.
    pub still_shared: usize,
}

impl Swept {
    /// Descriptors closed in all.
    pub fn total(&self) -> usize {
        self.now + self.severed + self.deferred + self.still_shared
    }
}

impl<T: Send + Sync + 'static, R: Reclaim> FdTable<T, R> {
    /// Closes every descriptor in a range (`close_range(2)`) and ends the values promptly, all of them for one heavy
    /// barrier. O(numbers in the range that were ever used); never waits.
    ///
    /// Descriptors opened in the range meanwhile may stay.
    ///
    /// ```
    /// use epoch_fdtable::{FdTable, Sever};
    /// struct Value(u32);
    /// impl Sever for Value {}
    /// let table = FdTable::new();
    /// for n in 0..10 {
    ///     table.insert(Value(n)).unwrap();
    /// }
    /// assert_eq!(table.close_range(3..).total(), 7);
    /// assert_eq!(table.len(), 3);
    /// ```
    pub fn close_range(&self, range: impl RangeBounds<u32>) -> Swept
    where
        T: Sever,
    {
        self.unlink_range(range, |_| true).end(self.reclaim())
    }

    /// Closes every close-on-exec descriptor, as `execve(2)` does; otherwise as [`close_range`](Self::close_range).
    pub fn close_on_exec(&self) -> Swept
    where
        T: Sever,
    {
        self.unlink_on_exec().end(self.reclaim())
    }

    /// Changes the flags of every open descriptor in a range (`CLOSE_RANGE_CLOEXEC`), each in one step; returns how many.
    pub fn update_flags_range(&self, range: impl RangeBounds<u32>, change: impl Fn(Flags) -> Flags) -> usize {
        let numbers = self.used(range);
        numbers
            .filter(|number| self.update_flags(*number, &change).is_ok())
            .count()
    }

    /// Removes every descriptor, handing each value to `f` with its number; returns how many. Descriptors opened
    /// meanwhile may stay. Where a stalled reader holds back as much garbage as the domain allows, it waits the domain's
    /// stated time once, not for each value.
    pub fn clear(&self, f: impl FnMut(u32, Removed<'_, T, R>)) -> usize {
        if let Some(first) = self.used(..).find(|number| self.flags(*number).is_some()) {
            self.make_room(first);
        }
        self.take_all(f)
    }

    /// As [`clear`](Self::clear), unless a stalled reader would hold back so much that the domain passed its limit. Never
    /// waits.
    ///
    /// # Errors
    /// [`FdError::Stalled`]; every descriptor stays open.
    pub fn try_clear(&self, f: impl FnMut(u32, Removed<'_, T, R>)) -> Result<usize, FdError> {
        let bytes = self.len().saturating_mul(Self::NODE_BYTES);
        if bytes != 0 {
            self.try_admit(bytes)?;
        }
        Ok(self.take_all(f))
    }

    fn take_all(&self, mut f: impl FnMut(u32, Removed<'_, T, R>)) -> usize {
        let removed = self
            .used(..)
            .filter_map(|number| Some((number, self.take(number)?)));
        removed.map(|(number, removed)| f(number, removed)).count()
    }

    /// The first half of `close_on_exec`, for a caller inside a section.
    pub(crate) fn unlink_on_exec(&self) -> Unlinked<T> {
        self.unlink_range(.., |flags| flags.contains(Flags::CLOSE_ON_EXEC))
    }

    /// Closes everything for good: inserts are refused from here on, and one that was under way is closed too.
    pub(crate) fn shut(&self) -> Swept
    where
        T: Sever,
    {
        // Relaxed: I5: ordered by the barriers here and in `publish`.
        self.shut.store(true, Ordering::Relaxed);
        heavy_barrier();
        self.unlink_range(.., |_| true).end(self.reclaim())
    }

    /// Empties the slots of the range whose flags are chosen.
    fn unlink_range(&self, range: impl RangeBounds<u32>, chosen: impl Fn(Flags) -> bool) -> Unlinked<T> {
        let mut unlinked = Unlinked {
            dead: Vec::new(),
            still_shared: 0,
        };
        for number in self.used(range) {
            let _section = self.reclaim.pin();
            let Some(link) = self.unlink(number, &chosen) else {
                continue;
            };
            let body = self.unlinked(link);
            // SAFETY: the slot's reference, which is now ours, keeps the body until this call.
            match unsafe { body.as_ref() }.release() {
                true => unlinked.dead.push(body),
                false => unlinked.still_shared += 1,
            }
        }
        unlinked
    }

    /// The numbers of a range that have ever been used, page by page.
    fn used(&self, range: impl RangeBounds<u32>) -> impl Iterator<Item = u32> {
        let from = match range.start_bound() {
            Bound::Included(n) => u64::from(*n),
            Bound::Excluded(n) => u64::from(*n) + 1,
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(n) => u64::from(*n) + 1,
            Bound::Excluded(n) => u64::from(*n),
            Bound::Unbounded => u64::MAX,
        };
        let pages = self.pages.present();
        pages.flat_map(move |(first, _)| {
            let page = u64::from(first)..u64::from(first) + u64::from(crate::pages::PAGE_SLOTS);
            (page.start.max(from)..page.end.min(to)).map(|number| number as u32)
        })
    }
}

/// Bodies that a sweep unlinked and killed, to be ended by this thread.
#[must_use]
pub(crate) struct Unlinked<T> {
    dead: Vec<NonNull<Body<T>>>,
    still_shared: usize,
}

impl<T> Unlinked<T> {
    /// Ends them promptly, outside any section.
    pub(crate) fn end<R: Reclaim>(self, reclaim: &R) -> Swept
    where
        T: Sever + Send + Sync + 'static,
    {
        reclaim.tend();
        let still_shared = self.still_shared;
        Swept {
            still_shared,
            ..ending::end_all(self.dead, reclaim, T::sever)
        }
    }
}
