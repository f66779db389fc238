//! A shard is idle memory behind one word that says which pool it serves, whether it is held, whether that pool died.
//!
//! # States
//! The word packs a pool's generation with two flags. `0` is *free*: no pool. Moves:
//!
//! | from | to | who |
//! |---|---|---|
//! | free | open(g) | `open`, by the one thread that makes pools |
//! | open(g) | held(g) | `try_hold(g)`: one compare-exchange both checks the generation and takes the lock |
//! | held(g) | open(g) | the holder lets go |
//! | open(g) | dead(g) | `close(g)`, which then retires the shard itself |
//! | held(g) | held+dead(g) | `close(g)`, which leaves the retiring to the holder |
//! | held+dead(g) | dead(g) | the holder lets go, and retires |
//! | dead(g) | free | whoever retires, after it has emptied the shard |
//!
//! So a pool's death waits for nobody, and nobody's late return reaches the pool that comes after at the same place.
//!
//! # Invariants
//! - I1: `stock` is touched only by the thread that made the last move to held, dead or (while opening) from free.
//! - I2: a successful `try_hold(g)` proves that the pool of generation g is alive, and keeps its rules in force
//!   until the shard is let go: no pool opens here before every shard is free.
//! - I3: whatever is stocked when a shard dies is disposed of exactly once, by the thread that retires it.
//!
//! # Orderings
//! | access | order | pairs with |
//! |---|---|---|
//! | `try_hold` compare-exchange | Acquire | the Release of the last holder, or of `open` |
//! | letting go, compare-exchange | Release | the Acquire in `try_hold` and in `close` |
//! | `close` fetch-or | Acquire | the Release of the last holder: the closer disposes of what that one stocked |
//! | retiring, store of free | Release | the Acquire in `is_free`: the next pool opens an emptied shard |
//! | `open` store | Release | the Acquire in `try_hold`: publishes the rules |
//!
//! Linearization points: the compare-exchange of `try_hold`; the fetch-or of `close`.

use crate::block::{Chain, Free, Stack, free_all};
use crate::config::{CLASSES_MAX, Sizes};
use crate::tally::Tally;
use sync_base::atomic::{AtomicU64, Ordering};
use sync_base::cell::UnsafeCell;

const HELD: u64 = 1;
const DEAD: u64 = 2;
const FREE: u64 = 0;

/// Which life of a depot a pool is: never zero, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generation(pub(crate) u64);

impl Generation {
    fn open(self) -> u64 {
        self.0 << 2
    }
}

/// What a pool decides about its memory, copied into each shard so that a holder reads it without a race.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) sizes: Sizes,
    pub(crate) first_class: Option<usize>,
    pub(crate) kept_bytes_max: usize,
    pub(crate) idle_bytes_max: usize,
    /// Blocks in each half of a thread's cache of one class.
    pub(crate) half: u32,
    /// Whether a thread keeps one more block of each class at hand.
    pub(crate) hand: bool,
    pub(crate) free: Free,
}

impl Rules {
    /// The number by which caches and shards know a class: the first one has 0, the others follow it round.
    #[inline(always)]
    pub(crate) fn seat(&self, class: usize) -> usize {
        seat(self.first_class, class)
    }

    /// Where a returned block of `size` bytes belongs; `None` when the pool does not keep it.
    #[inline(always)]
    pub(crate) fn seat_kept(&self, size: usize) -> Option<usize> {
        if size > self.kept_bytes_max {
            return None;
        }
        self.sizes.served_by(size).map(|class| self.seat(class))
    }

    /// Whether a thread keeps a block of `size` bytes at hand in `seat`: one of exactly the class's size, and in seat 0
    /// only if the pool has a first class.
    pub(crate) fn at_hand(&self, seat: usize, size: usize) -> bool {
        let exact = self.sizes.bytes[..self.sizes.len].contains(&size);
        self.hand && exact && (seat > 0 || self.first_class.is_some())
    }
}

/// See [`Rules::seat`].
#[inline(always)]
pub(crate) const fn seat(first_class: Option<usize>, class: usize) -> usize {
    let first = match first_class {
        Some(first) => first,
        None => 0,
    };
    class.wrapping_sub(first) % CLASSES_MAX
}

/// Why a shard was not held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Another thread holds it.
    Busy,
    /// The pool of that generation is gone.
    Dead,
}

/// Idle batches by class.
#[derive(Debug)]
struct Stock {
    rules: Option<Rules>,
    stacks: [Stack; CLASSES_MAX],
}

impl Stock {
    const EMPTY: Self = Self {
        rules: None,
        stacks: [Stack::EMPTY; CLASSES_MAX],
    };

    /// Disposes of what is stocked. I3: whoever calls this took the stock out of its shard.
    fn dispose(mut self) {
        if let Some(rules) = self.rules {
            // SAFETY: I3: nobody else has these blocks, and the rules are their pool's.
            unsafe { free_all(&mut self.stacks, rules.free) };
        }
    }
}

#[derive(Debug)]
pub(crate) struct Shard {
    word: AtomicU64,
    pub(crate) tally: Tally,
    stock: UnsafeCell<Stock>,
}

// SAFETY: I1: `stock` has one toucher at a time, ordered by `word`; the memory on its stacks belongs to the stock, and
// a pool's blocks may be disposed of on any thread (`u8`s, or a `T: Send`).
unsafe impl Sync for Shard {}
// SAFETY: as above.
unsafe impl Send for Shard {}

impl Shard {
    pub(crate) fn new() -> Self {
        Self {
            word: AtomicU64::new(FREE),
            tally: Tally::default(),
            stock: UnsafeCell::new(Stock::EMPTY),
        }
    }

    /// Whether the shard serves no pool and is empty.
    pub(crate) fn is_free(&self) -> bool {
        // Acquire: pairs with the Release in `retire`; the emptied stock is seen before it is opened again.
        self.word.load(Ordering::Acquire) == FREE
    }

    /// Begins to serve a pool.
    ///
    /// # Safety
    /// The shard is free, was seen so by this thread, and no other thread opens it.
    pub(crate) unsafe fn open(&self, generation: Generation, rules: Rules) {
        // SAFETY: I1: free, and the caller is the only one to open it.
        self.stock
            .with_mut(|stock| unsafe { (*stock).rules = Some(rules) });
        // Release: pairs with the Acquire in `try_hold`; publishes the rules.
        self.word.store(generation.open(), Ordering::Release);
    }

    /// Takes the shard for the pool of `generation`. Never waits.
    pub(crate) fn try_hold(&self, generation: Generation) -> Result<Held<'_>, Refused> {
        let open = generation.open();
        // Acquire: pairs with the Release in `Held::drop` and in `open`; the stock as the last holder left it.
        // Relaxed on failure: only the word itself is looked at.
        match self
            .word
            .compare_exchange(open, open | HELD, Ordering::Acquire, Ordering::Relaxed)
        {
            Ok(_) => Ok(Held {
                shard: self,
                generation,
            }),
            Err(now) if now == open | HELD => Err(Refused::Busy),
            Err(_) => Err(Refused::Dead),
        }
    }

    /// Ends the pool of `generation` here. Never waits: a holder retires the shard when it lets go.
    ///
    /// # Safety
    /// The shard was opened with this generation, and is closed once.
    pub(crate) unsafe fn close(&self, generation: Generation) {
        // Acquire: pairs with the Release in `Held::drop`; this thread disposes of what the last holder stocked.
        let was = self.word.fetch_or(DEAD, Ordering::Acquire);
        debug_assert_eq!(
            was & !HELD,
            generation.open(),
            "a shard is closed once, by its pool"
        );
        if was & HELD == 0 {
            // SAFETY: I1: open until this call and dead since, so nobody can come to hold it.
            unsafe { self.retire() };
        }
    }

    /// Empties a dead shard, frees it for the next pool, and disposes of what was in it.
    ///
    /// # Safety
    /// The caller made the move to dead that left nobody holding the shard.
    unsafe fn retire(&self) {
        // SAFETY: passed on.
        let stock = unsafe { self.empty() };
        // Release: pairs with the Acquire in `is_free`; the next pool sees the stock empty.
        self.word.store(FREE, Ordering::Release);
        stock.dispose();
    }

    /// # Safety
    /// As for [`retire`](Self::retire).
    unsafe fn empty(&self) -> Stock {
        self.stock.with_mut(|stock| {
            // SAFETY: I1: by the contract.
            std::mem::replace(unsafe { &mut *stock }, Stock::EMPTY)
        })
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        // SAFETY: I1: `&mut self`: nobody else is left. A shard still open here is one of a model that ended.
        unsafe { self.empty() }.dispose();
    }
}

/// The right to touch a shard's stock, proof that its pool is alive; let go on drop.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    shard: &'a Shard,
    generation: Generation,
}

impl Held<'_> {
    fn stock<R>(&mut self, f: impl FnOnce(&mut Stock) -> R) -> R {
        // SAFETY: I1: this thread holds the shard, and `&mut self` makes the borrow the only one.
        self.shard.stock.with_mut(|stock| f(unsafe { &mut *stock }))
    }

    /// The rules of the pool that is being served.
    pub(crate) fn rules(&mut self) -> Rules {
        self.stock(|stock| stock.rules)
            .expect("I2: a held shard has rules")
    }

    /// Stocks a chain and says whether it is the first of its class here.
    ///
    /// # Safety
    /// The caller owns the chain, which belongs to this pool and serves `class`.
    pub(crate) unsafe fn push(&mut self, class: usize, chain: Chain) -> bool {
        self.stock(|stock| {
            let first = stock.stacks[class].is_empty();
            // SAFETY: by the contract.
            unsafe { stock.stacks[class].push(chain) };
            first
        })
    }

    /// Takes a chain and says whether it was the last of its class here.
    pub(crate) fn pop(&mut self, class: usize) -> Option<(Chain, bool)> {
        self.stock(|stock| {
            let chain = stock.stacks[class].pop()?;
            Some((chain, stock.stacks[class].is_empty()))
        })
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let open = self.generation.open();
        // Release: pairs with the Acquire in `try_hold` and in `close`; hands the stock on. Relaxed on failure: the
        // closer left nothing to read, and this thread goes on owning the stock.
        let let_go =
            self.shard
                .word
                .compare_exchange(open | HELD, open, Ordering::Release, Ordering::Relaxed);
        if let_go.is_err() {
            // SAFETY: I1: `close` came while this thread held the shard, and left the retiring to it.
            unsafe { self.shard.retire() };
        }
    }
}
