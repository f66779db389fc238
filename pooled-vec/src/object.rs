//! A pool of objects that are made once and used again and again.

use crate::PoolStats;
use crate::block::{Block, LINK_BYTES};
use crate::config::{CLASSES_MAX, PER_THREAD_MAX, Sizes};
use crate::pool::{self, cpus};
use crate::shard::Rules;
use crate::table::{self, Id, POOLS_MAX, Tag};
use crate::tally::Tally;
use crate::{BufferError, cache};
use std::fmt;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// A pool of objects: events, operation records, parsers, arenas.
///
/// The same two levels as [`Pool`](crate::Pool): a cache of each thread's own without atomics, and shards behind it, so
/// that an object dropped on another thread comes back into use. An object keeps what it owns (the capacity of its
/// vectors, say) between uses: `reset` runs when it is dropped and makes it fit for the next user.
///
/// ```
/// use pooled_vec::ObjectPool;
/// let events = ObjectPool::new(Vec::<u64>::new, |event| event.clear());
/// let mut event = events.get();
/// event.push(7);
/// drop(event);
/// let event = events.get(); // the same vector, empty, its memory kept
/// assert!(event.is_empty() && event.capacity() > 0);
/// ```
pub struct ObjectPool<T: Send + 'static> {
    id: Id,
    make: fn() -> T,
    reset: fn(&mut T),
    idle_max: usize,
}

/// An object of an [`ObjectPool`], given back on drop, on whichever thread that is. One pointer.
pub struct Pooled<T: Send + 'static> {
    node: NonNull<Node<T>>,
    owns: PhantomData<T>,
}

/// An object with what it needs to find its way back. While it is idle the links lie where `links` is.
#[repr(C)]
struct Node<T> {
    links: MaybeUninit<[u8; LINK_BYTES]>,
    tag: Tag,
    reset: fn(&mut T),
    value: T,
}

// SAFETY: a `Pooled` owns its object as a `Box` does.
unsafe impl<T: Send + 'static> Send for Pooled<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync + 'static> Sync for Pooled<T> {}

/// Drops an object for good.
///
/// # Safety
/// The block is a node of this type, and nobody's afterwards.
unsafe fn free_object<T>(block: Block) {
    // SAFETY: nodes are made by `Box::new` and disposed of once.
    drop(unsafe { Box::from_raw(block.ptr.as_ptr().cast::<Node<T>>()) });
}

fn block_of<T>(node: NonNull<Node<T>>) -> Block {
    Block {
        ptr: node.cast(),
        size: size_of::<Node<T>>(),
    }
}

impl<T: Send + 'static> ObjectPool<T> {
    /// Makes a pool that keeps up to 16 idle objects a thread and 4,096 in all.
    ///
    /// # Panics
    /// When the process has 4,096 pools already; see [`try_with_limits`](Self::try_with_limits).
    pub fn new(make: fn() -> T, reset: fn(&mut T)) -> Self {
        match Self::try_with_limits(make, reset, 16, 4096) {
            Ok(pool) => pool,
            Err(error) => panic!("{error}"),
        }
    }

    /// Makes a pool that keeps up to `per_thread` idle objects a thread (an even number is rounded down) and `idle_max`
    /// in all.
    ///
    /// # Errors
    /// [`BufferError::TooManyPools`] when the process has 4,096 already.
    ///
    /// # Panics
    /// Unless `per_thread` is 2 to 4096.
    pub fn try_with_limits(
        make: fn() -> T,
        reset: fn(&mut T),
        per_thread: usize,
        idle_max: usize,
    ) -> Result<Self, BufferError> {
        assert!(
            (2..=PER_THREAD_MAX).contains(&per_thread),
            "a thread keeps 2 to 4096 objects"
        );
        let size = size_of::<Node<T>>();
        let mut bytes = [usize::MAX; CLASSES_MAX];
        bytes[0] = size;
        let rules = Rules {
            sizes: Sizes { bytes, len: 1 },
            first_class: Some(0),
            kept_bytes_max: size,
            idle_bytes_max: size.saturating_mul(idle_max),
            half: pool::half(per_thread),
            hand: pool::hand(per_thread),
            free: free_object::<T>,
        };
        let id = table::open(rules, cpus()).ok_or(BufferError::TooManyPools { max: POOLS_MAX })?;
        Ok(Self {
            id,
            make,
            reset,
            idle_max,
        })
    }

    /// Gets an object: an idle one as `reset` left it, or a new one of `make`. Allocates only for a new one.
    #[inline]
    pub fn get(&self) -> Pooled<T> {
        match cache::get(Tag::new(self.id, 0), free_object::<T>) {
            Some(block) => Pooled {
                node: block.ptr.cast(),
                owns: PhantomData,
            },
            None => self.fresh(),
        }
    }

    #[cold]
    #[inline(never)]
    fn fresh(&self) -> Pooled<T> {
        Tally::count(&self.id.depot().tally().allocations);
        let node = Box::new(Node {
            links: MaybeUninit::uninit(),
            tag: Tag::new(self.id, 0),
            reset: self.reset,
            value: (self.make)(),
        });
        Pooled {
            node: NonNull::from(Box::leak(node)),
            owns: PhantomData,
        }
    }

    /// Gives what this thread keeps for this pool back to the shards. A thread does this by itself when it ends.
    pub fn flush(&self) {
        cache::flush(self.id);
    }

    /// Drops what lies idle in the shards and in this thread's cache; what other threads keep stays with them.
    pub fn trim(&self) {
        self.flush();
        // SAFETY: taken out of the shards just now; the pool's blocks are nodes of `T`.
        self.id.depot().take_all(self.id.generation(), |chain| unsafe {
            chain.free(free_object::<T>)
        });
    }

    /// Reads what the pool has done and holds; an object counts with its own size, not with what it points to.
    #[inline]
    pub fn stats(&self) -> PoolStats {
        pool::stats(self.id, size_of::<Node<T>>().saturating_mul(self.idle_max))
    }
}

impl<T: Send + 'static> Drop for ObjectPool<T> {
    fn drop(&mut self) {
        // Closed even if an object's destructor panics in the flush.
        struct Close(Id);
        impl Drop for Close {
            fn drop(&mut self) {
                // SAFETY: opened by `try_with_limits`, and dropped once.
                unsafe { table::close(self.0) };
            }
        }
        let _close = Close(self.id);
        cache::flush(self.id);
    }
}

impl<T: Send + 'static> fmt::Debug for ObjectPool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectPool")
            .field("stats", &self.stats())
            .finish()
    }
}

impl<T: Send + 'static> Pooled<T> {
    /// Takes the object out of the pool, for good.
    pub fn into_inner(this: Self) -> T {
        let this = ManuallyDrop::new(this);
        // SAFETY: made by `Box::new`, and `this` is not dropped.
        let node = unsafe { Box::from_raw(this.node.as_ptr()) };
        node.value
    }
}

impl<T: Send + 'static> Drop for Pooled<T> {
    #[inline]
    fn drop(&mut self) {
        /// Drops the object for good if `reset` panics.
        struct Spoilt<T>(NonNull<Node<T>>);
        impl<T> Drop for Spoilt<T> {
            fn drop(&mut self) {
                // SAFETY: the object is the dropped handle's, and returned to nobody.
                unsafe { free_object::<T>(block_of(self.0)) };
            }
        }
        let spoilt = Spoilt(self.node);
        // SAFETY: the handle owns the node.
        let node = unsafe { self.node.as_mut() };
        let (tag, reset) = (node.tag, node.reset);
        reset(&mut node.value);
        std::mem::forget(spoilt);
        // SAFETY: the handle's node, which nobody reaches after this.
        unsafe { cache::put(tag, block_of(self.node), free_object::<T>) };
    }
}

impl<T: Send + 'static> Deref for Pooled<T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the handle owns the node.
        unsafe { &(*self.node.as_ptr()).value }
    }
}

impl<T: Send + 'static> DerefMut for Pooled<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and `&mut self` is the only borrow.
        unsafe { &mut (*self.node.as_ptr()).value }
    }
}

impl<T: Send + fmt::Debug + 'static> fmt::Debug for Pooled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// A handle is one pointer, and so is an `Option` of one.
const _: () = assert!(size_of::<Option<Pooled<u64>>>() == size_of::<*const ()>());
