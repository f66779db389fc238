//! The operations that change a map.
//!
//! Every write that involves a closure is optimistic: it looks the entry up in a read section, runs the closure outside
//! every lock, then takes the lock and commits only if the node it saw is still the one that is linked. Otherwise it
//! begins again, which means that another writer has succeeded: lock-freedom between closures, at the price that **a
//! closure may run more than once**. While the section is open the node's address cannot be used again, so comparing
//! addresses suffices.
//!
//! # Room
//! A write asks the domain for room when it is about to make garbage, once in a call, and under no lock; so what
//! changes nothing, or adds a key, never waits. The look before it asks is a hint: if the key comes meanwhile, the
//! limit is passed by one entry. The tables that growth replaces are counted and not asked for.
//!
//! # Panics in `Drop`
//! What a caller passed in may panic when it is dropped. So it is dropped by [`then_drop`], while what the map has given up
//! is still owned by a local that unwinding retires: Rust forgets a value that was already returned.

use super::hash::Hashed;
use super::node::{Fresh, Node};
use super::retire::{Removed, retire_table};
use super::shard::Linked;
use super::{Entry, RcuMap};
use crate::error::Rejected;
use std::borrow::Borrow;
use std::convert::Infallible;
use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::ptr::NonNull;
use sync_base::{Domain, Guard, Stalled};

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
    /// When the key is present and the domain is over its garbage limit this waits for it as long as the domain's settings
    /// say, then stores all the same; [`try_insert`](Self::try_insert) refuses instead. So do the other operations.
    pub fn insert(&self, key: K, value: V) -> Former<'_, K, V> {
        if self.lacks_room_for(&key) {
            self.domain.admit(Node::<K, V>::BYTES);
        }
        self.store(key, value)
    }

    /// Stores a value unless the key is present and readers that hold garbage up have brought the domain to its limit.
    ///
    /// # Errors
    /// [`Rejected`] with key and value, naming the stalled reader's thread; the map is unchanged.
    pub fn try_insert(&self, key: K, value: V) -> Result<Former<'_, K, V>, Rejected<(K, V)>> {
        match self.try_room_for(&key) {
            Ok(()) => Ok(self.store(key, value)),
            Err(stalled) => Err(Rejected::new((key, value), stalled)),
        }
    }

    /// Removes a key and returns its entry. O(1); takes one shard's lock.
    pub fn remove<Q>(&self, key: &Q) -> Former<'_, K, V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if self.lacks_room_for(key) {
            self.domain.admit(Node::<K, V>::BYTES);
        }
        self.take(key)
    }

    /// Removes a key unless it is present and readers that hold garbage up have brought the domain to its limit.
    ///
    /// # Errors
    /// [`Stalled`], naming the reader's thread; the map is unchanged.
    pub fn try_remove<Q>(&self, key: &Q) -> Result<Former<'_, K, V>, Stalled>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.try_room_for(key)?;
        Ok(self.take(key))
    }

    /// Replaces a value by what `f` makes of it; returns the former entry, or nothing if the key is absent.
    ///
    /// `f` may run more than once, when another writer changes the entry meanwhile. It runs outside every lock. The new
    /// entry has a clone of the stored key, hence `K: Clone`; where keys cannot be cloned, [`compute`](Self::compute)
    /// takes one.
    pub fn update<Q>(&self, key: &Q, f: impl FnMut(&V) -> V) -> Former<'_, K, V>
    where
        K: Borrow<Q> + Clone,
        Q: Hash + Eq + ?Sized,
    {
        if self.lacks_room_for(key) {
            self.domain.admit(Node::<K, V>::BYTES);
        }
        self.replace_by(key, f)
    }

    /// As [`update`](Self::update), unless readers that hold garbage up have brought the domain to its limit.
    ///
    /// # Errors
    /// [`Rejected`] with the closure, which has not run, naming the stalled reader's thread; the map is unchanged.
    pub fn try_update<Q, F>(&self, key: &Q, f: F) -> Result<Former<'_, K, V>, Rejected<F>>
    where
        K: Borrow<Q> + Clone,
        Q: Hash + Eq + ?Sized,
        F: FnMut(&V) -> V,
    {
        match self.try_room_for(key) {
            Ok(()) => Ok(self.replace_by(key, f)),
            Err(stalled) => Err(Rejected::new(f, stalled)),
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
    pub fn compute(&self, key: K, f: impl FnMut(Option<&V>) -> Action<V>) -> Outcome<'_, K, V> {
        let wait = |domain: &Domain| {
            domain.admit(Node::<K, V>::BYTES);
            Ok::<(), Infallible>(())
        };
        match self.decide(key, f, wait) {
            Ok(outcome) => outcome,
            Err((_, never)) => match never {},
        }
    }

    /// As [`compute`](Self::compute), but changes no entry that is present once readers that hold garbage up have brought
    /// the domain to its limit.
    ///
    /// # Errors
    /// [`Rejected`] with key and closure, naming the stalled reader's thread; the map is unchanged. The closure has run, and
    /// what it said is dropped.
    pub fn try_compute<F>(&self, key: K, f: F) -> Result<Outcome<'_, K, V>, Rejected<(K, F)>>
    where
        F: FnMut(Option<&V>) -> Action<V>,
    {
        self.decide(key, f, |domain| domain.try_admit(Node::<K, V>::BYTES))
            .map_err(|(parts, stalled)| Rejected::new(parts, stalled))
    }

    /// Returns the entry of a key, storing what `make` returns if there is none.
    ///
    /// `make` runs at most once, outside every lock. If another thread stores the key meanwhile, that entry stands and
    /// what `make` returned is dropped: where `make` must run once in all, store a `OnceLock`.
    pub fn get_or_insert_with(&self, key: K, make: impl FnOnce() -> V) -> Entry<K, V> {
        let guard = self.domain.pin();
        if let Some(seen) = self.find(&key, &guard) {
            // SAFETY: N2: met within the section.
            let entry = unsafe { Entry::from_shared(NonNull::from(seen)) };
            return then_drop(entry, (guard, key, make));
        }
        let mut fresh = Fresh::new(self.hashed(&key), key, make());
        loop {
            match self.put_if_absent(fresh) {
                Ok(node) => {
                    // SAFETY: N2: linked within the section, so its retirement waits for it.
                    let entry = unsafe { Entry::from_shared(node) };
                    return then_drop(entry, guard);
                }
                Err(back) => fresh = back,
            }
            if let Some(seen) = self.find(fresh.key(), &guard) {
                // SAFETY: N2: met within the section.
                let entry = unsafe { Entry::from_shared(NonNull::from(seen)) };
                return then_drop(entry, (guard, fresh));
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
        if self.lacks_room_to_change(&key, expected) {
            self.domain.admit(Node::<K, V>::BYTES);
        }
        self.exchange(key, expected, new)
    }

    /// As [`compare_exchange`](Self::compare_exchange), but changes no entry that is present once readers that hold garbage
    /// up have brought the domain to its limit.
    ///
    /// # Errors
    /// [`Rejected`] with key and `new`, naming the stalled reader's thread; the map is unchanged.
    #[allow(clippy::type_complexity)]
    pub fn try_compare_exchange(
        &self,
        key: K,
        expected: Option<&V>,
        new: Option<V>,
    ) -> Result<Result<Former<'_, K, V>, CompareExchangeError<K, V>>, Rejected<(K, Option<V>)>>
    where
        V: PartialEq,
    {
        if self.lacks_room_to_change(&key, expected)
            && let Err(stalled) = self.domain.try_admit(Node::<K, V>::BYTES)
        {
            return Err(Rejected::new((key, new), stalled));
        }
        Ok(self.exchange(key, expected, new))
    }

    fn lacks_room_to_change(&self, key: &K, expected: Option<&V>) -> bool
    where
        V: PartialEq,
    {
        expected.is_some()
            && !self.has_room()
            && self.with(key, |value| expected == Some(value)) == Some(true)
    }

    fn exchange(
        &self,
        key: K,
        expected: Option<&V>,
        new: Option<V>,
    ) -> Result<Former<'_, K, V>, CompareExchangeError<K, V>>
    where
        V: PartialEq,
    {
        let guard = self.domain.pin();
        let (result, key) = self.exchange_in(key, expected, new, &guard);
        then_drop(result, (guard, key))
    }

    /// Gives the key back if it was not stored.
    #[allow(clippy::type_complexity)]
    fn exchange_in(
        &self,
        mut key: K,
        expected: Option<&V>,
        mut new: Option<V>,
        guard: &Guard<'_>,
    ) -> (Result<Former<'_, K, V>, CompareExchangeError<K, V>>, Option<K>)
    where
        V: PartialEq,
    {
        let hashed = self.hashed(&key);
        loop {
            let seen = self.find(&key, guard);
            if seen.map(|node| &node.value) != expected {
                // SAFETY: N2: met within the section.
                let current = seen.map(|node| unsafe { Entry::from_shared(NonNull::from(node)) });
                return (Err(CompareExchangeError { current, new }), Some(key));
            }
            let seen = seen.map(NonNull::from);
            let back = match (seen, new) {
                (None, None) => return (Ok(None), Some(key)),
                (None, Some(value)) => match self.put_if_absent(Fresh::new(hashed, key, value)) {
                    Ok(_) => return (Ok(None), None),
                    Err(fresh) => fresh,
                },
                (Some(seen), Some(value)) => match self.swap(seen, Fresh::new(hashed, key, value)) {
                    Ok(former) => return (Ok(Some(former)), None),
                    Err(fresh) => fresh,
                },
                (Some(seen), None) => {
                    if let Some(former) = self.unlink(hashed, seen) {
                        return (Ok(Some(former)), Some(key));
                    }
                    new = None;
                    continue;
                }
            };
            let (back_key, back_value) = back.into_parts();
            (key, new) = (back_key, Some(back_value));
        }
    }

    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.domain.has_room(Node::<K, V>::BYTES)
    }

    /// Whether a write to a key would make garbage that there is no room for. One load while there is room.
    #[inline]
    pub(super) fn lacks_room_for<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        !self.has_room() && self.contains_key(key)
    }

    #[inline]
    fn try_room_for<Q>(&self, key: &Q) -> Result<(), Stalled>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if self.lacks_room_for(key) {
            self.domain.try_admit(Node::<K, V>::BYTES)
        } else {
            Ok(())
        }
    }

    pub(super) fn store(&self, key: K, value: V) -> Former<'_, K, V> {
        let hashed = self.hashed(&key);
        self.foresee(hashed);
        let fresh = Fresh::new(hashed, key, value);
        let held = self.shards.hold(hashed);
        match held.replace(fresh) {
            Ok(former) => {
                drop(held);
                // SAFETY: M2: the replacement unlinked it.
                Some(unsafe { Removed::new(former, self.domain()) })
            }
            Err(fresh) => {
                let linked = held.link(fresh);
                drop(held);
                self.settle(linked);
                None
            }
        }
    }

    /// Has the processor fetch the line that a look-up will begin at, while the node is allocated: a large map is not in
    /// any cache. In a read section of its own, since a directory may be replaced before the lock is taken.
    #[inline(always)]
    fn foresee(&self, hashed: Hashed) {
        // Not in a model, where a section would order what the write itself does not.
        if cfg!(not(any(loom, shuttle))) {
            let _section = self.domain.pin();
            // SAFETY: inside the section.
            unsafe { self.shards.prefetch(hashed) };
        }
    }

    fn take<Q>(&self, key: &Q) -> Former<'_, K, V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hashed = self.hashed(key);
        let node = self
            .shards
            .hold(hashed)
            .take(hashed, move |k| k.borrow() == key)?;
        // SAFETY: M2: this call unlinked it.
        Some(unsafe { Removed::new(node, self.domain()) })
    }

    fn replace_by<Q>(&self, key: &Q, mut f: impl FnMut(&V) -> V) -> Former<'_, K, V>
    where
        K: Borrow<Q> + Clone,
        Q: Hash + Eq + ?Sized,
    {
        let guard = self.domain.pin();
        let hashed = self.hashed(key);
        loop {
            let seen = self.find(key, &guard)?;
            let fresh = Fresh::new(hashed, seen.key.clone(), f(&seen.value));
            if let Ok(former) = self.swap(NonNull::from(seen), fresh) {
                return then_drop(Some(former), (guard, f));
            }
        }
    }

    /// Decides by `f`, after `room` has been asked if an entry is to go.
    fn decide<F, E>(
        &self,
        key: K,
        mut f: F,
        room: impl FnOnce(&Domain) -> Result<(), E>,
    ) -> Result<Outcome<'_, K, V>, ((K, F), E)>
    where
        F: FnMut(Option<&V>) -> Action<V>,
    {
        let mut section = None;
        match self.decide_in(key, &mut f, &mut section, room) {
            Ok((outcome, key)) => Ok(then_drop(outcome, (section, key, f))),
            Err(back) => {
                let (key, error) = then_drop(back, section);
                Err(((key, f), error))
            }
        }
    }

    /// Gives the key back if it was not stored. `section` is opened here and closed while room is waited for.
    #[allow(clippy::type_complexity)]
    fn decide_in<'m, E>(
        &'m self,
        mut key: K,
        f: &mut impl FnMut(Option<&V>) -> Action<V>,
        section: &mut Option<Guard<'m>>,
        room: impl FnOnce(&Domain) -> Result<(), E>,
    ) -> Result<(Outcome<'m, K, V>, Option<K>), (K, E)> {
        let hashed = self.hashed(&key);
        let mut room = Some(room);
        loop {
            let guard = section.get_or_insert_with(|| self.domain.pin());
            let seen = self.find(&key, guard);
            let action = f(seen.map(|node| &node.value));
            let seen = seen.map(NonNull::from);
            // Keeps the address of what was seen from being used again while the section is closed.
            let mut _kept = None;
            if let (Action::Put(_) | Action::Remove, Some(node)) = (&action, seen)
                && !self.has_room()
                && let Some(room) = room.take()
            {
                // SAFETY: N2: met within the section, which is still open.
                _kept = Some(unsafe { Entry::from_shared(node) });
                *section = None;
                if let Err(error) = room(&self.domain) {
                    return Err(then_drop((key, error), action));
                }
            }
            match (action, seen) {
                (Action::Keep, _) | (Action::Remove, None) => return Ok((Outcome::Kept, Some(key))),
                (Action::Remove, Some(seen)) => {
                    if let Some(former) = self.unlink(hashed, seen) {
                        return Ok((Outcome::Removed(former), Some(key)));
                    }
                }
                (Action::Put(value), Some(seen)) => match self.swap(seen, Fresh::new(hashed, key, value)) {
                    Ok(former) => return Ok((Outcome::Replaced(former), None)),
                    Err(fresh) => key = fresh.into_parts().0,
                },
                (Action::Put(value), None) => match self.put_if_absent(Fresh::new(hashed, key, value)) {
                    Ok(_) => return Ok((Outcome::Inserted, None)),
                    Err(fresh) => key = fresh.into_parts().0,
                },
            }
        }
    }

    /// Retires the table that a new node's had to give way to (M2). The node lives as long as the caller's section.
    fn settle(&self, linked: Linked<K, V>) -> NonNull<Node<K, V>> {
        if let Some(table) = linked.table {
            // SAFETY: M2: the caller's write unlinked the table; its nodes were carried over.
            unsafe { retire_table(self.domain(), table) };
        }
        linked.node
    }

    /// Puts a node where `seen` is, if that is still linked. The caller's section, or a count, keeps its address `seen`'s.
    fn swap(&self, seen: NonNull<Node<K, V>>, fresh: Fresh<K, V>) -> Result<Removed<'_, K, V>, Fresh<K, V>> {
        self.shards.hold(fresh.hashed()).swap(seen, fresh)?;
        // SAFETY: M2: the swap unlinked it.
        Ok(unsafe { Removed::new(seen, self.domain()) })
    }

    /// Unlinks `seen` if it is still linked. As for [`swap`](Self::swap).
    pub(super) fn unlink(&self, hashed: Hashed, seen: NonNull<Node<K, V>>) -> Former<'_, K, V> {
        let gone = self.shards.hold(hashed).unlink(hashed, seen);
        // SAFETY: M2: this call unlinked it.
        gone.then(|| unsafe { Removed::new(seen, self.domain()) })
    }

    /// Links a node, or gives it back if its key has one. The node linked lives as long as the caller's section.
    fn put_if_absent(&self, fresh: Fresh<K, V>) -> Result<NonNull<Node<K, V>>, Fresh<K, V>> {
        let linked = self.shards.hold(fresh.hashed()).put_if_absent(fresh)?;
        Ok(self.settle(linked))
    }
}

/// Drops what is left over, then returns; if that panics, unwinding drops `result` as well.
fn then_drop<T, R>(result: T, rest: R) -> T {
    drop(rest);
    result
}
