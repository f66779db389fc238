//! Buffers that the kernel picks for itself, leased to whoever gets the data.
//!
//! # States of a buffer
//! *provided* (the kernel may pick it) -> *leased* (one [`Lease`] names it) -> *provided*.
//!
//! - **G1** a buffer is leased at most once: only a completion that names it makes a lease, and the kernel names a buffer
//!   again only after it was provided again.
//! - **G2** entries and memory live until the last lease is back and the ring is entirely gone: leases, receives in flight
//!   and the ring each hold the group.
//! - **G3** one writer of the tail at a time, under the lock.

use crate::error::{Error, SetupError};
use crate::ring::Core;
use pooled_vec::AlignedBuf;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use sync_base::atomic::{AtomicU16, Ordering};
use sync_base::sync::{Arc, Mutex};

/// A ring of provided buffers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct BufGroup {
    shared: Arc<Shared>,
}

struct Shared {
    /// `count` entries of 16 bytes; the tail lies in the reserved field of the first.
    entries: AlignedBuf,
    /// `count` buffers of `buf_bytes` each.
    memory: AlignedBuf,
    count: u16,
    buf_bytes: u32,
    id: u16,
    ring: u32,
    tail: Mutex<Tail>,
}

struct Tail {
    next: u16,
    leased: u16,
}

/// `struct io_uring_buf`, less the reserved field, which in the first entry is the tail.
#[repr(C)]
struct Entry {
    addr: u64,
    len: u32,
    id: u16,
}

const ENTRY_BYTES: usize = 16;
const TAIL_OFFSET: usize = 14;

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("id", &self.id)
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn buffer(&self, id: u16) -> NonNull<u8> {
        assert!(
            id < self.count,
            "the kernel named a buffer that was never provided"
        );
        // SAFETY: within the memory, since `id < count`.
        unsafe {
            self.memory
                .as_non_null()
                .add(usize::from(id) * self.buf_bytes as usize)
        }
    }

    /// Provides a buffer, again or for the first time.
    fn provide(&self, tail: &mut Tail, id: u16) {
        let at = usize::from(tail.next & (self.count - 1)) * ENTRY_BYTES;
        let entry = Entry {
            addr: self.buffer(id).as_ptr() as u64,
            len: self.buf_bytes,
            id,
        };
        // SAFETY: G3; within the entries, aligned to 16. The kernel reads this entry only behind the tail stored below,
        // and the write stops short of the reserved field where the tail lies.
        unsafe {
            let to = self.entries.as_non_null().add(at).cast::<Entry>();
            (&raw mut (*to.as_ptr()).addr).write(entry.addr);
            (&raw mut (*to.as_ptr()).len).write(entry.len);
            (&raw mut (*to.as_ptr()).id).write(entry.id);
        }
        tail.next = tail.next.wrapping_add(1);
        // SAFETY: two aligned bytes within the first entry, written by nobody else and read by the kernel.
        let shared = unsafe {
            self.entries
                .as_non_null()
                .add(TAIL_OFFSET)
                .cast::<AtomicU16>()
                .as_ref()
        };
        // Release: pairs with the kernel's `smp_load_acquire` of the tail in `io_ring_buffer_select`; publishes the entry.
        shared.store(tail.next, Ordering::Release);
    }
}

impl BufGroup {
    pub(crate) fn id(&self) -> u16 {
        self.shared.id
    }

    pub(crate) fn ring(&self) -> u32 {
        self.shared.ring
    }

    /// Counts the buffers that are leased now.
    pub fn leased(&self) -> usize {
        usize::from(self.shared.tail.lock().unwrap_or_else(|e| e.into_inner()).leased)
    }

    /// Names a buffer that a completion brought.
    pub(crate) fn lease(&self, id: u16, len: u32) -> Lease {
        assert!(len <= self.shared.buf_bytes && id < self.shared.count);
        self.shared.tail.lock().unwrap_or_else(|e| e.into_inner()).leased += 1;
        Lease {
            shared: Arc::clone(&self.shared),
            id,
            len,
        }
    }
}

/// A buffer with data in it, provided to the kernel again on drop, on whichever thread that is.
pub struct Lease {
    shared: Arc<Shared>,
    id: u16,
    len: u32,
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("id", &self.id)
            .field("len", &self.len)
            .finish()
    }
}

impl Deref for Lease {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: G1: the buffer is this lease's alone; zeroed at first, so initialised.
        unsafe { std::slice::from_raw_parts(self.shared.buffer(self.id).as_ptr(), self.len as usize) }
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.shared.buffer(self.id).as_ptr(), self.len as usize) }
    }
}

// SAFETY: G1 and G2: the bytes are the lease's alone and live as long as it.
unsafe impl super::IoBuf for Lease {
    fn stable_ptr(&self) -> *const u8 {
        self.shared.buffer(self.id).as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len as usize
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut tail = self.shared.tail.lock().unwrap_or_else(|e| e.into_inner());
        tail.leased -= 1;
        self.shared.provide(&mut tail, self.id);
    }
}

impl Core {
    /// Provides `count` buffers (a power of two up to 32768) of `buf_bytes` each, for receives that pick their own.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind) for other counts; [`ErrorKind::Unsupported`](crate::ErrorKind)
    /// before Linux 5.19; and what the allocation fails with.
    pub fn provide_buffers(&self, count: u16, buf_bytes: u32) -> Result<BufGroup, SetupError> {
        let told = |error: Error| error.explain("providing buffers");
        self.check().map_err(told)?;
        if !count.is_power_of_two() || count > 1 << 15 || buf_bytes == 0 {
            return Err(Error::from_errno(libc::EINVAL).explain("choose a power of two up to 32768"));
        }
        let out_of_memory = |_| told(Error::from_errno(libc::ENOMEM));
        let entries = AlignedBuf::new(usize::from(count) * ENTRY_BYTES).map_err(out_of_memory)?;
        let memory = AlignedBuf::new(usize::from(count) * buf_bytes as usize).map_err(out_of_memory)?;
        let mut inner = self.state.borrow_mut();
        let id = inner.groups;
        let start = entries.as_non_null().as_ptr() as u64;
        let shared = Shared {
            entries,
            memory,
            count,
            buf_bytes,
            id,
            ring: self.id,
            tail: Mutex::new(Tail { next: 0, leased: 0 }),
        };
        let group = BufGroup {
            shared: Arc::new(shared),
        };
        inner.keep_alive.push(Box::new(group.clone()));
        // SAFETY: the ring keeps the group, which keeps the entries where they are.
        let done = unsafe { inner.backend_mut().register_buf_ring(start, count, id) };
        done.map_err(|error| told(error.into()))?;
        inner.groups += 1;
        drop(inner);
        let mut tail = group.shared.tail.lock().unwrap_or_else(|e| e.into_inner());
        for id in 0..count {
            group.shared.provide(&mut tail, id);
        }
        drop(tail);
        Ok(group)
    }
}
