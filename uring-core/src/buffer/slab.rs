//! Memory that the kernel knows beforehand, leased slot by slot.

use super::bufs::{IoBuf, IoBufMut, Registration};
use crate::error::{Error, ErrorKind, SetupError};
use crate::ring::Core;
use pooled_vec::{Slab, SlabBuf};
use std::ops::{Deref, DerefMut};

/// Slots of registered memory: reads and writes of them skip the pinning of pages at each operation.
///
/// Cheap to clone. The memory lives until the last lease is back *and* the ring is entirely gone.
///
/// ```
/// use pooled_vec::{AlignedOptions, Slab};
/// use std::{fs::File, sync::Arc};
/// use uring_core::{LocalRing, op::Read};
/// let ring = LocalRing::new()?;
/// let slab = ring.register_slab(Slab::new(8, 4096, AlignedOptions::new())?)?;
/// let file = Arc::new(File::open("/proc/self/exe")?);
/// let buf = slab.lease().expect("eight are free");
/// let (read, buf) = ring.block_on(ring.run(Read::new(file, buf).at(0)))?;
/// assert_eq!((read?, &buf[..4]), (4096, &b"\x7fELF"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct RegisteredSlab {
    slab: Slab,
    registration: Registration,
}

/// A slot leased from a [`RegisteredSlab`]; given back on drop, on whichever thread that is.
#[derive(Debug)]
pub struct FixedBuf {
    slot: SlabBuf,
    registration: Registration,
}

impl RegisteredSlab {
    /// Leases a free slot; `None` when all are leased. Lock-free, allocates nothing.
    pub fn lease(&self) -> Option<FixedBuf> {
        Some(FixedBuf {
            slot: self.slab.claim()?,
            registration: self.registration,
        })
    }

    /// The slots that are free now.
    pub fn available(&self) -> usize {
        self.slab.available()
    }
}

impl Core {
    /// Registers a slab with this ring, once a ring. Pins its memory, which counts against `RLIMIT_MEMLOCK`.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] when the ring has a slab already; else what the kernel said, with the remedy.
    pub fn register_slab(&self, slab: Slab) -> Result<RegisteredSlab, SetupError> {
        let told = |error: Error| error.explain("registering buffers");
        self.check().map_err(told)?;
        let mut inner = self.state.borrow_mut();
        if inner.has_slab {
            return Err(Error::of(ErrorKind::WouldBlock).explain("a ring has one registered slab"));
        }
        let (start, len) = slab.region();
        let range = libc::iovec {
            iov_base: start.as_ptr().cast(),
            iov_len: len,
        };
        // The ring keeps the slab until the kernel is done with it, whatever happens below.
        inner.keep_alive.push(Box::new(slab.clone()));
        // SAFETY: the slab is kept alive with the ring, and its region never moves.
        let done = unsafe { inner.backend_mut().register_buffers(&[range]) };
        done.map_err(|error| told(error.into()))?;
        inner.has_slab = true;
        Ok(RegisteredSlab {
            slab,
            registration: Registration {
                ring: self.id,
                index: 0,
            },
        })
    }
}

impl Deref for FixedBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.slot
    }
}

impl DerefMut for FixedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.slot
    }
}

// SAFETY: the slot is this lease's alone, initialised, and the region lives as long as the lease.
unsafe impl IoBuf for FixedBuf {
    fn stable_ptr(&self) -> *const u8 {
        self.slot.as_non_null().as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.slot.len()
    }

    fn registration(&self) -> Option<Registration> {
        Some(self.registration)
    }
}

// SAFETY: as above, valid for writes.
unsafe impl IoBufMut for FixedBuf {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.slot.as_non_null().as_ptr()
    }

    fn bytes_total(&self) -> usize {
        self.slot.len()
    }

    unsafe fn set_init(&mut self, _count: usize) {}
}
