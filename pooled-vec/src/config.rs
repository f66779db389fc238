//! What a pool is tuned by, checked when it is written down.

use crate::block::LINK_BYTES;
use std::fmt;

/// The most size classes that a pool may have.
pub const CLASSES_MAX: usize = 8;
/// The smallest size of a class, in bytes.
pub const CLASS_BYTES_MIN: usize = 64;
/// The most shards of a pool's second level.
pub const SHARDS_MAX: usize = 256;
/// The most buffers of one class that a thread may keep.
pub const PER_THREAD_MAX: usize = 4096;

const _: () = assert!(LINK_BYTES <= CLASS_BYTES_MIN);

/// Ascending sizes, the unused ones at the end `usize::MAX`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) bytes: [usize; CLASSES_MAX],
    pub(crate) len: usize,
}

impl fmt::Debug for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes[..self.len].fmt(f)
    }
}

impl Sizes {
    pub(crate) const NONE: Self = Self {
        bytes: [usize::MAX; CLASSES_MAX],
        len: 0,
    };

    /// The smallest class that holds `bytes`. O(classes), at most 8 comparisons.
    #[inline(always)]
    pub(crate) const fn holding(&self, bytes: usize) -> Option<usize> {
        let mut class = 0;
        while class < self.len {
            if bytes <= self.bytes[class] {
                return Some(class);
            }
            class += 1;
        }
        None
    }

    /// The largest class that a block of `bytes` can serve. O(classes).
    #[inline(always)]
    pub(crate) const fn served_by(&self, bytes: usize) -> Option<usize> {
        let mut class = 0;
        while class < self.len && self.bytes[class] <= bytes {
            class += 1;
        }
        class.checked_sub(1)
    }
}

/// How a [`Pool`](crate::Pool) is tuned.
///
/// Every value is checked as it is set: in a constant, a wrong one does not compile.
///
/// ```
/// use pooled_vec::{Pool, PoolConfig};
/// const PACKETS: PoolConfig = PoolConfig::new().classes(&[2048, 9216]).first_capacity(2048).per_thread(32);
/// let pool = Pool::new(PACKETS);
/// assert_eq!(pool.get().capacity(), 2048);
/// ```
///
/// ```compile_fail,E0080
/// # use pooled_vec::PoolConfig;
/// const WRONG: PoolConfig = PoolConfig::new().classes(&[4096, 512]); // not ascending
/// # let _ = WRONG;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    pub(crate) sizes: Sizes,
    pub(crate) first_capacity: usize,
    pub(crate) kept_bytes_max: usize,
    pub(crate) per_thread: usize,
    pub(crate) idle_bytes_max: usize,
    pub(crate) shards: usize,
}

impl PoolConfig {
    /// Begins with classes of 512 B, 4 KiB and 64 KiB; 4 KiB first capacity; buffers of up to 64 KiB kept, at most 16
    /// of a class by each thread and 64 MiB in all; one shard per CPU.
    pub const fn new() -> Self {
        Self {
            sizes: Sizes::NONE,
            first_capacity: 4096,
            kept_bytes_max: 64 * 1024,
            per_thread: 16,
            idle_bytes_max: 64 * 1024 * 1024,
            shards: 0,
        }
        .classes(&[512, 4096, 65536])
    }

    /// Sets the size classes, in bytes.
    ///
    /// # Panics
    /// Unless there are 1 to 8, strictly ascending, each at least 64 bytes and at most `isize::MAX`.
    pub const fn classes(mut self, bytes: &[usize]) -> Self {
        assert!(
            !bytes.is_empty() && bytes.len() <= CLASSES_MAX,
            "a pool has 1 to 8 size classes"
        );
        let mut sizes = Sizes::NONE;
        while sizes.len < bytes.len() {
            let size = bytes[sizes.len];
            assert!(
                size >= CLASS_BYTES_MIN,
                "a size class is at least 64 bytes: idle buffers hold their own links"
            );
            assert!(
                size <= isize::MAX as usize,
                "a size class is at most isize::MAX bytes"
            );
            assert!(
                sizes.len == 0 || sizes.bytes[sizes.len - 1] < size,
                "size classes are strictly ascending"
            );
            sizes.bytes[sizes.len] = size;
            sizes.len += 1;
        }
        self.sizes = sizes;
        self
    }

    /// Sets the capacity of a buffer asked for without one, in bytes.
    ///
    /// # Panics
    /// When it is zero or above `isize::MAX`.
    pub const fn first_capacity(mut self, bytes: usize) -> Self {
        assert!(
            bytes > 0 && bytes <= isize::MAX as usize,
            "the first capacity is 1 byte to isize::MAX"
        );
        self.first_capacity = bytes;
        self
    }

    /// Sets the capacity above which a dropped buffer goes back to the allocator, in bytes. Zero keeps none.
    pub const fn kept_bytes_max(mut self, bytes: usize) -> Self {
        self.kept_bytes_max = bytes;
        self
    }

    /// Sets how many idle buffers of one class a thread keeps for itself at most. An even number above two is rounded
    /// down: the cache is one buffer at hand and two halves, of which one is handed on when both are full.
    ///
    /// # Panics
    /// Unless it is 2 to 4096.
    pub const fn per_thread(mut self, buffers: usize) -> Self {
        assert!(
            buffers >= 2 && buffers <= PER_THREAD_MAX,
            "a thread keeps 2 to 4096 buffers of a class"
        );
        self.per_thread = buffers;
        self
    }

    /// Bounds the idle bytes of the whole pool, thread caches and shards together. Zero keeps none.
    pub const fn idle_bytes_max(mut self, bytes: usize) -> Self {
        self.idle_bytes_max = bytes;
        self
    }

    /// Sets the number of shards; without it there is one per CPU, at most 256.
    ///
    /// # Panics
    /// Unless it is 1 to 256.
    pub const fn shards(mut self, shards: usize) -> Self {
        assert!(shards >= 1 && shards <= SHARDS_MAX, "a pool has 1 to 256 shards");
        self.shards = shards;
        self
    }
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    const DEFAULT: Sizes = PoolConfig::new().sizes;

    #[test]
    fn b6_a_request_at_a_boundary_gets_that_class_and_one_byte_more_the_next() {
        for (bytes, class) in [
            (0, Some(0)),
            (1, Some(0)),
            (511, Some(0)),
            (512, Some(0)),
            (513, Some(1)),
            (4095, Some(1)),
            (4096, Some(1)),
            (4097, Some(2)),
            (65535, Some(2)),
            (65536, Some(2)),
            (65537, None),
            (usize::MAX, None),
        ] {
            assert_eq!(DEFAULT.holding(bytes), class, "{bytes} bytes");
        }
    }

    #[test]
    fn b6_a_returned_block_serves_the_largest_class_that_it_covers() {
        for (bytes, class) in [
            (0, None),
            (511, None),
            (512, Some(0)),
            (4095, Some(0)),
            (4096, Some(1)),
            (65535, Some(1)),
            (65536, Some(2)),
            (usize::MAX - 1, Some(2)),
        ] {
            assert_eq!(DEFAULT.served_by(bytes), class, "{bytes} bytes");
        }
    }

    #[test]
    fn e12_lookup_agrees_with_a_linear_oracle_for_every_size() {
        let sizes = PoolConfig::new().classes(&[64, 100, 1500, 4096, 9000]).sizes;
        let list = &sizes.bytes[..sizes.len];
        for bytes in 0..10_000 {
            assert_eq!(sizes.holding(bytes), list.iter().position(|&s| s >= bytes));
            assert_eq!(sizes.served_by(bytes), list.iter().rposition(|&s| s <= bytes));
        }
    }

    #[test]
    fn wrong_values_are_refused_at_run_time_too() {
        let refused = |make: fn() -> PoolConfig| std::panic::catch_unwind(make).is_err();
        assert!(refused(|| PoolConfig::new().classes(&[])));
        assert!(refused(|| PoolConfig::new().classes(&[63])));
        assert!(refused(|| PoolConfig::new().classes(&[512, 512])));
        assert!(refused(
            || PoolConfig::new().classes(&[64, 65, 66, 67, 68, 69, 70, 71, 72])
        ));
        assert!(refused(|| PoolConfig::new().classes(&[usize::MAX])));
        assert!(refused(|| PoolConfig::new().per_thread(1)));
        assert!(refused(|| PoolConfig::new().shards(0)));
        assert!(refused(|| PoolConfig::new().shards(257)));
        assert!(refused(|| PoolConfig::new().first_capacity(0)));
    }
}
