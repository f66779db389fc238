//! An arena holds what one request allocates and forgets it all at once.

use crate::{BufferError, ObjectPool, Pooled};
use bumpalo::Bump;
use std::cell::Cell;
use std::fmt;

/// Memory for one request: allocation is an addition, and `reset` frees everything in O(1), keeping the largest chunk
/// for the next request.
///
/// Nothing in it is ever dropped, so it takes only types without a destructor; anything else does not compile:
///
/// ```
/// use pooled_vec::Arena;
/// let arena = Arena::new();
/// let method: &mut str = arena.alloc_str("sum");
/// let params: &mut [u32] = arena.alloc_slice(&[1, 2, 3]);
/// assert_eq!((&*method, params.iter().sum()), ("sum", 6));
/// ```
///
/// ```compile_fail,E0080
/// let arena = pooled_vec::Arena::new();
/// arena.alloc(String::from("its heap memory would leak"));
/// ```
///
/// What it hands out cannot outlive it; `c13_result_does_not_outlive_the_arena` does not compile:
///
/// ```compile_fail,E0597
/// let escaped: &str = {
///     let arena = pooled_vec::Arena::new();
///     arena.alloc_str("gone")
/// };
/// println!("{escaped}");
/// ```
///
/// nor a reset:
///
/// ```compile_fail,E0502
/// let mut arena = pooled_vec::Arena::new();
/// let text = arena.alloc_str("gone");
/// arena.reset();
/// println!("{text}");
/// ```
///
/// ```
/// let mut arena = pooled_vec::Arena::new();
/// let text = arena.alloc_str("used before the reset");
/// assert_eq!(text.len(), 21);
/// arena.reset();
/// ```
pub struct Arena {
    bump: Bump,
    limit: usize,
    /// Bytes that may still be handed out.
    left: Cell<usize>,
}

impl Default for Arena {
    fn default() -> Self {
        Self::limited(usize::MAX)
    }
}

impl Arena {
    /// Makes an empty arena. Does not allocate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes an empty arena that hands out at most `bytes` between resets: what one request may take. Does not allocate.
    ///
    /// The values count, with their own size; what the arena has from the allocator may be about twice as much, since its
    /// chunks double.
    ///
    /// ```
    /// let arena = pooled_vec::Arena::limited(4096);
    /// arena.alloc_slice(&[0u8; 4000]);
    /// let error = arena.try_alloc_slice(&[0u8; 97]).unwrap_err();
    /// assert!(error.to_string().contains("limit of 4096 bytes"));
    /// ```
    pub fn limited(bytes: usize) -> Self {
        Self {
            bump: Bump::new(),
            limit: bytes,
            left: Cell::new(bytes),
        }
    }

    /// Counts what is about to be handed out.
    #[inline]
    fn count(&self, bytes: usize) -> Result<(), BufferError> {
        let left = self.left.get();
        let Some(after) = left.checked_sub(bytes) else {
            let limit = self.limit;
            return Err(BufferError::ArenaFull { bytes, left, limit });
        };
        self.left.set(after);
        Ok(())
    }

    /// The same for a caller who takes no refusal.
    #[inline]
    fn must_count(&self, bytes: usize) {
        if let Err(error) = self.count(bytes) {
            panic!("{error}");
        }
    }

    /// Moves a value in.
    ///
    /// # Panics
    /// When memory or the limit does not allow it.
    #[inline]
    pub fn alloc<T>(&self, value: T) -> &mut T {
        const {
            assert!(
                !std::mem::needs_drop::<T>(),
                "an arena drops nothing: only plain data"
            )
        };
        self.must_count(size_of::<T>());
        self.bump.alloc(value)
    }

    /// Copies a slice in.
    ///
    /// # Panics
    /// When memory or the limit does not allow it.
    #[inline]
    pub fn alloc_slice<T: Copy>(&self, values: &[T]) -> &mut [T] {
        self.must_count(size_of_val(values));
        self.bump.alloc_slice_copy(values)
    }

    /// Copies a slice in, or says why not.
    ///
    /// # Errors
    /// [`BufferError::ArenaFull`] when the limit does not allow it, [`BufferError::AllocationFailed`] when there is no memory.
    pub fn try_alloc_slice<T: Copy>(&self, values: &[T]) -> Result<&mut [T], BufferError> {
        let bytes = size_of_val(values);
        self.count(bytes)?;
        self.bump.try_alloc_slice_copy(values).map_err(|_| {
            self.left.set(self.left.get() + bytes);
            BufferError::AllocationFailed { bytes, errno: 0 }
        })
    }

    /// Copies a string in.
    ///
    /// # Panics
    /// When memory or the limit does not allow it.
    #[inline]
    pub fn alloc_str(&self, text: &str) -> &mut str {
        self.must_count(text.len());
        self.bump.alloc_str(text)
    }

    /// Forgets everything in O(chunks) and keeps the largest chunk.
    pub fn reset(&mut self) {
        self.bump.reset();
        self.left.set(self.limit);
    }

    /// Bytes that the arena has from the allocator.
    #[inline]
    pub fn footprint_bytes(&self) -> usize {
        self.bump.allocated_bytes()
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arena")
            .field("footprint_bytes", &self.footprint_bytes())
            .finish()
    }
}

/// The chunk that an idle arena keeps at most: one large request does not hold its memory for ever.
const KEPT_BYTES_MAX: usize = 256 * 1024;

/// Arenas that are used by request after request.
///
/// ```
/// use pooled_vec::ArenaPool;
/// let arenas = ArenaPool::new();
/// for request in 0..3 {
///     let arena = arenas.get();
///     assert_eq!(arena.alloc(request), &request);
/// } // reset, and back to this thread's cache
/// assert_eq!(arenas.stats().allocations, 1);
/// ```
#[derive(Debug)]
pub struct ArenaPool {
    arenas: ObjectPool<Arena>,
}

impl ArenaPool {
    /// Makes a pool of arenas. An idle one keeps a chunk of up to 256 KiB.
    ///
    /// # Panics
    /// As [`ObjectPool::new`].
    pub fn new() -> Self {
        Self {
            arenas: ObjectPool::new(Arena::new, |arena| {
                arena.reset();
                if arena.footprint_bytes() > KEPT_BYTES_MAX {
                    *arena = Arena::new();
                }
            }),
        }
    }

    /// Gets an empty arena, reset when it is dropped.
    #[inline]
    pub fn get(&self) -> Pooled<Arena> {
        self.arenas.get()
    }

    /// Reads what the pool has done; arenas count without their chunks.
    #[inline]
    pub fn stats(&self) -> crate::PoolStats {
        self.arenas.stats()
    }
}

impl Default for ArenaPool {
    fn default() -> Self {
        Self::new()
    }
}
