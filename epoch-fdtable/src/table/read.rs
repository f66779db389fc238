//! Looking up: the wait-free side.

use super::FdTable;
use crate::entry::{Body, Link};
use crate::key::Key;
use crate::pages::PAGE_SLOTS;
use crate::reclaim::Reclaim;
use crate::shared::Shared;
use crate::{Flags, Handle};
use std::fmt;
use std::ptr::NonNull;
use sync_base::atomic::Ordering;

/// A table inside a read section: what it lends stays valid until this is dropped.
///
/// Keep it short-lived: while it exists, values removed anywhere in the backend's domain wait for it.
pub struct Pinned<'t, T: Send + Sync + 'static, R: Reclaim> {
    table: &'t FdTable<T, R>,
    guard: R::Guard<'t>,
}

/// One open descriptor, as [`Pinned::iter`] visits it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open<'g, T> {
    /// Its number and generation.
    pub handle: Handle,
    /// Its flags when it was visited.
    pub flags: Flags,
    /// Its value.
    pub value: &'g T,
}

impl<T: Send + Sync + 'static, R: Reclaim> FdTable<T, R> {
    /// Enters a read section. Wait-free; one store with the default backend. Sections nest.
    #[inline]
    pub fn pin(&self) -> Pinned<'_, T, R> {
        Pinned {
            table: self,
            guard: self.reclaim.pin(),
        }
    }

    /// Calls `f` with the value of an open descriptor. Wait-free but for `f`.
    ///
    /// ```
    /// let table = epoch_fdtable::FdTable::new();
    /// let fd = table.insert(String::from("value")).unwrap();
    /// assert_eq!(table.with(fd, |value| value.len()), Some(5));
    /// assert_eq!(table.with(77, |value| value.len()), None);
    /// ```
    #[inline]
    pub fn with<U>(&self, key: impl Key, f: impl FnOnce(&T) -> U) -> Option<U> {
        self.pin().get(key).map(f)
    }

    /// Returns a counted handle that keeps the value after the descriptor is closed. Lock-free: repeats only when the
    /// descriptor was replaced meanwhile. Touches the value's shared count.
    pub fn get_cloned(&self, key: impl Key) -> Option<Shared<T, R>> {
        self.pin().get_cloned(key)
    }

    /// Returns the flags of an open descriptor.
    pub fn flags(&self, key: impl Key) -> Option<Flags> {
        let _section = self.reclaim.pin();
        Some(self.find(key)?.flags())
    }

    /// Returns the handle of what is open under this number now.
    pub fn handle(&self, number: u32) -> Option<Handle> {
        self.pin().handle(number)
    }

    /// The link of an open descriptor. The caller is pinned.
    #[inline(always)]
    pub(super) fn find(&self, key: impl Key) -> Option<Link> {
        let slot = self.pages.slot(key.number())?;
        // Acquire: pairs with the Release of `publish` and of every slot compare-exchange; publishes the node.
        let link = Link(slot.load(Ordering::Acquire));
        if link.is_empty() {
            return None;
        }
        // SAFETY: I3: not empty, and the caller's section protects the node.
        key.admits(|| unsafe { link.generation() }).then_some(link)
    }

    /// Borrows a value for as long as a section that the caller vouches for.
    ///
    /// # Safety
    /// The calling thread is inside a section of this table's backend for as long as it uses the result.
    #[inline(always)]
    pub(crate) unsafe fn get_in_section(&self, key: impl Key) -> Option<&T> {
        let link = self.find(key)?;
        // SAFETY: I3: not empty, made by this table for this `T`, protected by the caller's section.
        let body = unsafe { link.body::<T>() };
        // SAFETY: entry I1: not freed before the section ends, which the caller vouches for.
        Some(unsafe { &(*body.as_ptr()).value })
    }

    /// A counted reference to the body of an open descriptor, with the link it was found by. The caller is pinned.
    pub(super) fn acquire(&self, key: impl Key) -> Option<(Link, NonNull<Body<T>>)> {
        loop {
            let link = self.find(key)?;
            // SAFETY: I3: not empty, made by this table for this `T`, protected by the caller's section.
            let body = unsafe { link.body::<T>() };
            // SAFETY: entry I1: the caller's section protects the body.
            if unsafe { body.as_ref() }.acquire() {
                return Some((link, body));
            }
            // Dead, so unlinked before: the slot is empty now, or holds a successor.
        }
    }
}

impl<'t, T: Send + Sync + 'static, R: Reclaim> Pinned<'t, T, R> {
    /// Borrows the value of an open descriptor; any number may be asked for. Wait-free, no count, no allocation: three
    /// loads (claim `fdt.get.1t`).
    ///
    /// ```
    /// let table = epoch_fdtable::FdTable::new();
    /// let fd = table.insert("value").unwrap();
    /// let pinned = table.pin();
    /// assert_eq!(pinned.get(fd), Some(&"value"));
    /// assert_eq!(pinned.get(u32::MAX), None);
    /// ```
    ///
    /// The value cannot outlive the section:
    /// ```compile_fail,E0515
    /// fn escape(table: &epoch_fdtable::FdTable<String>) -> Option<&String> {
    ///     table.pin().get(0)
    /// }
    /// ```
    /// ```
    /// fn within<'g>(pinned: &'g epoch_fdtable::Pinned<'_, String, epoch_fdtable::Asymmetric>) -> Option<&'g String> {
    ///     pinned.get(0)
    /// }
    /// ```
    #[inline]
    pub fn get(&self, key: impl Key) -> Option<&T> {
        // SAFETY: `self.guard` is a section of this table's backend and outlives the borrow of `self`.
        unsafe { self.table.get_in_section(key) }
    }

    /// Returns a counted handle; see [`FdTable::get_cloned`].
    pub fn get_cloned(&self, key: impl Key) -> Option<Shared<T, R>> {
        let (_, body) = self.table.acquire(key)?;
        Some(Shared::from_reference(
            body,
            R::clone(self.table.reclaim()),
            self.table.end,
        ))
    }

    /// Returns the handle of what is open under this number now.
    pub fn handle(&self, number: u32) -> Option<Handle> {
        let link = self.table.find(number)?;
        // SAFETY: I3: not empty, and `self.guard` protects the node.
        let generation = unsafe { link.generation() };
        Some(Handle { number, generation })
    }

    /// Visits the open descriptors in ascending order. Wait-free at each step; O(numbers ever used).
    ///
    /// Weakly consistent: a descriptor that is open throughout is visited once, one that is opened or closed meanwhile
    /// at most once.
    pub fn iter(&self) -> impl Iterator<Item = Open<'_, T>> {
        let numbers = self
            .table
            .pages
            .present()
            .flat_map(|(first, _)| first..first + PAGE_SLOTS);
        numbers.filter_map(|number| {
            let link = self.table.find(number)?;
            // SAFETY: I3: not empty, and `self.guard` protects the node.
            let generation = unsafe { link.generation() };
            // SAFETY: as above; made by this table for this `T`.
            let body = unsafe { link.body::<T>() };
            // SAFETY: entry I1: not freed before `self.guard` is dropped, which outlives this borrow of `self`.
            let value = unsafe { &(*body.as_ptr()).value };
            Some(Open {
                handle: Handle { number, generation },
                flags: link.flags(),
                value,
            })
        })
    }

    /// The table.
    pub fn table(&self) -> &'t FdTable<T, R> {
        self.table
    }
}

impl<T: Send + Sync + 'static, R: Reclaim> fmt::Debug for Pinned<'_, T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pinned")
            .field("table", self.table)
            .field("guard", &self.guard)
            .finish()
    }
}
