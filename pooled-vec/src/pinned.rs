//! A pinned buffer is either ours or the kernel's, and which of the two is its type.
//!
//! The memory never moves. While it is the kernel's, the value has no way to reach the bytes and no way to free them:
//! reading would be a race that no tool sees, freeing would let the kernel write into somebody else's memory. Dropping
//! it then leaks it, and [`leaked_bytes`] says so.

use crate::{AlignedBuf, BufferError, SlabBuf};
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use sync_base::atomic::{AtomicUsize, Ordering};

mod sealed {
    pub trait Sealed {}
}

/// Whose turn it is with a [`PinnedBuf`]: [`Available`] or [`InKernel`].
pub trait Turn: sealed::Sealed + 'static {
    /// Whether the kernel may touch the memory.
    const IN_USE: bool;
}

/// The buffer is ours: it can be read, written and freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Available {}

/// The buffer is the kernel's: it can only be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InKernel {}

impl sealed::Sealed for Available {}
impl sealed::Sealed for InKernel {}

impl Turn for Available {
    const IN_USE: bool = false;
}

impl Turn for InKernel {
    const IN_USE: bool = true;
}

/// Memory that does not move, with the turn in its type and a count of the turns.
///
/// ```
/// use pooled_vec::{AlignedBuf, PinnedBuf};
/// let mut buffer = PinnedBuf::from(AlignedBuf::new(4096)?);
/// buffer[..5].copy_from_slice(b"bytes");
/// let lent = buffer.lend(); // into the operation table, beside the queued operation
/// assert!(lent.is_in_use() && !lent.is_available());
/// let turn = lent.generation();
/// // SAFETY: nothing was submitted, so the kernel has no claim on it.
/// let buffer = unsafe { lent.reclaim_turn(turn) }.expect("it is this turn");
/// assert_eq!(&buffer[..5], b"bytes");
/// # Ok::<(), pooled_vec::BufferError>(())
/// ```
///
/// The kernel's turn is another type, without the bytes:
///
/// ```compile_fail,E0608
/// # use pooled_vec::{AlignedBuf, PinnedBuf};
/// let lent = PinnedBuf::from(AlignedBuf::new(4096).unwrap()).lend();
/// let first = lent[0];
/// ```
#[must_use = "a buffer of the kernel's that is dropped is leaked"]
pub struct PinnedBuf<T: Turn = Available> {
    memory: ManuallyDrop<Memory>,
    generation: u64,
    turn: PhantomData<T>,
}

#[derive(Debug)]
enum Memory {
    Own(AlignedBuf),
    Slot(SlabBuf),
}

impl Memory {
    fn ptr(&self) -> NonNull<u8> {
        match self {
            Self::Own(buffer) => buffer.as_non_null(),
            Self::Slot(slot) => slot.as_non_null(),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Own(buffer) => buffer.len(),
            Self::Slot(slot) => slot.len(),
        }
    }
}

sync_base::global! {
    static LEAKED: AtomicUsize = AtomicUsize::new(0);
}

/// Bytes leaked so far by dropping buffers in the kernel's turn. Anything but zero is a defect of the caller's.
pub fn leaked_bytes() -> usize {
    // Relaxed: a tally publishes nothing.
    LEAKED.load(Ordering::Relaxed)
}

impl From<AlignedBuf> for PinnedBuf {
    fn from(buffer: AlignedBuf) -> Self {
        Self::of(Memory::Own(buffer), 0)
    }
}

/// The count of turns goes on from the slot's last lease.
impl From<SlabBuf> for PinnedBuf {
    fn from(slot: SlabBuf) -> Self {
        // Relaxed: leasing the slot ordered this after the last lessee's store.
        let generation = slot.generation().load(Ordering::Relaxed);
        Self::of(Memory::Slot(slot), generation)
    }
}

impl PinnedBuf {
    /// Allocates a buffer of its own, of `bytes` zeroed bytes at a multiple of 4096.
    ///
    /// # Errors
    /// As [`AlignedOptions::allocate`](crate::AlignedOptions::allocate).
    pub fn new(bytes: usize) -> Result<Self, BufferError> {
        AlignedBuf::new(bytes).map(Self::from)
    }

    /// Begins the kernel's turn: counts it, and gives up every way to the bytes.
    pub fn lend(self) -> PinnedBuf<InKernel> {
        let generation = self.generation + 1;
        if let Memory::Slot(slot) = &*self.memory {
            // Relaxed: giving the slot back publishes it to the next lessee.
            slot.generation().store(generation, Ordering::Relaxed);
        }
        PinnedBuf::of(self.into_memory(), generation)
    }
}

impl PinnedBuf<InKernel> {
    /// Ends the kernel's turn.
    ///
    /// # Safety
    /// The kernel is done with the memory: the last completion of every operation on it was seen, or none was submitted.
    pub unsafe fn reclaim(self) -> PinnedBuf {
        let generation = self.generation;
        PinnedBuf::of(self.into_memory(), generation)
    }

    /// Ends the kernel's turn number `generation`. A completion of an earlier turn ends nothing: it gets the buffer back
    /// as it was.
    ///
    /// # Errors
    /// The buffer, still the kernel's, when this is another turn.
    ///
    /// # Safety
    /// As [`reclaim`](Self::reclaim), for that turn.
    pub unsafe fn reclaim_turn(self, generation: u64) -> Result<PinnedBuf, Self> {
        if self.generation != generation {
            return Err(self);
        }
        // SAFETY: passed on.
        Ok(unsafe { self.reclaim() })
    }
}

impl<T: Turn> PinnedBuf<T> {
    fn of(memory: Memory, generation: u64) -> Self {
        Self {
            memory: ManuallyDrop::new(memory),
            generation,
            turn: PhantomData,
        }
    }

    fn into_memory(self) -> Memory {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `this` is not dropped, so the memory is taken once.
        unsafe { ManuallyDrop::take(&mut this.memory) }
    }

    /// How many turns the kernel has had, the present one counted.
    #[inline]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether it is the kernel's turn.
    #[inline]
    pub fn is_in_use(&self) -> bool {
        T::IN_USE
    }

    /// Whether the buffer is ours.
    #[inline]
    pub fn is_available(&self) -> bool {
        !T::IN_USE
    }

    /// The first byte: the address to submit. It is the same for the life of the buffer.
    #[inline]
    pub fn as_non_null(&self) -> NonNull<u8> {
        self.memory.ptr()
    }

    /// Bytes of the buffer.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a length to submit; the slice has `is_empty`"
    )]
    #[inline]
    pub fn len(&self) -> usize {
        self.memory.len()
    }

    /// The slot that the buffer is, if it is one: its number and its offset in the slab's region.
    pub fn slot(&self) -> Option<(usize, usize)> {
        match &*self.memory {
            Memory::Own(_) => None,
            Memory::Slot(slot) => Some((slot.index(), slot.offset())),
        }
    }
}

impl<T: Turn> Drop for PinnedBuf<T> {
    fn drop(&mut self) {
        if T::IN_USE {
            // Relaxed: a tally publishes nothing.
            LEAKED.fetch_add(self.memory.len(), Ordering::Relaxed);
            return;
        }
        // SAFETY: ours, and dropped once.
        unsafe { ManuallyDrop::drop(&mut self.memory) };
    }
}

impl Deref for PinnedBuf {
    type Target = [u8];
    #[inline]
    fn deref(&self) -> &[u8] {
        match &*self.memory {
            Memory::Own(buffer) => buffer,
            Memory::Slot(slot) => slot,
        }
    }
}

impl DerefMut for PinnedBuf {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        match &mut *self.memory {
            Memory::Own(buffer) => buffer,
            Memory::Slot(slot) => slot,
        }
    }
}

impl<T: Turn> fmt::Debug for PinnedBuf<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PinnedBuf")
            .field("len", &self.len())
            .field("generation", &self.generation)
            .field("in_use", &T::IN_USE)
            .finish_non_exhaustive()
    }
}
