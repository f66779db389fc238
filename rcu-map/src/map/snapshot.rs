//! A consistent copy of a whole map.
//!
//! The copy is of slot words, so it costs writers one pass over the tables and needs no `Clone`; the entries themselves
//! are shared by count.
//!
//! Linearization point: the moment at which the last shard's lock was taken. From then until the last word is copied no
//! write commits.

use super::node::Node;
use super::table::{Table, TableWord};
use super::word::Hashed;
use super::{Entry, RcuMap, free_all};
use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::ptr::NonNull;

/// What a [`RcuMap`] held at one moment; owned, unchanging, read without guards.
///
/// It keeps its entries alive, replaced and removed ones included, until it is dropped.
pub struct Snapshot<K, V, S> {
    tables: Box<[TableWord<Node<K, V>>]>,
    shard_bits: u32,
    len: usize,
    hasher: S,
}

// SAFETY: it owns a count of each node, reads it from any thread and may drop it on any; its tables never change.
unsafe impl<K: Send + Sync, V: Send + Sync, S: Send> Send for Snapshot<K, V, S> {}
// SAFETY: as above.
unsafe impl<K: Send + Sync, V: Send + Sync, S: Sync> Sync for Snapshot<K, V, S> {}

impl<K, V, S> RcuMap<K, V, S>
where
    K: Eq + Hash,
    S: BuildHasher + Clone,
{
    /// Copies the map as it is at one moment. O(n): writers wait while slot words are copied (8 bytes a slot), readers
    /// never do; the entries' counts are taken after the writers have gone on.
    ///
    /// ```
    /// use rcu_map::RcuMap;
    /// let map: RcuMap<&str, i64> = [("from", 100), ("to", 0)].into_iter().collect();
    /// let snapshot = map.snapshot();
    /// map.clear();
    /// assert_eq!((snapshot.len(), snapshot.get("from")), (2, Some(&100)));
    /// ```
    pub fn snapshot(&self) -> Snapshot<K, V, S> {
        let guard = self.domain().pin();
        let held: Vec<_> = (0..self.shards.count())
            .map(|shard| self.shards.hold_at(shard))
            .collect();
        let tables: Box<[_]> = held.iter().map(|held| held.table().duplicate()).collect();
        drop(held);
        let mut len = 0;
        for &word in &tables {
            // SAFETY: the duplicate is ours alone.
            for node in unsafe { Table::borrow(word) }.nodes() {
                // SAFETY: N2: linked within the section, so the map's count stands until it is over.
                unsafe { Node::acquire(node) };
                len += 1;
            }
        }
        drop(guard);
        Snapshot {
            shard_bits: tables.len().trailing_zeros(),
            tables,
            len,
            hasher: self.hasher.clone(),
        }
    }
}

impl<K, V, S> Snapshot<K, V, S> {
    /// Number of entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Says whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn table(&self, shard: usize) -> Table<'_, Node<K, V>> {
        // SAFETY: freed by `drop` alone.
        unsafe { Table::borrow(self.tables[shard]) }
    }

    /// Visits every entry once.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        (0..self.tables.len())
            .flat_map(|shard| self.table(shard).nodes())
            .map(|node| {
                // SAFETY: the snapshot owns a count of it for as long as it is borrowed.
                let node: &Node<K, V> = unsafe { node.as_ref() };
                (&node.key, &node.value)
            })
    }
}

impl<K, V, S> Snapshot<K, V, S>
where
    K: Eq + Hash,
    S: BuildHasher,
{
    fn find<Q>(&self, key: &Q) -> Option<NonNull<Node<K, V>>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hashed = Hashed::new(self.hasher.hash_one(key));
        self.table(hashed.spread().shard(self.shard_bits))
            .find(hashed, |node| {
                // SAFETY: the snapshot owns a count of it.
                unsafe { node.as_ref() }.key.borrow() == key
            })
    }

    /// Borrows a value.
    pub fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        // SAFETY: the snapshot owns a count of it for as long as it is borrowed.
        self.find(key).map(|node| unsafe { &(*node.as_ptr()).value })
    }

    /// Says whether a key is present.
    pub fn contains_key<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.find(key).is_some()
    }

    /// Takes an owned handle to an entry.
    pub fn get_entry<Q>(&self, key: &Q) -> Option<Entry<K, V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        // SAFETY: the snapshot's own count stands.
        self.find(key).map(|node| unsafe { Entry::from_shared(node) })
    }
}

impl<K, V, S> Drop for Snapshot<K, V, S> {
    fn drop(&mut self) {
        let tables = std::mem::take(&mut self.tables).into_vec();
        // SAFETY: the duplicates and one count of each node in them are ours, given up once.
        unsafe { free_all(tables) };
    }
}

impl<K: fmt::Debug, V: fmt::Debug, S> fmt::Debug for Snapshot<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
