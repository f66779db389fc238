//! Duplicating descriptors: a second number for one value.

use super::FdTable;
use super::insert::Placed;
use crate::entry::Fresh;
use crate::key::Key;
use crate::pages::PAGE_SLOTS;
use crate::reclaim::Reclaim;
use crate::shared::{Shared, release};
use crate::{FdError, Flags, Handle, Refused};
use sync_base::atomic::Ordering;

impl<T: Send + Sync + 'static, R: Reclaim> FdTable<T, R> {
    /// Opens the lowest free descriptor for the value of another. Both share the value and neither its flags (the new one
    /// has none) nor its generation. Lock-free; allocates a 16-byte node.
    ///
    /// # Errors
    /// [`FdError::NotOpen`], [`FdError::Full`] or [`FdError::Shut`].
    ///
    /// ```
    /// let table = epoch_fdtable::FdTable::new();
    /// let fd = table.insert("value").unwrap();
    /// let copy = table.dup(fd).unwrap();
    /// drop(table.remove(fd));
    /// assert_eq!(table.pin().get(copy), Some(&"value"));
    /// ```
    pub fn dup(&self, key: impl Key) -> Result<Handle, FdError> {
        self.dup_from(key, 0, Flags::NONE)
    }

    /// Opens the lowest free descriptor at or above `floor`, with these flags (`F_DUPFD`, `F_DUPFD_CLOEXEC`); otherwise as
    /// [`dup`](Self::dup).
    ///
    /// # Errors
    /// [`FdError::NotOpen`], [`FdError::Full`], [`FdError::FloorPastLimit`] or [`FdError::Shut`].
    pub fn dup_from(&self, key: impl Key, floor: u32, flags: Flags) -> Result<Handle, FdError> {
        let shared = self
            .get_cloned(key)
            .ok_or(FdError::NotOpen { number: key.number() })?;
        self.open(Fresh::alias(shared.into_reference()), flags, |table, limit| {
            table.lowest_from(floor, limit)
        })
        .map_err(|(fresh, error)| self.give_up(fresh, error))
    }

    /// Makes `number` a descriptor of the same value, replacing what is open there in one step: a reader of `number` sees
    /// the old value or the new one, never a closed descriptor. The new descriptor has no flags. Duplicating a number
    /// onto itself changes nothing.
    ///
    /// # Errors
    /// [`FdError::NotOpen`], [`FdError::PastLimit`], [`FdError::Shut`], or [`FdError::Busy`] as for [`put`](Self::put).
    pub fn dup2(&self, key: impl Key, number: u32) -> Result<Placed<'_, T, R>, FdError> {
        if key.number() != number {
            return self.dup3(key, number, Flags::NONE);
        }
        let handle = self
            .handle(number)
            .filter(|handle| key.admits(|| handle.generation));
        match handle {
            Some(handle) => Ok(Placed {
                handle,
                replaced: None,
            }),
            None => Err(FdError::NotOpen { number }),
        }
    }

    /// Makes `number` a descriptor of the same value, with these flags from the first moment; otherwise as
    /// [`dup2`](Self::dup2).
    ///
    /// # Errors
    /// As for `dup2`, and [`FdError::SameNumber`].
    pub fn dup3(&self, key: impl Key, number: u32, flags: Flags) -> Result<Placed<'_, T, R>, FdError> {
        self.dup_with(key, number, flags, Self::surely_make_room)
    }

    /// As [`dup3`](Self::dup3), and never waits for a reader.
    ///
    /// # Errors
    /// As for `dup3`, and [`FdError::Stalled`] when the number is open and a stalled reader holds back as much as the domain
    /// allows.
    pub fn try_dup3(&self, key: impl Key, number: u32, flags: Flags) -> Result<Placed<'_, T, R>, FdError> {
        self.dup_with(key, number, flags, Self::try_make_room)
    }

    fn dup_with(
        &self,
        key: impl Key,
        number: u32,
        flags: Flags,
        room: impl FnOnce(&Self, u32) -> Result<(), FdError>,
    ) -> Result<Placed<'_, T, R>, FdError> {
        if key.number() == number {
            return Err(FdError::SameNumber { number });
        }
        let shared = self
            .get_cloned(key)
            .ok_or(FdError::NotOpen { number: key.number() })?;
        self.place(number, Fresh::alias(shared.into_reference()), flags, room)
            .map_err(|(fresh, error)| self.give_up(fresh, error))
    }

    /// Opens the lowest free descriptor for a value that came from this table or another of the same backend, as a
    /// descriptor received over a socket.
    ///
    /// The value ends as this table's do from here on: one of a type of your own ends promptly only where this table too was
    /// made [`ending_promptly`](Self::ending_promptly).
    ///
    /// # Errors
    /// The handle, with [`FdError::Full`] or [`FdError::Shut`].
    pub fn insert_shared(&self, shared: Shared<T, R>, flags: Flags) -> Result<Handle, Refused<Shared<T, R>>> {
        self.open(Fresh::alias(shared.into_reference()), flags, |table, limit| {
            table.lowest_from(0, limit)
        })
        .map_err(|(fresh, error)| Refused {
            value: Shared::from_reference(fresh.into_reference(), R::clone(self.reclaim()), self.end),
            error,
        })
    }

    /// Makes a table with a copy of every descriptor that is open here and not close-on-fork, and with the same limits:
    /// what `fork` does. Each descriptor is copied at one moment of its own.
    ///
    /// # Safety
    /// As for [`within`](Self::within), with this table's backend.
    pub(crate) unsafe fn fork(&self) -> Self {
        // The limit may have been lowered below descriptors that are open.
        // SAFETY: the caller's promise.
        let child = unsafe { Self::within(self.hard_limit, self.hard_limit, self.reclaim(), self.end) };
        let section = self.pin();
        for (first, _) in self.pages.present() {
            for number in first..first + PAGE_SLOTS {
                let Some((link, body)) = self.acquire(number) else {
                    continue;
                };
                let shared = Shared::from_reference(body, R::clone(self.reclaim()), self.end);
                if link.flags().contains(Flags::CLOSE_ON_FORK) {
                    continue;
                }
                let fresh = Fresh::alias(shared.into_reference());
                let copied = child.open_at(number, fresh, link.flags());
                assert!(
                    copied.is_ok(),
                    "a table that nobody else has refused a number that fits its twin"
                );
            }
        }
        drop(section);
        // Relaxed: not shared yet.
        child.limit.store(self.limit(), Ordering::Relaxed);
        child
    }

    fn give_up(&self, fresh: Fresh<T>, error: FdError) -> FdError {
        release(fresh.into_reference(), self.reclaim(), self.end);
        error
    }
}
