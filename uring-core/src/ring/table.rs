//! The operation table: where an operation lives until the kernel is done with it.
//!
//! Each slot has a hot half, one cache line that every submission and completion touches, and a cold half that stores the
//! operation itself (buffer, descriptor, timespec, address, path) beside its continuation. Slots never move and are
//! never given back while the ring lives, so that an entry may point into them.
//!
//! ```text
//!            admit                    last completion, by style
//!   Free ───────────► InFlight ──┬──► Ready     token: waits in a list for `reap`
//!    ▲                   │       ├──► Dispatch  callback, stream, orphan: waits in a list for `dispatch`
//!    │                   │       └──► Done      future: waits to be polled; its waker waits with others to be woken
//!    │                   └─ orphan: the style changes, the slot stays
//!    └── taken ◄── Running: its operation is being moved out or dropped, no list has it
//! ```
//!
//! - **T1** a slot's storage holds a valid operation in every state but `Free` and, once moved out, `Running`.
//! - **T2** while `InFlight` nobody but the kernel touches what the operation names.
//! - **T3** the generation advances each time a slot becomes `Free`: what carries an older one is stale, be it a handle of
//!   the caller or a completion.
//! - **T4** a slot is in at most one list; which one follows from its state and its `CANCEL_WANTED` flag.

use super::operation::{ContVtable, OpVtable, Outcome};
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

/// Bytes of an operation that fit its slot; a larger one is boxed by its type.
pub(crate) const OP_BYTES: usize = 192;
/// Bytes of a continuation that fit its slot: the largest closure that costs no allocation.
pub const CLOSURE_BYTES: usize = 64;

const NONE: u32 = u32::MAX;

/// Where a slot is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    Free,
    InFlight,
    Ready,
    Dispatch,
    Done,
    Running,
}

/// To whom the completion goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Style {
    Token,
    Callback,
    /// One completion, one waker: no more than a wake-up follows from it.
    Future,
    /// A multishot's items, queued in its slot.
    Stream,
    Orphan,
}

/// Cancellation of this operation is asked for; the slot is in the list of those.
pub(crate) const CANCEL_WANTED: u8 = 1 << 0;
/// The result came, the buffer is still the kernel's (first half of a zero-copy send).
pub(crate) const RESULT_SEEN: u8 = 1 << 1;
/// Its cancellation was submitted at least once.
pub(crate) const CANCEL_ASKED: u8 = 1 << 3;
/// The caller asked for its cancellation, and not only the ring by itself.
pub(crate) const CANCEL_TOLD: u8 = 1 << 6;
/// The descriptor is the index of a registered file.
pub(crate) const FIXED: u8 = 1 << 2;
/// It holds a place, and the observer is told of its end.
pub(crate) const PLACED: u8 = 1 << 4;
/// It is the crate's own and does not count.
pub(crate) const OWN: u8 = 1 << 5;

/// What each submission and completion touches: one line.
#[repr(C, align(64))]
pub(crate) struct Hot {
    pub(crate) generation: u32,
    pub(crate) state: State,
    pub(crate) style: Style,
    pub(crate) flags: u8,
    pub(crate) opcode: u8,
    pub(crate) fd: i32,
    pub(crate) len: u32,
    pub(crate) addr: u64,
    pub(crate) outcome: Outcome,
    prev: u32,
    next: u32,
    pub(crate) op: Option<&'static OpVtable>,
    pub(crate) cont: Option<&'static ContVtable>,
    pub(crate) started_ns: u64,
}

const _: () = assert!(size_of::<Hot>() == 64 && align_of::<Hot>() == 64);

/// The operation and its continuation.
#[repr(C, align(64))]
struct Cold {
    op: MaybeUninit<[u8; OP_BYTES]>,
    cont: MaybeUninit<[u8; CLOSURE_BYTES]>,
}

const _: () = assert!(size_of::<Cold>() == 256);

/// Names an operation: slot, generation and ring.
///
/// Copyable and harmless: once the operation is gone the handle is stale and every use of it an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OpId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
    pub(crate) ring: u32,
}

impl OpId {
    /// The position of the operation in its ring's table, below the ring's depth; reused after it is gone.
    pub fn slot(self) -> usize {
        self.slot as usize
    }

    pub(crate) fn user_data(self) -> u64 {
        (u64::from(self.generation) << 32) | u64::from(self.slot)
    }
}

/// A list of slots, linked through them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List {
    head: u32,
    tail: u32,
    len: u32,
}

impl List {
    pub(crate) const fn new() -> Self {
        Self {
            head: NONE,
            tail: NONE,
            len: 0,
        }
    }

    pub(crate) fn len(self) -> u32 {
        self.len
    }

    pub(crate) fn first(self) -> Option<u32> {
        (self.head != NONE).then_some(self.head)
    }

    #[inline]
    pub(crate) fn push_back(&mut self, table: &mut Table, slot: u32) {
        let hot = table.hot(slot);
        hot.prev = self.tail;
        hot.next = NONE;
        match self.tail {
            NONE => self.head = slot,
            tail => table.hot(tail).next = slot,
        }
        self.tail = slot;
        self.len += 1;
    }

    #[inline]
    pub(crate) fn unlink(&mut self, table: &mut Table, slot: u32) {
        let (prev, next) = {
            let hot = table.hot(slot);
            (
                std::mem::replace(&mut hot.prev, NONE),
                std::mem::replace(&mut hot.next, NONE),
            )
        };
        match prev {
            NONE => self.head = next,
            prev => table.hot(prev).next = next,
        }
        match next {
            NONE => self.tail = prev,
            next => table.hot(next).prev = prev,
        }
        self.len -= 1;
    }

    /// Takes the oldest slot out.
    #[inline]
    pub(crate) fn pop_front(&mut self, table: &mut Table) -> Option<u32> {
        let slot = self.first()?;
        self.unlink(table, slot);
        Some(slot)
    }
}

/// All slots of one ring.
pub(crate) struct Table {
    hot: Box<[Hot]>,
    /// `hot.len()` cold halves, owned; never borrowed as a whole, since the kernel writes beside what we touch.
    cold: NonNull<Cold>,
    free: u32,
    in_use: u32,
    /// How many slots may be in use once a caller's operation took one: all but those kept for the crate's own that have none.
    limit: u32,
    /// Slots that only the crate's own operations take; if there are any, these take no others.
    kept: u32,
    /// Slots that the crate's own operations have.
    own: u32,
}

// SAFETY: operations are `Send` (a bound of `Operation`). Continuations need not be: a table that goes to another thread
// has had its continuations dropped first, or belongs to a `Ring`, which takes only continuations that are `Send`.
unsafe impl Send for Table {}

impl Table {
    pub(crate) fn new(depth: u32) -> Self {
        let hot = (0..depth)
            .map(|i| Hot {
                generation: 0,
                state: State::Free,
                style: Style::Token,
                flags: 0,
                opcode: 0,
                fd: -1,
                len: 0,
                addr: 0,
                outcome: Outcome { raw: 0, flags: 0 },
                prev: NONE,
                next: if i + 1 < depth { i + 1 } else { NONE },
                op: None,
                cont: None,
                started_ns: 0,
            })
            .collect();
        let cold: Box<[MaybeUninit<Cold>]> = Box::new_uninit_slice(depth as usize);
        let cold = NonNull::new(Box::into_raw(cold).cast::<Cold>()).expect("a box is never null");
        Self {
            hot,
            cold,
            free: if depth == 0 { NONE } else { 0 },
            in_use: 0,
            limit: depth,
            kept: 0,
            own: 0,
        }
    }

    /// Keeps so many slots for the crate's own operations; of a table that is empty.
    pub(crate) fn keep(&mut self, slots: u32) {
        self.kept = slots;
        self.limit = self.capacity() - slots;
    }

    /// How many operations callers may have in it.
    pub(crate) fn callers(&self) -> u32 {
        self.capacity() - self.kept
    }

    /// How many slots there are for whoever asks.
    #[inline(always)]
    pub(crate) fn room(&self) -> u32 {
        self.limit - self.in_use
    }

    /// Lets the next operation be one of the crate's own; undone by [`Table::own_taken`].
    pub(crate) fn let_own_in(&mut self) {
        self.limit = if self.kept > 0 && self.own == self.kept {
            self.in_use
        } else {
            self.capacity()
        };
    }

    /// Says which slot it took, if it did.
    pub(crate) fn own_taken(&mut self, slot: Option<u32>) {
        if let Some(slot) = slot {
            self.hot(slot).flags |= OWN;
            self.own += 1;
        }
        self.set_limit();
    }

    fn set_limit(&mut self) {
        self.limit = self.callers() + if self.kept > 0 { self.own } else { 0 };
    }

    /// Whether a value can live in a slot's storage of `bytes` bytes.
    pub(crate) const fn fits<T>(bytes: usize) -> bool {
        size_of::<T>() <= bytes && align_of::<T>() <= 64
    }

    pub(crate) fn capacity(&self) -> u32 {
        self.hot.len() as u32
    }

    pub(crate) fn in_use(&self) -> u32 {
        self.in_use
    }

    #[inline(always)]
    pub(crate) fn hot(&mut self, slot: u32) -> &mut Hot {
        &mut self.hot[slot as usize]
    }

    /// The slot that the next `claim` takes, without taking it.
    #[inline]
    pub(crate) fn peek(&self) -> Option<u32> {
        (self.free != NONE).then_some(self.free)
    }

    /// Takes the slot that `peek` showed.
    #[inline]
    pub(crate) fn claim(&mut self, slot: u32) {
        debug_assert_eq!(self.free, slot);
        let hot = &mut self.hot[slot as usize];
        self.free = hot.next;
        hot.flags = 0;
        hot.next = NONE;
        self.in_use += 1;
    }

    /// Gives a slot back; every handle to what it held is stale from here on (T3).
    #[inline]
    pub(crate) fn free(&mut self, slot: u32) {
        let free = self.free;
        let hot = self.hot(slot);
        debug_assert_ne!(hot.state, State::Free);
        hot.state = State::Free;
        hot.generation = hot.generation.wrapping_add(1);
        hot.op = None;
        hot.cont = None;
        hot.next = free;
        let own = hot.flags & OWN != 0;
        self.free = slot;
        self.in_use -= 1;
        if own {
            self.own -= 1;
            self.set_limit();
        }
    }

    #[inline(always)]
    pub(crate) fn generation(&self, slot: u32) -> u32 {
        self.hot[slot as usize].generation
    }

    pub(crate) fn state(&self, slot: u32) -> State {
        self.hot[slot as usize].state
    }

    /// Finds what a completion or a handle names; `None` when it is stale.
    #[inline]
    pub(crate) fn find(&mut self, slot: u32, generation: u32) -> Option<&mut Hot> {
        let hot = self.hot.get_mut(slot as usize)?;
        (hot.generation == generation && hot.state != State::Free).then_some(hot)
    }

    /// Finds the operation in flight that a completion is for: one index and one compare, whatever is in flight.
    #[inline]
    pub(crate) fn in_flight(&mut self, slot: u32, generation: u32) -> Option<&mut Hot> {
        self.find(slot, generation)
            .filter(|hot| hot.state == State::InFlight)
    }

    /// Whether a slot holds what a handle names.
    #[inline]
    pub(crate) fn holds(&self, slot: u32, generation: u32) -> bool {
        self.hot
            .get(slot as usize)
            .is_some_and(|hot| hot.generation == generation && hot.state != State::Free)
    }

    /// Storage of the operation. A raw pointer: T1 says when something is there, T2 who may touch it.
    #[inline(always)]
    pub(crate) fn op_at(&self, slot: u32) -> *mut u8 {
        debug_assert!((slot as usize) < self.hot.len());
        // SAFETY: the allocation holds `hot.len()` halves; every caller's slot was found in `hot` first.
        let cold = unsafe { self.cold.as_ptr().add(slot as usize) };
        cold.cast()
    }

    /// Storage of the continuation.
    #[inline(always)]
    pub(crate) fn cont_at(&self, slot: u32) -> *mut u8 {
        // SAFETY: `cont` lies `OP_BYTES` into the half (`repr(C)`).
        unsafe { self.op_at(slot).add(OP_BYTES) }
    }

    /// Slots that hold something, whatever it is.
    pub(crate) fn occupied(&self) -> impl Iterator<Item = u32> + use<> {
        let slots: Vec<u32> = (0..self.capacity())
            .filter(|&i| self.hot[i as usize].state != State::Free)
            .collect();
        slots.into_iter()
    }

    /// Drops the continuations of every slot, so that what remains may go to another thread. A destructor of the caller that
    /// panics keeps none of the others from running, and never unwinds past what the kernel still writes to.
    pub(crate) fn drop_continuations(&mut self) {
        for slot in self.occupied() {
            let at = self.cont_at(slot);
            if let Some(cont) = self.hot(slot).cont.take() {
                // SAFETY: a continuation lies there as long as the vtable says so; it was just taken.
                let dropped = || unsafe { (cont.drop)(at) };
                let _ = catch_unwind(AssertUnwindSafe(dropped));
            }
        }
    }
}

impl Drop for Table {
    /// Drops every operation that is still there: the kernel is done with all of them, or the table leaks.
    fn drop(&mut self) {
        self.drop_continuations();
        for slot in self.occupied() {
            let at = self.op_at(slot);
            if let Some(op) = self.hot(slot).op.take() {
                // SAFETY: T1: an operation lies there as long as the vtable says so; it was just taken.
                unsafe { (op.drop)(at) };
            }
        }
        let cold = std::ptr::slice_from_raw_parts_mut(
            self.cold.as_ptr().cast::<MaybeUninit<Cold>>(),
            self.hot.len(),
        );
        // SAFETY: made by `Box::into_raw` in `new` with this length, freed once.
        drop(unsafe { Box::from_raw(cold) });
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn e11_hot_half_is_one_line_and_cold_half_follows_it() {
        assert_eq!((size_of::<Hot>(), align_of::<Hot>()), (64, 64));
        assert_eq!(std::mem::offset_of!(Cold, cont), OP_BYTES);
        let table = Table::new(3);
        assert_eq!(table.op_at(0) as usize % 64, 0);
        assert_eq!(
            table.op_at(1) as usize - table.op_at(0) as usize,
            size_of::<Cold>()
        );
    }

    #[test]
    fn e11_nothing_of_the_last_operation_is_seen_in_a_reused_slot() {
        let mut table = Table::new(1);
        let slot = table.peek().unwrap();
        table.claim(slot);
        {
            let hot = table.hot(slot);
            hot.state = State::InFlight;
            hot.flags = CANCEL_WANTED | RESULT_SEEN;
        }
        let generation = table.generation(slot);
        table.free(slot);
        assert!(
            table.find(slot, generation).is_none(),
            "a handle of the last operation is stale"
        );
        table.claim(slot);
        let hot = table.hot(slot);
        assert_eq!(hot.flags, 0);
        assert!(hot.op.is_none() && hot.cont.is_none());
        hot.state = State::Running;
        assert!(table.find(slot, generation).is_none());
        assert!(table.find(slot, generation.wrapping_add(1)).is_some());
        assert!(
            table.find(9, generation).is_none(),
            "a slot that does not exist is stale too"
        );
    }

    #[test]
    fn d7_lists_survive_removal_from_the_middle() {
        let mut table = Table::new(4);
        let mut list = List::new();
        for slot in 0..4 {
            table.claim(slot);
            table.hot(slot).state = State::Ready;
            list.push_back(&mut table, slot);
        }
        list.unlink(&mut table, 2);
        list.unlink(&mut table, 0);
        list.push_back(&mut table, 2);
        let mut seen = vec![];
        while let Some(slot) = list.pop_front(&mut table) {
            seen.push(slot);
        }
        assert_eq!(seen, [1, 3, 2]);
        assert_eq!(list.len(), 0);
    }
}
