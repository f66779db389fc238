//! Aggregating funnels: threads add to a word of their own group, one of each group carries the sum to the counter.
//!
//! After "Aggregating Funnels for Faster Fetch&Add and Queues" (Roh, Wei, Ruppert, Fatourou, Jayanti, Shun; PPoPP 2025,
//! arXiv 2411.14420). Where the paper keeps the results of batches in a list and reclaims it by epochs, here a batch is
//! one of a few slots that its members count themselves out of, so there is nothing to reclaim; and one word carries
//! signed amounts, so additions and subtractions share a funnel.
//!
//! # Protocol
//! The word of an aggregator is `sum:40 | count:20 | slot:4`: what the open batch adds up to so far, how many joined it,
//! and in which slot its result will appear. An operation joins by one `fetch_add`, which tells it the sum before it.
//! The first to join (count 0) is the leader: it waits until the batch before is over, closes the batch by swapping in
//! an empty one, adds the sum to the counter in one step, and publishes what the counter was. Each member's result is
//! that plus the sum before it.
//!
//! # Invariants
//! - A1: one batch of an aggregator is open at a time, and at most one leader is between the end of the wait for the
//!   batch before and `ready` of its own: leaders pass in the order of their batches.
//! - A2: a slot opens only when its last batch is over: `free` was raised by the last member to read the result. Only
//!   the leader whose turn it is opens slots, and never the one it is about to close.
//! - A3: the amounts of a batch fit: each is at most 2^19, and a batch of 2^19 operations aborts the process, so the sum
//!   stays within 40 bits and the count within 20. Larger amounts go to the counter directly.
//! - A4: the counter itself is always exact; a batch and an addition made past the funnel may be mixed at will.
//!
//! # Linearization
//! A batch takes effect at the leader's `fetch_add` on the counter, its operations in the order in which they joined.
//! All of them had begun (they were in the word that was swapped out), and none has returned (`ready` comes later).
//!
//! # Orderings
//! | access | order | pairs with |
//! |---|---|---|
//! | `word` fetch_add | AcqRel | Release: the Acquire of the leader's swap: what a member did before; Acquire: the Release of the swap that opened the slot: its fields |
//! | `word` swap | AcqRel | both of the above |
//! | counter `fetch_add` | AcqRel | itself: operations on one counter are ordered, whichever way they came |
//! | `left` store | Relaxed | published by `ready`, like `base` |
//! | `left` fetch_sub | AcqRel | itself: the last member out comes after the reads of the others; `free` tells the leader |

use super::flag::{Bed, Flag};
use std::mem;
use sync_base::CachePadded;
use sync_base::atomic::{AtomicU32, AtomicU64, Ordering};
use sync_base::cell::UnsafeCell;

const MODEL: bool = cfg!(any(loom, shuttle));
/// Batches of one aggregator that may wait for slow members; two under a model, so that it reaches the shortage.
const SLOTS: usize = if MODEL { 2 } else { 16 };

const SLOT_BITS: u32 = 4;
const COUNT_BITS: u32 = 20;
const SUM_SHIFT: u32 = SLOT_BITS + COUNT_BITS;
/// A3.
const AMOUNT_MAX: u64 = 1 << 19;
const COUNT_MAX: u32 = 1 << 19;

/// The state of an open batch.
#[derive(Clone, Copy, Debug)]
struct Word(u64);

impl Word {
    fn opening(slot: usize) -> Self {
        Self(slot as u64)
    }

    /// What joining with `amount` adds to the word.
    fn join(amount: i64) -> u64 {
        (amount.cast_unsigned() << SUM_SHIFT).wrapping_add(1 << SLOT_BITS)
    }

    fn slot(self) -> usize {
        (self.0 & ((1 << SLOT_BITS) - 1)) as usize
    }

    fn count(self) -> u32 {
        (self.0 >> SLOT_BITS & ((1 << COUNT_BITS) - 1)) as u32
    }

    fn sum(self) -> u64 {
        (self.0.cast_signed() >> SUM_SHIFT).cast_unsigned()
    }
}

#[derive(Debug)]
struct Batch {
    /// The result is there.
    ready: Flag,
    /// Every member has read it.
    free: Flag,
    /// What the counter was before the batch: written by the leader before `ready`, read by members after it.
    base: UnsafeCell<u64>,
    /// Members that have not read the result.
    left: AtomicU32,
    /// The slot of the batch before: written by its leader before it opens this one, read by this one's leader.
    before: UnsafeCell<Option<usize>>,
}

#[derive(Debug)]
struct Aggregator {
    word: CachePadded<AtomicU64>,
    batches: Box<[CachePadded<Batch>]>,
    bed: Bed,
    /// A1: touched by the leader whose turn it is.
    since_report: UnsafeCell<Report>,
}

// SAFETY: the cells are numbers, and each is written by one thread at a time, ordered before whoever reads it: `base`
// by `ready`, `before` by the swap that opens the slot, `since_report` by A1.
unsafe impl Sync for Aggregator {}

/// What a leader saw of its aggregator: batches closed and operations in them since the last report.
#[derive(Clone, Copy, Debug)]
pub(super) struct Report {
    pub(super) batches: u64,
    pub(super) ops: u64,
}

impl Report {
    const NONE: Self = Self { batches: 0, ops: 0 };
}

/// Batches to a report.
const REPORT_EVERY: u64 = if MODEL { 2 } else { 64 };

#[derive(Debug)]
pub(super) struct Funnel {
    aggregators: Box<[Aggregator]>,
}

impl Funnel {
    pub(super) fn new(aggregators: usize) -> Self {
        Self {
            aggregators: (0..aggregators).map(|_| Aggregator::new()).collect(),
        }
    }

    /// Adds through the aggregator of `thread`; `None` if the amount is too large for a funnel.
    pub(super) fn add(
        &self,
        counter: &AtomicU64,
        amount: i64,
        thread: u64,
        report: impl FnOnce(Report),
    ) -> Option<u64> {
        let group = thread as usize % self.aggregators.len();
        (amount.unsigned_abs() <= AMOUNT_MAX).then(|| self.aggregators[group].add(counter, amount, report))
    }
}

impl Aggregator {
    fn new() -> Self {
        let batch = || {
            CachePadded::new(Batch {
                ready: Flag::raised(),
                free: Flag::raised(),
                base: UnsafeCell::new(0),
                left: AtomicU32::new(0),
                before: UnsafeCell::new(None),
            })
        };
        let batches: Box<[_]> = (0..SLOTS).map(|_| batch()).collect();
        batches[0].ready.lower();
        Self {
            word: CachePadded::new(AtomicU64::new(Word::opening(0).0)),
            batches,
            bed: Bed::new(),
            since_report: UnsafeCell::new(Report::NONE),
        }
    }

    fn add(&self, counter: &AtomicU64, amount: i64, report: impl FnOnce(Report)) -> u64 {
        // AcqRel: pairs with the swap in `lead`: the leader sees what was done before this operation, and this one sees
        // the slot as the leader before opened it.
        let joined = Word(self.word.fetch_add(Word::join(amount), Ordering::AcqRel));
        if joined.count() == 0 {
            return self.lead(counter, joined.slot(), report);
        }
        if joined.count() >= COUNT_MAX {
            // A3: half a million threads in one batch; like `Arc`, rather end than be wrong.
            std::process::abort();
        }
        let batch = &self.batches[joined.slot()];
        batch.ready.wait(&self.bed);
        // SAFETY: `ready` published it, and the slot is not reused before this thread has counted itself out.
        let base = batch.base.with(|base| unsafe { *base });
        // AcqRel: pairs with itself; the last one out comes after every other member's reads.
        // weaken-ok(AcqRel->Acquire): as in the drop of an `Arc`; `counter.slot_reused` does not show it with two preemptions.
        // weaken-ok(AcqRel->Release): as above.
        if batch.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            batch.free.raise(&self.bed);
        }
        base.wrapping_add(joined.sum())
    }

    /// Closes the open batch, whose slot is `mine`, and carries it to the counter.
    fn lead(&self, counter: &AtomicU64, mine: usize, report: impl FnOnce(Report)) -> u64 {
        let batch = &self.batches[mine];
        // SAFETY: written before the swap that opened the slot, which this operation has acquired.
        if let Some(before) = batch.before.with(|before| unsafe { *before }) {
            self.batches[before].ready.wait(&self.bed);
        }
        let next = self.free_slot(mine);
        self.batches[next].ready.lower();
        // SAFETY: A2: the slot is free, so this leader alone reaches it; the swap below publishes it, like the flag.
        self.batches[next]
            .before
            .with_mut(|before| unsafe { *before = Some(mine) });
        // AcqRel: pairs with the fetch_add in `add`; publishes the next slot, and takes in what the members did before.
        let closed = Word(self.word.swap(Word::opening(next).0, Ordering::AcqRel));
        // AcqRel: pairs with every addition to the counter, direct or by another leader.
        let base = counter.fetch_add(closed.sum(), Ordering::AcqRel);
        let due = self.account(closed.count());
        if closed.count() > 1 {
            batch.free.lower();
            // Relaxed: published by `ready`.
            batch.left.store(closed.count() - 1, Ordering::Relaxed);
            // SAFETY: as `left`: members read it after `ready`.
            batch.base.with_mut(|at| unsafe { *at = base });
        }
        batch.ready.raise(&self.bed);
        if let Some(due) = due {
            report(due);
        }
        base
    }

    /// A2: a slot other than `mine` whose members are all gone, waiting for one if need be.
    fn free_slot(&self, mine: usize) -> usize {
        let after = (mine + 1) % SLOTS;
        let free = (0..SLOTS - 1)
            .map(|step| (after + step) % SLOTS)
            .find(|&slot| self.batches[slot].free.is_raised());
        free.unwrap_or_else(|| {
            self.batches[after].free.wait(&self.bed);
            after
        })
    }

    /// Counts a closed batch; the figures of the last ones when enough have come together.
    fn account(&self, count: u32) -> Option<Report> {
        self.since_report.with_mut(|since| {
            // SAFETY: A1: this leader has waited for the one before, and the next waits for its `ready`.
            let since = unsafe { &mut *since };
            since.batches += 1;
            since.ops += u64::from(count);
            (since.batches >= REPORT_EVERY).then(|| mem::replace(since, Report::NONE))
        })
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn a_word_carries_signed_sums_counts_and_its_slot() {
        let mut word = Word::opening(13);
        let amounts = [-1, AMOUNT_MAX.cast_signed(), -AMOUNT_MAX.cast_signed(), 0, 7];
        for (at, amount) in amounts.into_iter().enumerate() {
            assert_eq!((word.count(), word.slot()), (at as u32, 13));
            let expected: i64 = amounts[..at].iter().sum();
            assert_eq!(word.sum().cast_signed(), expected);
            word = Word(word.0.wrapping_add(Word::join(amount)));
        }
    }

    #[test]
    fn the_fullest_batch_fits() {
        for amount in [AMOUNT_MAX.cast_signed(), -AMOUNT_MAX.cast_signed()] {
            let word = Word((0..COUNT_MAX).fold(Word::opening(15).0, |word, _| {
                word.wrapping_add(Word::join(amount))
            }));
            assert_eq!((word.count(), word.slot()), (COUNT_MAX, 15));
            assert_eq!(word.sum().cast_signed(), amount * i64::from(COUNT_MAX));
        }
    }
}
