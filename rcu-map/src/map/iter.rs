//! A walk over every table, a chunk of slots at a time.

use super::directory::Directory;
use super::node::Node;
use super::shard::Shards;
use super::table::{Chunk, Table};
use std::fmt;
use sync_base::Guard;

/// Nodes beyond which they are asked for ahead, by what they occupy together.
const AHEAD_BYTES: usize = 8 << 20;
/// Nodes of a table, about, in a directory that has grown.
const TABLE_NODES: usize = 512;

/// Visits the entries of an [`RcuMap`](super::RcuMap) under a guard, in no order that means anything.
///
/// The directory is the one that was current when the walk began, and each table the one that it names when the walk
/// gets there: an entry that stays is met once (D3, T3).
///
/// A chunk of slots is gathered at once, without a branch on whether a slot is taken: claim `map.iter`. `fold`, and what
/// is built on it (`for_each`, `count`, `sum`), walks a chunk at a time.
///
/// The nodes of a chunk are prefetched only in maps whose nodes take some 8 MiB or more, since in smaller ones the
/// processor finds and overlaps the misses by itself. Two builds in alternating rounds of one run, 32-byte nodes, time an
/// entry with prefetching over without: 1.04 at 1,000 entries, 1.17 at 100,000, 0.99 at 200,000, 0.78 at 300,000, 0.80 at
/// 500,000, 0.77 at a million.
pub struct Iter<'g, K, V> {
    directory: &'g Directory<Node<K, V>>,
    /// Where the entries of the table after `table` begin.
    entry: usize,
    table: Option<Table<'g, Node<K, V>>>,
    /// The next line of `table`.
    line: usize,
    /// Whether the nodes of a chunk are asked for as it is gathered.
    ahead: bool,
    /// Nodes met and not yet yielded.
    chunk: Chunk<Node<K, V>>,
}

impl<'g, K, V> Iter<'g, K, V> {
    /// Begins a walk that the guard bounds.
    pub(super) fn new(shards: &'g Shards<K, V>, _guard: &'g Guard<'_>) -> Self {
        // SAFETY: M1: the guard keeps the section open for `'g`.
        let directory = unsafe { shards.directory() };
        Self {
            directory,
            ahead: directory.len() * TABLE_NODES * Node::<K, V>::BYTES >= AHEAD_BYTES,
            entry: 0,
            table: None,
            line: 0,
            chunk: Chunk::new(),
        }
    }

    /// Visits nodes instead of keys and values.
    pub(super) fn nodes(mut self) -> impl Iterator<Item = &'g Node<K, V>> {
        std::iter::from_fn(move || self.next_node())
    }

    #[inline]
    fn next_node(&mut self) -> Option<&'g Node<K, V>> {
        loop {
            if let Some(node) = self.chunk.pop() {
                // SAFETY: M1: met in a slot within the section, which outlasts `'g`.
                return Some(unsafe { node.as_ref() });
            }
            if !self.refill() {
                return None;
            }
        }
    }

    /// Gathers the next chunk; false when there is none.
    fn refill(&mut self) -> bool {
        let table = match self.table {
            Some(table) if self.line < table.len() => table,
            _ => {
                // SAFETY: M1: as in `new`: what the directory names is freed after the section.
                let Some(table) = (unsafe { self.directory.step(&mut self.entry) }) else {
                    return false;
                };
                self.table = Some(table);
                self.line = 0;
                table
            }
        };
        self.line = if self.ahead {
            table.gather::<true>(self.line, &mut self.chunk)
        } else {
            table.gather::<false>(self.line, &mut self.chunk)
        };
        true
    }
}

impl<'g, K, V> Iterator for Iter<'g, K, V> {
    type Item = (&'g K, &'g V);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.next_node().map(|node| (&node.key, &node.value))
    }

    #[inline]
    fn fold<B, F: FnMut(B, Self::Item) -> B>(mut self, init: B, mut f: F) -> B {
        let mut folded = init;
        loop {
            for node in self.chunk.rest() {
                // SAFETY: M1: met in a slot within the section, which outlasts `'g`.
                let node: &'g Node<K, V> = unsafe { node.as_ref() };
                folded = f(folded, (&node.key, &node.value));
            }
            if !self.refill() {
                return folded;
            }
        }
    }
}

impl<K, V> std::iter::FusedIterator for Iter<'_, K, V> {}

impl<K, V> fmt::Debug for Iter<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter")
            .field("entry", &self.entry)
            .field("line", &self.line)
            .finish_non_exhaustive()
    }
}
