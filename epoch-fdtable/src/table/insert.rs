//! Opening descriptors: a number is reserved, then a node is published under it.

use super::FdTable;
use crate::entry::{Fresh, Link};
use crate::key::{Key, next_generation};
use crate::reclaim::Reclaim;
use crate::removed::Removed;
use crate::{FdError, Flags, Handle, Refused};
use sync_base::atomic::Ordering;
use sync_base::{Backoff, Step, light_barrier};

impl<T: Send + Sync + 'static, R: Reclaim> FdTable<T, R> {
    /// Opens the lowest free descriptor, as POSIX requires of `open`. Lock-free; allocates the node (and a page at
    /// times); two threads share the cache line that holds the lowest number (claim `fdt.churn.lowest.2t`).
    ///
    /// No number below the one returned was free during the whole call, with one exception: a number freed meanwhile in a
    /// run of 64 that two other threads were just filling up and opening again may be passed over. See [`insert_any`](Self::insert_any) where the
    /// number does not matter.
    ///
    /// # Errors
    /// The value, with [`FdError::Full`] or [`FdError::Shut`].
    ///
    /// ```
    /// let table = epoch_fdtable::FdTable::new();
    /// let numbers: Vec<u32> = ["a", "b", "c"].map(|v| table.insert(v).unwrap().number()).into();
    /// assert_eq!(numbers, [0, 1, 2]);
    /// drop(table.remove(1));
    /// assert_eq!(table.insert("again").unwrap().number(), 1);
    /// ```
    pub fn insert(&self, value: T) -> Result<Handle, Refused<T>> {
        self.insert_from(0, value, Flags::NONE)
    }

    /// Opens the lowest free descriptor at or above `floor`, with these flags; otherwise as [`insert`](Self::insert).
    ///
    /// # Errors
    /// The value, with [`FdError::Full`], [`FdError::FloorPastLimit`] or [`FdError::Shut`].
    pub fn insert_from(&self, floor: u32, value: T, flags: Flags) -> Result<Handle, Refused<T>> {
        self.open(Fresh::body(value), flags, |table, limit| {
            table.lowest_from(floor, limit)
        })
        .map_err(|(fresh, error)| Refused {
            value: fresh.into_value(),
            error,
        })
    }

    /// Opens some free descriptor, from a run of 64 numbers that this thread has mostly to itself. Lock-free; scales
    /// with threads, which `insert` cannot (claim `fdt.churn.any.2t`).
    ///
    /// # Errors
    /// The value, with [`FdError::Full`] or [`FdError::Shut`].
    pub fn insert_any(&self, value: T) -> Result<Handle, Refused<T>> {
        self.open(Fresh::body(value), Flags::NONE, |table, limit| {
            table
                .numbers
                .any(&table.pages, limit)
                .ok_or(FdError::Full { limit })
        })
        .map_err(|(fresh, error)| Refused {
            value: fresh.into_value(),
            error,
        })
    }

    /// Opens this very descriptor, which must be free. Wait-free but for a page that may be missing.
    ///
    /// # Errors
    /// The value, with [`FdError::Taken`], [`FdError::PastLimit`] or [`FdError::Shut`].
    pub fn insert_at(&self, number: u32, value: T, flags: Flags) -> Result<Handle, Refused<T>> {
        self.open_at(number, Fresh::body(value), flags)
            .map_err(|(fresh, error)| Refused {
                value: fresh.into_value(),
                error,
            })
    }

    /// Puts another value under an open descriptor, which keeps its number and its flags and gets a new generation.
    /// Lock-free. A reader sees the old value or the new one, never neither.
    ///
    /// # Errors
    /// The value, with [`FdError::NotOpen`].
    ///
    /// ```
    /// let table = epoch_fdtable::FdTable::new();
    /// let fd = table.insert("old").unwrap();
    /// let (new, old) = table.replace(fd, "new").unwrap();
    /// assert_eq!(*old, "old");
    /// assert_eq!(table.pin().get(new), Some(&"new"));
    /// assert_eq!(table.pin().get(fd), None, "the old handle meant the old value");
    /// ```
    pub fn replace(&self, key: impl Key, value: T) -> Result<(Handle, Removed<'_, T, R>), Refused<T>> {
        self.make_room(key);
        self.exchange_value(key, value)
    }

    /// Replaces a value as [`replace`](Self::replace) does, and never waits.
    ///
    /// # Errors
    /// The value, with [`FdError::NotOpen`], or with [`FdError::Stalled`] when a stalled reader holds back as much as the
    /// domain allows.
    pub fn try_replace(&self, key: impl Key, value: T) -> Result<(Handle, Removed<'_, T, R>), Refused<T>> {
        if let Err(error) = self.try_make_room(key) {
            return Err(Refused { value, error });
        }
        self.exchange_value(key, value)
    }

    fn exchange_value(&self, key: impl Key, value: T) -> Result<(Handle, Removed<'_, T, R>), Refused<T>> {
        let _section = self.reclaim.pin();
        self.exchange(key, Fresh::body(value), None)
            .map_err(|fresh| Refused {
                value: fresh.into_value(),
                error: FdError::NotOpen { number: key.number() },
            })
    }

    /// Opens this very descriptor or replaces what is open there, with these flags, as `dup3` does with its target.
    ///
    /// # Errors
    /// The value, with [`FdError::PastLimit`], [`FdError::Shut`], or [`FdError::Busy`] after a bounded wait for a thread
    /// that has reserved the number and not yet published or given it back.
    pub fn put(&self, number: u32, value: T, flags: Flags) -> Result<Placed<'_, T, R>, Refused<T>> {
        self.put_with(number, value, flags, Self::surely_make_room)
    }

    /// As [`put`](Self::put), and never waits for a reader.
    ///
    /// # Errors
    /// As for `put`, and [`FdError::Stalled`] when the number is open and a stalled reader holds back as much as the domain
    /// allows.
    pub fn try_put(&self, number: u32, value: T, flags: Flags) -> Result<Placed<'_, T, R>, Refused<T>> {
        self.put_with(number, value, flags, Self::try_make_room)
    }

    fn put_with(
        &self,
        number: u32,
        value: T,
        flags: Flags,
        room: impl FnOnce(&Self, u32) -> Result<(), FdError>,
    ) -> Result<Placed<'_, T, R>, Refused<T>> {
        self.place(number, Fresh::body(value), flags, room)
            .map_err(|(fresh, error)| Refused {
                value: fresh.into_value(),
                error,
            })
    }

    pub(super) fn surely_make_room(&self, number: u32) -> Result<(), FdError> {
        self.make_room(number);
        Ok(())
    }

    /// Reserves the lowest free number at or above `floor`.
    pub(super) fn lowest_from(&self, floor: u32, limit: u32) -> Result<u32, FdError> {
        let number = self.numbers.lowest(&self.pages, floor, limit);
        number.ok_or(if floor < limit || floor == 0 {
            FdError::Full { limit }
        } else {
            FdError::FloorPastLimit { floor, limit }
        })
    }

    /// Reserves a number and publishes under it.
    pub(super) fn open(
        &self,
        fresh: Fresh<T>,
        flags: Flags,
        take: impl FnOnce(&Self, u32) -> Result<u32, FdError>,
    ) -> Result<Handle, (Fresh<T>, FdError)> {
        if self.is_shut() {
            return Err((fresh, FdError::Shut));
        }
        if self.end.is_prompt() {
            self.reclaim.tend();
        }
        match take(self, self.limit()) {
            Ok(number) => Ok(self.publish(number, fresh, flags)),
            Err(error) => Err((fresh, error)),
        }
    }

    pub(super) fn open_at(
        &self,
        number: u32,
        fresh: Fresh<T>,
        flags: Flags,
    ) -> Result<Handle, (Fresh<T>, FdError)> {
        self.open(fresh, flags, |table, limit| match () {
            () if number >= limit => Err(FdError::PastLimit { number, limit }),
            () if table.numbers.at(&table.pages, number) => Ok(number),
            () => Err(FdError::Taken { number }),
        })
    }

    /// Replaces the node under an open descriptor, keeping its flags unless told. The caller is pinned.
    pub(super) fn exchange(
        &self,
        key: impl Key,
        mut fresh: Fresh<T>,
        flags: Option<Flags>,
    ) -> Result<(Handle, Removed<'_, T, R>), Fresh<T>> {
        let number = key.number();
        let Some(slot) = self.page(number).map(|page| page.slot(number)) else {
            return Err(fresh);
        };
        while let Some(old) = self.find(key) {
            // SAFETY: I3: not empty, and the caller's section protects the node.
            let generation = next_generation(unsafe { old.generation() });
            fresh.set_generation(generation);
            let new = fresh.link(flags.unwrap_or(old.flags()));
            // AcqRel: the Release pairs with the Acquire of every slot load and publishes the new node; the Acquire
            // pairs with the Release that published the old one, which is now ours. Relaxed on failure: read again.
            // I4: pinned, so the old address cannot have come back.
            // weaken-ok(AcqRel->Release): by I4 this meets the very node whose publication `find` has acquired.
            if slot
                .compare_exchange(old.0, new.0, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
            {
                let removed = Removed::from_reference(self.unlinked(old), self.reclaim(), self.end);
                return Ok((Handle { number, generation }, removed));
            }
        }
        Err(fresh)
    }

    /// Opens the number or replaces what is there, whichever it takes.
    pub(super) fn place(
        &self,
        number: u32,
        mut fresh: Fresh<T>,
        flags: Flags,
        room: impl FnOnce(&Self, u32) -> Result<(), FdError>,
    ) -> Result<Placed<'_, T, R>, (Fresh<T>, FdError)> {
        let limit = self.limit();
        if number >= limit {
            return Err((fresh, FdError::PastLimit { number, limit }));
        }
        if let Err(stalled) = room(self, number) {
            return Err((fresh, stalled));
        }
        let _section = self.reclaim.pin();
        let mut backoff = Backoff::new();
        loop {
            fresh = match self.exchange(number, fresh, Some(flags)) {
                Ok((handle, replaced)) => {
                    return Ok(Placed {
                        handle,
                        replaced: Some(replaced),
                    });
                }
                Err(fresh) => fresh,
            };
            fresh = match self.open_at(number, fresh, flags) {
                Ok(handle) => {
                    return Ok(Placed {
                        handle,
                        replaced: None,
                    });
                }
                Err((fresh, FdError::Taken { .. })) => fresh,
                Err(refused) => return Err(refused),
            };
            // Taken but not open: another thread is in the middle.
            if backoff.step() == Step::Park {
                return Err((fresh, FdError::Busy { number }));
            }
        }
    }

    /// Makes a reserved number open. I1: the caller reserved it.
    fn publish(&self, number: u32, mut fresh: Fresh<T>, flags: Flags) -> Handle {
        let page = self.pages.page_or_grow(number);
        // Relaxed: I2: owned by the reserver; the number's bit orders it after the last owner's store.
        let generation = next_generation(page.generation(number).load(Ordering::Relaxed));
        fresh.set_generation(generation);
        // Release: pairs with the Acquire of every slot load; publishes the node.
        page.slot(number).store(fresh.link(flags).0, Ordering::Release);
        let handle = Handle { number, generation };
        // Either `shut`, after its heavy barrier, sees the store above, or this thread sees the flag below.
        light_barrier();
        if self.is_shut() {
            self.discard(handle);
        }
        handle
    }

    /// Says whether `shut` was called.
    pub(super) fn is_shut(&self) -> bool {
        // Relaxed: I5: ordered by the barriers in `publish` and `shut`; nothing is read because of it.
        self.shut.load(Ordering::Relaxed)
    }

    /// Closes what this thread opened while the table was being shut: it was opened just before, and closed by that.
    #[cold]
    fn discard(&self, handle: Handle) {
        if let Some(removed) = self.take(handle) {
            drop(removed.try_into_inner());
        }
    }
}

/// What [`FdTable::put`] and [`FdTable::dup2`] did.
#[derive(Debug)]
#[must_use = "what was replaced is dropped with it: a real descriptor is closed, another value left to a later collection"]
pub struct Placed<'t, T: Send + Sync + 'static, R: Reclaim> {
    /// The descriptor that is open now.
    pub handle: Handle,
    /// What was open under its number before.
    pub replaced: Option<Removed<'t, T, R>>,
}

/// An empty slot's word, in the words of the atomic.
pub(super) const EMPTY: *mut () = Link::EMPTY.0;
