//! A counter that is cheap to add to, because each thread adds to a cell of its own.
//!
//! # Protocol
//! A counter has an *id*, drawn at its first add; cell `id` of every thread's block belongs to it. `add` loads and
//! stores the caller's own cell; `sum` walks the blocks. An add made while a thread's locals are being torn down, when
//! its block is already given back, goes to the counter's shared `overflow` cell by read-modify-write.
//!
//! # Invariants
//! - I1: a cell is written by the owner of its block alone (see `block`).
//! - I2: cells are never zeroed. A counter that reuses an id remembers in `origin` what the cells added up to when it
//!   drew the id. That is exact: every add of the former user happened before its drop, hence before the id was free;
//!   every add of the new one happens after it read the id, hence after `origin` was computed.
//! - I3: `taken` grows by exactly what `take` returns, in one compare-exchange: what was added is handed out once.
//! - I4: `take` reads `taken` before the cells. A take that follows another therefore reads no cell older than the
//!   other did, and for a counter that only grows it never returns a negative number.
//!
//! # Orderings
//! | access | order | pairs with |
//! |---|---|---|
//! | `id` store | Release | the Acquire in `add`, `live`: `origin`, and (I2) that it was computed before any new add |
//! | `taken` compare-exchange | Release, Acquire on failure | itself, and the Acquire in `take` and `sum`: I4 |
//! | cells, `overflow` | Relaxed | nothing: joining the adding thread, or any other edge from it, makes the add visible |

mod block;
mod ledger;

use ledger::{bump, ledger, reserve};
use std::fmt;
use sync_base::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The id of a counter that has not drawn one: beyond the end of every array.
const NO_ID: usize = usize::MAX;

/// Counts events from any number of threads at the price of a private `+= 1`.
///
/// Statistical: `sum` sees every add that happened before it (its thread was joined, or sent a message, ...) and, of
/// those running beside it, some. Nothing is ever lost or counted twice, however many threads come and go. Where each
/// add must learn the value it found, take [`Counter`](crate::Counter).
///
/// The total is kept modulo 2^64 and read as an `i64`: more was subtracted than added is a negative sum, not a wrap.
///
/// Not for signal handlers: one that interrupts an add to the same counter may undo it. The first add of a thread
/// allocates, so neither is it for a global allocator.
///
/// ```
/// use flat_combine::StripedCounter;
/// static HITS: StripedCounter = StripedCounter::new();
/// std::thread::scope(|scope| {
///     for _ in 0..4 {
///         scope.spawn(|| (0..1_000).for_each(|_| HITS.add(1)));
///     }
/// });
/// assert_eq!(HITS.sum(), 4_000);
/// assert_eq!(HITS.take(), 4_000);
/// assert_eq!(HITS.sum(), 0);
/// ```
///
/// Under `--cfg loom` there is no constant constructor: write `sync_base::global!` in place of `static`, and the state
/// is new in each execution.
pub struct StripedCounter {
    id: AtomicUsize,
    /// I2: what the cells of `id` added up to when this counter drew it.
    origin: AtomicU64,
    overflow: AtomicU64,
    taken: AtomicU64,
}

impl StripedCounter {
    sync_base::const_fn! {
        /// Makes a counter at zero. Allocates nothing before the first add.
        pub fn new() -> Self {
            Self {
                id: AtomicUsize::new(NO_ID),
                origin: AtomicU64::new(0),
                overflow: AtomicU64::new(0),
                taken: AtomicU64::new(0),
            }
        }
    }

    /// Adds. Wait-free, no read-modify-write; the first add of a thread, and its first to an id beyond its cells,
    /// allocates.
    #[inline]
    pub fn add(&self, count: u64) {
        // Acquire: pairs with the Release in `draw_id`; I2: this add comes after `origin` was computed.
        // weaken-ok(Acquire->Relaxed): an add that overtakes this is load buffering, which loom never explores.
        let id = self.id.load(Ordering::Acquire);
        if !bump(id, count) {
            self.add_slowly(count);
        }
    }

    /// Subtracts. Costs what [`add`](Self::add) does.
    #[inline]
    pub fn sub(&self, count: u64) {
        self.add(count.wrapping_neg());
    }

    /// Adds a signed amount. Costs what [`add`](Self::add) does.
    #[inline]
    pub fn add_signed(&self, count: i64) {
        self.add(count.cast_unsigned());
    }

    /// What was added and not yet taken. Wait-free, O(greatest number of threads that ever counted at once).
    pub fn sum(&self) -> i64 {
        // Acquire: pairs with the Release in `take`; I4: the cells below are no older than those of the last take.
        let taken = self.taken.load(Ordering::Acquire);
        self.live().wrapping_sub(taken).cast_signed()
    }

    /// [`sum`](Self::sum) as an unsigned number; a negative one, which a counter of things held may show for a moment
    /// while one thread releases what another acquired, reads as 0.
    pub fn sum_unsigned(&self) -> u64 {
        self.sum().max(0).cast_unsigned()
    }

    /// Hands out what was added since the last take, and starts again from zero. Each add is handed out exactly once,
    /// however many threads take. Lock-free, O(threads) a try.
    pub fn take(&self) -> i64 {
        // Acquire: pairs with the Release below; I4.
        let mut taken = self.taken.load(Ordering::Acquire);
        loop {
            let live = self.live();
            // Release: pairs with the Acquire of the loads of `taken`; I3, I4. Acquire on failure: pairs with that
            // Release, for the next try. The success needs none: it took the very value acquired before.
            match self
                .taken
                .compare_exchange(taken, live, Ordering::Release, Ordering::Acquire)
            {
                Ok(_) => return live.wrapping_sub(taken).cast_signed(),
                Err(now) => taken = now,
            }
        }
    }

    /// How much memory striped counters hold in this process.
    pub fn footprint() -> Footprint {
        let (blocks, cells) = ledger().footprint();
        Footprint { blocks, cells }
    }

    /// All that was ever added to this counter.
    fn live(&self) -> u64 {
        // Relaxed: one number, published to nobody.
        let overflow = self.overflow.load(Ordering::Relaxed);
        // Acquire: pairs with the Release in `draw_id`; `origin`.
        match self.id.load(Ordering::Acquire) {
            NO_ID => overflow,
            // Relaxed: `origin` was written before the id that was just acquired.
            id => {
                let origin = self.origin.load(Ordering::Relaxed);
                ledger().sum(id).wrapping_sub(origin).wrapping_add(overflow)
            }
        }
    }

    #[cold]
    fn add_slowly(&self, count: u64) {
        let id = self.draw_id();
        let added = reserve(id) && bump(id, count);
        if !added {
            // Relaxed: one number, published to nobody.
            self.overflow.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// This counter's id, drawn now if it has none.
    fn draw_id(&self) -> usize {
        ledger().with_ids(|ids| {
            // Relaxed: written under this lock alone.
            let id = self.id.load(Ordering::Relaxed);
            if id != NO_ID {
                return id;
            }
            let id = ids.take();
            // Relaxed: the id below publishes it.
            self.origin.store(ledger().sum(id), Ordering::Relaxed);
            // Release: pairs with the Acquire in `add` and `live`; publishes `origin`, computed before any new add.
            self.id.store(id, Ordering::Release);
            id
        })
    }
}

impl Default for StripedCounter {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for StripedCounter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StripedCounter").field(&self.sum()).finish()
    }
}

impl Drop for StripedCounter {
    fn drop(&mut self) {
        // Relaxed: `&mut self` means that every add is over and this thread has synchronised with it.
        let id = self.id.load(Ordering::Relaxed);
        if id != NO_ID {
            ledger().with_ids(|ids| ids.give_back(id));
        }
    }
}

/// What striped counters hold: see [`StripedCounter::footprint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Footprint {
    /// One block for each thread of the greatest number that ever counted at once.
    pub blocks: usize,
    /// 8-byte cells in all blocks. Arrays that were outgrown hold at most as many again.
    pub cells: usize,
}
