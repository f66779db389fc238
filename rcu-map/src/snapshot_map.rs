//! A map that is replaced whole at each write, so that every reader holds a consistent one.
//!
//! # States
//! One [`RcuCell`] holds the current `HashMap`; a writer copies it, changes the copy, and publishes it by one swap.
//!
//! # Invariants
//! - P1: a published map is never changed.
//! - P2: a copy is made from the current map and published under the writers' lock, so no write is lost.
//! - P3: publication is the last thing a write does: a panic in a closure, in `Clone`, `Hash` or `Eq` leaves the map as
//!   it was.
//! - P4: what is replaced is retired after the lock is released; nothing of the user's is dropped under it but the
//!   copy of a write that failed.

use crate::cell::{CellReader, Loaded, RcuCell, Version};
use crate::error::Rejected;
use crate::lock::Lock;
use std::borrow::Borrow;
use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::ops::Deref;
use sync_base::sync::Arc;
use sync_base::{Domain, Stalled};

/// A hash map under whole-map RCU: the fastest consistent reads, and writes that cost O(n).
///
/// A read is a `HashMap` look-up in a version that never changes; [`snapshot`](Self::snapshot) costs O(1) and
/// [`batch`](Self::batch) makes many changes visible at once. **Every write copies the whole map**, and clones every key
/// and value (claim `snap.write` prints what an entry costs). Take it for up to some thousands of entries that change
/// rarely: a process map, mounts, routes. For more entries or more writes take [`RcuMap`](crate::RcuMap).
///
/// Values are cloned at each write: put large ones in an `Arc`.
///
/// Closures and `Clone`, `Hash`, `Eq` run under the writers' lock; if they write to the same map, that write panics instead
/// of deadlocking. Reading it there is fine. In the child of a `fork(2)` that came while another thread was writing, a write
/// panics, since that thread is not there to release the lock; reading goes on.
///
/// ```
/// use rcu_map::SnapshotMap;
/// let processes = SnapshotMap::new();
/// processes.batch(|b| {
///     b.insert(1, "init");
///     b.insert(2, "shell");
/// });
/// let before = processes.snapshot();
/// processes.remove(&2);
/// assert_eq!((before.len(), processes.len()), (2, 1));
/// ```
pub struct SnapshotMap<K, V, S = RandomState>
where
    K: Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: Send + Sync + 'static,
{
    current: RcuCell<HashMap<K, V, S>>,
    writers: Lock<()>,
}

impl<K, V> SnapshotMap<K, V>
where
    K: Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// Makes an empty map in the process-wide domain.
    pub fn new() -> Self {
        Self::from(HashMap::new())
    }
}

impl<K, V, S> From<HashMap<K, V, S>> for SnapshotMap<K, V, S>
where
    K: Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: Send + Sync + 'static,
{
    fn from(map: HashMap<K, V, S>) -> Self {
        Self::in_domain(map, Domain::global().clone())
    }
}

impl<K, V, S> SnapshotMap<K, V, S>
where
    K: Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: Send + Sync + 'static,
{
    /// Makes an empty map with a hasher of one's own.
    pub fn with_hasher(hasher: S) -> Self {
        Self::from(HashMap::with_hasher(hasher))
    }

    /// Makes a map of what `map` holds, in a reclamation domain of one's own.
    pub fn in_domain(map: HashMap<K, V, S>, domain: Domain) -> Self {
        Self {
            current: RcuCell::in_domain(Arc::new(map), domain),
            writers: Lock::new(()),
        }
    }

    /// The domain in which replaced maps wait for their readers.
    pub fn domain(&self) -> &Domain {
        self.current.domain()
    }

    /// Borrows the map as it is now, in a read section. Wait-free.
    #[inline]
    pub fn load(&self) -> Loaded<'_, HashMap<K, V, S>> {
        self.current.load()
    }

    /// Takes the map as it is now, to keep. O(1); touches one shared count.
    #[inline]
    pub fn snapshot(&self) -> Arc<HashMap<K, V, S>> {
        self.current.load_full()
    }

    /// Makes a handle that looks for a newer map by one load and a comparison: the cheapest read there is.
    pub fn reader(&self) -> SnapshotReader<K, V, S, &Self> {
        SnapshotReader::new(self)
    }

    /// Counts the entries.
    pub fn len(&self) -> usize {
        self.load().len()
    }

    /// Says whether there are none.
    pub fn is_empty(&self) -> bool {
        self.load().is_empty()
    }
}

impl<K, V, S> SnapshotMap<K, V, S>
where
    K: Eq + Hash + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: BuildHasher + Send + Sync + 'static,
{
    /// Calls `f` with a value, in a read section.
    #[inline]
    pub fn with<Q, R>(&self, key: &Q, f: impl FnOnce(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.load().get(key).map(f)
    }

    /// Clones a value out.
    #[inline]
    pub fn get_cloned<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
        V: Clone,
    {
        self.with(key, V::clone)
    }

    /// Says whether a key is present.
    #[inline]
    pub fn contains_key<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.load().contains_key(key)
    }
}

impl<K, V, S> SnapshotMap<K, V, S>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    S: BuildHasher + Clone + Send + Sync + 'static,
{
    /// Makes any number of changes visible at once. O(n) at the first change; nothing if `f` changes nothing.
    ///
    /// `f` runs exactly once, under the writers' lock. If it panics, nothing has changed. Before it runs, a domain over its
    /// garbage limit is waited for as long as its settings say.
    ///
    /// # Panics
    /// When called from inside user code that runs under this map's lock.
    pub fn batch<R>(&self, f: impl FnOnce(&mut Batch<'_, K, V, S>) -> R) -> R {
        self.domain().admit(self.current.with(weigh));
        self.change_surely(f)
    }

    /// As [`batch`](Self::batch), and publishes nothing if `f` returns an error.
    ///
    /// # Errors
    /// What `f` returned.
    pub fn try_batch<R, E>(&self, f: impl FnOnce(&mut Batch<'_, K, V, S>) -> Result<R, E>) -> Result<R, E> {
        self.domain().admit(self.current.with(weigh));
        self.change(f)
    }

    /// As [`try_batch`](Self::try_batch), without waiting for room.
    fn change<R, E>(&self, f: impl FnOnce(&mut Batch<'_, K, V, S>) -> Result<R, E>) -> Result<R, E> {
        let locked = self.writers.lock();
        let seen = self.load();
        let mut batch = Batch {
            seen: &seen,
            copy: None,
        };
        let result = f(&mut batch)?;
        let former = batch
            .copy
            .map(|copy| self.current.swap_weighed(Arc::new(copy), weigh));
        // P4: unlock, leave the section, then drop what was replaced.
        drop(locked);
        drop(seen);
        drop(former);
        Ok(result)
    }

    /// Stores a value and returns the former one. O(n).
    pub fn insert(&self, key: K, value: V) -> Option<V> {
        self.batch(|batch| batch.insert(key, value))
    }

    /// Stores a value unless stalled readers have brought the domain to its garbage limit. O(n).
    ///
    /// # Errors
    /// [`Rejected`] with key and value; the map is unchanged.
    pub fn try_insert(&self, key: K, value: V) -> Result<Option<V>, Rejected<(K, V)>> {
        match self.try_room() {
            Ok(()) => Ok(self.change_surely(|batch| batch.insert(key, value))),
            Err(stalled) => Err(Rejected::new((key, value), stalled)),
        }
    }

    /// Removes a key and returns its value. O(n) if it is present, else a look-up.
    pub fn remove<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if !self.contains_key(key) {
            return None;
        }
        self.batch(|batch| batch.remove(key))
    }

    /// As [`remove`](Self::remove), unless stalled readers have brought the domain to its garbage limit.
    ///
    /// # Errors
    /// [`Stalled`], naming the reader's thread; the map is unchanged.
    pub fn try_remove<Q>(&self, key: &Q) -> Result<Option<V>, Stalled>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if !self.contains_key(key) {
            return Ok(None);
        }
        self.try_room()?;
        Ok(self.change_surely(|batch| batch.remove(key)))
    }

    /// Replaces a value by what `f` makes of it; says whether the key is present. O(n) if it is, else a look-up. `f` runs
    /// once.
    pub fn update<Q>(&self, key: &Q, f: impl FnOnce(&V) -> V) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.contains_key(key) && self.batch(|batch| batch.update(key, f))
    }

    /// As [`update`](Self::update), unless stalled readers have brought the domain to its garbage limit.
    ///
    /// # Errors
    /// [`Rejected`] with the closure, which has not run; the map is unchanged.
    pub fn try_update<Q, F>(&self, key: &Q, f: F) -> Result<bool, Rejected<F>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
        F: FnOnce(&V) -> V,
    {
        if !self.contains_key(key) {
            return Ok(false);
        }
        match self.try_room() {
            Ok(()) => Ok(self.change_surely(|batch| batch.update(key, f))),
            Err(stalled) => Err(Rejected::new(f, stalled)),
        }
    }

    /// Removes every entry for which `keep` says false. O(n).
    pub fn retain(&self, keep: impl FnMut(&K, &mut V) -> bool) {
        self.batch(|batch| batch.edit().retain(keep));
    }

    /// Removes every entry.
    pub fn clear(&self) {
        if !self.is_empty() {
            self.batch(|batch| batch.clear());
        }
    }

    /// As [`clear`](Self::clear), unless stalled readers have brought the domain to its garbage limit.
    ///
    /// # Errors
    /// [`Stalled`], naming the reader's thread; the map is unchanged.
    pub fn try_clear(&self) -> Result<(), Stalled> {
        if !self.is_empty() {
            self.try_room()?;
            self.change_surely(|batch| batch.clear());
        }
        Ok(())
    }

    /// Asks for room for the present version, which a write is about to replace.
    fn try_room(&self) -> Result<(), Stalled> {
        self.domain().try_admit(self.current.with(weigh))
    }

    fn change_surely<R>(&self, f: impl FnOnce(&mut Batch<'_, K, V, S>) -> R) -> R {
        match self.change(|batch| Ok::<R, Infallible>(f(batch))) {
            Ok(result) => result,
            Err(never) => match never {},
        }
    }

    /// Stores every pair, all visible at once. O(n), not O(n) a pair.
    pub fn extend(&self, entries: impl IntoIterator<Item = (K, V)>) {
        self.batch(|batch| batch.edit().extend(entries));
    }
}

impl<K, V, S> Default for SnapshotMap<K, V, S>
where
    K: Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: Default + Send + Sync + 'static,
{
    fn default() -> Self {
        Self::with_hasher(S::default())
    }
}

impl<K, V, S> FromIterator<(K, V)> for SnapshotMap<K, V, S>
where
    K: Eq + Hash + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: BuildHasher + Default + Send + Sync + 'static,
{
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        Self::from(entries.into_iter().collect::<HashMap<K, V, S>>())
    }
}

impl<K, V, S> fmt::Debug for SnapshotMap<K, V, S>
where
    K: fmt::Debug + Send + Sync + 'static,
    V: fmt::Debug + Send + Sync + 'static,
    S: Send + Sync + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.load().iter()).finish()
    }
}

/// Bytes that a map owns elsewhere: a pair and a byte of its hash for each entry there is room for.
fn weigh<K, V, S>(map: &HashMap<K, V, S>) -> usize {
    map.capacity() * (size_of::<(K, V)>() + 1)
}

/// Changes that become visible together. Reads as the map with the changes made so far.
///
/// The first change copies the map; a batch that only reads costs no copy.
pub struct Batch<'b, K, V, S> {
    seen: &'b HashMap<K, V, S>,
    copy: Option<HashMap<K, V, S>>,
}

impl<K, V, S> Batch<'_, K, V, S>
where
    K: Clone + Eq + Hash,
    V: Clone,
    S: BuildHasher + Clone,
{
    /// Gives the copy to change in any way a `HashMap` can be.
    pub fn edit(&mut self) -> &mut HashMap<K, V, S> {
        self.copy.get_or_insert_with(|| self.seen.clone())
    }

    /// Stores a value and returns the former one.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.edit().insert(key, value)
    }

    /// Removes a key and returns its value; copies nothing if it is absent.
    pub fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if self.contains_key(key) {
            self.edit().remove(key)
        } else {
            None
        }
    }

    /// Replaces a value by what `f` makes of it; says whether the key is present, and copies nothing if it is absent.
    pub fn update<Q>(&mut self, key: &Q, f: impl FnOnce(&V) -> V) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let Some(value) = self.get(key).map(f) else {
            return false;
        };
        if let Some(slot) = self.edit().get_mut(key) {
            *slot = value;
        }
        true
    }

    /// Removes every entry, without copying them first.
    pub fn clear(&mut self) {
        if !self.is_empty() {
            self.copy = Some(HashMap::with_hasher(self.seen.hasher().clone()));
        }
    }
}

impl<K, V, S> Deref for Batch<'_, K, V, S> {
    type Target = HashMap<K, V, S>;
    fn deref(&self) -> &HashMap<K, V, S> {
        self.copy.as_ref().unwrap_or(self.seen)
    }
}

impl<K: fmt::Debug, V: fmt::Debug, S> fmt::Debug for Batch<'_, K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// Reads a [`SnapshotMap`] by one load, a comparison and a `HashMap` look-up.
///
/// A [`Version`] that it lends is a whole map, and the handle lends no other while that one is held: a request that holds
/// one sees one map throughout. `C` is whatever leads to the map: `&SnapshotMap`, an `Arc` of it.
///
/// ```
/// use rcu_map::{SnapshotMap, SnapshotReader};
/// use std::sync::Arc;
/// let mounts: Arc<SnapshotMap<&str, u32>> = Arc::new([("/", 1)].into_iter().collect());
/// let reader = SnapshotReader::new(Arc::clone(&mounts)); // `Send`: move it to the thread that reads
/// let request = reader.load();
/// mounts.insert("/home", 2);
/// assert_eq!(request.len(), 1);
/// drop(request);
/// assert_eq!(reader.with("/home", |m| *m), Some(2));
/// ```
pub struct SnapshotReader<K, V, S = RandomState, C = Arc<SnapshotMap<K, V, S>>>
where
    K: Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: Send + Sync + 'static,
{
    inner: CellReader<HashMap<K, V, S>, Current<C>>,
}

/// Leads to the cell inside the map that `C` leads to.
#[derive(Debug)]
struct Current<C>(C);

impl<K, V, S, C> Deref for Current<C>
where
    K: Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: Send + Sync + 'static,
    C: Deref<Target = SnapshotMap<K, V, S>>,
{
    type Target = RcuCell<HashMap<K, V, S>>;
    #[inline(always)]
    fn deref(&self) -> &Self::Target {
        &self.0.current
    }
}

impl<K, V, S, C> SnapshotReader<K, V, S, C>
where
    K: Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: Send + Sync + 'static,
    C: Deref<Target = SnapshotMap<K, V, S>>,
{
    /// Makes a handle. Takes a count of the current map.
    pub fn new(map: C) -> Self {
        Self {
            inner: CellReader::new(Current(map)),
        }
    }

    /// Borrows the current map, or the one already held. Wait-free.
    #[inline(always)]
    pub fn load(&self) -> Version<'_, HashMap<K, V, S>> {
        self.inner.load()
    }

    /// Lets go of a map that is no longer current, and says whether it did.
    pub fn refresh(&mut self) -> bool {
        self.inner.refresh()
    }
}

impl<K, V, S, C> SnapshotReader<K, V, S, C>
where
    K: Eq + Hash + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: BuildHasher + Send + Sync + 'static,
    C: Deref<Target = SnapshotMap<K, V, S>>,
{
    /// Borrows a value through an exclusive handle: nothing to count.
    #[inline(always)]
    pub fn get<Q>(&mut self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.inner.get().get(key)
    }

    /// Calls `f` with a value of the current map, or of the one already held.
    #[inline(always)]
    pub fn with<Q, R>(&self, key: &Q, f: impl FnOnce(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.load().get(key).map(f)
    }
}

impl<K, V, S, C> fmt::Debug for SnapshotReader<K, V, S, C>
where
    K: Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: Send + Sync + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotReader").finish_non_exhaustive()
    }
}
