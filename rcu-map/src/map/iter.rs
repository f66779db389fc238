//! A walk over every table, a chunk of slots at a time.

use super::directory::Directory;
use super::node::Node;
use super::shard::Shards;
use super::table::{Chunk, Table};
use std::fmt;
use sync_base::Guard;

/// Visits the entries of an [`RcuMap`](super::RcuMap) under a guard, in no order that means anything.
///
/// The directory is the one that was current when the walk began, and each table the one that it names when the walk
/// gets there: an entry that stays is met once (D3, T3).
///
/// A chunk of slots is gathered at once, without a branch on whether a slot is taken: claim `map.iter`. The processor
/// then sees the addresses of the nodes to come and overlaps their misses by itself: explicit prefetching of a chunk, on
/// and off in alternating rounds of one run, gave 0.94 to 0.98 times the speed at 1,000 entries, 0.99 to 1.03 at 100,000
/// and 0.95 to 1.01 at a million, and so is left out. `fold`, and what is built on it (`for_each`, `count`, `sum`, `all`
/// in part), walks a chunk at a time, which costs less an entry than `next`.
pub struct Iter<'g, K, V> {
    directory: &'g Directory<Node<K, V>>,
    /// Where the entries of the table after `table` begin.
    entry: usize,
    table: Option<Table<'g, Node<K, V>>>,
    /// The next line of `table`.
    line: usize,
    /// Nodes met and not yet yielded.
    chunk: Chunk<Node<K, V>>,
}

impl<'g, K, V> Iter<'g, K, V> {
    /// Begins a walk that the guard bounds.
    pub(super) fn new(shards: &'g Shards<K, V>, _guard: &'g Guard<'_>) -> Self {
        Self {
            // SAFETY: M1: the guard keeps the section open for `'g`.
            directory: unsafe { shards.directory() },
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
        self.line = table.gather(self.line, &mut self.chunk);
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
