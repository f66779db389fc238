//! What a kernel would keep registered for a ring: files, buffers, rings of provided buffers.

use crate::sys::abi;
use std::collections::HashMap;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use sync_base::atomic::{AtomicU16, Ordering};
use sync_base::sync::Arc;

/// Duplicates a descriptor, as the kernel takes a reference to a file.
pub(super) fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: makes a descriptor or fails.
    let copy = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made, owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Registered files: descriptors of our own, so that closing the one they were registered from changes nothing. An
/// operation in flight shares its file, so that emptying the slot does not pull it away.
#[derive(Debug)]
pub(super) struct Files {
    slots: Box<[Option<Arc<OwnedFd>>]>,
    /// Slots from here on are handed out to whoever asks for any.
    direct: u32,
}

impl Files {
    /// Makes room for `files` that are put where the caller says, and `direct` more that are not.
    pub(super) fn new(files: u32, direct: u32) -> Self {
        Self {
            slots: (0..files.saturating_add(direct)).map(|_| None).collect(),
            direct: files,
        }
    }

    /// Slots for the caller to fill.
    pub(super) fn callers(&self) -> u32 {
        self.direct
    }

    /// Slots that are handed out.
    pub(super) fn handed_out(&self) -> std::ops::Range<u32> {
        self.direct..self.slots.len() as u32
    }

    /// Finds a free slot to hand out.
    pub(super) fn vacancy(&self) -> Option<u32> {
        self.handed_out()
            .find(|&slot| self.slots[slot as usize].is_none())
    }

    pub(super) fn get(&self, slot: i32) -> Option<Arc<OwnedFd>> {
        self.slots.get(usize::try_from(slot).ok()?)?.clone()
    }

    /// Puts a file in a slot, or empties it; what was there is given back.
    pub(super) fn put(&mut self, slot: u32, file: Option<OwnedFd>) -> io::Result<Option<Arc<OwnedFd>>> {
        let place = self.slots.get_mut(slot as usize);
        let place = place.ok_or(io::Error::from_raw_os_error(libc::EINVAL))?;
        Ok(std::mem::replace(place, file.map(Arc::new)))
    }
}

/// Slots of the table of registered buffers.
pub(super) const BUFFER_SLOTS: u16 = 64;

/// A range of registered memory; an empty slot has none.
pub(super) type Range = (u64, u64);

/// Checks that an operation stays within its registered buffer.
pub(super) fn check_range(ranges: &[Range], index: u16, addr: u64, len: u32) -> Result<(), i32> {
    let &(start, bytes) = ranges.get(usize::from(index)).ok_or(libc::EFAULT)?;
    let end = addr.checked_add(u64::from(len)).ok_or(libc::EOVERFLOW)?;
    if addr < start || end > start + bytes {
        return Err(libc::EFAULT);
    }
    Ok(())
}

/// A buffer that was picked from a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Picked {
    pub(super) addr: u64,
    pub(super) len: u32,
    id: u16,
}

/// The consumer's end of a ring of provided buffers, read by the kernel's layout: entries of 16 bytes (address, length,
/// identifier), and the producer's tail in the reserved field of the first.
#[derive(Debug)]
pub(super) struct Group {
    ring: *const u8,
    mask: u16,
    head: u16,
    /// Picked, and not used after all, or not wholly.
    spare: Vec<Picked>,
    /// A buffer is filled bit by bit before the next one is begun.
    incremental: bool,
}

// SAFETY: whoever registered the ring keeps its entries where they are until the carrier is gone, whichever thread that
// is on; producers write entries that are not yet behind the tail, and this is the only consumer.
unsafe impl Send for Group {}

const ENTRY_BYTES: usize = 16;
const TAIL_OFFSET: usize = 14;

impl Group {
    fn pick(&mut self) -> Option<Picked> {
        if let Some(spare) = self.spare.pop() {
            return Some(spare);
        }
        // SAFETY: two aligned bytes within the first entry, written by the producer as an atomic.
        let tail = unsafe { &*self.ring.add(TAIL_OFFSET).cast::<AtomicU16>() };
        // Acquire: pairs with the Release in `Shared::provide` of the group; the entries before the tail.
        // weaken-ok(Acquire->Relaxed): the tail lies in memory laid out as the kernel has it, where no atomic of loom can lie.
        if tail.load(Ordering::Acquire) == self.head {
            return None;
        }
        // SAFETY: within the ring by the mask, aligned to 16, and not written again before it is picked.
        let picked = unsafe {
            let entry = self.ring.add(usize::from(self.head & self.mask) * ENTRY_BYTES);
            Picked {
                addr: entry.cast::<u64>().read(),
                len: entry.add(8).cast::<u32>().read(),
                id: entry.add(12).cast::<u16>().read(),
            }
        };
        self.head = self.head.wrapping_add(1);
        Some(picked)
    }
}

/// Every group of a ring.
#[derive(Debug, Default)]
pub(super) struct Groups(HashMap<u16, Group>);

impl Groups {
    /// # Safety
    /// `ring` names `entries` entries that stay valid until the carrier is gone.
    pub(super) unsafe fn add(&mut self, ring: u64, entries: u16, group: u16, flags: u16) -> io::Result<()> {
        let unknown = flags & !abi::BUF_RING_INCREMENTAL != 0;
        if unknown || !entries.is_power_of_two() || !ring.is_multiple_of(ENTRY_BYTES as u64) {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        if self.0.contains_key(&group) {
            return Err(io::Error::from_raw_os_error(libc::EEXIST));
        }
        let made = Group {
            ring: ring as *const u8,
            mask: entries - 1,
            head: 0,
            spare: Vec::new(),
            incremental: flags & abi::BUF_RING_INCREMENTAL != 0,
        };
        self.0.insert(group, made);
        Ok(())
    }

    /// Forgets a group, from which nothing in flight picks.
    pub(super) fn remove(&mut self, group: u16) -> io::Result<()> {
        let known = self.0.remove(&group);
        known.map(drop).ok_or(io::Error::from_raw_os_error(libc::EINVAL))
    }

    /// Picks a buffer of a group; the error is the kernel's.
    pub(super) fn pick(&mut self, group: u16) -> Result<Picked, i32> {
        let group = self.0.get_mut(&group).ok_or(libc::ENOBUFS)?;
        group.pick().ok_or(libc::ENOBUFS)
    }

    /// Says how much of a picked buffer was used, and gives the flags that name it in a completion: none where it was
    /// not used at all, for then it is picked again.
    pub(super) fn used(&mut self, group: u16, picked: Picked, bytes: u32) -> u32 {
        let Some(group) = self.0.get_mut(&group) else {
            return 0;
        };
        let left = Picked {
            addr: picked.addr + u64::from(bytes),
            len: picked.len.saturating_sub(bytes),
            id: picked.id,
        };
        let again = bytes == 0 || group.incremental && left.len > 0;
        if again {
            group.spare.push(left);
        }
        match (bytes, again) {
            (0, _) => 0,
            (_, true) => abi::CQE_BUFFER | abi::CQE_BUF_MORE | u32::from(picked.id) << 16,
            (_, false) => abi::CQE_BUFFER | u32::from(picked.id) << 16,
        }
    }
}
