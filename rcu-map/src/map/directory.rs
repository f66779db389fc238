//! From the first bits of a hash to a table: an array that doubles when a table that must be split is as deep as it is.
//!
//! A table of *depth* `d` serves the hashes that share their first `d` bits, hence `2^(bits - d)` neighbouring entries of
//! a directory of `2^bits`. Growing costs a split of one table, never a copy of all: that is what keeps the longest
//! write short.
//!
//! # Invariants
//! - D1: every entry names the table that serves it; a table's entries are neighbours.
//! - D2: entries are stored to, and a longer directory is put in a directory's place, only under the publishing lock and
//!   under the lock of every shard whose tables change. A directory that was replaced is never written again.
//! - D3: a table's entries are stored from the last to the first. A walk from the first to the last, which goes on behind
//!   the last entry of each table that it meets, therefore meets each place once: behind a table that has been
//!   replaced it finds all of that table's other entries replaced already.
//!
//! # Orderings
//! | access | order | pairs with |
//! |---|---|---|
//! | entry load in `entry` | Acquire | the Release in `set`: the table's lines |
//! | entry store in `set` | Release | the Acquire above; and the entries stored before it (D3) |

use super::hash::{Hashed, PREFIX_BITS_MAX};
use super::table::{Line, Table, TableWord};
use std::ops::Range;
use sync_base::atomic::{AtomicPtr, Ordering};

/// An array of table words.
#[derive(Debug)]
pub(crate) struct Directory<N> {
    /// 32 less the logarithm of the length: how far a hash is shifted to give an entry.
    shift: usize,
    entries: Box<[AtomicPtr<Line<N>>]>,
}

impl<N> Directory<N> {
    /// Makes a directory of `2^depth` tables, each of that depth.
    pub(crate) fn of(depth: u32, mut table: impl FnMut() -> TableWord<N>) -> Box<Self> {
        debug_assert!(depth <= PREFIX_BITS_MAX);
        Box::new(Self {
            shift: 32 - depth as usize,
            entries: (0..1usize << depth).map(|_| AtomicPtr::new(table())).collect(),
        })
    }

    /// Makes a directory of twice the length with the same tables.
    pub(crate) fn doubled(&self) -> Box<Self> {
        Box::new(Self {
            shift: self.shift - 1,
            entries: self
                .entries
                .iter()
                .flat_map(|entry| {
                    // Relaxed: D2: the caller holds the publishing lock, under which it was stored.
                    let word = entry.load(Ordering::Relaxed);
                    [AtomicPtr::new(word), AtomicPtr::new(word)]
                })
                .collect(),
        })
    }

    /// Makes a directory of copies of the tables, for the holder of every shard's lock.
    pub(crate) fn duplicate(&self) -> Box<Self> {
        let mut entries = Vec::with_capacity(self.entries.len());
        // SAFETY: the holder of every lock: no table is replaced, hence none freed, meanwhile.
        for table in unsafe { self.tables() } {
            let word = table.duplicate();
            entries.extend((0..self.share(table.depth())).map(|_| AtomicPtr::new(word)));
        }
        Box::new(Self {
            shift: self.shift,
            entries: entries.into(),
        })
    }

    /// Logarithm of the number of entries.
    pub(crate) fn bits(&self) -> u32 {
        (32 - self.shift) as u32
    }

    /// Number of entries.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Heap bytes of the directory, without its tables.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.entries)
    }

    /// Entries of a table of that depth.
    fn share(&self, depth: u32) -> usize {
        debug_assert!(depth <= self.bits());
        1 << (self.bits() - depth)
    }

    /// Borrows the table of an entry.
    ///
    /// # Safety
    /// Within `'a` the table is not freed: the caller is inside a read section that began before it was replaced, or
    /// holds the lock of its shard, or owns the directory. `index` is below the length.
    #[inline(always)]
    unsafe fn entry<'a>(&self, index: usize) -> Table<'a, N> {
        debug_assert!(index < self.entries.len());
        // SAFETY: the caller's promise.
        let entry = unsafe { self.entries.get_unchecked(index) };
        // Acquire: pairs with the Release in `set`; publishes the table's lines.
        let word = entry.load(Ordering::Acquire);
        // SAFETY: the caller's promise.
        unsafe { Table::borrow(word) }
    }

    /// Borrows the table that serves a hash.
    ///
    /// # Safety
    /// As [`entry`](Self::entry), of the table.
    #[inline(always)]
    pub(crate) unsafe fn table<'a>(&self, hashed: Hashed) -> Table<'a, N> {
        // SAFETY: the caller's promise; a prefix of `bits` bits is below the length.
        unsafe { self.entry(hashed.shifted(self.shift)) }
    }

    /// Borrows the table at `*at`, where a table's entries begin, and moves `at` behind its last one.
    ///
    /// # Safety
    /// As [`entry`](Self::entry), of the table.
    pub(crate) unsafe fn step<'a>(&self, at: &mut usize) -> Option<Table<'a, N>> {
        if *at >= self.entries.len() {
            return None;
        }
        // SAFETY: the caller's promise.
        let table = unsafe { self.entry(*at) };
        *at += self.share(table.depth());
        Some(table)
    }

    /// Visits every table once.
    ///
    /// # Safety
    /// As [`entry`](Self::entry), of each of the tables.
    pub(crate) unsafe fn tables<'a>(&'a self) -> impl Iterator<Item = Table<'a, N>> {
        let mut at = 0;
        // SAFETY: the caller's promise.
        std::iter::from_fn(move || unsafe { self.step(&mut at) })
    }

    /// The entries of the hashes that share their first `depth` bits with `hashed`.
    pub(crate) fn range(&self, hashed: Hashed, depth: u32) -> Range<usize> {
        let share = self.share(depth);
        let first = hashed.prefix(depth) * share;
        first..first + share
    }

    /// Names another table for some entries, the last first (D3); under the publishing lock, or in private.
    pub(crate) fn set(&self, range: Range<usize>, word: TableWord<N>) {
        for entry in self.entries[range].iter().rev() {
            // Release: pairs with the Acquire in `entry`; publishes the table's lines, and the entries stored before.
            entry.store(word, Ordering::Release);
        }
    }

    /// Takes the tables out; for the owner of them all.
    pub(crate) fn into_tables(self) -> Vec<TableWord<N>> {
        let mut at = 0;
        let mut words = Vec::new();
        while let Some(entry) = self.entries.get(at) {
            // Relaxed: the owner has synchronised with every writer.
            let word = entry.load(Ordering::Relaxed);
            // SAFETY: the owner frees the tables after this.
            let table: Table<'_, N> = unsafe { Table::borrow(word) };
            at += self.share(table.depth());
            words.push(word);
        }
        words
    }
}
