//! What the holder of a combiner does for those that wait.

use super::job::{Outcome, catch};
use super::slot::{Answer, Slot};
use super::{Combiner, HASTY, HELD, PATIENT, Tally};
use crate::thread_number::thread_number;
use std::panic;
use sync_base::atomic::Ordering;

/// Operations of others that one leader runs before it hands over.
const SERVE_LIMIT: u32 = if cfg!(any(loom, shuttle)) { 1 } else { 64 };

impl<T: Send> Combiner<T> {
    /// Runs `f` as holder, then leads until it can let go.
    #[inline]
    pub(super) fn lead_with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        self.enter();
        // SAFETY: C1: this thread holds.
        let outcome = catch(|| self.held.value.with_mut(|value| f(unsafe { &mut *value })));
        let end = if self.lot_end.is_some() {
            self.lead(1, 0)
        } else {
            self.leave();
            if self.try_release() {
                Ok(())
            } else {
                self.lead(0, 0)
            }
        };
        conclude(outcome, end)
    }

    /// C4: this thread's closures run from here on.
    #[inline]
    fn enter(&self) {
        // Relaxed: only the thread whose number it is draws a conclusion from it, and that one wrote it.
        self.held.owner.store(thread_number(), Ordering::Relaxed);
    }

    /// C4: no closure of this thread runs any more.
    #[inline]
    fn leave(&self) {
        // Relaxed: as in `enter`.
        self.held.owner.store(0, Ordering::Relaxed);
    }

    /// Leads after a hand-over: the own operation first, whose bit is no longer in the word.
    pub(super) fn lead_own(&self, own: &Slot<T>) -> Outcome<()> {
        self.enter();
        self.run(own);
        self.lead(1, 0)
    }

    /// Runs what is pending until it can let go or hand over. `begun` operations of the first lot have run already;
    /// `own` is the bit of this thread's slot, which needs no answer. Returns the first panic of `lot_end`.
    pub(super) fn lead(&self, mut begun: u32, own: u64) -> Outcome<()> {
        let (mut served, mut end) = (0, Ok(()));
        loop {
            self.enter();
            let lot = self.take_lot();
            let ended = self.run_lot(lot, own, begun);
            if end.is_ok() {
                end = ended;
            }
            (begun, served) = (0, served + lot.count_ones());
            self.leave();
            if self.try_release() {
                return end;
            }
            if served >= SERVE_LIMIT {
                self.hand_over();
                return end;
            }
        }
    }

    /// Clears the pending bits and returns them: those operations are this leader's to run.
    fn take_lot(&self) -> u64 {
        // Relaxed: a glance; a bit that it misses keeps `try_release` from succeeding.
        if self.word.load(Ordering::Relaxed) == HELD {
            return 0;
        }
        // Acquire: pairs with the Release in `publish`; the slots of the lot.
        self.word.fetch_and(HELD, Ordering::Acquire) & !HELD
    }

    /// Runs the operations of a lot, ends it together with the `begun` that ran before, and answers all but `own`.
    fn run_lot(&self, lot: u64, own: u64, begun: u32) -> Outcome<()> {
        if lot != 0 {
            self.tallied(|tally| {
                tally.lots += 1;
                tally.combined += u64::from(lot.count_ones());
            });
            self.learn(lot.count_ones());
        }
        for bit in bits(lot) {
            let slot = self.slot(bit);
            self.run(slot);
            if self.lot_end.is_none() && bit != own {
                self.finish(slot);
            }
        }
        let (Some(lot_end), count @ 1..) = (self.lot_end, begun + lot.count_ones()) else {
            return Ok(());
        };
        let end = catch(|| {
            // SAFETY: C1: this thread holds.
            self.held
                .value
                .with_mut(|value| lot_end(unsafe { &mut *value }, count))
        });
        bits(lot & !own).for_each(|bit| self.finish(self.slot(bit)));
        end
    }

    /// Says how long to wait for the lock from here on, by how many waited together.
    fn learn(&self, waiting: u32) {
        let patience = if waiting > 1 { HASTY } else { PATIENT };
        // Relaxed: a hint; written only if it changes, since every waiter reads its cache line.
        if self.patience.load(Ordering::Relaxed) != patience {
            // Relaxed: as above.
            self.patience.store(patience, Ordering::Relaxed);
        }
    }

    fn run(&self, slot: &Slot<T>) {
        let job = slot.job();
        // SAFETY: C1: this thread holds. C3: the operation waits, and this thread alone has taken it.
        self.held.value.with_mut(|value| unsafe { job.run(&mut *value) });
    }

    /// Makes one that waits the leader. Called by the holder when `try_release` has just failed.
    #[cold]
    fn hand_over(&self) {
        let waiting = self.take_lot();
        let next = bits(waiting)
            .next()
            .expect("C2: a word that cannot be released has a bit set");
        if waiting != next {
            // Relaxed: the others' Release in `publish` heads a sequence that this step continues.
            self.word.fetch_or(waiting & !next, Ordering::Relaxed);
        }
        self.tallied(|tally| tally.hand_overs += 1);
        if let Some(parked) = self.slot(next).answer(Answer::Lead) {
            parked.unpark();
        }
    }

    /// Tells the owner of a slot that its operation is over.
    fn finish(&self, slot: &Slot<T>) {
        if let Some(parked) = slot.answer(Answer::Done) {
            self.tallied(|tally| tally.unparked += 1);
            parked.unpark();
        }
    }

    /// Runs `f` on the tally; the caller holds.
    pub(super) fn tallied<R>(&self, f: impl FnOnce(&mut Tally) -> R) -> R {
        // SAFETY: C1, of the tally as of the value.
        self.held.tally.with_mut(|tally| f(unsafe { &mut *tally }))
    }

    fn slot(&self, bit: u64) -> &Slot<T> {
        let slots = self.slots.get().expect("a bit was set by the owner of a slot");
        &slots.all[bit.trailing_zeros() as usize]
    }
}

/// The set bits, lowest first.
fn bits(mut word: u64) -> impl Iterator<Item = u64> {
    std::iter::from_fn(move || {
        let lowest = word & word.wrapping_neg();
        word &= !lowest;
        (lowest != 0).then_some(lowest)
    })
}

/// The caller's own panic first, then one of the end of its lot, else the value.
#[inline]
pub(super) fn conclude<R>(outcome: Outcome<R>, end: Outcome<()>) -> R {
    match outcome.and_then(|value| end.map(|()| value)) {
        Ok(value) => value,
        Err(panic) => panic::resume_unwind(panic),
    }
}
