//! A map's tables, each written under its own lock and read under none.
//!
//! # States
//! A shard's table word names its *current* table. A rebuild fills a longer (or equal, or shorter) table in private,
//! publishes it by one store and leaves the former *frozen*: readers inside a section may still walk it.
//!
//! # Invariants
//! - S1: a table word and the slots of its current table are stored to only by the holder of the shard's lock.
//! - S2: every key is in the shard that its hash names, at most once.
//! - S3: what an operation unlinks (a node, a table) it returns to the caller, who retires it after unlocking: nothing of
//!   the user's is dropped, and nothing is reclaimed, under a lock. `Eq` is all of the user's that runs here, and it runs
//!   before the first store: if it panics, nothing has changed.
//! - S4: `used` counts FULL and GRAVE slots, `live` FULL ones; `live <= used <= limit < len` (T1).
//!
//! # Orderings
//! | access | order | pairs with |
//! |---|---|---|
//! | table word load in `table` | Acquire | the Release in `Held::publish`: the new table's slots |
//! | table word store in `Held::publish` | Release | the Acquire above |
//! | `live` | Relaxed | a count publishes nothing |

use super::node::{Fresh, Node};
use super::prefetch::{AHEAD, prefetch};
use super::table::{Probe, Table, TableWord};
use super::word::{Hashed, SHARD_BITS_MAX, Spread, Word};
use crate::lock::{Lock, Locked};
use std::ptr::NonNull;
use sync_base::CachePadded;
use sync_base::atomic::{AtomicPtr, AtomicUsize, Ordering};

type TableSlot<K, V> = AtomicPtr<super::table::Line<Node<K, V>>>;

/// What writers share of one shard, on cache lines that readers do not touch.
#[derive(Debug)]
struct Books {
    lock: Lock<Used>,
    live: AtomicUsize,
}

/// Slots of the current table that are not EMPTY.
#[derive(Debug)]
struct Used(usize);

/// All shards of a map.
#[derive(Debug)]
pub(crate) struct Shards<K, V> {
    /// Side by side: readers load one, and nobody writes them but a rebuild.
    tables: Box<[TableSlot<K, V>]>,
    books: Box<[CachePadded<Books>]>,
    shard_bits: u32,
}

/// What a write took out of the map, for the caller to retire (S3).
#[derive(Debug)]
#[must_use]
pub(crate) struct Unlinked<K, V> {
    pub(crate) node: Option<NonNull<Node<K, V>>>,
    pub(crate) table: Option<TableWord<Node<K, V>>>,
}

/// A node that a write has linked, and the table that it replaced on the way.
#[derive(Debug)]
#[must_use]
pub(crate) struct Linked<K, V> {
    pub(crate) node: NonNull<Node<K, V>>,
    pub(crate) table: Option<TableWord<Node<K, V>>>,
}

/// Slots that may be used before a rebuild: three quarters, and always one fewer than there are.
fn limit(len: usize) -> usize {
    len - (len / 4).max(1)
}

/// Logarithm of the length that holds `live` nodes at half load at most.
///
/// Half, so that a rebuild leaves at least a quarter of the slots to use up before the next: amortised O(1).
fn bits_for(live: usize) -> u32 {
    let len = live.saturating_mul(2).next_power_of_two();
    len.trailing_zeros().max(Table::<()>::BITS_MIN)
}

impl<K, V> Shards<K, V> {
    /// Makes `2^shard_bits` shards with room for `capacity` entries in all before any of them is rebuilt, if hashes
    /// spread evenly.
    pub(crate) fn new(shard_bits: u32, capacity: usize) -> Self {
        debug_assert!(shard_bits <= SHARD_BITS_MAX);
        let count = 1usize << shard_bits;
        let bits = bits_for(capacity.div_ceil(count));
        Self {
            tables: (0..count)
                .map(|_| AtomicPtr::new(Table::allocate(bits)))
                .collect(),
            books: (0..count)
                .map(|_| {
                    CachePadded::new(Books {
                        lock: Lock::new(Used(0)),
                        live: AtomicUsize::new(0),
                    })
                })
                .collect(),
            shard_bits,
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.tables.len()
    }

    /// Sums the live counts; exact only while no write runs.
    pub(crate) fn live(&self) -> usize {
        // Relaxed: a count publishes nothing.
        self.books
            .iter()
            .map(|books| books.live.load(Ordering::Relaxed))
            .sum()
    }

    /// Borrows the current table of one shard.
    ///
    /// # Safety
    /// Within `'a` the table is not freed: the caller is inside a read section, or owns the map.
    #[inline(always)]
    pub(crate) unsafe fn table<'a>(&self, shard: usize) -> Table<'a, Node<K, V>> {
        debug_assert!(shard < self.tables.len());
        // SAFETY: callers index below `count`, or by `Hashed::shard(shard_bits)`, which is below 2^shard_bits.
        let slot = unsafe { self.tables.get_unchecked(shard) };
        // Acquire: pairs with the Release in `Held::publish`; publishes the table's slots.
        let word = slot.load(Ordering::Acquire);
        // SAFETY: the caller's promise.
        unsafe { Table::borrow(word) }
    }

    /// Finds a key's node. Wait-free.
    ///
    /// # Safety
    /// As [`table`](Self::table); the node found lives as long as the section.
    #[inline(always)]
    pub(crate) unsafe fn find(
        &self,
        hashed: Hashed,
        mut is_key: impl FnMut(&K) -> bool,
    ) -> Option<NonNull<Node<K, V>>> {
        // SAFETY: the caller's promise.
        let table = unsafe { self.table(hashed.spread().shard(self.shard_bits)) };
        table.find(hashed, |node| {
            // SAFETY: N1, and the caller's section keeps a node met in a slot alive.
            is_key(unsafe { &node.as_ref().key })
        })
    }

    /// Takes the lock of the shard that a hash names.
    pub(crate) fn hold(&self, spread: Spread) -> Held<'_, K, V> {
        self.hold_at(spread.shard(self.shard_bits))
    }

    /// Takes the lock of one shard; locks are taken in ascending order by whoever needs several.
    pub(crate) fn hold_at(&self, shard: usize) -> Held<'_, K, V> {
        Held {
            slot: &self.tables[shard],
            live: &self.books[shard].live,
            used: self.books[shard].lock.lock(),
        }
    }

    /// Takes every table out; for the map's own drop.
    pub(crate) fn take_tables(&mut self) -> Vec<TableWord<Node<K, V>>> {
        // Relaxed: `&mut self` means that every writer has synchronised with this thread.
        let load = |slot: TableSlot<K, V>| slot.load(Ordering::Relaxed);
        std::mem::take(&mut self.tables).into_iter().map(load).collect()
    }
}

/// One shard with its lock held.
#[derive(Debug)]
pub(crate) struct Held<'a, K, V> {
    slot: &'a TableSlot<K, V>,
    live: &'a AtomicUsize,
    used: Locked<'a, Used>,
}

impl<K, V> Held<'_, K, V> {
    /// The current table, which stands until this holder publishes another.
    pub(crate) fn table(&self) -> Table<'_, Node<K, V>> {
        // Relaxed: S1: the lock orders every earlier store.
        let word = self.slot.load(Ordering::Relaxed);
        // SAFETY: S1: only a holder replaces the table, and a replaced one is retired by its caller.
        unsafe { Table::borrow(word) }
    }

    fn probe(&self, hashed: Hashed, mut is_key: impl FnMut(&K) -> bool) -> Probe<Node<K, V>> {
        self.table().probe(hashed, |node| {
            // SAFETY: a node linked in the current table is unlinked, hence retired, only by a holder of the lock.
            is_key(unsafe { &node.as_ref().key })
        })
    }

    /// Links a node in the place of its key's former one, or newly.
    pub(crate) fn put(&mut self, fresh: Fresh<K, V>) -> Unlinked<K, V>
    where
        K: Eq,
    {
        match self.probe(fresh.hashed(), |key| key == fresh.key()) {
            Probe::Present(index, old) => {
                self.replace(index, fresh);
                Unlinked {
                    node: Some(old),
                    table: None,
                }
            }
            Probe::Absent(index, uses_slot) => Unlinked {
                node: None,
                table: self.link(index, uses_slot, fresh).table,
            },
        }
    }

    /// Links a node unless its key has one; then gives the fresh one back. Besides the node, gives the table that was
    /// replaced on the way.
    pub(crate) fn put_if_absent(&mut self, fresh: Fresh<K, V>) -> Result<Linked<K, V>, Fresh<K, V>>
    where
        K: Eq,
    {
        match self.probe(fresh.hashed(), |key| key == fresh.key()) {
            Probe::Present(..) => Err(fresh),
            Probe::Absent(index, uses_slot) => Ok(self.link(index, uses_slot, fresh)),
        }
    }

    /// Puts a node where `seen` stands; gives it back if `seen` is no longer linked. Runs no user code.
    pub(crate) fn swap(&mut self, seen: NonNull<Node<K, V>>, fresh: Fresh<K, V>) -> Result<(), Fresh<K, V>> {
        match self.table().seek(fresh.hashed().spread(), seen) {
            Some(index) => {
                self.replace(index, fresh);
                Ok(())
            }
            None => Err(fresh),
        }
    }

    /// Unlinks `seen`; false if it is no longer linked. Runs no user code.
    pub(crate) fn unlink(&mut self, spread: Spread, seen: NonNull<Node<K, V>>) -> bool {
        match self.table().seek(spread, seen) {
            Some(index) => {
                self.bury(index);
                true
            }
            None => false,
        }
    }

    /// Unlinks a key's node.
    pub(crate) fn take(
        &mut self,
        hashed: Hashed,
        is_key: impl FnMut(&K) -> bool,
    ) -> Option<NonNull<Node<K, V>>> {
        match self.probe(hashed, is_key) {
            Probe::Present(index, node) => {
                self.bury(index);
                Some(node)
            }
            Probe::Absent(..) => None,
        }
    }

    /// Publishes a table of the least length and gives the former one, nodes and all, if it held any.
    pub(crate) fn clear(&mut self) -> Option<TableWord<Node<K, V>>> {
        if self.used.0 == 0 {
            return None;
        }
        self.used.0 = 0;
        self.set_live(0);
        Some(self.publish(Table::allocate(Table::<Node<K, V>>::BITS_MIN)))
    }

    fn replace(&mut self, index: usize, fresh: Fresh<K, V>) {
        let tag = fresh.hashed().tag();
        self.table().store(index, Word::full(tag, fresh.link()));
    }

    /// Links a new key's node at the slot that a probe named, or in a rebuilt table where that slot would be one too many.
    fn link(&mut self, index: usize, uses_slot: bool, fresh: Fresh<K, V>) -> Linked<K, V> {
        let hashed = fresh.hashed();
        let live = self.live() + 1;
        if uses_slot && self.used.0 + 1 > limit(self.table().len()) {
            // Filled in private and published with the new node in it: one store makes both visible.
            let longer = Table::allocate(bits_for(live));
            // SAFETY: this thread alone reaches the new table.
            let to = unsafe { Table::borrow(longer) };
            copy(self.table(), to);
            let node = fresh.link();
            to.place(hashed.spread(), Word::full(hashed.tag(), node));
            self.used.0 = live;
            self.set_live(live);
            let table = Some(self.publish(longer));
            return Linked { node, table };
        }
        let node = fresh.link();
        self.table().store(index, Word::full(hashed.tag(), node));
        self.used.0 += usize::from(uses_slot);
        self.set_live(live);
        Linked { node, table: None }
    }

    fn bury(&mut self, index: usize) {
        let emptied = self.table().bury(index);
        self.used.0 -= emptied;
        self.set_live(self.live() - 1);
    }

    fn publish(&mut self, word: TableWord<Node<K, V>>) -> TableWord<Node<K, V>> {
        // Relaxed: S1: the lock orders every earlier store.
        let former = self.slot.load(Ordering::Relaxed);
        // Release: pairs with the Acquire in `Shards::table`; publishes the table's slots.
        self.slot.store(word, Ordering::Release);
        former
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

/// Places every node of one table in another, empty one.
///
/// Nodes lie all over the heap and each is touched for its hash, so they are prefetched a few slots ahead.
fn copy<K, V>(from: Table<'_, Node<K, V>>, to: Table<'_, Node<K, V>>) {
    for index in 0..from.len() {
        if let Some(soon) = from.load(index + AHEAD).node() {
            prefetch(soon);
        }
        let word = from.load(index);
        if let Some(node) = word.node() {
            // SAFETY: linked in the current table of a shard whose lock is held, so not retired.
            to.place(unsafe { node.as_ref().spread }, word);
        }
    }
}
