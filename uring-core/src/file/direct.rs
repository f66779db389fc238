//! Files with a slot of a ring and no descriptor of the process.
//!
//! What owns a slot is not a copy: the slot is used again when the last holder is gone, an operation in flight among
//! them, so that nothing that names it can ever meet the file that comes next.

use crate::error::{Error, ErrorKind};
use crate::ring::Core;
use crate::ring::registry::Registry;
use std::mem::ManuallyDrop;
use sync_base::sync::Arc;

/// A slot of a ring's table of files, held.
#[derive(Debug)]
struct Held {
    registry: Arc<Registry>,
    ring: u32,
    slot: u32,
}

impl Held {
    fn of(ring: &Core, slot: u32) -> Self {
        Self {
            registry: Arc::clone(&ring.state.borrow().registry),
            ring: ring.id,
            slot,
        }
    }
}

/// An open file that its ring knows by slot. Opened that way ([`op::Direct`](crate::op::Direct)), it has no descriptor at
/// all: it costs nothing of the limit on open files and no look-up.
///
/// Owned: dropped, on whichever thread, it is closed at the ring's next turn. An [`Arc`](std::sync::Arc) of it is shared
/// among operations. [`op::Install`](crate::op::Install) gives it a descriptor, [`op::Close`](crate::op::Close) tells how
/// closing went.
#[derive(Debug)]
pub struct DirectFd {
    held: Held,
}

impl DirectFd {
    pub(crate) fn new(ring: &Core, slot: u32) -> Self {
        Self {
            held: Held::of(ring, slot),
        }
    }

    /// The index under which the ring knows the file.
    pub fn slot(&self) -> u32 {
        self.held.slot
    }

    pub(crate) fn ring(&self) -> u32 {
        self.held.ring
    }

    /// The kernel has emptied the slot: it is free.
    pub(crate) fn closed(self) {
        let this = ManuallyDrop::new(self);
        this.held.registry.give_file_back(this.held.slot);
        // SAFETY: read once, and `this` is never dropped.
        drop(unsafe { std::ptr::read(&this.held) });
    }
}

impl Drop for DirectFd {
    fn drop(&mut self) {
        self.held.registry.leave_file(self.held.slot);
    }
}

/// A free slot, reserved. Dropped, it is free again.
#[derive(Debug)]
pub struct EmptySlot {
    held: Held,
}

impl EmptySlot {
    /// The index.
    pub fn slot(&self) -> u32 {
        self.held.slot
    }

    pub(crate) fn ring(&self) -> u32 {
        self.held.ring
    }

    /// The kernel has put a file there.
    pub(crate) fn filled(self) -> DirectFd {
        let this = ManuallyDrop::new(self);
        // SAFETY: read once, and `this` is never dropped.
        let held = unsafe { std::ptr::read(&this.held) };
        DirectFd { held }
    }
}

impl Drop for EmptySlot {
    fn drop(&mut self) {
        self.held.registry.give_file_back(self.held.slot);
    }
}

/// The slots that a ring's kernel side hands out by itself. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DirectSlots {
    registry: Arc<Registry>,
    ring: u32,
}

impl DirectSlots {
    pub(crate) fn ring(&self) -> u32 {
        self.ring
    }

    /// The kernel has put a file in a slot of its own choice.
    pub(crate) fn filled(&self, slot: u32) -> DirectFd {
        DirectFd {
            held: Held {
                registry: Arc::clone(&self.registry),
                ring: self.ring,
                slot,
            },
        }
    }
}

impl Core {
    /// Reserves a free slot for a file to come. No system call.
    ///
    /// # Errors
    /// As [`register_file`](Core::register_file).
    pub fn reserve_slot(&self) -> Result<EmptySlot, Error> {
        let slot = self.free_slot()?;
        Ok(EmptySlot {
            held: Held::of(self, slot),
        })
    }

    /// Lends the slots that the kernel hands out: as many as [`Options::direct_files`](crate::Options::direct_files) said.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when that is none, [`ErrorKind::Unsupported`] before Linux 6.0, and what the kernel
    /// said where it refused the table.
    pub fn direct_slots(&self) -> Result<DirectSlots, Error> {
        self.check()?;
        let inner = self.state.borrow();
        if inner.backend().direct_slots()?.is_empty() {
            return Err(Error::of(ErrorKind::InvalidInput));
        }
        Ok(DirectSlots {
            registry: Arc::clone(&inner.registry),
            ring: self.id,
        })
    }
}
