//! A map's tables, each written under its shard's lock and read under none.
//!
//! # States
//! The directory names the *current* table of each hash. A table that is full is followed by a longer one, or, once it
//! has [`BITS_MAX`] line bits, by two that share its hashes: either is filled in private, published by one store for each
//! key, and leaves the former *frozen*: readers inside a section may still walk it.
//!
//! # Invariants
//! - S1: the tables of a shard and their entries are stored to only by the holder of its lock. Every table is deep enough
//!   to belong to one shard.
//! - S2: every key is in the table that its hash names, at most once.
//! - S3: what an operation unlinks (a node, a table, a directory) it returns to the caller, who retires it after unlocking:
//!   nothing of the user's is dropped, and nothing is reclaimed, under a lock. `Eq` is all of the user's that runs here,
//!   and it runs before the first store: if it panics, nothing has changed.
//! - S4: locks are taken in this order: shards' in ascending order, then `publishing`, which is held for as long as it
//!   takes to store words.
//! - S5: a directory that was outgrown is kept until the map is cleared, which takes every lock, or dropped: all that are
//!   kept are together shorter than the current one. So a writer needs no read section: the directory that it loads
//!   under its lock stays, though another shard's writer may put a longer one in its place, and its own shard's entries
//!   are the same in both.
//!
//! # Orderings
//! | access | order | pairs with |
//! |---|---|---|
//! | directory load in `directory` | Acquire | the Release in `publish` and `clear`: the directory's entries |
//! | directory store in `publish` and `clear` | Release | the Acquire above |
//! | `live` | Relaxed | a count publishes nothing |

use super::control::SLOTS;
use super::directory::Directory;
use super::hash::{Hashed, PREFIX_BITS_MAX, STRIPE_BITS_MAX};
use super::node::{Fresh, Node};
use super::table::{Place, Table, TableWord};
use crate::lock::{Lock, Locked, holds_any, reentered};
use std::ptr::NonNull;
use sync_base::CachePadded;
use sync_base::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// Logarithm of the lines beyond which a table is split instead of doubled: the longest write copies one such table.
///
/// Fewer under loom, so that a model reaches a split.
const BITS_MAX: u32 = if cfg!(loom) { 1 } else { 7 };

/// Nodes looked at to see whether a split would tell a full table's hashes apart.
const SAMPLE: usize = 64;

/// What writers share of one shard, on cache lines that readers do not touch.
#[derive(Debug)]
struct Books {
    lock: Lock<()>,
    live: AtomicUsize,
}

/// All shards of a map.
#[derive(Debug)]
pub(crate) struct Shards<K, V> {
    directory: AtomicPtr<Directory<Node<K, V>>>,
    /// Held while the directory is changed: those outgrown (S5).
    publishing: Lock<Vec<Outgrown<K, V>>>,
    books: Box<[CachePadded<Books>]>,
    shard_bits: u32,
}

/// A directory that a longer one has taken the place of; its tables are named there, or retired.
type Outgrown<K, V> = NonNull<Directory<Node<K, V>>>;

/// What [`Shards::clear`] took out of the map, for the caller to retire (S3).
#[derive(Debug)]
#[must_use]
pub(crate) struct Cleared<K, V> {
    /// With its tables and every node in them; taken out as it is retired.
    pub(crate) directory: Option<NonNull<Directory<Node<K, V>>>>,
    /// Without theirs.
    pub(crate) outgrown: Vec<Outgrown<K, V>>,
}

/// A node that a write has linked, and the table that it replaced on the way.
#[derive(Debug)]
#[must_use]
pub(crate) struct Linked<K, V> {
    pub(crate) node: NonNull<Node<K, V>>,
    pub(crate) table: Option<TableWord<Node<K, V>>>,
}

/// What takes a full table's place.
enum Successor<K, V> {
    Longer(TableWord<Node<K, V>>),
    /// One for the hashes whose bit after the table's prefix is clear, one for the others.
    Halves(TableWord<Node<K, V>>, TableWord<Node<K, V>>),
}

/// Nodes that a table of `2^bits` lines holds at most: three quarters of its slots, and always one fewer than there are.
fn limit(bits: u32) -> usize {
    let slots = SLOTS << bits;
    slots - (slots / 4).max(1)
}

/// Logarithm of the length of the shortest table that is full with `nodes` or more.
fn bits_for(nodes: usize) -> u32 {
    (0..32).find(|bits| limit(*bits) >= nodes).unwrap_or(31)
}

impl<K, V> Shards<K, V> {
    /// Makes `2^shard_bits` shards with room for `capacity` entries in all before any table is copied, if hashes
    /// spread evenly.
    pub(crate) fn new(shard_bits: u32, capacity: usize) -> Self {
        debug_assert!(shard_bits <= STRIPE_BITS_MAX);
        // A slot, its tag and the slots left free take more than a node's address each.
        assert!(
            capacity <= isize::MAX as usize / size_of::<usize>() / 2,
            "capacity overflow"
        );
        let tables = capacity.div_ceil(limit(BITS_MAX)).next_power_of_two();
        let depth = tables.trailing_zeros().clamp(shard_bits, PREFIX_BITS_MAX);
        let bits = bits_for(capacity.div_ceil(1 << depth));
        let books = || {
            CachePadded::new(Books {
                lock: Lock::new(()),
                live: AtomicUsize::new(0),
            })
        };
        Self {
            directory: AtomicPtr::new(Box::into_raw(Directory::of(depth, || {
                Table::allocate(bits, depth)
            }))),
            publishing: Lock::new(Vec::new()),
            books: (0..1 << shard_bits).map(|_| books()).collect(),
            shard_bits,
        }
    }

    /// Sums the live counts; exact only while no write runs.
    pub(crate) fn live(&self) -> usize {
        // Relaxed: a count publishes nothing.
        self.books
            .iter()
            .map(|books| books.live.load(Ordering::Relaxed))
            .sum()
    }

    /// Borrows the current directory.
    ///
    /// # Safety
    /// Within `'a` it is not freed: the caller is inside a read section, or holds a shard's lock (S5) or the publishing
    /// lock, or owns the map.
    #[inline(always)]
    pub(crate) unsafe fn directory<'a>(&self) -> &'a Directory<Node<K, V>> {
        // Acquire: pairs with the Release in `publish` and `clear`; publishes the directory's entries.
        let directory = self.directory.load(Ordering::Acquire);
        // SAFETY: the caller's promise; it came from a box.
        unsafe { &*directory }
    }

    /// Finds a key's node. Wait-free.
    ///
    /// # Safety
    /// The caller is inside a read section, or owns the map; the node found lives as long as the section.
    #[inline(always)]
    pub(crate) unsafe fn find(
        &self,
        hashed: Hashed,
        is_key: impl Fn(&K) -> bool + Copy,
    ) -> Option<NonNull<Node<K, V>>> {
        // SAFETY: the caller's promise.
        unsafe { find_in(self.directory(), hashed, is_key) }
    }

    /// Asks for the line where a hash's table is looked at first.
    ///
    /// # Safety
    /// The caller is inside a read section.
    #[inline(always)]
    pub(crate) unsafe fn prefetch(&self, hashed: Hashed) {
        // SAFETY: the caller's promise, for both.
        unsafe { self.directory().table(hashed) }.prefetch_home(hashed);
    }

    /// Refuses user code that runs under one of this map's locks any other of them: two threads that do it crosswise
    /// would wait for each other for ever.
    #[inline(always)]
    fn check_reentry(&self) {
        if holds_any() {
            self.look_for_own_lock();
        }
    }

    #[cold]
    #[inline(never)]
    fn look_for_own_lock(&self) {
        if self.books.iter().any(|books| books.lock.is_mine()) {
            reentered();
        }
    }

    /// Takes the lock of the shard that a hash names.
    ///
    /// # Panics
    /// When this thread holds a lock of this map; in the child of a fork, when the shard was being written at the fork.
    #[inline(always)]
    pub(crate) fn hold(&self, hashed: Hashed) -> Held<'_, K, V> {
        self.check_reentry();
        let books = &self.books[hashed.prefix(self.shard_bits)];
        Held {
            locked: books.lock.lock(),
            // SAFETY: S5: loaded after the lock was taken, and used while it is held.
            directory: unsafe { self.directory() },
            live: &books.live,
            shards: self,
        }
    }

    /// Takes every shard's lock (S4). Panics as [`hold`](Self::hold).
    fn hold_all(&self) -> Vec<Locked<'_, ()>> {
        self.check_reentry();
        self.books.iter().map(|books| books.lock.lock()).collect()
    }

    /// Copies the directory and its tables as they are at one moment, while writers wait.
    pub(crate) fn duplicate(&self) -> Box<Directory<Node<K, V>>> {
        let _held = self.hold_all();
        // SAFETY: every shard's lock is held.
        unsafe { self.directory() }.duplicate()
    }

    /// Puts an empty directory in the place of the present one, by one store.
    pub(crate) fn clear(&self) -> Cleared<K, V> {
        let held = self.hold_all();
        let mut publishing = self.publishing.lock();
        // Made once nothing can panic any more: dropping a directory frees no table.
        let fresh = Directory::of(self.shard_bits, || Table::allocate(0, self.shard_bits));
        for books in &self.books {
            // Relaxed: a count publishes nothing.
            books.live.store(0, Ordering::Relaxed);
        }
        let cleared = Cleared {
            directory: Some(self.exchange(fresh)),
            outgrown: std::mem::take(&mut *publishing),
        };
        drop(publishing);
        drop(held);
        cleared
    }

    /// Puts another directory in the place of the present one; under the publishing lock.
    fn exchange(&self, directory: Box<Directory<Node<K, V>>>) -> NonNull<Directory<Node<K, V>>> {
        // Relaxed: D2: the publishing lock orders every earlier store.
        let former = self.directory.load(Ordering::Relaxed);
        // Release: pairs with the Acquire in `directory`; publishes the entries.
        self.directory.store(Box::into_raw(directory), Ordering::Release);
        // SAFETY: it came from a box.
        unsafe { NonNull::new_unchecked(former) }
    }

    /// Puts a full table's successor in its place. Under the shard's lock; the successor's nodes are placed.
    fn publish(&self, hashed: Hashed, depth: u32, successor: Successor<K, V>) {
        let mut outgrown = self.publishing.lock();
        // SAFETY: the publishing lock is held.
        let directory = unsafe { self.directory() };
        let halve = |directory: &Directory<Node<K, V>>, clear, set| {
            let range = directory.range(hashed, depth);
            let middle = range.start + range.len() / 2;
            directory.set(middle..range.end, set);
            directory.set(range.start..middle, clear);
        };
        match successor {
            Successor::Longer(word) => directory.set(directory.range(hashed, depth), word),
            Successor::Halves(clear, set) if depth < directory.bits() => halve(directory, clear, set),
            Successor::Halves(clear, set) => {
                let doubled = directory.doubled();
                halve(&doubled, clear, set);
                outgrown.push(self.exchange(doubled));
            }
        }
    }

    /// Takes every table out; for the map's own drop.
    pub(crate) fn take_tables(&mut self) -> Vec<TableWord<Node<K, V>>> {
        for outgrown in self.publishing.get_mut().drain(..) {
            // SAFETY: it came from a box, and no reader or writer is there to use it; it frees no table.
            drop(unsafe { Box::from_raw(outgrown.as_ptr()) });
        }
        // Relaxed: `&mut self` means that every writer has synchronised with this thread.
        let directory = self.directory.load(Ordering::Relaxed);
        // SAFETY: it came from a box, and the map, whose drop this is, does not use it again.
        unsafe { Box::from_raw(directory) }.into_tables()
    }
}

/// Finds a key's node in a directory.
///
/// # Safety
/// As [`Shards::find`]; or the directory is a copy that the caller owns.
#[inline(always)]
pub(crate) unsafe fn find_in<K, V>(
    directory: &Directory<Node<K, V>>,
    hashed: Hashed,
    is_key: impl Fn(&K) -> bool + Copy,
) -> Option<NonNull<Node<K, V>>> {
    // SAFETY: the caller's promise.
    let table = unsafe { directory.table(hashed) };
    let found = table.find(hashed, move |node| {
        // SAFETY: N1, and the caller's section keeps a node met in a slot alive.
        is_key(unsafe { &node.as_ref().key })
    });
    found.map(|(_, node)| node)
}

/// One shard with its lock held.
#[derive(Debug)]
pub(crate) struct Held<'a, K, V> {
    locked: Locked<'a, ()>,
    directory: &'a Directory<Node<K, V>>,
    live: &'a AtomicUsize,
    shards: &'a Shards<K, V>,
}

impl<'a, K, V> Held<'a, K, V> {
    /// The current table of a hash of this shard, which stands until this holder publishes another.
    fn table(&self, hashed: Hashed) -> Table<'a, Node<K, V>> {
        let _: &Locked<'_, ()> = &self.locked;
        // SAFETY: S1: only a holder replaces the table, and retires it after unlocking.
        unsafe { self.directory.table(hashed) }
    }

    #[inline(always)]
    fn find(
        &self,
        table: Table<'a, Node<K, V>>,
        hashed: Hashed,
        is_key: impl Fn(&K) -> bool + Copy,
    ) -> Option<(Place, NonNull<Node<K, V>>)> {
        table.find(hashed, move |node| {
            // SAFETY: a node linked in the current table is unlinked, hence retired, only by a holder of the lock.
            is_key(unsafe { &node.as_ref().key })
        })
    }

    /// Links a node in the place of its key's former one, or gives it back.
    #[inline]
    pub(crate) fn replace(&self, fresh: Fresh<K, V>) -> Result<NonNull<Node<K, V>>, Fresh<K, V>>
    where
        K: Eq,
    {
        let (wanted, table) = (fresh.key(), self.table(fresh.hashed()));
        match self.find(table, fresh.hashed(), move |key| key == wanted) {
            Some((place, old)) => {
                table.replace(place, fresh.link());
                Ok(old)
            }
            None => Err(fresh),
        }
    }

    /// Links a node unless its key has one; then gives the fresh one back.
    pub(crate) fn put_if_absent(self, fresh: Fresh<K, V>) -> Result<Linked<K, V>, Fresh<K, V>>
    where
        K: Eq,
    {
        let (wanted, table) = (fresh.key(), self.table(fresh.hashed()));
        match self.find(table, fresh.hashed(), move |key| key == wanted) {
            Some(_) => Err(fresh),
            None => Ok(self.link(fresh)),
        }
    }

    /// Puts a node where `seen` stands; gives it back if `seen` is no longer linked. Runs no user code.
    pub(crate) fn swap(self, seen: NonNull<Node<K, V>>, fresh: Fresh<K, V>) -> Result<(), Fresh<K, V>> {
        let table = self.table(fresh.hashed());
        match table.find(fresh.hashed(), move |node| node == seen) {
            Some((place, _)) => {
                table.replace(place, fresh.link());
                Ok(())
            }
            None => Err(fresh),
        }
    }

    /// Unlinks `seen`; false if it is no longer linked. Runs no user code.
    pub(crate) fn unlink(self, hashed: Hashed, seen: NonNull<Node<K, V>>) -> bool {
        match self.table(hashed).find(hashed, move |node| node == seen) {
            Some((place, _)) => {
                self.bury(hashed, place);
                true
            }
            None => false,
        }
    }

    /// Unlinks a key's node.
    pub(crate) fn take(
        self,
        hashed: Hashed,
        is_key: impl Fn(&K) -> bool + Copy,
    ) -> Option<NonNull<Node<K, V>>> {
        let (place, node) = self.find(self.table(hashed), hashed, is_key)?;
        self.bury(hashed, place);
        Some(node)
    }

    /// Links the node of a key that has none, in the successor of its table if that would be one node too many.
    #[inline(never)]
    pub(crate) fn link(&self, fresh: Fresh<K, V>) -> Linked<K, V> {
        let hashed = fresh.hashed();
        let table = self.table(hashed);
        let mut former = None;
        let node;
        if table.live() < limit(table.bits()) {
            node = fresh.link();
            table.link(hashed, node);
        } else {
            // In the child of a fork this panics if it cannot be had, and a successor that is filled would leak.
            self.shards.publishing.require();
            // Filled in private and published with the new node in it: one store makes both visible.
            let successor = succeed(table, hashed);
            node = fresh.link();
            successor.place(hashed, node, table.depth());
            self.shards.publish(hashed, table.depth(), successor);
            former = Some(table.word());
        }
        self.set_live(self.live() + 1);
        Linked { node, table: former }
    }

    fn bury(&self, hashed: Hashed, place: Place) {
        self.table(hashed).bury(hashed, place);
        self.set_live(self.live() - 1);
    }

    fn live(&self) -> usize {
        // Relaxed: written under the lock only.
        self.live.load(Ordering::Relaxed)
    }

    fn set_live(&self, live: usize) {
        // Relaxed: a count publishes nothing.
        self.live.store(live, Ordering::Relaxed);
    }
}

impl<K, V> Successor<K, V> {
    /// Places a node in the table that serves its hash, in private.
    fn place(&self, hashed: Hashed, node: NonNull<Node<K, V>>, depth: u32) {
        let word = match *self {
            Self::Longer(word) => word,
            Self::Halves(clear, set) => {
                if hashed.bit_after(depth) {
                    set
                } else {
                    clear
                }
            }
        };
        // SAFETY: this thread alone reaches the new table.
        unsafe { Table::borrow(word) }.link(hashed, node);
    }
}

/// Makes a full table's successor, with its nodes, for the holder of the shard's lock. `next` is about to be linked.
fn succeed<K, V>(table: Table<'_, Node<K, V>>, next: Hashed) -> Successor<K, V> {
    let (bits, depth) = (table.bits(), table.depth());
    // SAFETY: linked in the current table of a shard whose lock is held, so not retired.
    let hashed = |node: NonNull<Node<K, V>>| unsafe { node.as_ref().hashed };
    // A split that leaves all nodes on one side, since hashes collide, would be followed by another. What a sample does
    // not show costs one split more: a half has room for all nodes and the next.
    let splits = bits >= BITS_MAX
        && depth < PREFIX_BITS_MAX
        && table
            .nodes()
            .take(SAMPLE)
            .any(|node| hashed(node).bit_after(depth) != next.bit_after(depth));
    let successor = if splits {
        let half = || Table::allocate(bits, depth + 1);
        Successor::Halves(half(), half())
    } else {
        Successor::Longer(Table::allocate(bits + 1, depth))
    };
    for node in table.nodes() {
        successor.place(hashed(node), node, depth);
    }
    successor
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    type Small = Shards<u32, u32>;

    fn fill(shards: &Small, hashes: impl Iterator<Item = u64>) {
        for (key, hash) in (0..).zip(hashes) {
            let fresh = Fresh::new(Hashed::new(hash), key, key);
            let held = shards.hold(fresh.hashed());
            let fresh = held.replace(fresh).expect_err("keys differ");
            if let Some(word) = held.link(fresh).table {
                // SAFETY: replaced, and nobody else is there.
                unsafe { Table::free(word) };
            }
        }
    }

    /// Bits and depth of every table, once each, and the nodes in all.
    fn shape(shards: &Small) -> (Vec<(u32, u32)>, usize) {
        // SAFETY: nobody else is there.
        let tables: Vec<_> = unsafe { shards.directory().tables() }.collect();
        let nodes = tables.iter().map(|table| table.nodes().count()).sum();
        (
            tables.iter().map(|table| (table.bits(), table.depth())).collect(),
            nodes,
        )
    }

    fn free(mut shards: Small) {
        // SAFETY: the tables and their nodes are the map's, given up once.
        unsafe { super::super::free_all(shards.take_tables()) };
    }

    #[test]
    fn no_table_grows_past_the_length_that_bounds_the_longest_write() {
        for shard_bits in [0, 3, 6] {
            let shards = Small::new(shard_bits, 0);
            fill(&shards, 0..100_000);
            let (tables, nodes) = shape(&shards);
            assert_eq!((nodes, shards.live()), (100_000, 100_000));
            assert!(
                tables
                    .iter()
                    .all(|(bits, depth)| *bits <= BITS_MAX && *depth >= shard_bits)
            );
            assert!(tables.len() > 100_000 / limit(BITS_MAX));
            assert!(
                tables.len() < 8 * 100_000 / limit(BITS_MAX),
                "{} tables",
                tables.len()
            );
            free(shards);
        }
    }

    #[test]
    fn hashes_that_collide_lengthen_their_table_and_not_the_directory() {
        let shards = Small::new(2, 0);
        fill(&shards, std::iter::repeat_n(5, 2_000));
        // SAFETY: nobody else is there.
        assert_eq!(unsafe { shards.directory() }.bits(), 2);
        let (tables, nodes) = shape(&shards);
        assert_eq!((nodes, tables.len()), (2_000, 4));
        assert!(tables.iter().any(|(bits, _)| *bits > BITS_MAX));
        free(shards);
    }

    #[test]
    fn room_asked_for_is_room_without_growth() {
        for capacity in [1, 6, 7, 100, 5_000, 100_000] {
            let shards = Small::new(0, capacity);
            let before = shape(&shards).0;
            let slots: usize = before.iter().map(|(bits, _)| limit(*bits)).sum();
            assert!(slots >= capacity, "{slots} for {capacity}");
            if before.len() == 1 {
                fill(&shards, 0..capacity as u64);
                assert_eq!(shape(&shards).0, before);
            }
            free(shards);
        }
    }

    #[test]
    fn a_copy_names_the_same_nodes_in_tables_of_its_own() {
        let shards = Small::new(1, 0);
        fill(&shards, 0..3_000);
        let copy = shards.duplicate();
        // SAFETY: the copy is owned here.
        let copied: Vec<_> = unsafe { copy.tables() }.flat_map(Table::nodes).collect();
        // SAFETY: nobody else is there.
        let linked: Vec<_> = unsafe { shards.directory().tables() }
            .flat_map(Table::nodes)
            .collect();
        assert_eq!(linked, copied);
        for word in copy.into_tables() {
            // SAFETY: the copy's own; its nodes are the map's.
            unsafe { Table::free(word) };
        }
        free(shards);
    }
}
