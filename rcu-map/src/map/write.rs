//! The operations that change a map.
//!
//! Every write that involves a closure is optimistic: it looks the entry up in a read section, runs the closure outside
//! every lock, then takes the lock and commits only if the node it saw is still the one that is linked. Otherwise it
//! begins again, which means that another writer has succeeded: lock-freedom between closures, at the price that **a
//! closure may run more than once**. While the section is open the node's address cannot be used again, so comparing
//! addresses suffices.

use super::directory::Directory;
use super::node::{Fresh, Node};
use super::shard::Unlinked;
use super::table::{Table, TableWord};
use super::{Entry, RcuMap, free_all};
use crate::error::Rejected;
use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::ops::Deref;
use std::ptr::NonNull;
use sync_base::Domain;

/// What [`RcuMap::compute`] does with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<V> {
    /// Leaves it as it is.
    Keep,
    /// Inserts or replaces it.
    Put(V),
    /// Removes it, if it is there.
    Remove,
}

/// What [`RcuMap::compute`] has done.
#[derive(Debug)]
pub enum Outcome<'m, K, V>
where
    K: Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Nothing: the closure said so, or there was nothing to remove.
    Kept,
    /// The key was absent and is now present.
    Inserted,
    /// The key was present; this is its former entry.
    Replaced(Removed<'m, K, V>),
    /// The key was present and is now absent.
    Removed(Removed<'m, K, V>),
}

/// A [`RcuMap::compare_exchange`] that found something else than expected; both values come back.
#[derive(Clone, Debug)]
pub struct CompareExchangeError<K, V> {
    /// What was there, if anything.
    pub current: Option<Entry<K, V>>,
    /// What was to be stored, as it was given.
    pub new: Option<V>,
}

impl<K, V> fmt::Display for CompareExchangeError<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.current {
            Some(_) => "the key holds another value than the expected one",
            None => "the key is absent",
        })
    }
}
impl<K: fmt::Debug, V: fmt::Debug> std::error::Error for CompareExchangeError<K, V> {}

/// What a write took the place of, if the key was present.
pub type Former<'m, K, V> = Option<Removed<'m, K, V>>;

impl<K, V, S> RcuMap<K, V, S>
where
    K: Eq + Hash + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: BuildHasher,
{
    /// Stores a value and returns the entry that it replaces, key included. O(1) amortised; takes one shard's lock.
    ///
    /// A reader sees the former entry or the new one, never neither. The new key takes the place of the equal old one.
    ///
    /// When the domain is over its garbage limit this waits for it as long as the domain's settings say, then stores
    /// all the same; [`try_insert`](Self::try_insert) refuses instead.
    pub fn insert(&self, key: K, value: V) -> Former<'_, K, V> {
        self.domain.admit(Node::<K, V>::BYTES);
        let fresh = Fresh::new(self.hashed(&key), key, value);
        let unlinked = self.shards.hold(fresh.hashed()).put(fresh);
        self.settle(unlinked)
    }

    /// Stores a value unless readers that hold garbage up have brought the domain to its limit.
    ///
    /// # Errors
    /// [`Rejected`] with key and value, naming the stalled reader's thread; the map is unchanged.
    pub fn try_insert(&self, key: K, value: V) -> Result<Former<'_, K, V>, Rejected<(K, V)>> {
        match self.domain.try_admit(Node::<K, V>::BYTES) {
            Ok(()) => Ok(self.insert(key, value)),
            Err(stalled) => Err(Rejected::new((key, value), stalled)),
        }
    }

    /// Removes a key and returns its entry. O(1); takes one shard's lock.
    pub fn remove<Q>(&self, key: &Q) -> Former<'_, K, V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.domain.admit(Node::<K, V>::BYTES);
        let hashed = self.hashed(key);
        let node = self
            .shards
            .hold(hashed)
            .take(hashed, move |k| k.borrow() == key)?;
        // SAFETY: M2: this call unlinked it.
        Some(unsafe { Removed::new(node, self.domain()) })
    }

    /// Replaces a value by what `f` makes of it; returns the former entry, or nothing if the key is absent.
    ///
    /// `f` may run more than once, when another writer changes the entry meanwhile. It runs outside every lock.
    pub fn update<Q>(&self, key: &Q, mut f: impl FnMut(&V) -> V) -> Former<'_, K, V>
    where
        K: Borrow<Q> + Clone,
        Q: Hash + Eq + ?Sized,
    {
        self.domain.admit(Node::<K, V>::BYTES);
        let guard = self.domain.pin();
        let hashed = self.hashed(key);
        loop {
            let seen = self.find(key, &guard)?;
            let fresh = Fresh::new(hashed, seen.key.clone(), f(&seen.value));
            if let Ok(former) = self.swap(seen, fresh) {
                return Some(former);
            }
        }
    }

    /// Decides what becomes of a key by looking at its value, atomically.
    ///
    /// `f` may run more than once, when another writer changes the entry meanwhile. It runs outside every lock and may
    /// use the map; if it writes this very key each time, this never ends.
    ///
    /// ```
    /// use rcu_map::{Action, RcuMap};
    /// let stock = RcuMap::new();
    /// stock.insert("bolt", 1);
    /// let take_one = |left: Option<&u32>| match left {
    ///     Some(1) => Action::Remove,
    ///     Some(n) => Action::Put(n - 1),
    ///     None => Action::Keep,
    /// };
    /// stock.compute("bolt", take_one);
    /// assert!(!stock.contains_key("bolt"));
    /// ```
    pub fn compute(&self, key: K, mut f: impl FnMut(Option<&V>) -> Action<V>) -> Outcome<'_, K, V> {
        self.domain.admit(Node::<K, V>::BYTES);
        let guard = self.domain.pin();
        let hashed = self.hashed(&key);
        let mut key = key;
        loop {
            let seen = self.find(&key, &guard);
            match (f(seen.map(|node| &node.value)), seen) {
                (Action::Keep, _) | (Action::Remove, None) => return Outcome::Kept,
                (Action::Remove, Some(seen)) => {
                    if let Some(former) = self.unlink(seen) {
                        return Outcome::Removed(former);
                    }
                }
                (Action::Put(value), Some(seen)) => match self.swap(seen, Fresh::new(hashed, key, value)) {
                    Ok(former) => return Outcome::Replaced(former),
                    Err(fresh) => key = fresh.into_parts().0,
                },
                (Action::Put(value), None) => match self.put_if_absent(Fresh::new(hashed, key, value)) {
                    Ok(_) => return Outcome::Inserted,
                    Err(fresh) => key = fresh.into_parts().0,
                },
            }
        }
    }

    /// Returns the entry of a key, storing what `make` returns if there is none.
    ///
    /// `make` runs at most once, outside every lock. If another thread stores the key meanwhile, that entry stands and
    /// what `make` returned is dropped: where `make` must run once in all, store a `OnceLock`.
    pub fn get_or_insert_with(&self, key: K, make: impl FnOnce() -> V) -> Entry<K, V> {
        let guard = self.domain.pin();
        if let Some(seen) = self.find(&key, &guard) {
            // SAFETY: N2: met within the section.
            return unsafe { Entry::from_shared(NonNull::from(seen)) };
        }
        let mut fresh = Fresh::new(self.hashed(&key), key, make());
        loop {
            match self.put_if_absent(fresh) {
                // SAFETY: N2: linked within the section, so its retirement waits for it.
                Ok(node) => return unsafe { Entry::from_shared(node) },
                Err(back) => fresh = back,
            }
            if let Some(seen) = self.find(fresh.key(), &guard) {
                // SAFETY: N2: met within the section.
                return unsafe { Entry::from_shared(NonNull::from(seen)) };
            }
        }
    }

    /// Stores `new` if the key holds a value equal to `expected`; `None` stands for absence on both sides.
    ///
    /// So `(None, Some)` inserts, `(Some, Some)` replaces, `(Some, None)` removes. Returns the former entry, if there
    /// was one. Values are compared by `==` outside every lock; a value replaced by an equal one meanwhile is compared
    /// again.
    ///
    /// # Errors
    /// [`CompareExchangeError`] with what was there and with `new`.
    pub fn compare_exchange(
        &self,
        key: K,
        expected: Option<&V>,
        new: Option<V>,
    ) -> Result<Former<'_, K, V>, CompareExchangeError<K, V>>
    where
        V: PartialEq,
    {
        self.domain.admit(Node::<K, V>::BYTES);
        let guard = self.domain.pin();
        let hashed = self.hashed(&key);
        let (mut key, mut new) = (key, new);
        loop {
            let seen = self.find(&key, &guard);
            if seen.map(|node| &node.value) != expected {
                // SAFETY: N2: met within the section.
                let current = seen.map(|node| unsafe { Entry::from_shared(NonNull::from(node)) });
                return Err(CompareExchangeError { current, new });
            }
            let back = match (seen, new) {
                (None, None) => return Ok(None),
                (None, Some(value)) => match self.put_if_absent(Fresh::new(hashed, key, value)) {
                    Ok(_) => return Ok(None),
                    Err(fresh) => fresh,
                },
                (Some(seen), Some(value)) => match self.swap(seen, Fresh::new(hashed, key, value)) {
                    Ok(former) => return Ok(Some(former)),
                    Err(fresh) => fresh,
                },
                (Some(seen), None) => {
                    if let Some(former) = self.unlink(seen) {
                        return Ok(Some(former));
                    }
                    new = None;
                    continue;
                }
            };
            let (back_key, back_value) = back.into_parts();
            (key, new) = (back_key, Some(back_value));
        }
    }

    /// Removes every entry for which `keep` says false, and returns how many. O(n), one entry at a time.
    ///
    /// `keep` runs outside every lock, once for each entry met. An entry replaced between its look and its removal
    /// stays. Weakly consistent, like a walk.
    pub fn retain(&self, mut keep: impl FnMut(&K, &V) -> bool) -> usize {
        self.domain.admit(Node::<K, V>::BYTES);
        let guard = self.domain.pin();
        let mut removed = 0;
        for node in super::Iter::new(&self.shards, &guard).nodes() {
            if !keep(&node.key, &node.value) && self.unlink(node).is_some() {
                removed += 1;
            }
        }
        removed
    }

    /// Removes every entry at once: one store puts an empty table in the place of all, while writers wait.
    ///
    /// Linearizable with every other operation, snapshots included: what was stored before is gone, what is stored after
    /// stays. A walk that began before goes on over what it was walking. Costs O(1) (a fresh table of least size, some
    /// 8 KiB); freeing the entries costs O(n), later. Readers inside a section go on seeing what they hold.
    pub fn clear(&self) {
        let cleared = self.shards.clear();
        // SAFETY: M2: this call unlinked the directory, its tables and every node still linked in them.
        unsafe { retire_directory_and_nodes(self.domain(), cleared.directory) };
        for outgrown in cleared.outgrown {
            // SAFETY: M2: unlinked when it was outgrown, and kept by nobody any more.
            unsafe { retire_directory(self.domain(), outgrown) };
        }
    }

    /// Stores every pair, one at a time: readers may see some of them before the rest. Takes `&self`.
    pub fn extend(&self, entries: impl IntoIterator<Item = (K, V)>) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }

    /// Retires what a write unlinked (M2).
    fn settle(&self, unlinked: Unlinked<K, V>) -> Former<'_, K, V> {
        if let Some(table) = unlinked.table {
            // SAFETY: M2: the caller's write unlinked the table; its nodes were carried over.
            unsafe { retire_table(self.domain(), table) };
        }
        // SAFETY: M2: the caller's write unlinked it.
        unlinked
            .node
            .map(|node| unsafe { Removed::new(node, self.domain()) })
    }

    fn swap(&self, seen: &Node<K, V>, fresh: Fresh<K, V>) -> Result<Removed<'_, K, V>, Fresh<K, V>> {
        let node = NonNull::from(seen);
        self.shards.hold(fresh.hashed()).swap(node, fresh)?;
        // SAFETY: M2: the swap unlinked it.
        Ok(unsafe { Removed::new(node, self.domain()) })
    }

    fn unlink(&self, seen: &Node<K, V>) -> Former<'_, K, V> {
        let node = NonNull::from(seen);
        let gone = self.shards.hold(seen.hashed).unlink(seen.hashed, node);
        // SAFETY: M2: this call unlinked it.
        gone.then(|| unsafe { Removed::new(node, self.domain()) })
    }

    /// Links a node, or gives it back if its key has one. The node linked lives as long as the caller's section.
    fn put_if_absent(&self, fresh: Fresh<K, V>) -> Result<NonNull<Node<K, V>>, Fresh<K, V>> {
        let linked = self.shards.hold(fresh.hashed()).put_if_absent(fresh)?;
        if let Some(table) = linked.table {
            // SAFETY: M2: this call unlinked the table; its nodes were carried over.
            unsafe { retire_table(self.domain(), table) };
        }
        Ok(linked.node)
    }
}

/// An entry that was removed or replaced: readers may still hold it, so it is lent, not given.
///
/// Dropping it hands it to the map's reclamation domain, which frees it once no reader can see it. Until then it is the
/// caller's to read. To keep it longer than the map, turn it into an [`Entry`].
///
/// ```
/// use rcu_map::RcuMap;
/// let map = RcuMap::new();
/// map.insert("k", String::from("old"));
/// let old = map.insert("k", String::from("new")).unwrap();
/// assert_eq!(*old, "old");
/// ```
pub struct Removed<'m, K, V>
where
    K: Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    node: NonNull<Node<K, V>>,
    domain: &'m Domain,
}

// SAFETY: it reads a shared node and may retire it from any thread: the type's own bounds allow both.
unsafe impl<K: Send + Sync, V: Send + Sync> Send for Removed<'_, K, V> {}
// SAFETY: as above.
unsafe impl<K: Send + Sync, V: Send + Sync> Sync for Removed<'_, K, V> {}

impl<'m, K, V> Removed<'m, K, V>
where
    K: Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// # Safety
    /// The node is unlinked, and the map's count of it is the caller's to give.
    unsafe fn new(node: NonNull<Node<K, V>>, domain: &'m Domain) -> Self {
        Self { node, domain }
    }

    fn inner(&self) -> &Node<K, V> {
        // SAFETY: the map's count of the node is held here and not yet given up.
        unsafe { self.node.as_ref() }
    }

    /// The key it was stored under.
    pub fn key(&self) -> &K {
        &self.inner().key
    }

    /// The value, as `*removed` gives it.
    pub fn value(&self) -> &V {
        &self.inner().value
    }

    /// Takes an owned handle that outlives the map.
    pub fn into_entry(self) -> Entry<K, V> {
        // SAFETY: N2: the map's count stands until `self` is dropped, after this.
        unsafe { Entry::from_shared(self.node) }
    }
}

impl<K, V> Drop for Removed<'_, K, V>
where
    K: Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    fn drop(&mut self) {
        let ptr = self.node.as_ptr().cast::<()>();
        // SAFETY: M2: unlinked, retired here once; `K` and `V` may be dropped on any thread at any later time.
        unsafe { self.domain.retire(ptr, Node::<K, V>::BYTES, release_node::<K, V>) };
    }
}

impl<K, V> Deref for Removed<'_, K, V>
where
    K: Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    type Target = V;
    fn deref(&self) -> &V {
        self.value()
    }
}

impl<K, V> fmt::Debug for Removed<'_, K, V>
where
    K: fmt::Debug + Send + Sync + 'static,
    V: fmt::Debug + Send + Sync + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Removed")
            .field(self.key())
            .field(self.value())
            .finish()
    }
}

/// # Safety
/// `ptr` is a node, and the map's count of it is the caller's to give up.
unsafe fn release_node<K, V>(ptr: *mut ()) {
    // SAFETY: `Removed::drop` passed a node's address, never null.
    let node = unsafe { NonNull::new_unchecked(ptr.cast::<Node<K, V>>()) };
    // SAFETY: the caller's promise.
    unsafe { Node::release(node) };
}

/// # Safety
/// The table is unlinked, and its linked nodes are linked elsewhere.
unsafe fn retire_table<K, V>(domain: &Domain, word: TableWord<Node<K, V>>) {
    /// # Safety
    /// `ptr` is a table's word that is freed once.
    unsafe fn free<K, V>(ptr: *mut ()) {
        // SAFETY: the caller's promise.
        unsafe { Table::<Node<K, V>>::free(ptr.cast()) };
    }
    // SAFETY: not freed before it is retired, two lines down.
    let bytes = unsafe { Table::borrow(word) }.bytes();
    // SAFETY: unlinked, retired once; a table owns no `K` and no `V`.
    unsafe { domain.retire(word.cast(), bytes, free::<K, V>) };
}

/// # Safety
/// The directory is unlinked, and its tables are linked elsewhere or retired.
unsafe fn retire_directory<K, V>(domain: &Domain, directory: NonNull<Directory<Node<K, V>>>) {
    /// # Safety
    /// `ptr` is a directory that is freed once.
    unsafe fn free<K, V>(ptr: *mut ()) {
        // SAFETY: the caller's promise; a directory comes from a box, and frees no table.
        drop(unsafe { Box::from_raw(ptr.cast::<Directory<Node<K, V>>>()) });
    }
    // SAFETY: not freed before it is retired, two lines down.
    let bytes = unsafe { directory.as_ref() }.bytes();
    // SAFETY: unlinked, retired once; a directory owns no `K` and no `V`.
    unsafe { domain.retire(directory.as_ptr().cast(), bytes, free::<K, V>) };
}

/// # Safety
/// The directory is unlinked, and so are its tables and every node linked in them.
unsafe fn retire_directory_and_nodes<K, V>(domain: &Domain, directory: NonNull<Directory<Node<K, V>>>)
where
    K: Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// # Safety
    /// `ptr` is a directory that is freed once, with its tables and nodes.
    unsafe fn free<K, V>(ptr: *mut ()) {
        // SAFETY: the caller's promise; a directory comes from a box.
        let directory = unsafe { Box::from_raw(ptr.cast::<Directory<Node<K, V>>>()) };
        // SAFETY: the caller's promise.
        unsafe { free_all(directory.into_tables()) };
    }
    // SAFETY: not freed before it is retired, below.
    let linked = unsafe { directory.as_ref() };
    // SAFETY: as above, of the tables.
    let tables = unsafe { linked.tables() };
    let bytes = linked.bytes()
        + tables
            .map(|table| table.bytes() + table.live() * Node::<K, V>::BYTES)
            .sum::<usize>();
    // SAFETY: unlinked, retired once; `K` and `V` may be dropped on any thread at any later time.
    unsafe { domain.retire(directory.as_ptr().cast(), bytes, free::<K, V>) };
}
