//! The map whose readers never wait: look-ups under a read section, writes by one pointer store under a shard's lock.
//!
//! Layers, each checked on its own: [`hash`] and [`control`] the bits, [`table`] probing, [`directory`] from hashes to
//! tables, [`node`] an entry and its owners, [`shard`] writes and growth, [`read`] guards and readers, [`write`] the
//! writing operations, [`retire`] what they unlink, [`iter`] walks, [`snapshot`] consistent copies.
//!
//! # Invariants
//! - M1: a reference given out is bounded by a guard of the map's own domain and by a borrow of the map: the node behind
//!   it was linked at some moment of that section, so its retirement waits for the section (sync-base's domain).
//! - M2: a node or table is retired once, by whoever unlinked it, after the shard's lock is released (S3).
//! - M3: user code never runs under a shard's lock, except `Eq` in a probe; a closure of `update`, `compute`,
//!   `get_or_insert_with` or `retain` may therefore use the map freely.

mod build;
mod bulk;
mod control;
mod directory;
mod hash;
mod iter;
mod node;
mod prefetch;
mod read;
mod retire;
mod shard;
mod snapshot;
mod table;
mod write;

pub use build::Builder;
pub use iter::Iter;
pub use node::Entry;
pub use read::{Pinned, Reader, Ref};
pub use retire::Removed;
pub use snapshot::Snapshot;
pub use write::{Action, CompareExchangeError, Former, Outcome};

use hash::Hashed;
use node::Node;
use shard::Shards;
use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::ptr::NonNull;
use sync_base::{Domain, Guard};
use table::{Table, TableWord};

/// A hash map for data that is read far more often than it is written.
///
/// Look-ups are wait-free: a plain store to enter the read section, four dependent loads, no lock, no reference count.
/// Writes take the lock of one of 64 shards and cost O(1) amortised; none pays for the whole table: the longest splits one
/// table of at most 672 entries, and now and then doubles the directory of the tables, a word for some 500 entries. (Where
/// thousands of hashes collide, or beyond some thirty million entries, tables grow longer than that.) A replaced key is never absent to a reader, and an
/// entry is never seen half written. See the [crate page](crate) for when to take which map, and when neither.
///
/// # Consistency
/// Single-key operations are linearizable. Iteration is weakly consistent: an entry that stays throughout is visited
/// exactly once, one that comes or goes meanwhile may be visited or not, and a key that is removed and inserted again
/// meanwhile may be visited twice. [`snapshot`](Self::snapshot) is a consistent copy of the whole map, and
/// [`clear`](Self::clear) empties it at one moment; [`retain`](Self::retain) and [`extend`](Self::extend) do not act at once.
///
/// # What it asks of keys, values and user code
/// `K` and `V` are `Send + Sync + 'static`, since a removed entry is dropped later and perhaps by another thread. A panic
/// in `Hash`, `Eq` or a closure leaves the map as it was. Closures run outside every lock and may use the map;
/// `Eq` runs under a shard's lock, and an `Eq` that writes to that map, whatever the shard, or takes a snapshot of it
/// panics instead of deadlocking. It may write to another map; if that map's writer, in user code too, waits for this
/// thread in turn, itself or through others, the last to wait panics.
///
/// # After a fork
/// In the child of `fork(2)` reads go on working, and so do writes, but where another thread was writing at the moment of
/// the fork: that shard's lock has no holder in the child, and a write to it, a snapshot and [`clear`](Self::clear)
/// panic, saying so, the first time after a quarter of a second. Other shards and other maps are not affected.
///
/// # Hashing
/// The default hasher is `std`'s [`RandomState`]: a map that serves keys chosen by a stranger must not be forced into
/// one long probe, and here a long probe would slow every reader of the shard. A faster hasher is a type parameter away
/// where keys are trusted; a weak one (an identity, say) is spread by a multiplication.
///
/// # Memory
/// What is replaced or removed is freed once every reader that could see it has left. A reader asleep in its section
/// holds up everything removed since; the domain counts those bytes ([`Domain::stats`]) and bounds them (see
/// [`try_insert`](Self::try_insert)).
///
/// ```
/// use rcu_map::RcuMap;
/// let map = RcuMap::new();
/// map.insert("pid", 1);
/// assert_eq!(map.with("pid", |v| *v), Some(1));
///
/// let pinned = map.pin(); // one read section for several look-ups
/// assert_eq!(pinned.get("pid"), Some(&1));
/// assert_eq!(pinned.iter().count(), 1);
/// ```
pub struct RcuMap<K, V, S = RandomState> {
    shards: Shards<K, V>,
    hasher: S,
    domain: Domain,
}

// SAFETY: the map owns its nodes and hands out `&K` and `&V` to any thread (`Sync`), and drops them on any (`Send`);
// slots and books are atomics and locks.
unsafe impl<K: Send + Sync, V: Send + Sync, S: Send> Send for RcuMap<K, V, S> {}
// SAFETY: as above.
unsafe impl<K: Send + Sync, V: Send + Sync, S: Sync> Sync for RcuMap<K, V, S> {}

impl<K, V> RcuMap<K, V> {
    /// Makes an empty map in the process-wide domain. Allocates the shards: some 17 KiB.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Makes an empty map with room for `capacity` entries.
    ///
    /// # Panics
    /// With "capacity overflow" when no address space could hold them.
    pub fn with_capacity(capacity: usize) -> Self {
        Self::builder().capacity(capacity).build()
    }

    /// Chooses capacity, shards, hasher and reclamation domain.
    pub fn builder() -> Builder<K, V> {
        Builder::new()
    }
}

impl<K, V, S> RcuMap<K, V, S> {
    /// Makes an empty map with a hasher of one's own.
    pub fn with_hasher(hasher: S) -> Self {
        Builder::new().hasher(hasher).build()
    }

    /// The domain whose guards this map accepts.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// The hasher.
    pub fn hasher(&self) -> &S {
        &self.hasher
    }

    /// Counts the entries. Sums one counter a shard; exact while no write runs.
    pub fn len(&self) -> usize {
        self.shards.live()
    }

    /// Says whether there are no entries; exact while no write runs.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Refuses a guard of another domain, which would protect nothing here.
    #[inline(always)]
    fn check(&self, guard: &Guard<'_>) {
        crate::guard::check(&self.domain, guard);
    }
}

impl<K, V, S> RcuMap<K, V, S>
where
    K: Eq + Hash,
    S: BuildHasher,
{
    #[inline(always)]
    fn hashed<Q: Hash + ?Sized>(&self, key: &Q) -> Hashed {
        Hashed::new(self.hasher.hash_one(key))
    }

    /// Finds a node under a guard that the caller has checked or made.
    #[inline(always)]
    fn find<'g, Q>(&'g self, key: &Q, guard: &'g Guard<'_>) -> Option<&'g Node<K, V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let _ = guard;
        let hashed = self.hashed(key);
        // SAFETY: M1: the guard keeps this section open for `'g`.
        let node = unsafe { self.shards.find(hashed, move |k| k.borrow() == key) };
        // SAFETY: M1: met in a slot within the section, so alive for `'g`.
        node.map(|node| unsafe { node.as_ref() })
    }
}

impl<K, V, S> Drop for RcuMap<K, V, S> {
    fn drop(&mut self) {
        let tables = self.shards.take_tables();
        // SAFETY: `&mut self`: no reader, no writer; each table is taken once, and its linked nodes are the map's.
        unsafe { free_all(tables) };
    }
}

/// As [`free_with_nodes`], for several tables: a panicking `Drop` in one keeps none of the others.
///
/// # Safety
/// As [`free_with_nodes`], for each.
unsafe fn free_all<K, V>(tables: Vec<TableWord<Node<K, V>>>) {
    struct Rest<K, V>(Vec<TableWord<Node<K, V>>>);
    impl<K, V> Rest<K, V> {
        fn run(&mut self) {
            while let Some(word) = self.0.pop() {
                // SAFETY: the outer function's contract; popped once.
                unsafe { free_with_nodes(word) };
            }
        }
    }
    impl<K, V> Drop for Rest<K, V> {
        fn drop(&mut self) {
            self.run();
        }
    }
    Rest(tables).run();
}

/// Gives up the map's count of every node of a table, then frees the table. A panicking `Drop` keeps none of the others.
///
/// # Safety
/// The table is unlinked, its linked nodes' map counts belong to the caller, and no reader uses either.
unsafe fn free_with_nodes<K, V>(word: TableWord<Node<K, V>>) {
    struct Rest<K, V, I: Iterator<Item = NonNull<Node<K, V>>>> {
        word: TableWord<Node<K, V>>,
        nodes: I,
    }
    impl<K, V, I: Iterator<Item = NonNull<Node<K, V>>>> Rest<K, V, I> {
        fn run(&mut self) {
            for node in self.nodes.by_ref() {
                // SAFETY: the map's count, given up once since each node is met once.
                unsafe { Node::release(node) };
            }
        }
    }
    impl<K, V, I: Iterator<Item = NonNull<Node<K, V>>>> Drop for Rest<K, V, I> {
        fn drop(&mut self) {
            self.run();
            // SAFETY: the outer function's contract; dropped once, after its last look at the table.
            unsafe { Table::free(self.word) };
        }
    }
    // SAFETY: freed only when `Rest` is dropped.
    let nodes = unsafe { Table::borrow(word) }.nodes();
    Rest { word, nodes }.run();
}

impl<K, V, S: Default> Default for RcuMap<K, V, S> {
    fn default() -> Self {
        Self::with_hasher(S::default())
    }
}

impl<K, V, S> FromIterator<(K, V)> for RcuMap<K, V, S>
where
    K: Eq + Hash + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: BuildHasher + Default,
{
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let entries = entries.into_iter();
        let map = Builder::new()
            .capacity(entries.size_hint().0)
            .hasher(S::default())
            .build();
        map.extend(entries);
        map
    }
}

impl<K, V, S> Extend<(K, V)> for RcuMap<K, V, S>
where
    K: Eq + Hash + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: BuildHasher,
{
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        RcuMap::extend(self, entries);
    }
}

impl<K, V, S> fmt::Debug for RcuMap<K, V, S>
where
    K: Eq + Hash + fmt::Debug,
    V: fmt::Debug,
    S: BuildHasher,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.pin().iter()).finish()
    }
}
