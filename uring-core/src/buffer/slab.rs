//! Memory that the kernel knows beforehand, leased slot by slot.
//!
//! # States of a slab
//! *registered* -> *closed* (no new lease) -> *leaving* (the last lease and the last handle are gone) -> the ring empties
//! the slot at its next turn. An operation in flight owns its lease, so what is in flight always keeps the registration.

use super::bufs::{IoBuf, IoBufMut, Registration, Slice};
use crate::error::{Error, ErrorKind, RefusedBy, SetupError};
use crate::ring::Core;
use crate::ring::registry::{Leaving, Registry};
use crate::sys::limits::Limits;
use inline_error::BoxedError;
use pooled_vec::{Slab, SlabBuf};
use std::ops::{Deref, DerefMut};
use sync_base::atomic::{AtomicBool, Ordering};
use sync_base::sync::Arc;

/// Slots of registered memory: reads and writes of them skip the pinning of pages at each operation.
///
/// Cheap to clone. Registered until the last clone and the last lease are dropped, on whichever thread.
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
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    slab: Slab,
    /// `None` for memory that the kernel refused to register.
    registration: Option<Registration>,
    registry: Arc<Registry>,
    closed: AtomicBool,
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(registration) = self.registration {
            self.registry.leave(Leaving::Buffer(registration.index));
        }
    }
}

/// A slot leased from a [`RegisteredSlab`]; given back on drop, on whichever thread that is.
#[derive(Debug)]
pub struct FixedBuf {
    slot: SlabBuf,
    shared: Arc<Shared>,
}

impl RegisteredSlab {
    /// Leases a free slot; `None` when all are leased, or the slab was unregistered. Lock-free, allocates nothing.
    #[inline]
    pub fn lease(&self) -> Option<FixedBuf> {
        // Relaxed: whether a lease comes before or after the end of leasing is the same for both.
        if self.shared.closed.load(Ordering::Relaxed) {
            return None;
        }
        Some(FixedBuf {
            slot: self.shared.slab.claim()?,
            shared: Arc::clone(&self.shared),
        })
    }

    /// The slots that are free now.
    pub fn available(&self) -> usize {
        self.shared.slab.available()
    }

    /// Whether the kernel knows the memory: not where it refused to
    /// ([`register_slab_or_plain`](Core::register_slab_or_plain)).
    pub fn is_registered(&self) -> bool {
        self.shared.registration.is_some()
    }
}

impl FixedBuf {
    /// The number of the slot in its slab.
    pub fn index(&self) -> usize {
        self.slot.index()
    }

    /// Narrows the slot to `len` bytes from `offset` on, still registered.
    ///
    /// # Errors
    /// The slot comes back with [`ErrorKind::InvalidInput`] when that reaches past its end.
    pub fn part(self, offset: usize, len: usize) -> Result<Slice<Self>, (Self, Error)> {
        Slice::part(self, offset, len)
    }
}

impl Core {
    /// Registers a slab with this ring; up to 64 at a time (one before Linux 5.19). Pins its memory, which counts against
    /// `RLIMIT_MEMLOCK` of a process without `CAP_IPC_LOCK`.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] when the table is used up; else what the kernel said, with the limit and the remedy.
    pub fn register_slab(&self, slab: Slab) -> Result<RegisteredSlab, SetupError> {
        let (registered, refused) = self.register_slab_or_plain(slab)?;
        refused.map_or(Ok(registered), Err)
    }

    /// Registers a slab, or, where the kernel refuses, goes on with the same memory unregistered: operations on it work
    /// all the same and pin its pages one by one. The second value says why.
    ///
    /// # Errors
    /// Only in a forked child.
    pub fn register_slab_or_plain(
        &self,
        slab: Slab,
    ) -> Result<(RegisteredSlab, Option<SetupError>), SetupError> {
        self.check()
            .map_err(|error| error.explain("registering buffers"))?;
        let mut inner = self.state.borrow_mut();
        inner.take_back();
        let registry = Arc::clone(&inner.registry);
        let slots = inner.backend_mut().buffer_slots();
        let (start, len) = slab.region();
        let taken = registry.take_buffer(slots, Box::new(slab.clone()));
        let outcome =
            match taken {
                None => Err(Error::of(ErrorKind::WouldBlock)
                    .explain("every slot for buffers is used: unregister a slab")),
                Some(index) => {
                    let range = libc::iovec {
                        iov_base: start.as_ptr().cast(),
                        iov_len: len,
                    };
                    // SAFETY: the registry keeps the slab until the slot is emptied, and its region never moves.
                    let done = unsafe { inner.backend_mut().set_buffer(index, Some(range)) };
                    let done = done.map_err(|error| refusal(error.into(), len));
                    if done.is_err() {
                        drop(registry.give_buffer_back(index));
                    }
                    done.map(|()| index)
                }
            };
        let (registration, refused) = match outcome {
            Ok(index) => (Some(Registration { ring: self.id, index }), None),
            Err(refused) => (None, Some(refused)),
        };
        let shared = Shared {
            slab,
            registration,
            registry,
            closed: AtomicBool::new(false),
        };
        let registered = RegisteredSlab {
            shared: Arc::new(shared),
        };
        Ok((registered, refused))
    }

    /// Registers a slab with every ring of a list, or with none: one handle for each, in their order. A lease is good for
    /// the ring of the handle that it came from; the slots are the same.
    ///
    /// # Errors
    /// With the ring that refused.
    pub fn register_slab_on(
        rings: &[&Core],
        slab: &Slab,
    ) -> Result<Vec<RegisteredSlab>, RefusedBy<BoxedError<ErrorKind>>> {
        let mut registered = Vec::with_capacity(rings.len());
        for (at, ring) in rings.iter().enumerate() {
            match ring.register_slab(slab.clone()) {
                Ok(handle) => registered.push(handle),
                Err(error) => {
                    drop(registered);
                    for earlier in &rings[..at] {
                        earlier.state.borrow_mut().take_back();
                    }
                    let error = error.into();
                    return Err(RefusedBy { ring: at, error });
                }
            }
        }
        Ok(registered)
    }

    /// Ends the leasing of a slab. `true` when the kernel has let go of the memory; `false` when that is put off until
    /// what is in flight on it, the last lease and the last clone of the handle are gone.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for another ring's slab.
    pub fn unregister_slab(&self, slab: RegisteredSlab) -> Result<bool, Error> {
        self.check()?;
        let Some(registration) = slab.shared.registration else {
            return Ok(true);
        };
        if registration.ring != self.id {
            return Err(Error::of_another_ring());
        }
        // Relaxed: as in `lease`.
        slab.shared.closed.store(true, Ordering::Relaxed);
        drop(slab);
        let mut inner = self.state.borrow_mut();
        inner.take_back();
        Ok(!inner.registry.keeps_buffer(registration.index))
    }

    /// Counts the registered slabs, those included whose end is put off.
    pub fn slabs_held(&self) -> usize {
        self.state.borrow_mut().take_back();
        self.state.borrow().registry.buffers_held()
    }
}

/// Tells a refusal with the limit behind it.
fn refusal(error: Error, bytes: usize) -> SetupError {
    let limit = Limits::read()
        .memlock_bytes
        .filter(|_| error.errno() == libc::ENOMEM);
    let Some(limit) = limit else {
        return error.explain("registering buffers");
    };
    let told = SetupError::new(
        error.kind(),
        format_args!(
            "registering {bytes} bytes of buffers: RLIMIT_MEMLOCK is {limit} bytes: raise it (`ulimit -l`, or \
             `LimitMEMLOCK=` in the service file), or go on with plain buffers"
        ),
    );
    match inline_error::Errno::new(error.errno()) {
        Some(errno) => told.with_errno(errno),
        None => told,
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
        self.shared.registration
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
