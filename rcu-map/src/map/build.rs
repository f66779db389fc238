//! Choices made when a map is built.

use super::RcuMap;
use super::hash::STRIPE_BITS_MAX;
use super::shard::Shards;
use std::hash::RandomState;
use std::marker::PhantomData;
use sync_base::Domain;

/// Chooses capacity, shards, hasher and reclamation domain of an [`RcuMap`].
///
/// ```
/// use rcu_map::RcuMap;
/// use sync_base::Domain;
/// let domain = Domain::builder().garbage_limit(1 << 20).build();
/// let map: RcuMap<u64, String> = RcuMap::builder()
///     .shards(1) // a small map with one writer at a time
///     .capacity(100)
///     .domain(domain)
///     .build();
/// assert!(map.is_empty());
/// ```
#[derive(Debug)]
pub struct Builder<K, V, S = RandomState> {
    shard_bits: u32,
    capacity: usize,
    hasher: S,
    /// The process-wide one, unless told.
    domain: Option<Domain>,
    /// The map to be: it owns nothing yet.
    map: PhantomData<fn() -> (K, V)>,
}

impl<K, V, S: Clone> Clone for Builder<K, V, S> {
    fn clone(&self) -> Self {
        Self {
            hasher: self.hasher.clone(),
            domain: self.domain.clone(),
            ..*self
        }
    }
}

impl<K, V> Builder<K, V, RandomState> {
    pub(super) fn new() -> Self {
        Self {
            shard_bits: STRIPE_BITS_MAX,
            capacity: 0,
            hasher: RandomState::new(),
            domain: None,
            map: PhantomData,
        }
    }
}

impl<K, V, S> Builder<K, V, S> {
    /// Makes room for `entries` before any table is split or copied, if hashes spread evenly.
    ///
    /// [`build`](Self::build) panics with "capacity overflow" when no address space could hold them.
    pub fn capacity(mut self, entries: usize) -> Self {
        self.capacity = entries;
        self
    }

    /// Sets how many writers may write at once, rounded up to a power of two; 64 unless told, and at most.
    ///
    /// Readers are not affected, nor is the longest write. Fewer shards save memory: about 260 bytes each.
    ///
    /// # Panics
    /// When `shards` is zero or above 64.
    pub fn shards(mut self, shards: usize) -> Self {
        assert!(
            (1..=1 << STRIPE_BITS_MAX).contains(&shards),
            "a map has 1 to 64 shards, not {shards}"
        );
        self.shard_bits = shards.next_power_of_two().trailing_zeros();
        self
    }

    /// Sets the hasher.
    pub fn hasher<T>(self, hasher: T) -> Builder<K, V, T> {
        Builder {
            shard_bits: self.shard_bits,
            capacity: self.capacity,
            hasher,
            domain: self.domain,
            map: PhantomData,
        }
    }

    /// Sets the reclamation domain: one with limits of its own, or one that a test can watch.
    pub fn domain(mut self, domain: Domain) -> Self {
        self.domain = Some(domain);
        self
    }

    /// Builds the map.
    ///
    /// # Panics
    /// With "capacity overflow", as `std`'s collections do, when the capacity is beyond any address space.
    pub fn build(self) -> RcuMap<K, V, S> {
        RcuMap {
            shards: Shards::new(self.shard_bits, self.capacity),
            hasher: self.hasher,
            domain: self.domain.unwrap_or_else(|| Domain::global().clone()),
        }
    }
}
