//! Closing descriptors: the slot is emptied, then the number is given back.

use super::FdTable;
use super::insert::EMPTY;
use crate::entry::Link;
use crate::key::Key;
use crate::reclaim::Reclaim;
use crate::removed::{Closed, Removed};
use crate::sever::Sever;
use crate::{FdError, Flags};
use sync_base::atomic::Ordering;

impl<T: Send + Sync + 'static, R: Reclaim> FdTable<T, R> {
    /// Closes a descriptor and returns its value, which readers that came earlier may still be looking at. Lock-free;
    /// of two threads that remove one descriptor, one gets it. `None` if the descriptor is not open.
    ///
    /// ```
    /// let table = epoch_fdtable::FdTable::new();
    /// let fd = table.insert(String::from("value")).unwrap();
    /// let removed = table.remove(fd).unwrap();
    /// assert!(table.remove(fd).is_none());
    /// assert_eq!(removed.try_into_inner().unwrap(), "value");
    /// ```
    ///
    /// Waits for a stalled reader once the domain's garbage limit is reached, up to the domain's stated time.
    pub fn remove(&self, key: impl Key) -> Option<Removed<'_, T, R>> {
        self.make_room(key);
        self.take(key)
    }

    /// Waits for room for the node that an open descriptor makes garbage; one that is not open makes none.
    #[inline]
    pub(super) fn make_room(&self, key: impl Key) {
        if !self.reclaim.has_room(Self::NODE_BYTES) && self.flags(key).is_some() {
            self.reclaim.admit(Self::NODE_BYTES);
        }
    }

    /// Asks for the same room, and is refused where a stalled reader prevents it.
    #[inline]
    pub(super) fn try_make_room(&self, key: impl Key) -> Result<(), FdError> {
        if self.reclaim.has_room(Self::NODE_BYTES) || self.flags(key).is_none() {
            return Ok(());
        }
        self.try_admit(Self::NODE_BYTES)
    }

    pub(super) fn try_admit(&self, bytes: usize) -> Result<(), FdError> {
        self.reclaim
            .try_admit(bytes)
            .map_err(|thread| FdError::Stalled { thread })
    }

    /// Closes a descriptor as [`remove`](Self::remove) does, and never waits.
    ///
    /// # Errors
    /// [`FdError::NotOpen`], or [`FdError::Stalled`] when a stalled reader holds back as much as the domain allows; the
    /// descriptor then stays open.
    pub fn try_remove(&self, key: impl Key) -> Result<Removed<'_, T, R>, FdError> {
        self.try_make_room(key)?;
        self.take(key).ok_or(FdError::NotOpen { number: key.number() })
    }

    /// Closes a descriptor, whatever the garbage.
    pub(crate) fn take(&self, key: impl Key) -> Option<Removed<'_, T, R>> {
        let _section = self.reclaim.pin();
        let link = self.unlink(key, |_| true)?;
        Some(Removed::from_reference(
            self.unlinked(link),
            self.reclaim(),
            self.end,
        ))
    }

    /// Closes a descriptor and ends its value promptly: never waits for a reader, never leaves the end to a collection.
    /// Lock-free; costs one heavy barrier, 1 to 4 us, beside the value's own drop.
    ///
    /// Called from inside a section of this thread, it can at best sever the value.
    ///
    /// # Errors
    /// [`FdError::NotOpen`].
    ///
    /// ```
    /// use epoch_fdtable::{Closed, FdTable};
    /// use std::{fs::File, os::fd::OwnedFd};
    /// let table: FdTable<OwnedFd> = FdTable::new();
    /// let fd = table.insert(File::open("/dev/null")?.into()).map_err(std::io::Error::from)?;
    /// let copy = table.dup(fd)?;
    /// assert_eq!(table.close(fd)?, Closed::StillShared);
    /// assert!(matches!(table.close(copy)?, Closed::Now | Closed::Severed));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn close(&self, key: impl Key) -> Result<Closed, FdError>
    where
        T: Sever,
    {
        self.reclaim.tend();
        match self.take(key) {
            Some(removed) => Ok(removed.close()),
            None => Err(FdError::NotOpen { number: key.number() }),
        }
    }

    /// Changes the flags of an open descriptor in one step with respect to every close, replacement and other change;
    /// returns those it had. Lock-free.
    ///
    /// # Errors
    /// [`FdError::NotOpen`].
    pub fn update_flags(&self, key: impl Key, change: impl Fn(Flags) -> Flags) -> Result<Flags, FdError> {
        let number = key.number();
        let _section = self.reclaim.pin();
        while let Some(old) = self.find(key) {
            let new = old.with_flags(change(old.flags()));
            let Some(page) = self.page(number) else { break };
            // AcqRel: the Release pairs with the Acquire of every slot load and passes the node on; the Acquire pairs
            // with the Release that published it, so that passing it on is in order. Relaxed on failure: read again.
            // I4: pinned, so the old address cannot have come back.
            // weaken-ok(AcqRel->Release): by I4 this meets the very node whose publication `find` has acquired.
            // weaken-ok(AcqRel->Acquire): a read-modify-write continues the release sequence of that publication.
            let swapped =
                page.slot(number)
                    .compare_exchange(old.0, new.0, Ordering::AcqRel, Ordering::Relaxed);
            if swapped.is_ok() {
                return Ok(old.flags());
            }
        }
        Err(FdError::NotOpen { number })
    }

    /// Sets the flags of an open descriptor (`F_SETFD`) and returns those it had; see [`update_flags`](Self::update_flags).
    ///
    /// # Errors
    /// [`FdError::NotOpen`].
    pub fn set_flags(&self, key: impl Key, flags: Flags) -> Result<Flags, FdError> {
        self.update_flags(key, |_| flags)
    }

    /// Empties the slot of an open descriptor that `chosen` accepts and gives its number back. The caller is pinned,
    /// and owns the returned link.
    pub(super) fn unlink(&self, key: impl Key, chosen: impl Fn(Flags) -> bool) -> Option<Link> {
        let number = key.number();
        let page = self.page(number)?;
        loop {
            let link = self.find(key).filter(|link| chosen(link.flags()))?;
            // AcqRel: the Acquire pairs with the Release that published the node, which is now ours; the Release orders
            // this thread's earlier writes before whoever finds the slot empty. Relaxed on failure: read again. I4.
            // weaken-ok(AcqRel->Release): by I4 this meets the very node whose publication `find` has acquired.
            // weaken-ok(AcqRel->Acquire): nothing is read because a slot is empty; the number's bit hands the slot on.
            let emptied =
                page.slot(number)
                    .compare_exchange(link.0, EMPTY, Ordering::AcqRel, Ordering::Relaxed);
            if emptied.is_err() {
                continue;
            }
            // SAFETY: the exchange made the node ours.
            let generation = unsafe { link.generation() };
            // Relaxed: I2: the number is reserved, by this thread; giving it back orders this before the next owner.
            page.generation(number).store(generation, Ordering::Relaxed);
            self.numbers.release(&self.pages, number);
            return Some(link);
        }
    }
}
