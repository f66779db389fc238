//! A thread's cache hands its own memory back to it without an atomic operation.
//!
//! # Shape
//! A constant thread-local without a destructor, so that reaching it is an addition to the thread pointer and it can
//! be reached for as long as the thread lives. It has a slot for each of eight pools (a pool's place in the depot
//! table says which; pools that share a slot drive each other out). A slot has for each class one block *at hand*,
//! and two halves: *loaded*, which blocks come from and go to, and *spare*, which is full or empty. Both full: the
//! spare goes to the second level as one batch. Both empty: a batch comes from there. So the second level is touched
//! once in `half` operations at most, however gets and drops alternate.
//!
//! The block at hand is there for the processor's sake. A list is two counters and a head that each get and each drop
//! reads, changes and writes back, and a write that is read again at once takes several cycles to come through; the
//! block at hand is one word that a get empties and a drop fills, and its size is never written.
//!
//! # Invariants
//! - C1: every block in a slot belongs to the pool named by the slot's id, serves its class, and is owned by the slot.
//! - C2: the bytes of a class's lists, its `room` and its `hand_size` were charged to the pool.
//! - C4: the block at hand, if there is one, has exactly `hand_size` bytes; zero means that the class has no hand.
//! - C3: no borrow of the cache is held while memory is disposed of or the allocator is called: a destructor or an
//!   allocator that uses the pool finds the cache whole.
//!
//! # The end of a thread
//! A second thread-local, touched when the thread first caches anything, has the destructor: it gives everything back
//! and closes the cache. Buffers used by destructors that run still later go to and from the second level directly.

use crate::block::{self, Block, Chain, Free, Stack, free_all};
use crate::config::{CLASSES_MAX, Sizes};
use crate::depot::{Depot, Id, Tag};
use crate::shard::Rules;
use crate::tally::Tally;
use std::cell::Cell;
use std::ptr::{self, NonNull};

/// Pools that a thread can cache for at one time.
pub(crate) const SLOTS: usize = 8;

/// One class of one pool: one cache line.
#[repr(align(64))]
struct Class {
    hand: Cell<*mut u8>,
    hand_size: Cell<usize>,
    loaded: Cell<*mut u8>,
    spare: Cell<*mut u8>,
    /// Bytes charged to the pool and not yet filled.
    room: Cell<usize>,
    loaded_len: Cell<u32>,
    spare_len: Cell<u32>,
}

impl Class {
    const fn empty() -> Self {
        Self {
            hand: Cell::new(ptr::null_mut()),
            hand_size: Cell::new(0),
            loaded: Cell::new(ptr::null_mut()),
            spare: Cell::new(ptr::null_mut()),
            room: Cell::new(0),
            loaded_len: Cell::new(0),
            spare_len: Cell::new(0),
        }
    }

    /// Takes the block at hand.
    #[inline(always)]
    fn take_hand(&self) -> Option<Block> {
        let ptr = NonNull::new(self.hand.replace(ptr::null_mut()))?;
        let size = self.hand_size.get();
        Some(Block { ptr, size })
    }

    /// Keeps a block at hand if there is none and it has the size for it.
    ///
    /// # Safety
    /// As [`push`](Self::push).
    #[inline(always)]
    unsafe fn put_hand(&self, block: Block) -> bool {
        let kept = block.size == self.hand_size.get() && self.hand.get().is_null();
        if kept {
            self.hand.set(block.ptr.as_ptr());
        }
        kept
    }

    fn pop(&self) -> Option<Block> {
        let head = NonNull::new(self.loaded.get())?;
        // SAFETY: C1: the slot owns the list.
        let (block, next) = unsafe { block::pop(head) };
        self.loaded.set(next);
        self.loaded_len.set(self.loaded_len.get() - 1);
        self.room.set(self.room.get() + block.size);
        Some(block)
    }

    /// Keeps a block if there is room for it in the loaded half.
    ///
    /// # Safety
    /// The block is the caller's, belongs to this pool and serves this class.
    unsafe fn push(&self, block: Block, half: u32) -> bool {
        let room = self.room.get();
        let len = self.loaded_len.get();
        if len >= half || room < block.size {
            return false;
        }
        // SAFETY: by the contract; a class is no smaller than the links.
        let head = unsafe { block::push(self.loaded.get(), block) };
        self.loaded.set(head);
        self.loaded_len.set(len + 1);
        self.room.set(room - block.size);
        true
    }

    /// Makes the loaded half the spare one, and the spare one's list the loaded one.
    fn swap(&self) {
        self.loaded.swap(&self.spare);
        self.loaded_len.swap(&self.spare_len);
    }

    /// Takes one half out.
    fn take(list: &Cell<*mut u8>, len: &Cell<u32>) -> Option<Chain> {
        len.set(0);
        // SAFETY: C1: the list was the slot's, and is the caller's now.
        unsafe { Chain::weigh(list.replace(ptr::null_mut())) }
    }

    /// Opens the hand if it is closed and there is room for a block of `size` bytes.
    fn open_hand(&self, size: usize) {
        let room = self.room.get();
        if self.hand_size.get() == 0 && room >= size {
            self.room.set(room - size);
            self.hand_size.set(size);
        }
    }

    /// Gives up the hand: the block in it as a batch of one, or the bytes that were charged for it.
    fn close_hand(&self) -> (Option<Chain>, usize) {
        let block = self.take_hand();
        let size = self.hand_size.replace(0);
        let Some(block) = block else {
            return (None, size);
        };
        // SAFETY: C1: the block was the slot's, and is the caller's now; a class is no smaller than the links.
        let head = unsafe { block::push(ptr::null_mut(), block) };
        // SAFETY: as above.
        (unsafe { Chain::weigh(head) }, 0)
    }

    fn take_spare(&self) -> Option<Chain> {
        Self::take(&self.spare, &self.spare_len)
    }

    fn take_loaded(&self) -> Option<Chain> {
        Self::take(&self.loaded, &self.loaded_len)
    }
}

/// What a thread keeps for one pool.
struct Slot {
    id: Cell<Id>,
    /// The class of the first capacity; past the last one where no class holds that.
    first_class: Cell<usize>,
    rules: Cell<Rules>,
    classes: [Class; CLASSES_MAX],
}

unsafe fn free_nothing(_: Block) {}

impl Slot {
    const fn empty() -> Self {
        Self {
            id: Cell::new(Id::NONE),
            first_class: Cell::new(0),
            rules: Cell::new(Rules {
                sizes: Sizes::NONE,
                first_class: None,
                kept_bytes_max: 0,
                idle_bytes_max: 0,
                half: 0,
                hand: false,
                free: free_nothing,
            }),
            classes: [const { Class::empty() }; CLASSES_MAX],
        }
    }

    /// # Safety
    /// The borrow ends before anything else touches the slot.
    #[inline(always)]
    unsafe fn rules(&self) -> &Rules {
        // SAFETY: only this thread reaches the slot, and by the contract it sets nothing meanwhile.
        unsafe { &*self.rules.as_ptr() }
    }

    /// Gives everything back to the pool that the slot served; disposes of it where that pool is gone.
    fn flush(&self) {
        let id = self.id.replace(Id::NONE);
        if id == Id::NONE {
            return;
        }
        let free = self.rules.get().free;
        // C3: everything is out of the slot before the first destructor runs.
        let mut room = 0;
        let chains = self.classes.each_ref().map(|list| {
            let (at_hand, reserved) = list.close_hand();
            room += list.room.replace(0) + reserved;
            [at_hand, list.take_loaded(), list.take_spare()]
        });
        let (depot, generation) = (id.depot(), id.generation());
        depot.give_room(generation, room);
        let mut homeless = [Stack::EMPTY];
        for (class, chain) in chains
            .into_iter()
            .enumerate()
            .flat_map(|(class, chains)| chains.map(|chain| (class, chain)))
        {
            let Some(chain) = chain else { continue };
            // SAFETY: C1.
            if let Err(chain) = unsafe { depot.give(generation, class, chain, 0) } {
                // SAFETY: the pool is gone and handed the chain back.
                unsafe { homeless[0].push(chain) };
            }
        }
        // SAFETY: as above.
        unsafe { free_all(&mut homeless, free) };
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
            slots: [const { Slot::empty() }; SLOTS],
            state: Cell::new(State::Fresh),
        }
    };
    static AT_EXIT: AtExit = const { AtExit };
}

impl Cache {
    #[inline(always)]
    fn slot(&self, id: Id) -> &Slot {
        &self.slots[id.place() % SLOTS]
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
        slot.flush();
        let Some(rules) = id.depot().rules(id.generation()) else {
            return false;
        };
        if slot.id.get() != Id::NONE {
            return slot.id.get() == id;
        }
        slot.rules.set(rules);
        slot.first_class.set(rules.first_class.unwrap_or(CLASSES_MAX));
        slot.id.set(id);
        true
    }

    #[inline(never)]
    fn get_slow(&self, id: Id, class: usize, free: Free) -> Option<Block> {
        let slot = self.slot(id);
        if !self.adopt(slot, id) {
            return get_direct(id.depot(), id, class, free);
        }
        let list = &slot.classes[class];
        if let Some(block) = list.pop() {
            return Some(block);
        }
        list.swap();
        if let Some(block) = list.pop() {
            return Some(block);
        }
        let chain = id.depot().take(id.generation(), class, list.room.get())?;
        list.room.set(0);
        list.loaded.set(chain.head.as_ptr());
        list.loaded_len.set(chain.len as u32);
        list.pop()
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
        // SAFETY: nothing sets the rules while they are looked at: what follows touches the class alone.
        let rules = unsafe { slot.rules() };
        let Some(class) = rules.class_kept(block.size) else {
            // SAFETY: the caller's block, which the pool does not keep.
            return unsafe { free(block) };
        };
        let list = &slot.classes[class];
        if rules.hand && block.size == rules.sizes.bytes[class] {
            list.open_hand(block.size);
        }
        // SAFETY: by the contract and by `class_kept`.
        if unsafe { list.put_hand(block) || list.push(block, rules.half) } {
            return;
        }
        // SAFETY: passed on.
        unsafe { self.make_room(slot, class, block, free) }
    }

    /// Keeps a block for which the class has no place left, or none yet.
    ///
    /// # Safety
    /// As for [`put`]; the slot serves `id`, and the block serves the class.
    #[cold]
    #[inline(never)]
    unsafe fn make_room(&self, slot: &Slot, class: usize, block: Block, free: Free) {
        let id = slot.id.get();
        let (depot, generation, rules) = (id.depot(), id.generation(), slot.rules.get());
        let list = &slot.classes[class];
        let want = block.size.saturating_mul(rules.half as usize);
        if list.loaded_len.get() >= rules.half {
            if let Some(chain) = list.take_spare() {
                // SAFETY: C1.
                match unsafe { depot.give(generation, class, chain, want) } {
                    Ok(granted) => list.room.set(list.room.get() + granted),
                    Err(chain) => {
                        // SAFETY: the pool is gone and handed the chain back.
                        unsafe { chain.free(rules.free) };
                        slot.flush();
                        // SAFETY: the caller's block.
                        return unsafe { free(block) };
                    }
                }
            }
            list.swap();
        }
        if list.room.get() < block.size {
            let granted = depot.room(generation, want, block.size);
            list.room.set(list.room.get() + granted);
        }
        // SAFETY: by the contract.
        if !unsafe { list.push(block, rules.half) } {
            Tally::count(&depot.tally().refusals);
            // SAFETY: the caller's block, for which the pool has no room.
            unsafe { free(block) };
        }
    }
}

/// Takes a block from the second level without a cache: a thread that is ending has none.
#[cold]
fn get_direct(depot: &Depot, id: Id, class: usize, free: Free) -> Option<Block> {
    let generation = id.generation();
    let chain = depot.take(generation, class, 0)?;
    // SAFETY: `take` made the chain this thread's.
    let (block, rest) = unsafe { block::pop(chain.head) };
    // SAFETY: as above.
    if let Some(rest) = unsafe { Chain::weigh(rest) } {
        // SAFETY: as above.
        if let Err(rest) = unsafe { depot.give(generation, class, rest, 0) } {
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
    let class = depot
        .rules(generation)
        .and_then(|rules| rules.class_kept(block.size));
    if let Some(class) = class
        && depot.room(generation, block.size, 0) > 0
    {
        // SAFETY: the caller's block; a class is no smaller than the links.
        let head = unsafe { block::push(ptr::null_mut(), block) };
        // SAFETY: as above.
        if let Some(chain) = unsafe { Chain::weigh(head) } {
            // SAFETY: as above.
            match unsafe { depot.give(generation, class, chain, 0) } {
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

/// Takes an idle block of `class` that this thread or the second level has; `None` sends the caller to the allocator.
#[inline(always)]
pub(crate) fn get(id: Id, class: usize, free: Free) -> Option<Block> {
    let found = CACHE.try_with(|cache| {
        let slot = cache.slot(id);
        if slot.id.get() == id
            && let Some(block) = slot.classes[class].take_hand()
        {
            return Some(block);
        }
        cache.get_slow(id, class, free)
    });
    match found {
        Ok(block) => block,
        Err(_) => get_direct(id.depot(), id, class, free),
    }
}

/// As [`get`], of the pool's first class, which it names, and only what this thread has at hand.
#[inline(always)]
pub(crate) fn first_at_hand(id: Id) -> Option<(Block, usize)> {
    let found = CACHE.try_with(|cache| {
        let slot = cache.slot(id);
        if slot.id.get() != id {
            return None;
        }
        let class = slot.first_class.get();
        let block = slot.classes.get(class)?.take_hand()?;
        Some((block, class))
    });
    found.ok().flatten()
}

/// Returns a block to its pool, or disposes of it by `free` where the pool keeps no such block, is full or is gone.
///
/// # Safety
/// The block is the caller's and nobody's afterwards; it belongs to the tag's pool, whose disposal is `free`.
#[inline(always)]
pub(crate) unsafe fn put(tag: Tag, block: Block, free: Free) {
    let id = tag.id();
    let done = CACHE.try_with(|cache| {
        let slot = cache.slot(id);
        // SAFETY: by the contract; C4: a block of the hand's size serves the hand's class.
        if slot.id.get() == id && unsafe { slot.classes[tag.class()].put_hand(block) } {
            return;
        }
        // SAFETY: passed on.
        unsafe { cache.put_slow(id, block, free) }
    });
    if done.is_err() {
        // SAFETY: passed on; nothing above ran.
        unsafe { put_direct(id.depot(), id, block, free) }
    }
}

/// Gives what this thread keeps for `id` back to the pool's second level.
pub(crate) fn flush(id: Id) {
    let _ = CACHE.try_with(|cache| {
        let slot = cache.slot(id);
        if slot.id.get() == id {
            slot.flush();
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
            slot.flush();
        }
    });
}
