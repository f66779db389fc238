//! An array of lines, each with the tags of its slots at its head, that never changes its length.
//!
//! A table is reached through one word, its address with its length in the six bits that the alignment of lines leaves
//! free, so a look-up needs no header: directory -> line -> node. One cache line holds the tags and the slots that they
//! speak of.
//!
//! # Invariants
//! - T1: a node stands in the first line from its home on that had a free slot when it came. Each line that it went past
//!   counts it, from before it is linked until after it is unlinked.
//! - T2: hence, while a node is linked, a look-up that walks from its home to the first line that nobody went past comes
//!   by its line; and there the node's tag leads to its slot.
//! - T3: a node never moves within a table; a replaced value takes the slot of the one before by one store. Hence a
//!   replaced key is never absent and a reader sees the old node or the new one, whole.
//! - T4: once another table is published in its place, a table is never written again. A look-up that still walks it
//!   answers for the moment of that publication, which lies within the look-up.
//! - T5: a free slot holds null, from before its tag is taken away. So a slot leads to a node only while the node is
//!   linked, whatever a reader has seen of the tags: tags are hints, and say nothing about what may be read.
//!
//! # Orderings
//! | access | order | pairs with |
//! |---|---|---|
//! | slot load in `Line::node` | Acquire | the Release in `Line::link`: the node's fields (N1) |
//! | slot store in `Line::link` | Release | the Acquire above |
//! | slot store in `bury` | Relaxed | publishes nothing; who retires the node orders it before any free |
//! | control words, all | Relaxed | T5; each word is one writer's at a time, and later looks at it see later states |
//!
//! # Linearization points
//! A hit: the slot load that returned the node, or, in a table that T4 froze, the publication of its successor if that
//! came first. A miss: a moment within the look-up at which the key was absent; by T2 there is one. An insertion: the
//! store of its tag; a removal: the store of null; a replacement: the store of the slot.

use super::control::{Control, SLOTS};
use super::hash::Hashed;
use super::prefetch::prefetch;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use sync_base::atomic::{AtomicPtr, AtomicU64, Ordering};

/// Bits of a table's word that hold how far a hash is shifted to give a line.
const SHIFT: usize = 63;
/// The shift of a table of one line.
const SHIFT_MAX: u32 = 32;
/// Where a table's depth stands in the word that counts its nodes.
const DEPTH_AT: u32 = 56;

/// One cache line: the tags of its slots, and the slots.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Line<N> {
    control: AtomicU64,
    slots: [AtomicPtr<N>; SLOTS],
}

impl<N> Line<N> {
    fn empty() -> Self {
        Self {
            control: AtomicU64::new(Control::EMPTY.0),
            slots: std::array::from_fn(|_| AtomicPtr::new(ptr::null_mut())),
        }
    }

    #[inline(always)]
    fn control(&self) -> Control {
        // Relaxed: T5: it leads to slots and vouches for none.
        Control(self.control.load(Ordering::Relaxed))
    }

    /// For the holder of the shard's lock.
    #[inline]
    fn set_control(&self, control: Control) {
        // Relaxed: T5, as above.
        self.control.store(control.0, Ordering::Relaxed);
    }

    /// The node in a slot that is below [`SLOTS`].
    #[inline(always)]
    fn node(&self, slot: usize) -> Option<NonNull<N>> {
        debug_assert!(slot < SLOTS);
        // SAFETY: `Matches` yields, and loops here count, slots below `SLOTS`.
        let slot = unsafe { self.slots.get_unchecked(slot) };
        // Acquire: pairs with the Release in `link`; publishes the node's fields.
        NonNull::new(slot.load(Ordering::Acquire))
    }

    /// For the holder of the shard's lock.
    #[inline]
    fn link(&self, slot: usize, node: NonNull<N>) {
        debug_assert!(slot < SLOTS);
        // SAFETY: as in `node`; and what was found stands in such a slot.
        let slot = unsafe { self.slots.get_unchecked(slot) };
        // Release: pairs with the Acquire in `node`; publishes the node's fields, written before it was linked.
        slot.store(node.as_ptr(), Ordering::Release);
    }
}

/// A table's address and length in the form that a directory stores.
pub(crate) type TableWord<N> = *mut Line<N>;

/// A borrowed table.
#[derive(Debug)]
pub(crate) struct Table<'a, N> {
    word: NonNull<Line<N>>,
    life: PhantomData<&'a Line<N>>,
}

impl<N> Clone for Table<'_, N> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<N> Copy for Table<'_, N> {}

/// One slot of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    line: usize,
    slot: usize,
}

/// What one line says of a node.
enum Seen<N> {
    Found(Place, NonNull<N>),
    /// Not here, but it may have gone past.
    Further,
    Nowhere,
}

impl<N> Seen<N> {
    #[inline(always)]
    fn found(self) -> Option<(Place, NonNull<N>)> {
        match self {
            Self::Found(place, node) => Some((place, node)),
            Self::Further | Self::Nowhere => None,
        }
    }
}

impl<'a, N> Table<'a, N> {
    /// Allocates a table of `2^bits` lines for the hashes that share `depth` bits and gives the word that owns it.
    pub(crate) fn allocate(bits: u32, depth: u32) -> TableWord<N> {
        debug_assert!(bits < SHIFT_MAX);
        // One line more, before the others: its control word counts the table's nodes.
        let lines: Box<[Line<N>]> = (0..=1usize << bits).map(|_| Line::empty()).collect();
        // SAFETY: there are two lines at least.
        let first = unsafe { Box::into_raw(lines).cast::<Line<N>>().add(1) };
        let word = first.map_addr(|address| address | (SHIFT_MAX - bits) as usize);
        // SAFETY: a table of this thread's own.
        let table = unsafe { Self::borrow(word) };
        table.counter().set_control(Control(u64::from(depth) << DEPTH_AT));
        word
    }

    /// Frees a table, not the nodes in it.
    ///
    /// # Safety
    /// `word` came from `allocate`, is freed once, and nobody uses the table any more.
    pub(crate) unsafe fn free(word: TableWord<N>) {
        // SAFETY: the caller's promise.
        let table = unsafe { Table::borrow(word) };
        // SAFETY: `allocate` made one line more, before the first.
        let lines = ptr::slice_from_raw_parts_mut(unsafe { table.first().as_ptr().sub(1) }, table.len() + 1);
        // SAFETY: the caller's promise; address and length are those of the box that `allocate` took apart.
        drop(unsafe { Box::from_raw(lines) });
    }

    /// Borrows the table behind a word.
    ///
    /// # Safety
    /// The table lives for `'a`.
    #[inline(always)]
    pub(crate) unsafe fn borrow(word: TableWord<N>) -> Self {
        Self {
            // SAFETY: `allocate` made the word from a box's address, which is never null.
            word: unsafe { NonNull::new_unchecked(word) },
            life: PhantomData,
        }
    }

    /// The word that owns the table.
    pub(crate) fn word(self) -> TableWord<N> {
        self.word.as_ptr()
    }

    /// The first line.
    #[inline(always)]
    fn first(self) -> NonNull<Line<N>> {
        // SAFETY: lines lie at multiples of 64, and not at zero.
        unsafe { NonNull::new_unchecked(self.word.as_ptr().map_addr(|address| address & !SHIFT)) }
    }

    /// Logarithm of the number of lines.
    pub(crate) fn bits(self) -> u32 {
        SHIFT_MAX - (self.word.addr().get() & SHIFT) as u32
    }

    /// Number of lines.
    pub(crate) fn len(self) -> usize {
        1 << self.bits()
    }

    /// Hash bits that all nodes of the table share.
    pub(crate) fn depth(self) -> u32 {
        (self.counter().control().0 >> DEPTH_AT) as u32
    }

    /// Heap bytes of the table.
    pub(crate) fn bytes(self) -> usize {
        (self.len() + 1) * size_of::<Line<N>>()
    }

    /// A line, by an index below the length.
    #[inline(always)]
    fn line(self, index: usize) -> &'a Line<N> {
        debug_assert!(index < self.len());
        // SAFETY: the index is below the length, and the lines live for `'a`.
        unsafe { self.first().add(index).as_ref() }
    }

    #[inline(always)]
    fn home(self, hashed: Hashed) -> usize {
        hashed.home(self.word.addr().get())
    }

    #[inline]
    fn after(self, index: usize) -> usize {
        (index + 1) & (self.len() - 1)
    }

    /// Nodes linked in the table; for the holder of the shard's lock, or in a frozen table.
    pub(crate) fn live(self) -> usize {
        (self.counter().control().0 & ((1 << DEPTH_AT) - 1)) as usize
    }

    fn set_live(self, live: usize) {
        let depth = u64::from(self.depth()) << DEPTH_AT;
        self.counter().set_control(Control(live as u64 | depth));
    }

    /// The line before the first, whose control word holds the number of nodes and, for good, the depth.
    fn counter(self) -> &'a Line<N> {
        // SAFETY: `allocate` made one line more, before the first; it lives for `'a`.
        unsafe { self.first().sub(1).as_ref() }
    }

    /// Asks for the line where a look-up of that hash begins.
    #[inline(always)]
    pub(crate) fn prefetch_home(self, hashed: Hashed) {
        prefetch(NonNull::from(self.line(self.home(hashed))));
    }

    /// Finds the node that `is` accepts among those with the hash's tag. Wait-free: at most one pass over the table.
    #[inline(always)]
    pub(crate) fn find(
        self,
        hashed: Hashed,
        is: impl Fn(NonNull<N>) -> bool + Copy,
    ) -> Option<(Place, NonNull<N>)> {
        match self.look(self.home(hashed), hashed, is) {
            Seen::Further => self.find_further(hashed, is),
            seen => seen.found(),
        }
    }

    /// Goes on behind the home line.
    #[cold]
    #[inline(never)]
    fn find_further(
        self,
        hashed: Hashed,
        is: impl Fn(NonNull<N>) -> bool + Copy,
    ) -> Option<(Place, NonNull<N>)> {
        let home = self.home(hashed);
        let mut index = self.after(home);
        while index != home {
            match self.look(index, hashed, is) {
                Seen::Further => index = self.after(index),
                seen => return seen.found(),
            }
        }
        None
    }

    /// Looks for a node in one line.
    #[inline(always)]
    fn look(self, index: usize, hashed: Hashed, is: impl Fn(NonNull<N>) -> bool) -> Seen<N> {
        let line = self.line(index);
        let control = line.control();
        for slot in control.matching(hashed.tag()) {
            if let Some(node) = line.node(slot)
                && is(node)
            {
                return Seen::Found(Place { line: index, slot }, node);
            }
        }
        if control.is_passed() {
            Seen::Further
        } else {
            Seen::Nowhere
        }
    }

    /// Links a node whose key has none, in the first free slot of its path; for the holder of the shard's lock, who
    /// keeps the table from filling up.
    pub(crate) fn link(self, hashed: Hashed, node: NonNull<N>) {
        let mut index = self.home(hashed);
        let (line, slot) = loop {
            let line = self.line(index);
            let control = line.control();
            if let Some(slot) = control.vacant() {
                break (line, slot);
            }
            // T1: counted before it is linked.
            line.set_control(control.passed());
            index = self.after(index);
            debug_assert!(index != self.home(hashed), "a full table");
        };
        line.link(slot, node);
        line.set_control(line.control().with(slot, hashed.tag()));
        self.set_live(self.live() + 1);
    }

    /// Puts a node in another's place; for the holder of the shard's lock.
    pub(crate) fn replace(self, place: Place, node: NonNull<N>) {
        self.line(place.line).link(place.slot, node);
    }

    /// Unlinks the node of that hash at that place; for the holder of the shard's lock.
    pub(crate) fn bury(self, hashed: Hashed, place: Place) {
        let line = self.line(place.line);
        // Relaxed: publishes nothing; whoever retires the node orders this before any free.
        line.slots[place.slot].store(ptr::null_mut(), Ordering::Relaxed);
        line.set_control(line.control().without(place.slot));
        let mut index = self.home(hashed);
        while index != place.line {
            let line = self.line(index);
            line.set_control(line.control().unpassed());
            index = self.after(index);
        }
        self.set_live(self.live() - 1);
    }

    /// Copies the words, one by one, into a table of the same length and depth; for the holder of the shard's lock.
    pub(crate) fn duplicate(self) -> TableWord<N> {
        let word = Self::allocate(self.bits(), self.depth());
        // SAFETY: this thread alone reaches the new table.
        let to = unsafe { Self::borrow(word) };
        for index in 0..self.len() {
            let (from, to) = (self.line(index), to.line(index));
            to.set_control(from.control());
            for slot in 0..SLOTS {
                if let Some(node) = from.node(slot) {
                    to.link(slot, node);
                }
            }
        }
        to.set_live(self.live());
        word
    }

    /// Gathers the nodes of up to [`CHUNK_LINES`] lines from `index` on and returns the line after them.
    ///
    /// Each slot is stored where the next node belongs, and that place moves on only if the slot is taken: no branch on
    /// what is chance. With `AHEAD` the nodes are asked for.
    pub(crate) fn gather<const AHEAD: bool>(self, index: usize, chunk: &mut Chunk<N>) -> usize {
        let end = (index + CHUNK_LINES).min(self.len());
        let mut count = 0;
        for index in index..end {
            let line = self.line(index);
            for slot in 0..SLOTS {
                let node = line.node(slot);
                // SAFETY: at most one node a slot so far, this one's not counted: below the length of the chunk.
                unsafe { *chunk.nodes.get_unchecked_mut(count) = node.unwrap_or(NonNull::dangling()) };
                if AHEAD && let Some(node) = node {
                    prefetch(node);
                }
                count += usize::from(node.is_some());
            }
        }
        (chunk.next, chunk.count) = (0, count);
        end
    }

    /// Visits every linked node; what it visits under the shard's lock, or in a frozen table, is exact.
    ///
    /// Nodes lie all over the heap, so those of some lines ahead are asked for.
    pub(crate) fn nodes(self) -> impl Iterator<Item = NonNull<N>> + 'a {
        (0..self.len()).flat_map(move |index| {
            if index + LINES_AHEAD < self.len() {
                let ahead = self.line(index + LINES_AHEAD);
                (0..SLOTS).filter_map(|slot| ahead.node(slot)).for_each(prefetch);
            }
            let line = self.line(index);
            (0..SLOTS).filter_map(move |slot| line.node(slot))
        })
    }
}

/// Lines between the one being visited and the one whose nodes are asked for.
const LINES_AHEAD: usize = 3;

/// Lines gathered at once.
const CHUNK_LINES: usize = 8;

/// Nodes gathered from a table, some of them taken.
#[derive(Debug)]
pub(crate) struct Chunk<N> {
    nodes: [NonNull<N>; CHUNK_LINES * SLOTS],
    next: usize,
    count: usize,
}

impl<N> Chunk<N> {
    pub(crate) fn new() -> Self {
        Self {
            nodes: [NonNull::dangling(); CHUNK_LINES * SLOTS],
            next: 0,
            count: 0,
        }
    }

    /// Takes the next node.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<NonNull<N>> {
        let node = *self.rest().first()?;
        self.next += 1;
        Some(node)
    }

    /// The nodes not yet taken.
    #[inline]
    pub(crate) fn rest(&self) -> &[NonNull<N>] {
        &self.nodes[self.next..self.count]
    }
}

// A line is one cache line; the checkers' atomics have a size of their own.
#[cfg(not(any(loom, shuttle)))]
const _: () = assert!(size_of::<Line<u64>>() == 64);
