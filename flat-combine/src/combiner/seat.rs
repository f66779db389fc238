//! Where threads that wait for a combiner sit down: a slot each, and a gate for those that find none free.

use super::slot::Slot;
use crate::thread_number::thread_number;
use sync_base::sync::{Mutex, MutexGuard, PoisonError};

/// Slots anyone may claim; one more is kept for whoever has the gate.
const OPEN_SLOTS: usize = if cfg!(any(loom, shuttle)) { 1 } else { 30 };

#[derive(Debug)]
pub(super) struct Slots<T> {
    /// The open ones, then the gated one.
    pub(super) all: Box<[Slot<T>]>,
    /// Held by the thread that uses the gated slot: those that find no open one wait here.
    gate: Mutex<()>,
}

/// Frees the slot when the owner leaves, and the gate after it.
pub(super) struct Seat<'a, T> {
    pub(super) slot: &'a Slot<T>,
    pub(super) bit: u64,
    _gate: Option<MutexGuard<'a, ()>>,
}

impl<T> Drop for Seat<'_, T> {
    fn drop(&mut self) {
        self.slot.free();
    }
}

impl<T> Slots<T> {
    pub(super) fn new() -> Self {
        Self {
            all: (0..=OPEN_SLOTS).map(|_| Slot::new()).collect(),
            gate: Mutex::new(()),
        }
    }

    /// Claims a slot, this thread's usual one if it is free, the gated one if none is.
    pub(super) fn sit_down(&self) -> Seat<'_, T> {
        #[cfg_attr(loom, expect(clippy::modulo_one, reason = "one slot under loom"))]
        let home = thread_number() as usize % OPEN_SLOTS;
        let open = (home..OPEN_SLOTS)
            .chain(0..home)
            .find(|&at| self.all[at].try_claim());
        if let Some(at) = open {
            return Seat {
                slot: &self.all[at],
                bit: 1 << at,
                _gate: None,
            };
        }
        // A panic while the gate is held unwinds through `with` after the slot was answered: nothing to repair.
        let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let last = &self.all[OPEN_SLOTS];
        assert!(
            last.try_claim(),
            "the gated slot is free: its last owner freed it before the gate"
        );
        Seat {
            slot: last,
            bit: 1 << OPEN_SLOTS,
            _gate: Some(gate),
        }
    }
}
