//! The table of depots: where each pool's second level lives, and the names by which memory finds it.
//!
//! Depots are never freed; a depot whose pool is gone is given to the next one under a new generation. An id names
//! both, so that memory which outlives its pool can tell, without touching the pool, that it has no home any more.
//!
//! Where every place has a depot, and the free ones have another number of shards than the new pool wants, one of them
//! makes room: it is set aside, for a later pool of its shape at whatever place. A generation is given once in the
//! process, so a late return that still reaches a depot set aside, or the one that came to its place, finds it dead.

use crate::config::CLASSES_MAX;
use crate::depot::Depot;
use crate::shard::{Generation, Rules};
use std::ptr;
use sync_base::atomic::{AtomicPtr, Ordering};
use sync_base::sync::{Mutex, PoisonError};

/// The most pools alive at once, all kinds together, without the global one.
pub(crate) const POOLS_MAX: usize = if cfg!(any(loom, shuttle)) { 3 } else { 4096 };
/// Places: one for the global pool, one for each other, and those that share a cache slot with the global pool, unused.
const DEPOTS_MAX: usize = 1 + POOLS_MAX + (POOLS_MAX - 1) / (crate::cache::SLOTS - 1);

/// Bits of a name that say in which seat of a thread's cache slot its memory belongs.
const SEAT_BITS: u32 = CLASSES_MAX.ilog2();
/// Bits of a name above the seat that say in which place of the table its depot is.
const PLACE_BITS: u32 = 13;
/// Where the generation begins: it has 48 bits.
const GENERATION_SHIFT: u32 = 16;

const _: () = assert!(CLASSES_MAX == 1 << SEAT_BITS && DEPOTS_MAX <= 1 << PLACE_BITS);
const _: () = assert!(SEAT_BITS + PLACE_BITS <= GENERATION_SHIFT);

/// Names one pool for ever: generation, place of its depot, no seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Id(u64);

/// What memory in use carries: the id of its pool, and the seat of the class that it was got from. The seat is a hint: the
/// memory may have grown since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag(u64);

impl Id {
    /// No pool.
    pub(crate) const NONE: Self = Self(0);
    /// The pool of [`PooledVec::new`](crate::PooledVec::new), the only one that ever lives at place 0.
    pub(crate) const GLOBAL: Self = Self(1 << GENERATION_SHIFT);

    fn new(place: usize, generation: Generation) -> Self {
        Self(generation.0 << GENERATION_SHIFT | (place as u64) << SEAT_BITS)
    }

    #[inline(always)]
    pub(crate) fn place(self) -> usize {
        (self.0 >> SEAT_BITS) as usize % (1 << PLACE_BITS)
    }

    pub(crate) fn generation(self) -> Generation {
        Generation(self.0 >> GENERATION_SHIFT)
    }

    /// The depot that the pool has, or had.
    pub(crate) fn depot(self) -> &'static Depot {
        if let Some(depot) = TABLE.depot(self.place()) {
            return depot;
        }
        // Only the global id is known before its pool is made.
        crate::Pool::global();
        TABLE.depot(self.place()).expect("an id is made after its depot")
    }
}

impl Tag {
    /// No pool's.
    pub(crate) const NONE: Self = Self(0);
    /// The first class of the global pool, or memory that was got from no class.
    pub(crate) const GLOBAL: Self = Self::new(Id::GLOBAL, 0);

    #[inline(always)]
    pub(crate) const fn new(id: Id, seat: usize) -> Self {
        Self(id.0 | (seat % CLASSES_MAX) as u64)
    }

    #[inline(always)]
    pub(crate) const fn id(self) -> Id {
        Id(self.0 & !(CLASSES_MAX as u64 - 1))
    }

    #[inline(always)]
    pub(crate) const fn seat(self) -> usize {
        self.0 as usize % CLASSES_MAX
    }

    /// Seat and the lower bits of the place as one number below `many`, a power of two: where a cache keeps such memory.
    #[inline(always)]
    pub(crate) const fn index(self, many: usize) -> usize {
        self.0 as usize % many
    }
}

/// Every depot ever made, by place.
#[derive(Debug)]
struct Table {
    places: [AtomicPtr<Depot>; DEPOTS_MAX],
    /// Its lock serialises the making of pools.
    made: Mutex<Made>,
}

#[derive(Debug)]
struct Made {
    /// The last generation that was given; the first is the global pool's, whenever that is made.
    generation: u64,
    /// Free depots that made room for one of another shape.
    aside: Vec<AtomicPtr<Depot>>,
}

impl Made {
    const fn new() -> Self {
        Self {
            generation: Id::GLOBAL.0 >> GENERATION_SHIFT,
            aside: Vec::new(),
        }
    }

    fn next(&mut self) -> Generation {
        self.generation += 1;
        Generation(self.generation)
    }

    /// Takes a depot of `shards` shards out of those set aside, or makes one.
    fn depot(&mut self, shards: usize) -> *mut Depot {
        for at in 0..self.aside.len() {
            // Relaxed: under the lock.
            let depot = self.aside[at].load(Ordering::Relaxed);
            // SAFETY: never freed while anything runs.
            if unsafe { &*depot }.shards().len() == shards {
                self.aside.swap_remove(at);
                return depot;
            }
        }
        Box::into_raw(Box::new(Depot::new(shards)))
    }
}

sync_base::global! {
    static TABLE: Table = Table::new();
}

impl Table {
    #[cfg(not(loom))]
    const fn new() -> Self {
        Self {
            places: [const { AtomicPtr::new(ptr::null_mut()) }; DEPOTS_MAX],
            made: Mutex::new(Made::new()),
        }
    }

    #[cfg(loom)]
    fn new() -> Self {
        Self {
            places: std::array::from_fn(|_| AtomicPtr::new(ptr::null_mut())),
            made: Mutex::new(Made::new()),
        }
    }

    fn depot(&self, place: usize) -> Option<&'static Depot> {
        // Acquire: pairs with the Release in `publish`; publishes the depot.
        let depot = self.places[place].load(Ordering::Acquire);
        // SAFETY: made by `Box::into_raw` and never freed while anything runs.
        unsafe { depot.as_ref() }
    }

    /// Puts a depot at `place`. Returns it, and what was there.
    fn publish(&self, place: usize, depot: *mut Depot) -> (&'static Depot, *mut Depot) {
        // Relaxed: only written under the lock of `made`.
        let before = self.places[place].load(Ordering::Relaxed);
        // Release: pairs with the Acquire in `depot`; publishes the depot.
        self.places[place].store(depot, Ordering::Release);
        // SAFETY: made by `Box::into_raw`, and never freed while anything runs.
        (unsafe { &*depot }, before)
    }

    /// A place for a pool of `shards` shards, and the free depot there.
    fn room(&self, made: &mut Made, shards: usize) -> Option<(usize, &'static Depot)> {
        let mut other = None;
        for place in 1..DEPOTS_MAX {
            if place.is_multiple_of(crate::cache::SLOTS) {
                continue; // The cache slot of the global pool is not shared.
            }
            match self.depot(place) {
                None => return Some((place, self.publish(place, made.depot(shards)).0)),
                Some(depot) if !depot.is_free() => {}
                Some(depot) if depot.shards().len() == shards => return Some((place, depot)),
                Some(_) => other = other.or(Some(place)),
            }
        }
        let place = other?;
        let (depot, before) = self.publish(place, made.depot(shards));
        made.aside.push(AtomicPtr::new(before));
        Some((place, depot))
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        // A static is never dropped; a model drops its table at the end of each execution.
        for place in &self.places {
            // Relaxed: `&mut self`: every user is gone.
            let depot = place.load(Ordering::Relaxed);
            if !depot.is_null() {
                // SAFETY: made by `Box::into_raw`, freed here once.
                drop(unsafe { Box::from_raw(depot) });
            }
        }
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        for depot in made.aside.drain(..) {
            // Relaxed: `&mut self`: every user is gone.
            let depot = depot.load(Ordering::Relaxed);
            // SAFETY: made by `Box::into_raw`, in no place, freed here once.
            drop(unsafe { Box::from_raw(depot) });
        }
    }
}

/// Opens a pool in a depot of its own. O(pools), under a lock. `None` when [`POOLS_MAX`] pools are alive.
pub(crate) fn open(rules: Rules, shards: usize) -> Option<Id> {
    let table: &Table = &TABLE;
    let mut made = table.made.lock().unwrap_or_else(PoisonError::into_inner);
    let (place, depot) = table.room(&mut made, shards)?;
    let generation = made.next();
    // SAFETY: seen free by `room` (or just made), under the lock of `made`, which every opener takes.
    unsafe { depot.open(generation, rules) };
    Some(Id::new(place, generation))
}

/// Opens the global pool; `false` when it is open already.
pub(crate) fn open_global(rules: Rules, shards: usize) -> bool {
    let table: &Table = &TABLE;
    let mut made = table.made.lock().unwrap_or_else(PoisonError::into_inner);
    let place = Id::GLOBAL.place();
    if table.depot(place).is_some() {
        return false;
    }
    let (depot, _) = table.publish(place, made.depot(shards));
    // SAFETY: just made or free, under the lock of `made`.
    unsafe { depot.open(Id::GLOBAL.generation(), rules) };
    true
}

/// Ends a pool: what its shards hold is disposed of now, what others hold when they let go of it.
///
/// # Safety
/// The id was returned by [`open`], and is closed once.
pub(crate) unsafe fn close(id: Id) {
    for shard in id.depot().shards() {
        // SAFETY: opened with this generation; closed once by the contract.
        unsafe { shard.close(id.generation()) };
    }
}
