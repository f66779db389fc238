//! Freeing what no reader can reach.
//!
//! Always in this order: unlink, stamp, heavy barrier, scan. A stale epoch in a record only delays.
//!
//! # Who pays for a barrier
//! The barrier is nearly all that reclamation costs: about 10 us for its caller and 7 us for each thread that it
//! interrupts, against a few ns for an object. So a thread seals small batches, lets sixteen of them wait, and looks at each seal
//! whether some thread's barrier has come after its oldest stamp: then it frees those for a scan alone. It calls a
//! barrier of its own only when as much waits as the domain's `batch` says (or [`WAITING_BYTES`]). Threads
//! that retire at one pace so share one barrier for what all of them have waiting.

use super::bag::{Batch, Chain, Retired, Waiting};
use super::core::Core;
use super::record::Record;
use super::word::{NEED, Word};
use crate::Claim;
use crate::atomic::Ordering;
use crate::barrier::heavy_barrier;

/// Batches in which a thread seals what it lets wait.
pub(super) const PARTS: usize = 16;
/// Batches freed at most by one writer's turn, so that no single `retire` pays for a long backlog; the rest follows at
/// the next seals, each of which adds one.
const BATCHES_A_TURN: usize = 4;
/// Emptied batches that a record keeps for its next bags: as many as a turn leaves. To keep all was measured and no faster.
const SPARES: usize = BATCHES_A_TURN;
/// Bytes for which a thread calls a heavy barrier, however few objects they are.
const WAITING_BYTES: usize = 256 << 10;
/// Rounds of a sweep, each freeing what the reclaim functions of the round before retired.
const ROUNDS: usize = 256;

/// How far reclamation may go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Horizon {
    /// Stamps below it are free of readers.
    pub(super) bound: u64,
    /// The reader at the oldest epoch, with its state.
    pub(super) blocker: Option<(*const Record, Word)>,
}

impl Horizon {
    /// The reader but for which something of what waits could be freed: none if a barrier alone may help.
    fn held_back(&self, waiting: Waiting) -> Option<(*const Record, Word)> {
        self.blocker
            .filter(|(_, word)| waiting.objects > 0 && word.epoch() <= waiting.oldest)
    }
}

impl Core {
    /// Finds how far reclamation may go, for who wants what is stamped `stamp`.
    ///
    /// Calls the heavy barrier only where no other thread's, begun after that stamp, will do.
    pub(super) fn horizon(&self, stamp: u64) -> Horizon {
        // Acquire: pairs with the Release in `fetch_max` below; the barrier that another thread ran comes before the
        // scan of this one.
        let done = self.done.load(Ordering::Acquire);
        let hi = if done > stamp { done } else { self.barrier() };
        let blocker = self.scan();
        let oldest = blocker.map_or(u64::MAX, |(_, word)| word.epoch());
        Horizon {
            bound: hi.min(oldest),
            blocker,
        }
    }

    /// Makes every reader's pin visible, and what was unlinked visible to every reader; returns the epoch it covers.
    fn barrier(&self) -> u64 {
        // Acquire: pairs with the Release in `Core::stamp`; all unlinked before a stamp below `hi` comes before the
        // barrier.
        // weaken-ok(Acquire->Relaxed): the fence with which the heavy barrier begins makes an Acquire of any load before it.
        let hi = self.epoch.load(Ordering::Acquire);
        heavy_barrier();
        self.counts.heavy.add(1);
        // AcqRel: Release pairs with the Acquire in `horizon`: hands the barrier on. Acquire pairs with earlier
        // Release here, so that a greater value stands for all barriers below it.
        // weaken-ok(AcqRel->Acquire): the fence with which the heavy barrier ends makes a Release of any store after it.
        // weaken-ok(AcqRel->Release): a greater value is its own barrier's; a lesser one continues the release sequence.
        self.done.fetch_max(hi, Ordering::AcqRel);
        hi
    }

    /// The pinned record with the oldest epoch.
    pub(super) fn scan(&self) -> Option<(*const Record, Word)> {
        let mut oldest: Option<(*const Record, Word)> = None;
        for record in self.records.iter() {
            // Acquire: pairs with the Release in `Guard::enter` and `Guard::drop`; reads of sections that are over
            // come before what is freed.
            let word = Word(record.state.load(Ordering::Acquire));
            if word.is_pinned()
                && oldest.is_none_or(|(_, o)| word.epoch() < o.epoch())
                && !super::fork::is_ghost(record)
            {
                oldest = Some((record, word));
            }
        }
        oldest
    }

    /// Stamps the owner's open bag and queues it; says what waits there now.
    ///
    /// # Safety
    /// The calling thread owns `record`.
    pub(super) unsafe fn seal(&self, record: &Record) -> Waiting {
        // SAFETY: the caller owns the record.
        let bag = unsafe {
            record.with_owner(|owner| {
                if owner.bag.as_ref().is_none_or(|bag| bag.items.is_empty()) {
                    return None;
                }
                std::mem::replace(&mut owner.bag, owner.spare.pop())
            })
        };
        let sealed = bag.map(|bag| self.stamped(bag));
        // SAFETY: the caller owns the record.
        let waiting = unsafe {
            record.with_owner(|owner| {
                if let Some(batch) = &sealed {
                    owner.waiting.add(batch);
                }
                owner.waiting
            })
        };
        if let Some(batch) = sealed {
            record.open_bytes.set(0);
            record.sealed.push(batch);
        }
        waiting
    }

    /// Whether the owner of what waits should free some: at the price of a scan, or of a barrier too.
    fn is_due(&self, waiting: Waiting) -> bool {
        // Relaxed: a hint; `horizon` decides and acquires.
        self.done.load(Ordering::Relaxed) > waiting.oldest
            || waiting.objects >= self.settings.batch
            || waiting.bytes >= WAITING_BYTES
            || self.is_heavy(waiting.bytes)
    }

    /// Stamps a batch and counts its bytes as garbage.
    fn stamped(&self, mut batch: Box<Batch>) -> Box<Batch> {
        batch.seal(self.stamp());
        self.garbage.add(batch.bytes);
        self.counts.sealed.add(1);
        batch
    }

    /// Takes in one unlinked object on the record of the calling thread, and now and then frees some.
    ///
    /// # Safety
    /// The calling thread owns `record`; `item` is as [`Domain::retire`](super::Domain::retire) asks.
    #[inline]
    pub(super) unsafe fn retire_on(record: &Record, item: Retired) {
        let core = record.core();
        // SAFETY: the caller owns the record.
        let (count, bytes) = unsafe {
            record.with_owner(|owner| {
                let bag = owner.bag.get_or_insert_with(Batch::new);
                bag.push(item);
                (bag.items.len(), bag.bytes)
            })
        };
        record.open_bytes.set(bytes);
        if count >= core.part() || core.is_heavy(bytes) {
            // SAFETY: the caller owns the record.
            unsafe { core.turn(record) };
        }
    }

    /// Takes in one object that is to be freed as soon as it can be: seals the bag, and has the guard that the thread is
    /// inside collect when it ends.
    ///
    /// # Safety
    /// As for [`retire_on`](Self::retire_on).
    pub(super) unsafe fn retire_scarce_on(record: &Record, item: Retired) {
        let core = record.core();
        core.count_scarce();
        // SAFETY: the caller owns the record.
        unsafe {
            record.with_owner(|owner| owner.bag.get_or_insert_with(Batch::new).push_scarce(item));
        }
        // SAFETY: as above.
        let waiting = unsafe { core.seal(record) };
        if !Self::need(record) && core.is_due(waiting) {
            Self::collect_own(record);
        }
    }

    fn count_scarce(&self) {
        // Relaxed: counted before the batch is pushed, whose hand-over orders this before the count is taken back.
        self.scarce.fetch_add(1, Ordering::Relaxed);
    }

    /// Seals the full bag, then frees what can be freed if that is due; after the guard, if the thread is inside one.
    #[cold]
    #[inline(never)]
    unsafe fn turn(&self, record: &Record) {
        // SAFETY: the caller owns the record.
        let waiting = unsafe { self.seal(record) };
        if !self.is_due(waiting) {
            return;
        }
        if !Self::need(record) {
            Self::collect_own(record);
        }
    }

    /// Has the guard that the calling thread is inside free what it can when it ends; `false` if there is none.
    fn need(record: &Record) -> bool {
        let word = record.word();
        if word.is_pinned() {
            // Release: pairs with the Acquire in `Core::scan`, as any store to a pinned state.
            record.state.store(word.0 | NEED, Ordering::Release);
        }
        word.is_pinned()
    }

    /// Takes in one object of a thread that can keep no record.
    pub(super) fn retire_orphan(&self, item: Retired) {
        let mut batch = Batch::new();
        batch.push(item);
        self.orphans.push(self.stamped(batch));
    }

    /// The same for one that is scarce.
    pub(super) fn retire_scarce_orphan(&self, item: Retired) {
        self.count_scarce();
        let mut batch = Batch::new();
        batch.push_scarce(item);
        self.orphans.push(self.stamped(batch));
    }

    /// Frees what the outermost guard of the calling thread has owed: some of what waits, and all that is scarce.
    pub(super) fn collect_owed(record: &Record) {
        Self::collect_own(record);
        let core = record.core();
        // Relaxed: a hint, as in `Domain::tend`; a thread sees what it has counted itself.
        if core.scarce.load(Ordering::Relaxed) != 0 {
            core.tend();
        }
    }

    /// Frees some of the owner's batches, and orphans, as far as readers allow.
    pub(super) fn collect_own(record: &Record) {
        let core = record.core();
        if !begin_turn(record) {
            return;
        }
        let _end = EndTurn(record);
        let mut chain = record.sealed.take();
        if !core.orphans.is_empty() {
            chain.append(core.orphans.take());
        }
        let (mut ripe, mut blocker, mut waiting) = (Chain::empty(), None, Waiting::NOTHING);
        if !chain.is_empty() {
            let horizon = core.horizon(chain.sum().oldest);
            ripe = chain.split_ripe(horizon.bound);
            chain.append(ripe.split_after(BATCHES_A_TURN));
            waiting = chain.sum();
            blocker = horizon.held_back(waiting);
            record.sealed.put_back(chain);
        }
        // SAFETY: only the owner collects on its record.
        unsafe {
            record.with_owner(|owner| {
                owner.waiting = waiting;
                owner.blocker = blocker;
            });
        }
        let spare = core.free(ripe);
        // SAFETY: as above.
        unsafe { record.with_owner(|owner| owner.spare = spare) };
    }

    /// Frees all that can be freed, whoever retired it; returns the number of objects and what held the rest back.
    pub(super) fn sweep(&self) -> (usize, Option<(*const Record, Word)>) {
        let mut total = 0;
        for _ in 0..ROUNDS {
            let sealed = self.counts.sealed.get();
            let horizon = self.horizon(u64::MAX);
            let mut ripe = Chain::empty();
            for list in self
                .records
                .iter()
                .map(|record| &record.sealed)
                .chain([&self.orphans])
            {
                if list.is_empty() {
                    continue;
                }
                let mut chain = list.take();
                ripe.append(chain.split_ripe(horizon.bound));
                list.put_back(chain);
            }
            let freed = ripe.sum().objects;
            total += freed;
            self.free(ripe);
            super::local::seal_own(self);
            // What the reclaim functions retired is sealed by now, by their turn or here.
            if freed == 0 || self.counts.sealed.get() == sealed {
                return (total, horizon.blocker);
            }
        }
        (total, None)
    }

    /// Moves a record's garbage to where any collector finds it: for an owner that leaves, or for all when no handle is
    /// left.
    ///
    /// Returns the claim, if `leave` says that the owner is done with the record.
    pub(super) fn hand_over(&self, record: &Record, leave: bool) -> Option<Claim<'static, Record>> {
        let (bag, claim) = record.while_handing_over(|owner| {
            owner.spare = Chain::empty();
            owner.waiting = Waiting::NOTHING;
            (owner.bag.take(), if leave { owner.claim.take() } else { None })
        });
        record.open_bytes.set(0);
        if let Some(bag) = bag.filter(|bag| !bag.items.is_empty()) {
            self.orphans.push(self.stamped(bag));
        }
        if !record.sealed.is_empty() {
            self.orphans.put_back(record.sealed.take());
        }
        claim
    }

    /// Frees what nobody owns any more, as far as readers allow.
    pub(super) fn collect_orphans(&self) {
        if self.orphans.is_empty() {
            return;
        }
        let mut chain = self.orphans.take();
        if chain.is_empty() {
            return;
        }
        let ripe = chain.split_ripe(self.horizon(chain.sum().oldest).bound);
        self.orphans.put_back(chain);
        self.free(ripe);
    }

    /// Frees everything: no handle is left, hence no guard. What threads that a fork left behind had in hand leaks: they
    /// may have been in the middle of a push.
    pub(super) fn close(&self) {
        for record in self.records.iter() {
            if super::fork::is_ghost(record) {
                self.orphans.put_back(record.sealed.take());
            } else {
                self.hand_over(record, false);
            }
        }
        self.free(self.orphans.take());
    }

    /// Runs the reclaim functions of batches that no reader can reach; returns some emptied batches.
    ///
    /// If one of them panics, the rest of its batch and the other batches go to the orphans and are freed later.
    fn free(&self, chain: Chain) -> Chain {
        let mut freeing = Freeing {
            core: self,
            chain,
            batch: None,
            objects: 0,
            bytes: 0,
        };
        let mut spare = Chain::empty();
        for emptied in 0.. {
            let Some(batch) = freeing.chain.pop() else { break };
            let batch = freeing.batch.insert(batch);
            while let Some(item) = batch.items.pop() {
                batch.bytes -= item.bytes;
                freeing.bytes += item.bytes;
                freeing.objects += 1;
                // SAFETY: unlinked before the stamp; every reader that could have found it has left (or none can
                // exist any more); popped, so called once.
                unsafe { (item.reclaim)(item.ptr) };
            }
            let scarce = std::mem::take(&mut batch.scarce);
            if scarce != 0 {
                // Relaxed: as in `count_scarce`; a count that gives access to nothing.
                let before = self.scarce.fetch_sub(scarce, Ordering::Relaxed);
                debug_assert!(before >= scarce, "I7: uncounted before it was counted");
            }
            if let Some(batch) = freeing.batch.take().filter(|_| emptied < SPARES) {
                spare.push(batch);
            }
        }
        spare
    }
}

/// What is being freed, put where it can be freed later should a reclaim function panic.
struct Freeing<'a> {
    core: &'a Core,
    chain: Chain,
    batch: Option<Box<Batch>>,
    objects: usize,
    bytes: usize,
}

impl Drop for Freeing<'_> {
    fn drop(&mut self) {
        self.core.garbage.sub(self.bytes);
        self.core.counts.freed.add(self.objects);
        if let Some(batch) = self.batch.take() {
            self.chain.push(batch);
        }
        self.core
            .orphans
            .put_back(std::mem::replace(&mut self.chain, Chain::empty()));
    }
}

/// Whether a turn of collection is worth beginning: none is under way on this record, and what held back the last one
/// has moved.
fn begin_turn(record: &Record) -> bool {
    // SAFETY: the owner calls this; the closure runs no foreign code.
    unsafe {
        record.with_owner(|owner| {
            if owner.collecting {
                return false;
            }
            if let Some((blocker, word)) = owner.blocker {
                let blocker = &*blocker; // Records live as long as the core.
                // Relaxed: a hint; the same section means that nothing has changed for us, unless a fork left it behind.
                if Word(blocker.state.load(Ordering::Relaxed)).holds_as(word)
                    && !super::fork::is_ghost(blocker)
                {
                    return false;
                }
                owner.blocker = None;
            }
            owner.collecting = true;
            true
        })
    }
}

/// Ends a turn, also when a reclaim function panics.
struct EndTurn<'a>(&'a Record);

impl Drop for EndTurn<'_> {
    fn drop(&mut self) {
        // SAFETY: the owner's turn ends on the owner's thread.
        unsafe { self.0.with_owner(|owner| owner.collecting = false) };
    }
}
