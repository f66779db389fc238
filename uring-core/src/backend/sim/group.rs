//! Provided buffers, from the kernel's side: entries consumed in order behind a tail that the owner moves.

use sync_base::atomic::{AtomicU16, Ordering};

/// Where in the ring of entries the tail lies: in the reserved field of the first.
const TAIL_OFFSET: u64 = 14;
const ENTRY_BYTES: u64 = 16;

/// A group that a ring registered.
pub(super) struct Group {
    pub(super) id: u16,
    ring: u64,
    entries: u16,
    head: u16,
}

/// A provided buffer.
#[derive(Clone, Copy)]
pub(super) struct Provided {
    pub(super) addr: u64,
    pub(super) len: u32,
    pub(super) id: u16,
}

impl Group {
    /// # Safety
    /// `ring` names `entries` entries (a power of two) that stay valid while the group lives.
    pub(super) unsafe fn new(id: u16, ring: u64, entries: u16) -> Self {
        Self {
            id,
            ring,
            entries,
            head: 0,
        }
    }

    /// The buffer that is next, if one is provided.
    pub(super) fn peek(&self) -> Option<Provided> {
        // SAFETY: the promise of `new`; two aligned bytes of the first entry, which the owner writes atomically.
        let tail = unsafe { &*((self.ring + TAIL_OFFSET) as *const AtomicU16) };
        // Acquire: pairs with the Release store of the tail in `Shared::provide`; the entries before it are written.
        // weaken-ok(Acquire->Relaxed): the tail lies in memory laid out as the kernel has it, where no atomic of loom can lie.
        if tail.load(Ordering::Acquire) == self.head {
            return None;
        }
        let at = self.ring + u64::from(self.head & (self.entries - 1)) * ENTRY_BYTES;
        // SAFETY: an entry behind the tail: address, length and identifier, at 0, 8 and 12, written before the tail moved.
        let (addr, len, id) = unsafe {
            (
                (at as *const u64).read(),
                ((at + 8) as *const u32).read(),
                ((at + 12) as *const u16).read(),
            )
        };
        Some(Provided { addr, len, id })
    }

    /// Consumes what `peek` showed.
    pub(super) fn take(&mut self) {
        self.head = self.head.wrapping_add(1);
    }
}
