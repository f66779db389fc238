//! An array of slots probed linearly, eight to a cache line, that never changes its length.
//!
//! A table is reached through one word that packs its address with the logarithm of its length, so a look-up needs no
//! header: shard word -> slot -> node.
//!
//! # Invariants
//! - T1: at least one slot is EMPTY, so every probe ends. The writer keeps FULL plus GRAVE at three quarters at most.
//! - T2: while a node is linked at slot `s`, no slot from its home to `s` is EMPTY. Hence a look-up that runs while the
//!   node stays linked meets it. A removed node leaves a GRAVE, which becomes EMPTY only when its successor is EMPTY:
//!   then no probe path crosses it.
//! - T3: a node never moves within a table; a replaced value takes the slot of the one before by one store. Hence a
//!   replaced key is never absent and a reader sees the old node or the new one, whole.
//! - T4: once a longer table is published the shorter one is never written again. A look-up that still walks it answers
//!   for the moment of that publication, which lies within the look-up.
//!
//! # Orderings
//! | access | order | pairs with |
//! |---|---|---|
//! | slot load in `find`, `load` | Acquire | the Release in `store`: the node's fields (N1) |
//! | slot store in `store` | Release | the Acquire above |
//! | slot load in `probe` and `seek` | Relaxed | by the lock holder: the lock orders every earlier store |
//!
//! # Linearization points
//! A hit: the slot load that returned the node, or, in a table that T4 froze, the publication of its successor if that
//! came first. A miss: a moment within the look-up at which the key was absent; by T2 there is one.

use super::word::{Hashed, Spread, Word};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use sync_base::atomic::{AtomicPtr, Ordering};

/// Slots to a cache line; two under loom, so that a model reaches a resize within its few steps.
const LINE_SLOTS: usize = if cfg!(loom) { 2 } else { 8 };
const LINE_BITS: u32 = LINE_SLOTS.trailing_zeros();
const LENGTH_SHIFT: u32 = 48;
const ADDRESS: usize = (1 << LENGTH_SHIFT) - 1;

#[derive(Debug)]
#[cfg_attr(not(loom), repr(align(64)))] // loom's atomics have a size of their own, and lines must not be padded
pub(crate) struct Line<N>(
    #[expect(dead_code, reason = "reached as one array across lines, see `Table::slot`")]
    [AtomicPtr<N>; LINE_SLOTS],
);

impl<N> Line<N> {
    fn empty() -> Self {
        Self(std::array::from_fn(|_| AtomicPtr::new(ptr::null_mut())))
    }
}

/// A table's address and length in the form that a shard's word stores.
pub(crate) type TableWord<N> = *mut Line<N>;

/// A borrowed table.
#[derive(Debug)]
pub(crate) struct Table<'a, N> {
    slots: NonNull<AtomicPtr<N>>,
    bits: u32,
    life: PhantomData<&'a Line<N>>,
}

impl<N> Clone for Table<'_, N> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<N> Copy for Table<'_, N> {}

/// Where a probe for a key ended.
#[derive(Debug)]
#[must_use]
pub(crate) enum Probe<N> {
    /// The key's node, and its slot.
    Present(usize, NonNull<N>),
    /// The slot that an insertion takes, and whether that turns an EMPTY slot into a used one.
    Absent(usize, bool),
}

impl<'a, N> Table<'a, N> {
    /// The smallest length there is, as a logarithm.
    pub(crate) const BITS_MIN: u32 = LINE_BITS;

    /// Allocates a table of `2^bits` EMPTY slots and gives the word that owns it.
    pub(crate) fn allocate(bits: u32) -> TableWord<N> {
        debug_assert!((Self::BITS_MIN..64).contains(&bits));
        let lines: Box<[Line<N>]> = (0..1usize << (bits - LINE_BITS)).map(|_| Line::empty()).collect();
        let first = Box::into_raw(lines).cast::<Line<N>>();
        assert!(
            first.addr() & !ADDRESS == 0,
            "the allocator returned an address above 2^48, where RcuMap keeps the table's length"
        );
        first.map_addr(|address| address | (bits as usize) << LENGTH_SHIFT)
    }

    /// Frees a table, not the nodes in it.
    ///
    /// # Safety
    /// `word` came from `allocate`, is freed once, and nobody uses the table any more.
    pub(crate) unsafe fn free(word: TableWord<N>) {
        let lines = 1usize << (Self::length_bits(word) - LINE_BITS);
        let first = word.map_addr(|address| address & ADDRESS);
        // SAFETY: the caller's promise; address and length are those of the box that `allocate` took apart.
        drop(unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(first, lines)) });
    }

    #[inline(always)]
    fn length_bits(word: TableWord<N>) -> u32 {
        (word.addr() >> LENGTH_SHIFT) as u32
    }

    /// Borrows the table behind a word.
    ///
    /// # Safety
    /// The table lives for `'a`.
    #[inline(always)]
    pub(crate) unsafe fn borrow(word: TableWord<N>) -> Self {
        let first = word.map_addr(|address| address & ADDRESS);
        Self {
            // SAFETY: `allocate` made the address from a box, which is never null.
            slots: unsafe { NonNull::new_unchecked(first) }.cast(),
            bits: Self::length_bits(word),
            life: PhantomData,
        }
    }

    /// Number of slots.
    #[inline(always)]
    pub(crate) fn len(self) -> usize {
        1 << self.bits
    }

    /// Heap bytes of a table of `2^bits` slots.
    pub(crate) fn bytes(self) -> usize {
        self.len() * size_of::<AtomicPtr<N>>()
    }

    /// The slot at `index` modulo the length.
    #[inline(always)]
    fn slot(self, index: usize) -> &'a AtomicPtr<N> {
        // SAFETY: the index is below the length by the mask; the lines are contiguous arrays of slots without padding
        // (asserted below), and live for `'a`.
        unsafe { self.slots.add(index & (self.len() - 1)).as_ref() }
    }

    /// Reads a slot and what its node points at.
    #[inline(always)]
    pub(crate) fn load(self, index: usize) -> Word<N> {
        // Acquire: pairs with the Release in `store`; publishes the node's fields.
        Word::from_raw(self.slot(index).load(Ordering::Acquire))
    }

    /// Writes a slot; for the holder of the shard's lock.
    #[inline]
    pub(crate) fn store(self, index: usize, word: Word<N>) {
        // Release: pairs with the Acquire in `load`; publishes the node's fields, written before it was linked.
        self.slot(index).store(word.into_raw(), Ordering::Release);
    }

    /// Finds the node of a key. Wait-free: at most one pass over the table.
    #[inline(always)]
    pub(crate) fn find(
        self,
        hashed: Hashed,
        mut is_key: impl FnMut(NonNull<N>) -> bool,
    ) -> Option<NonNull<N>> {
        let tag = hashed.tag();
        let home = hashed.spread().home(self.bits);
        for step in 0..self.len() {
            let word = self.load(home + step);
            if word.has_tag(tag)
                && let Some(node) = word.node()
                && is_key(node)
            {
                return Some(node);
            }
            if word.is_empty() {
                return None;
            }
        }
        None
    }

    #[inline(always)]
    fn peek(self, index: usize) -> Word<N> {
        // Relaxed: the caller holds the shard's lock, under which every store was made.
        Word::from_raw(self.slot(index).load(Ordering::Relaxed))
    }

    /// Finds a key's slot, or the slot where it belongs; for the holder of the shard's lock.
    pub(crate) fn probe(self, hashed: Hashed, mut is_key: impl FnMut(NonNull<N>) -> bool) -> Probe<N> {
        let tag = hashed.tag();
        let mask = self.len() - 1;
        let home = hashed.spread().home(self.bits);
        let mut grave = None;
        for step in 0..self.len() {
            let index = (home + step) & mask;
            let word = self.peek(index);
            if word.is_empty() {
                return match grave {
                    Some(grave) => Probe::Absent(grave, false),
                    None => Probe::Absent(index, true),
                };
            }
            if word.is_grave() {
                grave.get_or_insert(index);
            } else if word.has_tag(tag)
                && let Some(node) = word.node()
                && is_key(node)
            {
                return Probe::Present(index, node);
            }
        }
        unreachable!("T1: a table without an EMPTY slot")
    }

    /// Finds the slot of a node by identity; for the holder of the shard's lock. Calls nothing of the user's.
    pub(crate) fn seek(self, spread: Spread, node: NonNull<N>) -> Option<usize> {
        let mask = self.len() - 1;
        let home = spread.home(self.bits);
        (0..self.len())
            .map(|step| (home + step) & mask)
            .take_while(|&index| !self.peek(index).is_empty())
            .find(|&index| self.peek(index).node() == Some(node))
    }

    /// Places a word in the first free slot of its path; for the one owner of a table without graves.
    pub(crate) fn place(self, spread: Spread, word: Word<N>) {
        let mask = self.len() - 1;
        let home = spread.home(self.bits);
        let free = (0..self.len())
            .map(|step| (home + step) & mask)
            .find(|&index| self.peek(index).is_empty());
        let Some(index) = free else {
            unreachable!("T1: a table without an EMPTY slot")
        };
        self.store(index, word);
    }

    /// Copies the words, one by one, into a table of the same length; for the holder of the shard's lock.
    pub(crate) fn duplicate(self) -> TableWord<N> {
        let word = Self::allocate(self.bits);
        // SAFETY: this thread alone reaches the new table.
        let to = unsafe { Self::borrow(word) };
        for index in 0..self.len() {
            to.store(index, self.peek(index));
        }
        word
    }

    /// Empties a slot as far as T2 allows and says how many slots became EMPTY; for the holder of the shard's lock.
    pub(crate) fn bury(self, index: usize) -> usize {
        let mask = self.len() - 1;
        if !self.peek((index + 1) & mask).is_empty() {
            self.store(index, Word::GRAVE);
            return 0;
        }
        // T2: no path crosses `index` into an EMPTY slot, nor, then, the graves that end there.
        self.store(index, Word::EMPTY);
        let mut emptied = 1;
        let mut before = index.wrapping_sub(1) & mask;
        while self.peek(before).is_grave() {
            self.store(before, Word::EMPTY);
            emptied += 1;
            before = before.wrapping_sub(1) & mask;
        }
        emptied
    }

    /// Gathers the nodes of up to [`CHUNK`] slots from `slot` on and returns the slot after them.
    ///
    /// Each word is stored where the next node belongs, and that place moves on only if the word was FULL: no branch on
    /// what is chance.
    pub(crate) fn gather(self, slot: usize, chunk: &mut Chunk<N>) -> usize {
        let end = (slot + CHUNK).min(self.len());
        let mut count = 0;
        for index in slot..end {
            let node = self.load(index).node();
            chunk.nodes[count] = node.unwrap_or(NonNull::dangling());
            count += usize::from(node.is_some());
        }
        (chunk.next, chunk.count) = (0, count);
        end
    }

    /// Visits every linked node; what it visits under the shard's lock, or in a frozen table, is exact.
    pub(crate) fn nodes(self) -> impl Iterator<Item = NonNull<N>> + 'a {
        (0..self.len()).filter_map(move |index| self.load(index).node())
    }
}

/// Slots gathered at once.
pub(crate) const CHUNK: usize = 32;

/// Nodes gathered from a table, some of them taken.
#[derive(Debug)]
pub(crate) struct Chunk<N> {
    nodes: [NonNull<N>; CHUNK],
    next: usize,
    count: usize,
}

impl<N> Chunk<N> {
    pub(crate) fn new() -> Self {
        Self {
            nodes: [NonNull::dangling(); CHUNK],
            next: 0,
            count: 0,
        }
    }

    /// Takes the next node.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<NonNull<N>> {
        let node = *self.nodes[self.next..self.count].first()?;
        self.next += 1;
        Some(node)
    }
}

// A line is nothing but its slots, so an array of lines is an array of slots.
const _: () = assert!(size_of::<Line<u64>>() == LINE_SLOTS * size_of::<AtomicPtr<u64>>());
