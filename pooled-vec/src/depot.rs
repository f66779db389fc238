//! A depot is a pool's second level: idle memory that any thread can reach, in one shard per CPU.
//!
//! # Bytes
//! `charged` is what the shards hold plus what the thread caches hold or have room for. Only a thread that holds a
//! shard changes it, so it always belongs to the living pool; it never exceeds the pool's `idle_bytes_max`.
//!
//! # Hints
//! `stocked` says which shards probably have a batch of a class. A bit changes only under its shard's lock, so it is
//! exact whenever nobody is at work; a stale one costs a look, or a call of the allocator.
//!
//! # Waiting
//! A shard is held for O(1) work, but its holder may be interrupted there. Who returns memory waits for one of four
//! shards, since it has nowhere else to put it. Who wants memory waits as long as a [`Backoff`] does, some microseconds
//! and four turns of the processor, for a shard that has a batch; then the allocator is the shorter way, and the tally
//! says that it was taken (`contended`).

use crate::block::Chain;
use crate::config::{CLASSES_MAX, SHARDS_MAX};
use crate::shard::{Generation, Held, Refused, Rules, Shard};
use crate::tally::Tally;
use sync_base::atomic::{AtomicU64, AtomicUsize, Ordering};
use sync_base::cell::UnsafeCell;
use sync_base::{Backoff, CachePadded, Step, thread};

/// Consecutive shards that are tried before the thread backs off.
const NEIGHBOURS: usize = 4;
const WORDS: usize = SHARDS_MAX / 64;

/// Every shard that has what is wanted is held by another thread.
#[derive(Debug)]
struct Busy;

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
    pub(crate) fn new(shards: usize) -> Self {
        Self {
            shards: UnsafeCell::new((0..shards).map(|_| CachePadded::new(Shard::new())).collect()),
            stocked: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))),
            charged: CachePadded::new(AtomicUsize::new(0)),
        }
    }

    /// Begins to serve a pool.
    ///
    /// # Safety
    /// Every shard is free, was seen so by this thread, and no other thread opens them.
    pub(crate) unsafe fn open(&self, generation: Generation, rules: Rules) {
        // Relaxed: the shards' opening publishes the new pool.
        self.charged.store(0, Ordering::Relaxed);
        for class in &self.stocked {
            for word in class {
                // Relaxed: as above.
                word.store(0, Ordering::Relaxed);
            }
        }
        for shard in self.shards() {
            shard.tally.reset();
            // SAFETY: by the contract.
            unsafe { shard.open(generation, rules) };
        }
    }

    /// Whether the depot serves no pool and is empty.
    pub(crate) fn is_free(&self) -> bool {
        self.shards().iter().all(|shard| shard.is_free())
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
    /// charged for and has no use for. O(shards / 64) when there is none. Waits a bounded time while every shard that has
    /// one is held.
    pub(crate) fn take(&self, generation: Generation, class: usize, slack: usize) -> Option<Chain> {
        let home = home(self.shards().len());
        let mut backoff = Backoff::new();
        loop {
            match self.look(generation, class, slack, home) {
                Ok(found) => return found,
                Err(Busy) if backoff.step() != Step::Park => {}
                Err(Busy) => {
                    Tally::count(&self.shards()[home].tally.contended);
                    return None;
                }
            }
        }
    }

    /// Looks once for a batch; an error when there is none but in shards that are held.
    fn look(
        &self,
        generation: Generation,
        class: usize,
        slack: usize,
        home: usize,
    ) -> Result<Option<Chain>, Busy> {
        let mut busy = false;
        for at in self.candidates(class, home) {
            let mut held = match self.shards()[at].try_hold(generation) {
                Ok(held) => held,
                Err(refused) => {
                    busy |= refused == Refused::Busy;
                    continue;
                }
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
            return Ok(Some(chain));
        }
        if busy { Err(Busy) } else { Ok(None) }
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

    /// Takes every batch of every shard, for the caller to dispose of, and gives their bytes back. Waits for a shard that is
    /// held as long as a [`Backoff`] does.
    pub(crate) fn take_all(&self, generation: Generation, mut each: impl FnMut(Chain)) {
        for class in 0..CLASSES_MAX {
            for at in self.candidates(class, 0) {
                let mut backoff = Backoff::new();
                loop {
                    let mut held = match self.shards()[at].try_hold(generation) {
                        Ok(held) => held,
                        Err(Refused::Busy) if backoff.step() != Step::Park => continue,
                        Err(_) => break,
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

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::block::{self, Block};
    use std::ptr::{self, NonNull};

    const GENERATION: Generation = Generation(7);

    fn opened(shards: usize) -> Depot {
        let depot = Depot::new(shards);
        // SAFETY: just made.
        unsafe { depot.open(GENERATION, crate::pool::rules(&crate::PoolConfig::new())) };
        depot
    }

    fn buffer() -> Chain {
        let memory = std::mem::ManuallyDrop::new(Vec::<u8>::with_capacity(4096));
        let ptr = NonNull::new(memory.as_ptr().cast_mut()).unwrap();
        // SAFETY: memory of our own, longer than the links.
        let head = unsafe { block::push(ptr::null_mut(), Block { ptr, size: 4096 }) };
        // SAFETY: as above.
        unsafe { Chain::weigh(head) }.unwrap()
    }

    /// Stocks a batch in a shard of its own.
    fn stock(depot: &Depot, at: usize, class: usize) {
        let mut held = depot.shards()[at].try_hold(GENERATION).unwrap();
        // SAFETY: just made.
        if unsafe { held.push(class, buffer()) } {
            depot.mark(class, at, true);
        }
        let chain_bytes = 4096;
        assert_eq!(depot.charge(&mut held, chain_bytes, 0), chain_bytes);
    }

    fn free(chain: Chain) {
        // SAFETY: taken out of the shards, and a byte buffer.
        unsafe {
            chain.free(|block| drop(Vec::from_raw_parts(block.ptr.as_ptr(), 0, block.size)));
        }
    }

    #[test]
    fn e3_every_one_of_256_shards_is_found_the_nearest_first() {
        for shards in [1, 2, 63, 64, 65, 130, 256] {
            let depot = opened(shards);
            (0..shards).for_each(|at| depot.mark(3, at, true));
            for first in [0, 1, 62, 63, 64, 65, 128, 255] {
                let first = first % shards;
                let word = first / 64;
                let found: Vec<_> = depot.candidates(3, first).collect();
                // From the first shard to the end of its word, the words that follow, round to the ones before it.
                let oracle: Vec<_> = (first..((word + 1) * 64).min(shards))
                    .chain((word + 1) * 64..shards)
                    .chain(0..word * 64)
                    .chain(word * 64..first)
                    .collect();
                assert_eq!(found, oracle, "{shards} shards from {first}");
            }
            (0..shards).for_each(|at| depot.mark(3, at, false));
            assert_eq!(depot.candidates(3, 0).count(), 0);
            assert_eq!(depot.candidates(2, 0).count(), 0);
        }
    }

    #[test]
    fn e3_a_batch_in_any_of_256_shards_is_taken_from_anywhere() {
        let depot = opened(256);
        for at in 0..256 {
            stock(&depot, at, 1);
            assert!(depot.take(GENERATION, 0, 0).is_none(), "another class's");
            free(depot.take(GENERATION, 1, 4096).expect("one is there"));
            assert!(depot.take(GENERATION, 1, 0).is_none(), "and no more");
        }
        assert_eq!(depot.charged(), 0);
    }

    #[test]
    fn a_get_gives_up_on_a_shard_that_stays_held_and_says_so() {
        let depot = opened(1);
        stock(&depot, 0, 0);
        // Relaxed: this thread's own count.
        let contended = || depot.tally().contended.load(Ordering::Relaxed);
        let held = depot.shards()[0].try_hold(GENERATION).unwrap();
        assert!(depot.take(GENERATION, 0, 0).is_none());
        assert_eq!(contended(), 1);
        assert!(
            depot.take(GENERATION, 1, 0).is_none(),
            "nothing is there to wait for"
        );
        assert_eq!(contended(), 1);
        drop(held);
        free(depot.take(GENERATION, 0, 0).unwrap());
    }

    #[test]
    fn a_trim_gives_up_on_a_shard_that_stays_held() {
        let depot = opened(2);
        (0..2).for_each(|at| stock(&depot, at, 0));
        let held = depot.shards()[0].try_hold(GENERATION).unwrap();
        let mut taken = 0;
        let mut each = |chain| {
            taken += 1;
            free(chain);
        };
        depot.take_all(GENERATION, &mut each);
        drop(held);
        depot.take_all(GENERATION, &mut each);
        assert_eq!((taken, depot.charged()), (2, 0));
    }
}
