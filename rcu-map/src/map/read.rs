//! Borrowed reads, bounded by a read section of the map's domain.

use super::{Entry, Iter, RcuMap};
use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;
use sync_base::Guard;

impl<K, V, S> RcuMap<K, V, S>
where
    K: Eq + Hash,
    S: BuildHasher,
{
    /// Opens a read section on this map. Wait-free; a plain store.
    ///
    /// Entries removed while the section is open are freed only after it: keep it short, or [`Pinned::repin`] it.
    #[inline]
    pub fn pin(&self) -> Pinned<'_, K, V, S> {
        Pinned {
            map: self,
            guard: self.domain.pin(),
        }
    }

    /// Borrows a value under a guard of this map's [`domain`](RcuMap::domain): one section for several maps.
    ///
    /// Wait-free, allocates nothing.
    ///
    /// # Panics
    /// When the guard belongs to another domain.
    ///
    /// ```
    /// use rcu_map::RcuMap;
    /// let (users, groups) = (RcuMap::new(), RcuMap::new());
    /// users.insert("ada", 7);
    /// groups.insert(7, "engineers");
    /// let guard = users.domain().pin();
    /// let group = users.get("ada", &guard).and_then(|id| groups.get(id, &guard));
    /// assert_eq!(group, Some(&"engineers"));
    /// ```
    ///
    /// The value cannot outlive the guard:
    /// ```compile_fail,E0505
    /// use rcu_map::RcuMap;
    /// let map = RcuMap::new();
    /// map.insert(1, 2);
    /// let guard = map.domain().pin();
    /// let value = map.get(&1, &guard);
    /// drop(guard);
    /// println!("{value:?}");
    /// ```
    /// It can be copied out before the guard ends:
    /// ```
    /// use rcu_map::RcuMap;
    /// let map = RcuMap::new();
    /// map.insert(1, 2);
    /// let guard = map.domain().pin();
    /// let value = map.get(&1, &guard).copied();
    /// drop(guard);
    /// println!("{value:?}");
    /// ```
    #[inline]
    pub fn get<'g, Q>(&'g self, key: &Q, guard: &'g Guard<'_>) -> Option<&'g V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.check(guard);
        self.find(key, guard).map(|node| &node.value)
    }

    /// Calls `f` with the value inside a read section of its own. Wait-free but for what `f` does.
    ///
    /// `f` runs outside every lock and may use the map, this entry included.
    #[inline]
    pub fn with<Q, R>(&self, key: &Q, f: impl FnOnce(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.pin().get(key).map(f)
    }

    /// Says whether a key is present. Wait-free.
    #[inline]
    pub fn contains_key<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.pin().get(key).is_some()
    }

    /// Clones a value out. With an `Arc` inside, threads that clone the same value contend for its count: where they
    /// only look, borrow through [`with`](Self::with) or a [`reader`](Self::reader).
    #[inline]
    pub fn get_cloned<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
        V: Clone,
    {
        self.with(key, V::clone)
    }

    /// Takes an owned handle to an entry, which outlives guards, removal and the map. Wait-free; touches a shared count.
    #[inline]
    pub fn get_entry<Q>(&self, key: &Q) -> Option<Entry<K, V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let pinned = self.pin();
        let node = self.find(key, &pinned.guard)?;
        // SAFETY: N2: met within the section, so the map's count stands until it is over.
        Some(unsafe { Entry::from_shared(NonNull::from(node)) })
    }

    /// Visits every entry under a guard, weakly consistently: see [`RcuMap`]. Walks every slot of every shard's table.
    ///
    /// # Panics
    /// When the guard belongs to another domain.
    pub fn iter<'g>(&'g self, guard: &'g Guard<'_>) -> Iter<'g, K, V> {
        self.check(guard);
        Iter::new(&self.shards, guard)
    }

    /// Makes a handle that enters read sections without looking up the thread's record. Claims a record of the domain.
    ///
    /// The handle is `Send`: make it anywhere, move it into the thread that will read. It is not `Sync`: one each.
    pub fn reader(&self) -> Reader<'_, K, V, S> {
        Reader {
            map: NonNull::from(self),
            record: self.domain.reader(),
            _kept: None,
            life: PhantomData,
        }
    }

    /// As [`reader`](Self::reader), with a share in the map instead of a borrow: for threads that outlive the caller.
    pub fn shared_reader(self: &Arc<Self>) -> Reader<'static, K, V, S> {
        Reader {
            map: NonNull::from(&**self),
            record: self.domain.reader(),
            _kept: Some(Arc::clone(self)),
            life: PhantomData,
        }
    }
}

/// A read section on one map; what it lends lives as long as it does.
///
/// ```
/// use rcu_map::RcuMap;
/// let map: RcuMap<u32, &str> = [(1, "one"), (2, "two")].into_iter().collect();
/// let mut pinned = map.pin();
/// assert_eq!(pinned.get(&1), Some(&"one"));
/// pinned.repin(); // lets go of what was removed meanwhile
/// assert!(pinned.contains_key(&2));
/// ```
pub struct Pinned<'m, K, V, S = RandomState> {
    map: &'m RcuMap<K, V, S>,
    guard: Guard<'m>,
}

impl<'m, K, V, S> Pinned<'m, K, V, S>
where
    K: Eq + Hash,
    S: BuildHasher,
{
    /// Borrows a value. Wait-free, allocates nothing.
    #[inline]
    pub fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.map.find(key, &self.guard).map(|node| &node.value)
    }

    /// Borrows key and value.
    #[inline]
    pub fn get_key_value<Q>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.map
            .find(key, &self.guard)
            .map(|node| (&node.key, &node.value))
    }

    /// Says whether a key is present.
    #[inline]
    pub fn contains_key<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.get(key).is_some()
    }

    /// Visits every entry, weakly consistently.
    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter::new(&self.map.shards, &self.guard)
    }

    /// Visits every key, weakly consistently.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// Visits every value, weakly consistently.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// Ends this section and begins another: a long-lived reader that does so now and then holds nothing up for long.
    pub fn repin(&mut self) {
        self.guard.repin();
    }

    /// The guard, for [`RcuMap::get`] on other maps of the same domain.
    pub fn guard(&self) -> &Guard<'m> {
        &self.guard
    }

    /// The map.
    pub fn map(&self) -> &'m RcuMap<K, V, S> {
        self.map
    }
}

impl<K, V, S> fmt::Debug for Pinned<'_, K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pinned")
            .field("len", &self.map.len())
            .finish_non_exhaustive()
    }
}

/// One thread's way to read a map at the least cost.
///
/// ```
/// use rcu_map::RcuMap;
/// let map = RcuMap::new();
/// map.insert("k", 1);
/// std::thread::scope(|s| {
///     let reader = map.reader();
///     s.spawn(move || assert_eq!(reader.get("k").as_deref(), Some(&1)));
/// });
/// ```
///
/// A reader belongs to one thread at a time:
/// ```compile_fail,E0277
/// use rcu_map::RcuMap;
/// let map: RcuMap<u32, u32> = RcuMap::new();
/// let reader = map.reader();
/// std::thread::scope(|s| {
///     s.spawn(|| reader.with(&1, |_| ()));
/// });
/// ```
pub struct Reader<'m, K, V, S = RandomState> {
    map: NonNull<RcuMap<K, V, S>>,
    record: sync_base::Reader,
    /// What keeps the map, where `'m` does not.
    _kept: Option<Arc<RcuMap<K, V, S>>>,
    life: PhantomData<&'m RcuMap<K, V, S>>,
}

// SAFETY: a reference to a map that may be shared, perhaps with a share in it, and a record that is `Send`.
unsafe impl<K: Send + Sync, V: Send + Sync, S: Send + Sync> Send for Reader<'_, K, V, S> {}

impl<K, V, S> Reader<'_, K, V, S> {
    /// The map.
    #[inline(always)]
    pub fn map(&self) -> &RcuMap<K, V, S> {
        // SAFETY: borrowed for `'m`, or shared through `_kept`; either outlives `self`.
        unsafe { self.map.as_ref() }
    }
}

impl<K, V, S> Reader<'_, K, V, S>
where
    K: Eq + Hash,
    S: BuildHasher,
{
    /// Borrows a value for as long as the [`Ref`] lives, which is a read section. Wait-free, allocates nothing.
    #[inline]
    pub fn get<Q>(&self, key: &Q) -> Option<Ref<'_, V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let guard = self.record.pin();
        let value = NonNull::from(&self.map().find(key, &guard)?.value);
        Some(Ref { value, _guard: guard })
    }

    /// Calls `f` with the value inside a read section. Wait-free but for what `f` does.
    #[inline]
    pub fn with<Q, R>(&self, key: &Q, f: impl FnOnce(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let guard = self.record.pin();
        self.map().find(key, &guard).map(|node| f(&node.value))
    }

    /// Opens a read section for several look-ups.
    #[inline]
    pub fn pin(&self) -> Pinned<'_, K, V, S> {
        Pinned {
            map: self.map(),
            guard: self.record.pin(),
        }
    }
}

impl<K, V, S> fmt::Debug for Reader<'_, K, V, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("len", &self.map().len())
            .finish_non_exhaustive()
    }
}

/// A borrowed value together with the read section that keeps it.
pub struct Ref<'r, V> {
    value: NonNull<V>,
    _guard: Guard<'r>,
}

impl<V> Deref for Ref<'_, V> {
    type Target = V;
    #[inline]
    fn deref(&self) -> &V {
        // SAFETY: M1: the node was met within the section that `_guard` keeps open; the map is borrowed for `'r`.
        unsafe { self.value.as_ref() }
    }
}

impl<V: fmt::Debug> fmt::Debug for Ref<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
