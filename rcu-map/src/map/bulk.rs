//! The operations that change a map as a whole. What `write` says of room, closures and panics holds here.

use super::RcuMap;
use super::node::Node;
use super::retire::{retire_directory, retire_directory_and_nodes};
use super::shard::Cleared;
use std::convert::Infallible;
use std::hash::{BuildHasher, Hash};
use std::ptr::NonNull;
use sync_base::{Domain, Stalled};

impl<K, V, S> RcuMap<K, V, S>
where
    K: Eq + Hash + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: BuildHasher,
{
    /// Removes every entry for which `keep` says false, and returns how many. O(n), one entry at a time.
    ///
    /// `keep` runs outside every lock, once for each entry met. An entry replaced between its look and its removal
    /// stays. Weakly consistent, like a walk. Waits for room once, at the first removal.
    pub fn retain(&self, keep: impl FnMut(&K, &V) -> bool) -> usize {
        let wait = || {
            self.domain.admit(Node::<K, V>::BYTES);
            Ok::<(), Infallible>(())
        };
        match self.retain_with(keep, wait) {
            Ok(removed) => removed,
            Err(never) => match never {},
        }
    }

    /// As [`retain`](Self::retain), unless readers that hold garbage up have brought the domain to its limit when the first
    /// entry is to go; what the rest makes is counted and not asked for.
    ///
    /// # Errors
    /// [`Stalled`], naming the reader's thread; the map is unchanged. `keep` has run for the entries before.
    pub fn try_retain(&self, keep: impl FnMut(&K, &V) -> bool) -> Result<usize, Stalled> {
        self.retain_with(keep, || self.domain.try_admit(Node::<K, V>::BYTES))
    }

    /// Asks for `room` at the first removal.
    fn retain_with<E>(
        &self,
        mut keep: impl FnMut(&K, &V) -> bool,
        room: impl FnOnce() -> Result<(), E>,
    ) -> Result<usize, E> {
        // Before the walk, whose own section holds back what is retired during it.
        if !self.has_room() {
            self.domain.collect();
        }
        let guard = self.domain.pin();
        let (mut removed, mut room) = (0, Some(room));
        for node in super::Iter::new(&self.shards, &guard).nodes() {
            if keep(&node.key, &node.value) {
                continue;
            }
            if let Some(room) = room.take() {
                room()?;
            }
            removed += usize::from(self.unlink(node.hashed, NonNull::from(node)).is_some());
        }
        Ok(removed)
    }

    /// Removes every entry at once: one store puts an empty table in the place of all, while writers wait.
    ///
    /// Linearizable with every other operation, snapshots included: what was stored before is gone, what is stored after
    /// stays. A walk that began before goes on over what it was walking. Costs O(1) (a fresh table of least size, some
    /// 8 KiB); freeing the entries costs O(n), later. Readers inside a section go on seeing what they hold.
    ///
    /// Asks for room for every entry at once: where a stalled reader prevents it, it waits, then goes past the limit, counted.
    pub fn clear(&self) {
        let bytes = self.entry_bytes();
        if bytes != 0 {
            self.domain.admit(bytes);
        }
        self.empty();
    }

    /// As [`clear`](Self::clear), unless a stalled reader would hold back so much that the domain passed its limit.
    ///
    /// # Errors
    /// [`Stalled`], naming the reader's thread; the map is unchanged.
    pub fn try_clear(&self) -> Result<(), Stalled> {
        let bytes = self.entry_bytes();
        if bytes != 0 {
            self.domain.try_admit(bytes)?;
        }
        self.empty();
        Ok(())
    }

    /// Stores every pair, one at a time: readers may see some of them before the rest. Takes `&self`.
    ///
    /// Waits for room while there is some to be had by it; once a stalled reader has made it wait in vain, the rest is
    /// stored without waiting.
    pub fn extend(&self, entries: impl IntoIterator<Item = (K, V)>) {
        let mut waits = true;
        for (key, value) in entries {
            if waits && self.lacks_room_for(&key) {
                waits = self.domain.admit(Node::<K, V>::BYTES);
            }
            self.store(key, value);
        }
    }

    fn entry_bytes(&self) -> usize {
        self.len().saturating_mul(Node::<K, V>::BYTES)
    }

    /// Empties the map; retires all that was in it, whatever panics meanwhile.
    fn empty(&self) {
        struct Rest<'m, K, V>(Cleared<K, V>, &'m Domain)
        where
            K: Send + Sync + 'static,
            V: Send + Sync + 'static;
        impl<K, V> Rest<'_, K, V>
        where
            K: Send + Sync + 'static,
            V: Send + Sync + 'static,
        {
            fn run(&mut self) {
                if let Some(directory) = self.0.directory.take() {
                    // SAFETY: M2: the clear unlinked the directory, its tables and every node still linked in them.
                    unsafe { retire_directory_and_nodes(self.1, directory) };
                }
                while let Some(outgrown) = self.0.outgrown.pop() {
                    // SAFETY: M2: unlinked when it was outgrown, and kept by nobody any more.
                    unsafe { retire_directory(self.1, outgrown) };
                }
            }
        }
        impl<K, V> Drop for Rest<'_, K, V>
        where
            K: Send + Sync + 'static,
            V: Send + Sync + 'static,
        {
            fn drop(&mut self) {
                self.run();
            }
        }
        Rest(self.shards.clear(), &self.domain).run();
    }
}
