//! A depot is a pool's second level: idle memory that any thread can reach, in one shard per CPU.
//!
//! Depots are never freed; a depot whose pool is gone is given to the next one under a new generation. An id names
//! both, so that memory which outlives its pool can tell, without touching the pool, that it has no home any more.
//!
//! # Bytes
//! `charged` is what the shards hold plus what the thread caches hold or have room for. Only a thread that holds a
//! shard changes it, so it always belongs to the living pool; it never exceeds the pool's `idle_bytes_max`.
//!
//! # Hints
//! `stocked` says which shards probably have a batch of a class. A bit changes only under its shard's lock, so it is
//! exact whenever nobody is at work; a stale one costs a look, or a call of the allocator.

use crate::block::Chain;
use crate::config::{CLASSES_MAX, SHARDS_MAX};
use crate::shard::{Generation, Held, Refused, Rules, Shard};
use crate::tally::Tally;
use std::ptr;
use sync_base::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use sync_base::cell::UnsafeCell;
use sync_base::sync::{Mutex, PoisonError};
use sync_base::{Backoff, CachePadded, Step, thread};

/// The most pools alive at once, all kinds together.
pub(crate) const DEPOTS_MAX: usize = if cfg!(any(loom, shuttle)) { 4 } else { 4096 };
/// Consecutive shards that are tried before the thread backs off.
const NEIGHBOURS: usize = 4;
const WORDS: usize = SHARDS_MAX / 64;

/// Names one pool for ever: the place of its depot in the table (16 bits) beneath its generation (48 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Id(u64);

/// What memory in use carries: the id of its pool, and in four bits that no place needs the class that it was got from.
/// The class is a hint: the memory may have grown since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag(u64);

/// Where the class of a tag lies, above the place.
const CLASS_SHIFT: u32 = 12;
const _: () = assert!(DEPOTS_MAX <= 1 << CLASS_SHIFT && CLASSES_MAX <= 1 << 4);

impl Tag {
    /// The global pool, for memory that was got from no class.
    pub(crate) const GLOBAL: Self = Self::new(Id::GLOBAL, 0);

    #[inline(always)]
    pub(crate) const fn new(id: Id, class: usize) -> Self {
        Self(id.0 | ((class % CLASSES_MAX) as u64) << CLASS_SHIFT)
    }

    #[inline(always)]
    pub(crate) const fn id(self) -> Id {
        Id(self.0 & !(0xf << CLASS_SHIFT))
    }

    #[inline(always)]
    pub(crate) const fn class(self) -> usize {
        (self.0 >> CLASS_SHIFT) as usize % CLASSES_MAX
    }
}

impl Id {
    /// No pool.
    pub(crate) const NONE: Self = Self(0);
    /// The pool of [`PooledVec::new`](crate::PooledVec::new), the only one that ever lives at place 0.
    pub(crate) const GLOBAL: Self = Self(1 << 16);

    fn new(place: usize, generation: Generation) -> Self {
        Self(generation.0 << 16 | place as u64)
    }

    #[inline(always)]
    pub(crate) fn place(self) -> usize {
        (self.0 & 0xffff) as usize
    }

    pub(crate) fn generation(self) -> Generation {
        Generation(self.0 >> 16)
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

// SAFETY: the cell is only read; everything else in a depot is `Sync` by itself.
unsafe impl Sync for Depot {}

#[derive(Debug)]
pub(crate) struct Depot {
    /// Never written after it was made; a cell, so that a model sees a depot used before it was published.
    shards: UnsafeCell<Box<[CachePadded<Shard>]>>,
    stocked: [[AtomicU64; WORDS]; CLASSES_MAX],
    charged: CachePadded<AtomicUsize>,
}

impl Depot {
    fn new(shards: usize) -> Self {
        Self {
            shards: UnsafeCell::new((0..shards).map(|_| CachePadded::new(Shard::new())).collect()),
            stocked: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))),
            charged: CachePadded::new(AtomicUsize::new(0)),
        }
    }

    /// Holds some shard near this CPU; `None` when the pool is dead.
    ///
    /// Tries four neighbours a round. Waits only while all of them are held, which each is for O(1) work: it spins,
    /// then yields the processor to a holder that was interrupted.
    fn hold(&self, generation: Generation) -> Option<(usize, Held<'_>)> {
        let home = home(self.shards().len());
        let mut backoff = Backoff::new();
        loop {
            for near in 0..NEIGHBOURS.min(self.shards().len()) {
                let at = (home + near) % self.shards().len();
                match self.shards()[at].try_hold(generation) {
                    Ok(held) => return Some((at, held)),
                    Err(Refused::Dead) => return None,
                    Err(Refused::Busy) => {}
                }
            }
            if backoff.step() == Step::Park {
                thread::yield_now();
            }
        }
    }

    /// The pool's rules; `None` when it is dead.
    pub(crate) fn rules(&self, generation: Generation) -> Option<Rules> {
        self.hold(generation).map(|(_, mut held)| held.rules())
    }

    /// Takes a batch of `class` from the nearest shard that has one, giving back `slack` bytes that the caller was
    /// charged for and has no use for. O(shards / 64) when there is none.
    pub(crate) fn take(&self, generation: Generation, class: usize, slack: usize) -> Option<Chain> {
        let home = home(self.shards().len());
        for at in self.candidates(class, home) {
            let Ok(mut held) = self.shards()[at].try_hold(generation) else {
                continue;
            };
            let Some((chain, last)) = held.pop(class) else {
                continue;
            };
            if last {
                self.mark(class, at, false);
            }
            self.uncharge(&held, slack);
            let tally = &self.shards()[at].tally;
            Tally::count(if at == home { &tally.refills } else { &tally.steals });
            return Some(chain);
        }
        None
    }

    /// Stocks a batch of `class` whose bytes are charged already, and asks for `want` bytes of room; returns the room
    /// that it got. A dead pool hands the batch back.
    ///
    /// # Safety
    /// The caller owns the chain, which belongs to the pool of `generation` and serves `class`.
    pub(crate) unsafe fn give(
        &self,
        generation: Generation,
        class: usize,
        chain: Chain,
        want: usize,
    ) -> Result<usize, Chain> {
        let Some((at, mut held)) = self.hold(generation) else {
            return Err(chain);
        };
        // SAFETY: passed on.
        if unsafe { held.push(class, chain) } {
            self.mark(class, at, true);
        }
        Tally::count(&self.shards()[at].tally.spills);
        Ok(self.charge(&mut held, want, 0))
    }

    /// Asks for room to keep `want` bytes, or at least `least`. Returns what was granted; zero when neither fits or
    /// the pool is dead.
    pub(crate) fn room(&self, generation: Generation, want: usize, least: usize) -> usize {
        match self.hold(generation) {
            Some((_, mut held)) => self.charge(&mut held, want, least),
            None => 0,
        }
    }

    /// Gives back `bytes` that were charged and are kept no longer.
    pub(crate) fn give_room(&self, generation: Generation, bytes: usize) {
        if bytes > 0
            && let Some((_, held)) = self.hold(generation)
        {
            self.uncharge(&held, bytes);
        }
    }

    /// Takes every batch of every shard, for the caller to dispose of, and gives their bytes back.
    pub(crate) fn take_all(&self, generation: Generation, mut each: impl FnMut(Chain)) {
        for class in 0..CLASSES_MAX {
            for at in self.candidates(class, 0) {
                loop {
                    let Ok(mut held) = self.shards()[at].try_hold(generation) else {
                        break;
                    };
                    let Some((chain, last)) = held.pop(class) else {
                        break;
                    };
                    if last {
                        self.mark(class, at, false);
                    }
                    self.uncharge(&held, chain.bytes);
                    drop(held);
                    each(chain);
                }
            }
        }
    }

    /// The tally of this CPU's shard, for what is done without holding one.
    pub(crate) fn tally(&self) -> &Tally {
        &self.shards()[home(self.shards().len())].tally
    }

    /// Bytes charged now.
    pub(crate) fn charged(&self) -> usize {
        // Relaxed: a reading for statistics.
        self.charged.load(Ordering::Relaxed)
    }

    /// The shards, one per CPU.
    pub(crate) fn shards(&self) -> &[CachePadded<Shard>] {
        // SAFETY: nobody writes to the cell once the depot is published.
        self.shards.with(|shards| unsafe { &**shards })
    }

    fn charge(&self, held: &mut Held<'_>, want: usize, least: usize) -> usize {
        let limit = held.rules().idle_bytes_max;
        // Relaxed: the bytes counted are published with the blocks, by the shards.
        let mut charged = self.charged.load(Ordering::Relaxed);
        loop {
            let free = limit.saturating_sub(charged);
            let granted = if want <= free {
                want
            } else if least <= free {
                least
            } else {
                0
            };
            if granted == 0 {
                return 0;
            }
            // Relaxed: as above; the read-modify-write alone keeps the sum within the limit.
            match self.charged.compare_exchange_weak(
                charged,
                charged + granted,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return granted,
                Err(now) => charged = now,
            }
        }
    }

    fn uncharge(&self, _alive: &Held<'_>, bytes: usize) {
        if bytes > 0 {
            // Relaxed: the bytes counted are published with the blocks, by the shards.
            self.charged.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    fn mark(&self, class: usize, shard: usize, stocked: bool) {
        let word = &self.stocked[class][shard / 64];
        let bit = 1 << (shard % 64);
        if stocked {
            // Relaxed: a hint; the shard's word orders what it points to.
            word.fetch_or(bit, Ordering::Relaxed);
        } else {
            // Relaxed: as above.
            word.fetch_and(!bit, Ordering::Relaxed);
        }
    }

    /// The shards said to have `class`, `first` and the ones after it before the ones before it.
    fn candidates(&self, class: usize, first: usize) -> impl Iterator<Item = usize> + '_ {
        let words = self.shards().len().div_ceil(64);
        // The first word comes twice: its upper part at the beginning, its lower part at the end.
        (0..=words).flat_map(move |turn| {
            let word = (first / 64 + turn) % words;
            let above = u64::MAX << (first % 64);
            let part = match turn {
                0 => above,
                t if t == words => !above,
                _ => u64::MAX,
            };
            // Relaxed: a hint; the shard's word orders what it points to.
            let mut bits = self.stocked[class][word].load(Ordering::Relaxed) & part;
            std::iter::from_fn(move || {
                let bit = (bits != 0).then(|| bits.trailing_zeros() as usize)?;
                bits &= bits - 1;
                Some(word * 64 + bit)
            })
        })
    }

    fn is_free(&self) -> bool {
        self.shards().iter().all(|shard| shard.is_free())
    }
}

/// Where this CPU's shard is. A thread may move on at once: any shard is right, the near one is cheaper.
pub(crate) fn home(shards: usize) -> usize {
    #[cfg(all(target_os = "linux", not(any(loom, shuttle, miri))))]
    {
        // SAFETY: takes nothing and touches no memory of ours.
        let cpu = unsafe { libc::sched_getcpu() };
        usize::try_from(cpu).unwrap_or(0) % shards
    }
    #[cfg(not(all(target_os = "linux", not(any(loom, shuttle, miri)))))]
    {
        let _ = shards;
        0
    }
}

/// Every depot ever made, by place.
#[derive(Debug)]
struct Table {
    places: [AtomicPtr<Depot>; DEPOTS_MAX],
    /// The last generation given to each place; its lock serialises the making of pools.
    generations: Mutex<Vec<u64>>,
}

sync_base::global! {
    static TABLE: Table = Table::new();
}

impl Table {
    #[cfg(not(loom))]
    const fn new() -> Self {
        Self {
            places: [const { AtomicPtr::new(ptr::null_mut()) }; DEPOTS_MAX],
            generations: Mutex::new(Vec::new()),
        }
    }

    #[cfg(loom)]
    fn new() -> Self {
        Self {
            places: std::array::from_fn(|_| AtomicPtr::new(ptr::null_mut())),
            generations: Mutex::new(Vec::new()),
        }
    }

    fn depot(&self, place: usize) -> Option<&'static Depot> {
        // Acquire: pairs with the Release in `open_at`; publishes the depot.
        let depot = self.places[place].load(Ordering::Acquire);
        // SAFETY: made by `Box::into_raw` in `open_at` and never freed while anything runs.
        unsafe { depot.as_ref() }
    }

    /// Opens a pool at `place`, if there is no depot of another shape or another pool there.
    fn open_at(&self, place: usize, generation: &mut u64, rules: Rules, shards: usize) -> Option<Id> {
        let depot = match self.depot(place) {
            Some(depot) if depot.shards().len() == shards && depot.is_free() => depot,
            Some(_) => return None,
            None => {
                let fresh = Box::into_raw(Box::new(Depot::new(shards)));
                // Release: pairs with the Acquire in `depot`; publishes the depot.
                self.places[place].store(fresh, Ordering::Release);
                // SAFETY: just made, and never freed while anything runs.
                unsafe { &*fresh }
            }
        };
        *generation += 1;
        // Relaxed: the shards' opening publishes the new pool.
        depot.charged.store(0, Ordering::Relaxed);
        for class in &depot.stocked {
            for word in class {
                // Relaxed: as above.
                word.store(0, Ordering::Relaxed);
            }
        }
        for shard in depot.shards() {
            shard.tally.reset();
            // SAFETY: seen free above (or just made), under the lock of `generations`, which every opener takes.
            unsafe { shard.open(Generation(*generation), rules) };
        }
        Some(Id::new(place, Generation(*generation)))
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
    }
}

/// Opens a pool in a depot of its own. O(pools), under a lock. `None` when there are [`DEPOTS_MAX`] pools.
pub(crate) fn open(rules: Rules, shards: usize) -> Option<Id> {
    let table: &Table = &TABLE;
    let mut generations = table.generations.lock().unwrap_or_else(PoisonError::into_inner);
    for place in 1..DEPOTS_MAX {
        if place.is_multiple_of(crate::cache::SLOTS) {
            continue; // The cache slot of the global pool is not shared.
        }
        if generations.len() <= place {
            generations.resize(place + 1, 0);
        }
        if let Some(id) = table.open_at(place, &mut generations[place], rules, shards) {
            return Some(id);
        }
    }
    None
}

/// Opens the global pool; `false` when it is open already.
pub(crate) fn open_global(rules: Rules, shards: usize) -> bool {
    let table: &Table = &TABLE;
    let _making = table.generations.lock().unwrap_or_else(PoisonError::into_inner);
    table.depot(0).is_none() && table.open_at(0, &mut 0, rules, shards).is_some()
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
