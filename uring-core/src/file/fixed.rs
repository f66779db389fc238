//! A file registered with one ring for good.

use super::direct::DirectFd;
use crate::error::{Error, ErrorKind};
use crate::ring::Core;
use std::os::fd::{AsFd, AsRawFd, RawFd};

/// A file registered with one ring: operations skip the look-up and the reference count of the descriptor.
///
/// Good for that ring only; another ring refuses it. The ring keeps the file open, whatever becomes of the descriptor it
/// was registered from, until it is unregistered or the ring is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedFd {
    pub(crate) ring: u32,
    pub(crate) slot: u32,
}

impl FixedFd {
    /// The index under which the ring knows the file.
    pub fn slot(self) -> u32 {
        self.slot
    }
}

impl Core {
    /// Registers a file with this ring. One system call.
    ///
    /// The slot is never given to a second file, so a handle kept past [`unregister_file`](Core::unregister_file) fails
    /// with `EBADF` and never reaches another file. Where files come and go, [`adopt_file`](Core::adopt_file) instead.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] when the table is used up ([`Options::registered_files`](crate::Options)). Where the
    /// kernel refused the table when the ring was set up, what it said: `EMFILE` when the table, with one slot of the
    /// ring's own, is longer than the limit on open files.
    pub fn register_file(&self, file: &impl AsFd) -> Result<FixedFd, Error> {
        let slot = self.fill_slot(file.as_fd().as_raw_fd())?;
        Ok(FixedFd { ring: self.id, slot })
    }

    /// Registers a file with this ring for as long as the handle lives. One system call, and one entry when the handle
    /// is dropped; the slot is used again.
    ///
    /// # Errors
    /// As [`register_file`](Core::register_file).
    pub fn adopt_file(&self, file: &impl AsFd) -> Result<DirectFd, Error> {
        let slot = self.fill_slot(file.as_fd().as_raw_fd())?;
        Ok(DirectFd::new(self, slot))
    }

    fn fill_slot(&self, fd: RawFd) -> Result<u32, Error> {
        self.check()?;
        let slot = self.free_slot()?;
        let filled = self.set_slot(slot, fd);
        if filled.is_err() {
            self.state.borrow().registry.give_file_back(slot);
        }
        filled.map(|()| slot)
    }

    /// Takes a free slot, once what was given back is.
    pub(crate) fn free_slot(&self) -> Result<u32, Error> {
        self.check()?;
        let mut inner = self.state.borrow_mut();
        inner.backend().file_slots()?;
        inner.take_back();
        let slot = inner.registry.take_file();
        slot.ok_or(Error::of(ErrorKind::WouldBlock))
    }

    /// Puts a descriptor in a slot that the caller holds, or -1 for none. What is queued goes first: it was meant for
    /// what is there now.
    pub(crate) fn set_slot(&self, slot: u32, fd: RawFd) -> Result<(), Error> {
        self.check()?;
        let mut inner = self.state.borrow_mut();
        if inner.backend_mut().queued() > 0 {
            inner.flush()?;
        }
        inner.backend_mut().set_file(slot, fd).map_err(Error::from)
    }

    /// Puts another file in the place of a registered one. What is in flight completes on the old file, what is
    /// submitted from now on goes to the new one. One system call.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for another ring's handle; [`ErrorKind::Stale`] when it was unregistered.
    pub fn update_file(&self, file: FixedFd, to: &impl AsFd) -> Result<(), Error> {
        self.check_registered(file)?;
        self.set_slot(file.slot, to.as_fd().as_raw_fd())
    }

    /// Takes a registered file back. What is in flight on it completes; what comes later fails with `EBADF`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for another ring's handle; [`ErrorKind::Stale`] when it was taken back before.
    pub fn unregister_file(&self, file: FixedFd) -> Result<(), Error> {
        self.check_registered(file)?;
        self.set_slot(file.slot, -1)?;
        self.state.borrow().registry.retire_file(file.slot);
        Ok(())
    }

    pub(crate) fn check_registered(&self, file: FixedFd) -> Result<(), Error> {
        self.check()?;
        if file.ring != self.id {
            return Err(Error::of_another_ring());
        }
        match self.state.borrow().registry.is_retired(file.slot) {
            true => Err(Error::of(ErrorKind::Stale)),
            false => Ok(()),
        }
    }

    /// Counts the slots for files that somebody holds, or that were unregistered and are never used again.
    pub fn files_held(&self) -> usize {
        self.state.borrow().registry.files_held() as usize
    }
}
