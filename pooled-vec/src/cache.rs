//! A thread's cache hands its own memory back to it without an atomic operation.
//!
//! # Shape
//! A constant thread-local without a destructor, so that reaching it is an addition to the thread pointer and it can
//! be reached for as long as the thread lives. It has a slot for each of eight pools (a pool's place in the depot
//! table says which; pools that share a slot drive each other out), and in a slot a [`Seat`] for each class. The seats of
//! all slots are one array, and what memory carries (its [`Tag`]) has the index in its lowest bits: a drop finds its seat
//! by one mask and knows by one comparison that the seat serves it.
//!
//! # Invariants
//! - C1: every seat of a slot is without a tag, or has the tag of the slot's pool and its own number.
//! - C3: no borrow of the cache is held while memory is disposed of or the allocator is called: a destructor or an
//!   allocator that uses the pool finds the cache whole.
//! - C5: slot 0 serves the global pool alone, and its seat 0 has a block at hand only if that is of the first class: so
//!   `PooledVec::new` looks at one word at a constant place.
//!
//! # The end of a thread
//! A second thread-local, touched when the thread first caches anything, has the destructor: it gives everything back
//! and closes the cache. Buffers used by destructors that run still later go to and from the second level directly.

use crate::block::{self, Block, Chain, Free, Stack, free_all};
use crate::config::{CLASSES_MAX, Sizes};
use crate::depot::Depot;
use crate::seat::Seat;
use crate::shard::Rules;
use crate::table::{Id, Tag};
use crate::tally::Tally;
use std::cell::Cell;
use std::ptr;

/// Pools that a thread can cache for at one time.
pub(crate) const SLOTS: usize = 8;

const SEATS: usize = SLOTS * CLASSES_MAX;

/// Which pool a thread keeps memory for in one slot.
struct Slot {
    id: Cell<Id>,
    rules: Cell<Rules>,
}

unsafe fn free_nothing(_: Block) {}

impl Slot {
    const fn empty() -> Self {
        Self {
            id: Cell::new(Id::NONE),
            rules: Cell::new(Rules {
                sizes: Sizes::NONE,
                first_class: None,
                kept_bytes_max: 0,
                idle_bytes_max: 0,
                half: 0,
                hand: false,
                free: free_nothing,
            }),
        }
    }

    /// # Safety
    /// The borrow ends before anything else touches the slot.
    #[inline(always)]
    unsafe fn rules(&self) -> &Rules {
        // SAFETY: only this thread reaches the slot, and by the contract it sets nothing meanwhile.
        unsafe { &*self.rules.as_ptr() }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The thread has cached nothing yet.
    Fresh,
    /// The destructor is registered.
    Open,
    /// The thread is ending.
    Closed,
}

struct Cache {
    seats: [Seat; SEATS],
    slots: [Slot; SLOTS],
    state: Cell<State>,
}

/// Gives the thread's cache back when the thread ends.
struct AtExit;

impl Drop for AtExit {
    fn drop(&mut self) {
        let _ = CACHE.try_with(|cache| cache.state.set(State::Closed));
        flush_thread();
    }
}

sync_base::thread_local! {
    static CACHE: Cache = const {
        Cache {
            seats: [const { Seat::empty() }; SEATS],
            slots: [const { Slot::empty() }; SLOTS],
            state: Cell::new(State::Fresh),
        }
    };
    static AT_EXIT: AtExit = const { AtExit };
}

impl Cache {
    #[inline(always)]
    fn seat(&self, tag: Tag) -> &Seat {
        &self.seats[tag.index(SEATS)]
    }

    fn slot(&self, id: Id) -> &Slot {
        &self.slots[id.place() % SLOTS]
    }

    /// The seats of the slot that `id` has, or would have.
    fn seats(&self, id: Id) -> &[Seat] {
        &self.seats[Tag::new(id, 0).index(SEATS)..][..CLASSES_MAX]
    }

    /// Gives everything back to the pool that the slot served; disposes of it where that pool is gone.
    fn flush(&self, slot: &Slot) {
        let id = slot.id.replace(Id::NONE);
        if id == Id::NONE {
            return;
        }
        let free = slot.rules.get().free;
        // C3: everything is out of the seats before the first destructor runs.
        let mut room = 0;
        let mut taken = [[None; 3]; CLASSES_MAX];
        for (seat, taken) in self.seats(id).iter().zip(&mut taken) {
            seat.tag.set(Tag::NONE);
            let (at_hand, reserved) = seat.close_hand();
            room += seat.room.replace(0) + reserved;
            *taken = [at_hand, seat.take_loaded(), seat.take_spare()];
        }
        let (depot, generation) = (id.depot(), id.generation());
        depot.give_room(generation, room);
        let mut homeless = [Stack::EMPTY];
        let taken = taken.into_iter().enumerate();
        for (seat, chain) in taken.flat_map(|(seat, chains)| chains.map(|chain| (seat, chain))) {
            let Some(chain) = chain else { continue };
            // SAFETY: C1.
            if let Err(chain) = unsafe { depot.give(generation, seat, chain, 0) } {
                // SAFETY: the pool is gone and handed the chain back.
                unsafe { homeless[0].push(chain) };
            }
        }
        // SAFETY: as above.
        unsafe { free_all(&mut homeless, free) };
    }

    /// Makes the slot serve `id`; `false` when the thread is ending, the pool is gone, or a destructor that ran
    /// meanwhile took the slot for another.
    fn adopt(&self, slot: &Slot, id: Id) -> bool {
        if slot.id.get() == id {
            return true;
        }
        if self.state.get() == State::Fresh {
            self.state.set(State::Open);
            if AT_EXIT.try_with(|_| ()).is_err() {
                self.state.set(State::Closed);
            }
        }
        if self.state.get() == State::Closed {
            return false;
        }
        self.flush(slot);
        let Some(rules) = id.depot().rules(id.generation()) else {
            return false;
        };
        if slot.id.get() != Id::NONE {
            return slot.id.get() == id;
        }
        slot.rules.set(rules);
        slot.id.set(id);
        for (at, seat) in self.seats(id).iter().enumerate() {
            seat.tag.set(Tag::new(id, at));
        }
        true
    }

    #[inline(never)]
    fn get_slow(&self, tag: Tag, free: Free) -> Option<Block> {
        let id = tag.id();
        if !self.adopt(self.slot(id), id) {
            return get_direct(id.depot(), tag, free);
        }
        let seat = self.seat(tag);
        if let Some(block) = seat.pop() {
            return Some(block);
        }
        seat.swap();
        if let Some(block) = seat.pop() {
            return Some(block);
        }
        let chain = id.depot().take(id.generation(), tag.seat(), seat.room.get())?;
        seat.room.set(0);
        seat.load(chain);
        seat.pop()
    }

    /// # Safety
    /// As for [`put`].
    #[inline(never)]
    unsafe fn put_slow(&self, id: Id, block: Block, free: Free) {
        let slot = self.slot(id);
        if !self.adopt(slot, id) {
            // SAFETY: passed on.
            return unsafe { put_direct(id.depot(), id, block, free) };
        }
        // SAFETY: nothing sets the rules while they are looked at: what follows touches the seat alone.
        let rules = unsafe { slot.rules() };
        let Some(at) = rules.seat_kept(block.size) else {
            // SAFETY: the caller's block, which the pool does not keep.
            return unsafe { free(block) };
        };
        let seat = self.seat(Tag::new(id, at));
        if rules.at_hand(at, block.size) {
            seat.open_hand(block.size);
        }
        // SAFETY: by the contract and by `seat_kept`.
        if unsafe { seat.put_hand(block) || seat.push(block, rules.half) } {
            return;
        }
        // SAFETY: passed on.
        unsafe { self.make_room(slot, seat, block, free) }
    }

    /// Keeps a block for which the seat has no place left, or none yet.
    ///
    /// # Safety
    /// As for [`put`]; the slot serves the block's pool, and the seat its class.
    #[cold]
    #[inline(never)]
    unsafe fn make_room(&self, slot: &Slot, seat: &Seat, block: Block, free: Free) {
        let (tag, rules) = (seat.tag.get(), slot.rules.get());
        let (depot, generation) = (tag.id().depot(), tag.id().generation());
        let want = block.size.saturating_mul(rules.half as usize);
        if seat.is_full(rules.half) {
            if let Some(chain) = seat.take_spare() {
                // SAFETY: C1.
                match unsafe { depot.give(generation, tag.seat(), chain, want) } {
                    Ok(granted) => seat.room.set(seat.room.get() + granted),
                    Err(chain) => {
                        // SAFETY: the pool is gone and handed the chain back.
                        unsafe { chain.free(rules.free) };
                        self.flush(slot);
                        // SAFETY: the caller's block.
                        return unsafe { free(block) };
                    }
                }
            }
            seat.swap();
        }
        if seat.room.get() < block.size {
            let granted = depot.room(generation, want, block.size);
            seat.room.set(seat.room.get() + granted);
        }
        // SAFETY: by the contract.
        if !unsafe { seat.push(block, rules.half) } {
            Tally::count(&depot.tally().refusals);
            // SAFETY: the caller's block, for which the pool has no room.
            unsafe { free(block) };
        }
    }
}

/// Takes a block from the second level without a cache: a thread that is ending has none.
#[cold]
fn get_direct(depot: &Depot, tag: Tag, free: Free) -> Option<Block> {
    let generation = tag.id().generation();
    let chain = depot.take(generation, tag.seat(), 0)?;
    // SAFETY: `take` made the chain this thread's.
    let (block, rest) = unsafe { block::pop(chain.head) };
    // SAFETY: as above.
    if let Some(rest) = unsafe { Chain::weigh(rest) } {
        // SAFETY: as above.
        if let Err(rest) = unsafe { depot.give(generation, tag.seat(), rest, 0) } {
            // SAFETY: the pool died just now and handed the chain back.
            unsafe { rest.free(free) };
        }
    }
    depot.give_room(generation, block.size);
    Some(block)
}

/// Returns a block to the second level without a cache.
///
/// # Safety
/// As for [`put`].
#[cold]
unsafe fn put_direct(depot: &Depot, id: Id, block: Block, free: Free) {
    let generation = id.generation();
    let seat = depot
        .rules(generation)
        .and_then(|rules| rules.seat_kept(block.size));
    if let Some(seat) = seat
        && depot.room(generation, block.size, 0) > 0
    {
        // SAFETY: the caller's block; a class is no smaller than the links.
        let head = unsafe { block::push(ptr::null_mut(), block) };
        // SAFETY: as above.
        if let Some(chain) = unsafe { Chain::weigh(head) } {
            // SAFETY: as above.
            match unsafe { depot.give(generation, seat, chain, 0) } {
                Ok(_) => {}
                // SAFETY: the pool died just now and handed the block back.
                Err(chain) => unsafe { chain.free(free) },
            }
        }
        return;
    }
    // SAFETY: the caller's block, which no pool keeps.
    unsafe { free(block) }
}

/// Takes an idle block of the tag's class that this thread or the second level has; `None` sends the caller to the
/// allocator.
#[inline(always)]
pub(crate) fn get(tag: Tag, free: Free) -> Option<Block> {
    let found = CACHE.try_with(|cache| {
        let seat = cache.seat(tag);
        if seat.tag.get() == tag
            && let Some(block) = seat.take_hand()
        {
            return Some(block);
        }
        cache.get_slow(tag, free)
    });
    match found {
        Ok(block) => block,
        Err(_) => get_direct(tag.id().depot(), tag, free),
    }
}

/// As [`get`] of [`Tag::GLOBAL`], but only what this thread has at hand.
#[inline(always)]
pub(crate) fn first_at_hand() -> Option<Block> {
    let found = CACHE.try_with(|cache| cache.seat(Tag::GLOBAL).take_hand()); // C5
    found.ok().flatten()
}

/// Returns a block to its pool, or disposes of it by `free` where the pool keeps no such block, is full or is gone. A block
/// of no bytes is nothing.
///
/// # Safety
/// The block is the caller's and nobody's afterwards; it belongs to the tag's pool, whose disposal is `free`.
#[inline(always)]
pub(crate) unsafe fn put(tag: Tag, block: Block, free: Free) {
    let done = CACHE.try_with(|cache| {
        let seat = cache.seat(tag);
        // SAFETY: by the contract; C4: a block of the hand's size serves the hand's class.
        if seat.tag.get() == tag && unsafe { seat.put_hand(block) } || block.size == 0 {
            return;
        }
        // SAFETY: passed on.
        unsafe { cache.put_slow(tag.id(), block, free) }
    });
    if done.is_err() && block.size > 0 {
        // SAFETY: passed on; nothing above ran.
        unsafe { put_direct(tag.id().depot(), tag.id(), block, free) }
    }
}

/// Gives what this thread keeps for `id` back to the pool's second level.
pub(crate) fn flush(id: Id) {
    let _ = CACHE.try_with(|cache| {
        let slot = cache.slot(id);
        if slot.id.get() == id {
            cache.flush(slot);
        }
    });
}

/// Gives all that this thread keeps back to the pools that it belongs to, and frees what belongs to none any more.
/// O(buffers kept). A thread does this by itself when it ends; one that goes idle for long may do it before.
///
/// ```
/// # use pooled_vec::PooledVec;
/// drop(PooledVec::new()); // kept by this thread
/// pooled_vec::flush_thread(); // within reach of every thread
/// ```
pub fn flush_thread() {
    let _ = CACHE.try_with(|cache| {
        for slot in &cache.slots {
            cache.flush(slot);
        }
    });
}
