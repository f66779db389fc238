//! Files that several rings know, each under one slot everywhere.
//!
//! The descriptors live in an `epoch_fdtable::RegisteredFiles`: owned, found by a handle that the reuse of a number
//! cannot fool. A ring that registers a file finds it there; the first binds the slot, every other must arrive at the
//! same one, so that a slot means the same file whichever ring an operation is submitted to.
//!
//! Beside the table lies one word for each number of a handle (`words`): to look a slot up is one load and one compare; the
//! table itself would cost a section and two dependent loads. A word is written under the lock of `homes` alone, together
//! with what it says of the table, so a file that is closed has none, whoever was binding it at the time (W1).
//!
//! What concerns several rings is done on all or on none: each step that a ring took is undone when a later ring refuses.

use super::fixed::FixedFd;
use super::words::{SLOT_BITS, Words};
use crate::error::{Error, ErrorKind, RefusedBy};
use crate::ring::Core;
use crate::ring::registry::Registry;
use epoch_fdtable::{Asymmetric, Closed, FdError, Handle, RegisteredFile, RegisteredFiles, Shared};
use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use sync_base::sync::Mutex;

/// Owns files and knows under which slot rings have registered each.
///
/// ```
/// use uring_core::{LocalRing, Options, file::Files};
/// # if uring_core::probe().refused.is_some() { return Ok(()) }
/// let files = Files::new(8);
/// let null = files.adopt(std::fs::File::open("/dev/null")?.into()).map_err(|(error, _)| error)?;
/// let ring = LocalRing::with(&Options::new().registered_files(8))?;
/// let fixed = ring.register_shared(&files, null)?;
/// assert_eq!(files.slot(null), Some(fixed.slot()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Files {
    table: RegisteredFiles,
    words: Words,
    /// Which rings have a file registered, by their numbers. Looked at when something is registered, never by an operation.
    homes: Mutex<HashMap<Handle, Vec<u32>>>,
}

impl Files {
    /// Makes room for so many files.
    ///
    /// # Panics
    /// When `limit` is above 2^26.
    pub fn new(limit: u32) -> Self {
        Self {
            table: RegisteredFiles::new(limit),
            words: Words::new(limit),
            homes: Mutex::new(HashMap::new()),
        }
    }

    /// Takes over a file, which has no slot yet. Lock-free, allocates.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] with the file when there is no room for another.
    pub fn adopt(&self, file: OwnedFd) -> Result<Handle, (Error, OwnedFd)> {
        self.table
            .adopt(file)
            .map_err(|refused| (Error::of(ErrorKind::WouldBlock), refused.value))
    }

    /// Keeps a file open past its handle, to use it by number. `None` when it is closed.
    pub fn get(&self, file: Handle) -> Option<Shared<RegisteredFile, Asymmetric>> {
        self.table.get_cloned(file)
    }

    /// The slot under which rings know the file. Wait-free, one load; claim `file.lookup`.
    #[inline]
    pub fn slot(&self, file: Handle) -> Option<u32> {
        self.words.get(file.number(), file.generation())
    }

    /// The file as a ring that has it registered knows it. Wait-free but for the check that the ring does, which takes a
    /// lock: keep the result.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`] when the file is closed, [`ErrorKind::InvalidInput`] when the ring does not know it,
    /// [`ErrorKind::Stale`] when it has unregistered it.
    pub fn fixed(&self, file: Handle, ring: &Core) -> Result<FixedFd, Error> {
        let slot = self.slot(file).ok_or(Error::of(ErrorKind::Closed))?;
        if !self.is_home(file, ring) {
            return Err(Error::of(ErrorKind::InvalidInput));
        }
        let fixed = FixedFd { ring: ring.id, slot };
        ring.check_registered(fixed).map(|()| fixed)
    }

    /// Registers a file with every ring of a list under one slot, or with none.
    ///
    /// The rings are this thread's. One system call a ring.
    ///
    /// # Errors
    /// With the ring that refused: [`ErrorKind::WouldBlock`] for ring 0 when no slot is free on all of them,
    /// [`ErrorKind::InvalidInput`] for one that has another file in the slot under which earlier rings know this one.
    pub fn register_on(&self, rings: &[&Core], file: Handle) -> Result<Vec<FixedFd>, RefusedBy> {
        let by = |ring, kind| RefusedBy {
            ring,
            error: Error::of(kind),
        };
        let shared = self.get(file).ok_or(by(rings.len(), ErrorKind::Closed))?;
        if let Some(known) = rings.iter().position(|ring| self.is_home(file, ring)) {
            return Err(by(known, ErrorKind::InvalidInput));
        }
        let slot = self.common_slot(rings, self.slot(file))?;
        let filled = set_on_all(rings, slot, -1, shared.as_fd().as_raw_fd());
        let bound = filled.and_then(|()| {
            let bound = self.bind(file, slot);
            bound.map_err(|error| RefusedBy {
                ring: rings.len(),
                error,
            })
        });
        if let Err(refused) = bound {
            let all_filled = refused.ring == rings.len();
            for ring in rings {
                if all_filled {
                    put_back(ring, slot, -1);
                }
                ring.state.borrow().registry.give_file_back(slot);
            }
            return Err(refused);
        }
        let mut homes = self.homes();
        homes
            .entry(file)
            .or_default()
            .extend(rings.iter().map(|ring| ring.id));
        let fixed = rings.iter().map(|ring| FixedFd { ring: ring.id, slot });
        Ok(fixed.collect())
    }

    /// Takes a slot that is free on each ring: this one where there is one already.
    fn common_slot(&self, rings: &[&Core], known: Option<u32>) -> Result<u32, RefusedBy> {
        for (at, ring) in rings.iter().enumerate() {
            let usable = ring.check().and_then(|()| {
                let mut inner = ring.state.borrow_mut();
                inner.take_back();
                inner.backend().file_slots().map_err(Error::from)
            });
            usable.map_err(|error| RefusedBy { ring: at, error })?;
        }
        let states: Vec<_> = rings.iter().map(|ring| ring.state.borrow()).collect();
        let registries: Vec<&Registry> = states.iter().map(|inner| &*inner.registry).collect();
        let Some(slot) = known else {
            return Registry::take_common_file(&registries).ok_or(RefusedBy {
                ring: 0,
                error: Error::of(ErrorKind::WouldBlock),
            });
        };
        let taken = registries.iter().take_while(|r| r.take_this_file(slot)).count();
        if taken == registries.len() {
            return Ok(slot);
        }
        for registry in &registries[..taken] {
            registry.give_file_back(slot);
        }
        Err(RefusedBy {
            ring: taken,
            error: Error::of(ErrorKind::InvalidInput),
        })
    }

    /// Puts `new`, which no ring knows, in the place of `old` on every ring of the list, or on none: these must be all
    /// the rings that know `old`. What is in flight completes on the old file.
    ///
    /// # Errors
    /// With the ring that refused, [`ErrorKind::Stale`] where it has unregistered the slot by itself;
    /// [`ErrorKind::Closed`] past the list when one of the files is closed, and
    /// [`ErrorKind::InvalidInput`] when the list is not that of the rings that know `old`, or some know `new`.
    pub fn replace(&self, rings: &[&Core], old: Handle, new: Handle) -> Result<Vec<FixedFd>, RefusedBy> {
        let whole = |kind| RefusedBy {
            ring: rings.len(),
            error: Error::of(kind),
        };
        let (Some(before), Some(after)) = (self.get(old), self.get(new)) else {
            return Err(whole(ErrorKind::Closed));
        };
        let mut listed: Vec<u32> = rings.iter().map(|ring| ring.id).collect();
        listed.sort_unstable();
        let mut known = self.homes().get(&old).cloned().unwrap_or_default();
        known.sort_unstable();
        if listed != known || self.slot(new).is_some() {
            return Err(whole(ErrorKind::InvalidInput));
        }
        let slot = self.slot(old).ok_or(whole(ErrorKind::InvalidInput))?;
        for (at, ring) in rings.iter().enumerate() {
            ring.check_registered(FixedFd { ring: ring.id, slot })
                .map_err(|error| RefusedBy { ring: at, error })?;
        }
        let (from, to) = (before.as_fd().as_raw_fd(), after.as_fd().as_raw_fd());
        set_on_all(rings, slot, from, to)?;
        if let Err(error) = self.bind(new, slot) {
            for ring in rings {
                put_back(ring, slot, from);
            }
            return Err(RefusedBy {
                ring: rings.len(),
                error,
            });
        }
        let mut homes = self.homes();
        self.table.unbind(old);
        self.words.set(old.number(), old.generation(), None);
        let moved = homes.remove(&old).unwrap_or_default();
        homes.insert(new, moved);
        let fixed = rings.iter().map(|ring| FixedFd { ring: ring.id, slot });
        Ok(fixed.collect())
    }

    /// Closes a file and unregisters it from every ring of the list. What is in flight completes; the slot answers
    /// `EBADF` from now on, on these rings, and goes to no other file.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`] past the list when it is closed already. A ring that cannot be told keeps the file open: it
    /// is named, and the file is closed all the same.
    pub fn close_on(&self, rings: &[&Core], file: Handle) -> Result<Closed, RefusedBy> {
        let closed = self.close(file).map_err(|error| RefusedBy {
            ring: rings.len(),
            error,
        });
        let (slot, closed) = closed?;
        let homes = self.homes().remove(&file).unwrap_or_default();
        let Some(slot) = slot else { return Ok(closed) };
        let mut told = Ok(closed);
        for (at, ring) in rings
            .iter()
            .enumerate()
            .filter(|(_, ring)| homes.contains(&ring.id))
        {
            let fixed = FixedFd { ring: ring.id, slot };
            if let Err(error) = ring.unregister_file(fixed) {
                told = Err(RefusedBy { ring: at, error });
            }
        }
        told
    }

    /// Notes that a ring has registered the file under `slot`.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`] when the file is closed, [`ErrorKind::InvalidInput`] when other rings know it under another
    /// slot: the caller takes the slot back from its ring.
    pub(crate) fn bind(&self, file: Handle, slot: u32) -> Result<(), Error> {
        if slot >> SLOT_BITS != 0 {
            return Err(Error::of(ErrorKind::InvalidInput));
        }
        let _locked = self.homes();
        match self.table.bind(file, slot) {
            Ok(()) => {
                self.words.set(file.number(), file.generation(), Some(slot));
                Ok(())
            }
            Err(FdError::Taken { .. }) if self.slot(file) == Some(slot) => Ok(()),
            Err(FdError::NotOpen { .. }) => Err(Error::of(ErrorKind::Closed)),
            Err(_) => Err(Error::of(ErrorKind::InvalidInput)),
        }
    }

    /// Closes a file promptly and gives the slot that each ring still has to unregister.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`] when it is closed already.
    pub fn close(&self, file: Handle) -> Result<(Option<u32>, Closed), Error> {
        let _locked = self.homes();
        let closed = self.table.close(file);
        self.words.set(file.number(), file.generation(), None);
        closed.map_err(|_| Error::of(ErrorKind::Closed))
    }

    fn homes(&self) -> sync_base::sync::MutexGuard<'_, HashMap<Handle, Vec<u32>>> {
        self.homes.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn is_home(&self, file: Handle, ring: &Core) -> bool {
        self.homes()
            .get(&file)
            .is_some_and(|rings| rings.contains(&ring.id))
    }
}

/// Puts `fd` in a slot of every ring, or leaves `before` in that of each.
fn set_on_all(rings: &[&Core], slot: u32, before: RawFd, fd: RawFd) -> Result<(), RefusedBy> {
    for (at, ring) in rings.iter().enumerate() {
        if let Err(error) = ring.set_slot(slot, fd) {
            for earlier in &rings[..at] {
                put_back(earlier, slot, before);
            }
            return Err(RefusedBy { ring: at, error });
        }
    }
    Ok(())
}

/// Puts back what was there before. A ring that took one descriptor takes the other: nothing is allocated for it.
fn put_back(ring: &Core, slot: u32, before: RawFd) {
    let back = ring.set_slot(slot, before);
    debug_assert!(back.is_ok(), "a slot that was filled is filled again");
}

impl Core {
    /// Registers a file that other rings know too: it gets the same slot on each, or is refused. One system call.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`] when the file is closed; [`ErrorKind::InvalidInput`] when this ring has it already, or has
    /// another file in the slot under which other rings know this one; those of [`register_file`](Core::register_file).
    pub fn register_shared(&self, files: &Files, file: Handle) -> Result<FixedFd, Error> {
        let fixed = files
            .register_on(&[self], file)
            .map_err(|refused| refused.error)?;
        Ok(fixed[0])
    }
}
