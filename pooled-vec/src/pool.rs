//! A pool of byte buffers: its classes, and the way from the thread's cache to the allocator.

use crate::block::Block;
use crate::config::{PoolConfig, SHARDS_MAX};
use crate::shard::{self, Rules};
use crate::table::{self, Id, POOLS_MAX, Tag};
use crate::tally::Tally;
use crate::{BufferError, PooledVec, cache};
use std::fmt;
use std::mem::ManuallyDrop;
use std::ptr;
use sync_base::atomic::{AtomicPtr, AtomicU64, Ordering};
use sync_base::cell::UnsafeCell;

/// A pool of byte buffers in size classes.
///
/// Getting and dropping a buffer touches only the thread's own cache, without an atomic operation, except once in
/// `per_thread / 2` operations at most, when a batch moves between the cache and the shards. A buffer may be dropped on
/// any thread, at any time, even after the pool: memory whose pool is gone goes back to the allocator.
///
/// A pool is `Sync`: share it by reference or in an `Arc`. A process has up to 4,096 at one time, besides the global one; a thread caches for
/// eight of them at one time, and pools beyond that drive each other's buffers out of the cache.
///
/// ```
/// use pooled_vec::{Pool, PoolConfig};
/// let pool = Pool::new(PoolConfig::new());
/// let mut buffer = pool.with_capacity(600);
/// buffer.extend_from_slice(b"anything a Vec<u8> does");
/// assert_eq!(buffer.capacity(), 4096); // the class that holds 600
/// let address = buffer.as_ptr();
/// drop(buffer);
/// assert_eq!(pool.with_capacity(4000).as_ptr(), address); // the same memory
/// ```
pub struct Pool {
    id: Id,
    config: PoolConfig,
    first_class: Option<usize>,
}

/// What a pool has done and holds. Readings of one moment each, not of one moment together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// Bytes that lie idle, or that threads have reserved room for. Never above `idle_bytes_max`.
    pub idle_bytes: usize,
    /// The bound that the pool was made with.
    pub idle_bytes_max: usize,
    /// Shards of the second level.
    pub shards: usize,
    /// Buffers that came from the allocator: each is one call of it.
    pub allocations: u64,
    /// Batches that came to a thread from the shard of its CPU.
    pub refills: u64,
    /// Batches that came to a thread from another CPU's shard.
    pub steals: u64,
    /// Batches that threads handed to the shards.
    pub spills: u64,
    /// Buffers that were freed because the pool was full.
    pub refusals: u64,
    /// Gets that found every shard with a batch held by other threads, waited some microseconds and went to the
    /// allocator instead: part of `allocations`.
    pub contended: u64,
}

/// Frees a block that is a byte buffer.
///
/// # Safety
/// The block came from [`into_block`] and is nobody's afterwards.
unsafe fn free_bytes(block: Block) {
    // SAFETY: that many bytes came from a `Vec<u8>` of this capacity.
    drop(unsafe { from_block(block) });
}

/// Makes an idle block an empty vector again.
///
/// # Safety
/// As for [`free_bytes`].
#[inline(always)]
unsafe fn from_block(block: Block) -> Vec<u8> {
    // SAFETY: the pointer and the capacity are those of the `Vec<u8>` that `into_block` took apart.
    unsafe { Vec::from_raw_parts(block.ptr.as_ptr(), 0, block.size) }
}

/// Returns a vector's memory to the pool that its tag names.
#[inline(always)]
pub(crate) fn recycle(tag: Tag, mut vec: Vec<u8>) {
    let size = vec.capacity();
    let Some(ptr) = ptr::NonNull::new(vec.as_mut_ptr()) else {
        return;
    };
    std::mem::forget(vec);
    // SAFETY: taken apart just now, so nobody else's, or without memory; every pool of byte buffers disposes by
    // `free_bytes`.
    unsafe { cache::put(tag, Block { ptr, size }, free_bytes) }
}

/// Takes a buffer of the global pool's first class that this thread has at hand.
#[inline(always)]
pub(crate) fn first_at_hand() -> Option<PooledVec> {
    let block = cache::first_at_hand()?;
    // SAFETY: the global pool's blocks are byte buffers, and this one is nobody else's.
    let vec = unsafe { from_block(block) };
    Some(PooledVec::from_parts(vec, Tag::GLOBAL))
}

sync_base::global! {
    /// A cell that nobody writes to, so that a model sees the pool used before it was published.
    static GLOBAL: AtomicPtr<UnsafeCell<ManuallyDrop<Pool>>> = AtomicPtr::new(ptr::null_mut());
}

impl Pool {
    /// Makes a pool. Takes a lock that only the making of pools takes; allocates unless an earlier pool of as many
    /// shards is gone.
    ///
    /// # Panics
    /// When the process has 4,096 pools already; see [`try_new`](Self::try_new).
    pub fn new(config: PoolConfig) -> Self {
        match Self::try_new(config) {
            Ok(pool) => pool,
            Err(error) => panic!("{error}"),
        }
    }

    /// Makes a pool, or says why not.
    ///
    /// # Errors
    /// [`BufferError::TooManyPools`] when the process has 4,096 already.
    pub fn try_new(config: PoolConfig) -> Result<Self, BufferError> {
        let id = table::open(rules(&config), shards(&config));
        id.map(|id| Self::with_id(id, config))
            .ok_or(BufferError::TooManyPools { max: POOLS_MAX })
    }

    fn with_id(id: Id, config: PoolConfig) -> Self {
        Self {
            id,
            config,
            first_class: config.sizes.holding(config.first_capacity),
        }
    }

    /// The pool behind [`PooledVec::new`], made with [`PoolConfig::new`] unless [`set_global`](Self::set_global) came
    /// first. It lives as long as the process.
    pub fn global() -> &'static Self {
        if let Some(pool) = Self::published() {
            return pool;
        }
        let _ = Self::set_global(PoolConfig::new());
        loop {
            if let Some(pool) = Self::published() {
                return pool;
            }
            sync_base::thread::yield_now(); // Whoever opened it is about to publish it.
        }
    }

    #[inline]
    fn published() -> Option<&'static Self> {
        // Acquire: pairs with the Release in `set_global`; publishes the pool.
        let pool = GLOBAL.load(Ordering::Acquire);
        // SAFETY: null, or leaked by `set_global`.
        let pool = unsafe { pool.as_ref() }?;
        // SAFETY: nobody writes to the cell once it is published.
        Some(pool.with(|pool| unsafe { &**pool }))
    }

    /// Tunes the pool behind [`PooledVec::new`]. Call it before the first buffer is asked for.
    ///
    /// # Errors
    /// The configuration, unused, when that pool was made already.
    pub fn set_global(config: PoolConfig) -> Result<&'static Self, PoolConfig> {
        // Made first: an allocator that itself uses the global pool must not find it half made.
        let pool = Box::new(UnsafeCell::new(ManuallyDrop::new(Self::with_id(
            Id::GLOBAL,
            config,
        ))));
        if !table::open_global(rules(&config), shards(&config)) {
            return Err(config);
        }
        // Release: pairs with the Acquire in `published`; publishes the pool.
        GLOBAL.store(Box::into_raw(pool), Ordering::Release);
        Ok(Self::global())
    }

    /// Gets an empty buffer of the first capacity. Calls the allocator only when no idle buffer of the class is within
    /// reach.
    #[inline]
    pub fn get(&self) -> PooledVec {
        match self.first_class {
            Some(class) => self.get_class(class),
            None => self.with_capacity(self.config.first_capacity),
        }
    }

    /// Gets an empty buffer that holds at least `bytes`. Above the largest class it comes from the allocator, at
    /// the size asked for.
    ///
    /// # Panics
    /// When `bytes` exceeds `isize::MAX`, as a `Vec` does. Running out of memory aborts, as it does in a `Vec`.
    #[inline]
    pub fn with_capacity(&self, bytes: usize) -> PooledVec {
        match self.config.sizes.holding(bytes) {
            Some(class) => self.get_class(class),
            None => Self::wrap(self.fresh(bytes), Tag::new(self.id, 0)),
        }
    }

    /// Gets an empty buffer that holds at least `bytes`, or says why not.
    ///
    /// # Errors
    /// [`BufferError::SizeTooLarge`] above `isize::MAX`, [`BufferError::AllocationFailed`] when the allocator refuses.
    pub fn try_with_capacity(&self, bytes: usize) -> Result<PooledVec, BufferError> {
        let max = isize::MAX as usize;
        if bytes > max {
            return Err(BufferError::SizeTooLarge { bytes, max });
        }
        let class = self.config.sizes.holding(bytes);
        let tag = class.map_or(Tag::new(self.id, 0), |class| self.tag(class));
        if let Some(block) = class.and_then(|_| cache::get(tag, free_bytes)) {
            // SAFETY: as in `get_class`.
            return Ok(Self::wrap(unsafe { from_block(block) }, tag));
        }
        let bytes = class.map_or(bytes, |class| self.config.sizes.bytes[class]);
        let mut vec = Vec::new();
        Tally::count(&self.id.depot().tally().allocations);
        match vec.try_reserve_exact(bytes) {
            Ok(()) => Ok(Self::wrap(vec, tag)),
            Err(_) => Err(BufferError::AllocationFailed { bytes, errno: 0 }),
        }
    }

    /// Takes a vector in: its memory comes to this pool when the buffer is dropped, if it fits a class.
    pub fn adopt(&self, vec: Vec<u8>) -> PooledVec {
        Self::wrap(vec, Tag::new(self.id, 0))
    }

    /// Gives what this thread keeps for this pool back to the shards, where other threads find it. O(buffers kept).
    ///
    /// A thread does this by itself when it ends.
    pub fn flush(&self) {
        cache::flush(self.id);
    }

    /// Frees what lies idle in the shards and in this thread's cache. O(idle buffers).
    ///
    /// What other threads keep, at most `per_thread` buffers of each class, stays with them: nobody else may touch it.
    pub fn trim(&self) {
        self.flush();
        // SAFETY: taken out of the shards just now; the pool disposes by `free_bytes`.
        self.id
            .depot()
            .take_all(self.id.generation(), |chain| unsafe { chain.free(free_bytes) });
    }

    /// Reads what the pool has done and holds. Never blocks; O(shards).
    #[inline]
    pub fn stats(&self) -> PoolStats {
        stats(self.id, self.config.idle_bytes_max)
    }

    /// The configuration that the pool was made with.
    #[inline]
    pub fn config(&self) -> &PoolConfig {
        &self.config
    }

    #[inline(always)]
    fn get_class(&self, class: usize) -> PooledVec {
        let tag = self.tag(class);
        match cache::get(tag, free_bytes) {
            // SAFETY: the pool's blocks are byte buffers, and this one is nobody else's.
            Some(block) => Self::wrap(unsafe { from_block(block) }, tag),
            None => Self::wrap(self.fresh(self.config.sizes.bytes[class]), tag),
        }
    }

    /// What memory of a class carries.
    #[inline(always)]
    fn tag(&self, class: usize) -> Tag {
        Tag::new(self.id, shard::seat(self.first_class, class))
    }

    #[cold]
    #[inline(never)]
    fn fresh(&self, bytes: usize) -> Vec<u8> {
        Tally::count(&self.id.depot().tally().allocations);
        Vec::with_capacity(bytes)
    }

    #[inline(always)]
    fn wrap(vec: Vec<u8>, tag: Tag) -> PooledVec {
        PooledVec::from_parts(vec, tag)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        cache::flush(self.id);
        // SAFETY: opened by `try_new`, and dropped once; the global pool never is.
        unsafe { table::close(self.id) };
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("config", &self.config)
            .field("stats", &self.stats())
            .finish()
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self::new(PoolConfig::new())
    }
}

pub(crate) fn rules(config: &PoolConfig) -> Rules {
    Rules {
        sizes: config.sizes,
        first_class: config.sizes.holding(config.first_capacity),
        kept_bytes_max: config.kept_bytes_max,
        idle_bytes_max: config.idle_bytes_max,
        half: half(config.per_thread),
        hand: hand(config.per_thread),
        free: free_bytes,
    }
}

fn shards(config: &PoolConfig) -> usize {
    match config.shards {
        0 => cpus(),
        shards => shards,
    }
}

/// Blocks in each half of a thread's cache, of `per_thread` in all.
pub(crate) fn half(per_thread: usize) -> u32 {
    ((per_thread - 1) / 2).max(1) as u32
}

/// Whether there is one left to keep at hand.
pub(crate) fn hand(per_thread: usize) -> bool {
    2 * (half(per_thread) as usize) < per_thread
}

/// One shard a CPU.
pub(crate) fn cpus() -> usize {
    if cfg!(any(loom, shuttle)) {
        return 1; // A model explores what it asks for.
    }
    std::thread::available_parallelism().map_or(1, |cpus| cpus.get().min(SHARDS_MAX))
}

pub(crate) fn stats(id: Id, idle_bytes_max: usize) -> PoolStats {
    let depot = id.depot();
    let read = |event: fn(&Tally) -> &AtomicU64| {
        let events = depot.shards().iter().map(|shard| event(&shard.tally));
        // Relaxed: tallies, read one by one.
        events.map(|event| event.load(Ordering::Relaxed)).sum()
    };
    PoolStats {
        idle_bytes: depot.charged(),
        idle_bytes_max,
        shards: depot.shards().len(),
        allocations: read(|tally| &tally.allocations),
        refills: read(|tally| &tally.refills),
        steals: read(|tally| &tally.steals),
        spills: read(|tally| &tally.spills),
        refusals: read(|tally| &tally.refusals),
        contended: read(|tally| &tally.contended),
    }
}

/// Gets an empty buffer of at least `bytes` from the pool that `buffer` belongs to, if it lives.
#[cfg(feature = "zeroize")]
pub(crate) fn grown(buffer: &PooledVec, bytes: usize) -> PooledVec {
    let id = buffer.tag().id();
    let rules = id.depot().rules(id.generation());
    let class = rules.as_ref().and_then(|rules| rules.sizes.holding(bytes));
    let seat = rules
        .as_ref()
        .zip(class)
        .map_or(0, |(rules, class)| rules.seat(class));
    let tag = Tag::new(id, seat);
    if let Some(block) = class.and_then(|_| cache::get(tag, free_bytes)) {
        // SAFETY: the pool's blocks are byte buffers, and this one is nobody else's.
        return PooledVec::from_parts(unsafe { from_block(block) }, tag);
    }
    let bytes = match (rules, class) {
        (Some(rules), Some(class)) => rules.sizes.bytes[class],
        _ => bytes,
    };
    PooledVec::from_parts(Vec::with_capacity(bytes), tag)
}
