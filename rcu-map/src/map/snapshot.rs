//! A consistent copy of a whole map.
//!
//! The copy is of slot words, so it costs writers one pass over the tables and needs no `Clone`; the entries themselves
//! are shared by count.
//!
//! Linearization point: the moment at which the last shard's lock was taken. From then until the last word is copied no
//! write commits.

use super::directory::Directory;
use super::hash::Hashed;
use super::node::Node;
use super::shard::find_in;
use super::table::Table;
use super::{Entry, RcuMap, free_all};
use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::ptr::NonNull;

/// What a [`RcuMap`] held at one moment; owned, unchanging, read without guards.
///
/// It keeps its entries alive, replaced and removed ones included, until it is dropped.
pub struct Snapshot<K, V, S> {
    /// A copy of the map's own; taken out by `drop`.
    directory: Option<Box<Directory<Node<K, V>>>>,
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
    /// Copies the map as it is at one moment. O(n): writers wait while slot words are copied (64 bytes for seven slots), readers
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
        let mut snapshot = Snapshot {
            directory: Some(self.shards.duplicate()),
            len: 0,
            hasher: self.hasher.clone(),
        };
        snapshot.len = snapshot
            .nodes()
            // SAFETY: N2: linked within the section, so the map's count stands until it is over.
            .map(|node| unsafe { Node::acquire(node) })
            .count();
        drop(guard);
        snapshot
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

    fn nodes(&self) -> impl Iterator<Item = NonNull<Node<K, V>>> {
        // SAFETY: the tables are the snapshot's own, freed by `drop` alone.
        let tables = self
            .directory
            .iter()
            .flat_map(|directory| unsafe { directory.tables() });
        tables.flat_map(Table::nodes)
    }

    /// Visits every entry once.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.nodes().map(|node| {
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
        // SAFETY: the directory and a count of each node in it are the snapshot's own.
        unsafe { find_in(self.directory.as_deref()?, hashed, move |k: &K| k.borrow() == key) }
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
        if let Some(directory) = self.directory.take() {
            // SAFETY: the copies and one count of each node in them are ours, given up once.
            unsafe { free_all(directory.into_tables()) };
        }
    }
}

impl<K: fmt::Debug, V: fmt::Debug, S> fmt::Debug for Snapshot<K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
