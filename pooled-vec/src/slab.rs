//! A slab is one region of equal aligned slots, registered with the kernel once and leased slot by slot.
//!
//! # States
//! A slot is *free* (its bit is set) or *leased* (its bit is clear, one [`SlabBuf`] names it).
//!
//! # Invariants
//! - S1: at most one `SlabBuf` names a slot: free -> leased is a read-modify-write that saw the bit set.
//! - S2: the region lives until the last lease is gone: each holds the slab.
//!
//! # Orderings
//! | access | order | pairs with |
//! |---|---|---|
//! | `claim` fetch-and | Acquire | the Release in `SlabBuf::drop`: the next lessee comes after all the last one did |
//! | `SlabBuf::drop` fetch-or | Release | the Acquire in `claim` |

use crate::aligned::AlignedOptions;
use crate::depot::home;
use crate::{AlignedBuf, BufferError};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use sync_base::CachePadded;
use sync_base::atomic::{AtomicU64, Ordering};
use sync_base::sync::Arc;

const BITS: usize = 64;

/// Equal aligned slots in one region. Clones share it.
///
/// `uring-core` registers [`region`](Self::region) as one buffer and addresses slots by their offset.
///
/// ```
/// use pooled_vec::{AlignedOptions, Slab};
/// let slab = Slab::new(8, 4096, AlignedOptions::new())?;
/// let mut slot = slab.claim().expect("eight are free");
/// slot[..2].copy_from_slice(b"ok");
/// assert_eq!((slot.len(), slot.offset() % 4096, slab.available()), (4096, 0, 7));
/// drop(slot);
/// assert_eq!(slab.available(), 8);
/// # Ok::<(), pooled_vec::BufferError>(())
/// ```
#[derive(Clone)]
pub struct Slab {
    inner: Arc<Inner>,
}

struct Inner {
    memory: AlignedBuf,
    slot_bytes: usize,
    stride: usize,
    free: Box<[CachePadded<AtomicU64>]>,
    generations: Box<[AtomicU64]>,
}

/// A slot leased from a [`Slab`], given back on drop, on whichever thread that is.
pub struct SlabBuf {
    slab: Slab,
    index: usize,
}

impl Slab {
    /// Allocates `slots` zeroed slots of `slot_bytes` each, every one at the alignment of `options`.
    ///
    /// # Errors
    /// As [`AlignedOptions::allocate`], for the region as a whole.
    pub fn new(slots: usize, slot_bytes: usize, options: AlignedOptions) -> Result<Self, BufferError> {
        let stride = slot_bytes.max(1).checked_next_multiple_of(options.alignment());
        let bytes = stride
            .and_then(|stride| stride.checked_mul(slots))
            .unwrap_or(usize::MAX);
        let memory = options.allocate(bytes)?;
        let free = |word: usize| match slots - word * BITS {
            left if left >= BITS => u64::MAX,
            left => (1 << left) - 1,
        };
        Ok(Self {
            inner: Arc::new(Inner {
                memory,
                slot_bytes,
                stride: stride.unwrap_or(1),
                free: (0..slots.div_ceil(BITS))
                    .map(|word| CachePadded::new(AtomicU64::new(free(word))))
                    .collect(),
                generations: (0..slots).map(|_| AtomicU64::new(0)).collect(),
            }),
        })
    }

    /// Leases a free slot; `None` when all are leased. Lock-free, O(slots / 64), no allocation.
    ///
    /// The slot holds what its last lessee left there.
    pub fn claim(&self) -> Option<SlabBuf> {
        let words = self.inner.free.len();
        let first = home(words.max(1));
        for turn in 0..words {
            let at = (first + turn) % words;
            let word = &self.inner.free[at];
            // Relaxed: a glance; the read-modify-write below decides.
            let mut free = word.load(Ordering::Relaxed);
            while free != 0 {
                let bit = free & free.wrapping_neg();
                // Acquire: pairs with the Release in `SlabBuf::drop`; the lease comes after the last one's end.
                free = word.fetch_and(!bit, Ordering::Acquire);
                if free & bit != 0 {
                    return Some(SlabBuf {
                        slab: self.clone(),
                        index: at * BITS + bit.trailing_zeros() as usize,
                    });
                }
            }
        }
        None
    }

    /// The slots that are free now; others may change that at once. O(slots / 64).
    pub fn available(&self) -> usize {
        let words = self.inner.free.iter();
        // Relaxed: a reading for statistics.
        words
            .map(|word| word.load(Ordering::Relaxed).count_ones() as usize)
            .sum()
    }

    /// How many slots there are.
    #[inline]
    pub fn slots(&self) -> usize {
        self.inner.generations.len()
    }

    /// Bytes of each slot.
    #[inline]
    pub fn slot_bytes(&self) -> usize {
        self.inner.slot_bytes
    }

    /// The whole region, to register with the kernel: its first byte and its length. Valid as long as the slab and
    /// every lease of it.
    #[inline]
    pub fn region(&self) -> (NonNull<u8>, usize) {
        (self.inner.memory.as_non_null(), self.inner.memory.len())
    }
}

impl fmt::Debug for Slab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slab")
            .field("slots", &self.slots())
            .field("slot_bytes", &self.slot_bytes())
            .field("available", &self.available())
            .finish()
    }
}

impl SlabBuf {
    /// The number of the slot in its slab.
    #[inline]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Bytes from the beginning of the region to the slot.
    #[inline]
    pub fn offset(&self) -> usize {
        self.index * self.slab.inner.stride
    }

    /// The slab that the slot is leased from.
    #[inline]
    pub fn slab(&self) -> &Slab {
        &self.slab
    }

    /// The first byte. Valid as long as the lease.
    pub fn as_non_null(&self) -> NonNull<u8> {
        // SAFETY: the slot lies within the region.
        unsafe { self.slab.inner.memory.as_non_null().add(self.offset()) }
    }

    /// The slot's counter of kernel turns, which outlives the lease.
    pub(crate) fn generation(&self) -> &AtomicU64 {
        &self.slab.inner.generations[self.index]
    }
}

impl Drop for SlabBuf {
    fn drop(&mut self) {
        let bit = 1 << (self.index % BITS);
        let word = &self.slab.inner.free[self.index / BITS];
        // Release: pairs with the Acquire in `Slab::claim`; all that was done with the slot comes before its next lease.
        let was = word.fetch_or(bit, Ordering::Release);
        debug_assert_eq!(was & bit, 0, "S1: a slot is given back by its one lessee");
    }
}

impl Deref for SlabBuf {
    type Target = [u8];
    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: S1: the slot is this lease's alone; the region is initialised.
        unsafe { std::slice::from_raw_parts(self.as_non_null().as_ptr(), self.slab.inner.slot_bytes) }
    }
}

impl DerefMut for SlabBuf {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `&mut self` is the only borrow.
        unsafe { std::slice::from_raw_parts_mut(self.as_non_null().as_ptr(), self.slab.inner.slot_bytes) }
    }
}

impl fmt::Debug for SlabBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlabBuf")
            .field("index", &self.index)
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
