//! The end of a ring: stop accepting, cancel, drain to a deadline, hand the rest to the reaper.

use super::core::{Core, Inner};
use super::reaper::{self, Leftover};
use super::table::{OpId, State};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// One wait of the drain; cancellations are asked for anew after each.
const ROUND: Duration = Duration::from_millis(50);

impl Core {
    /// Called once, when the ring type above is dropped.
    pub(crate) fn shut(&mut self) {
        if !self.is_ours() {
            // A forked child: the requests are the parent's. What the table holds here are this process's own copies.
            let inner = self.state.get_mut();
            if let Some(backend) = inner.backend.take() {
                backend.disown();
            }
            return;
        }
        self.state.get_mut().closing = true;
        self.state.get_mut().address = None;
        let deadline = self.deadline(self.drain_limit);
        loop {
            let left = self.left_until(deadline);
            let inner = self.state.get_mut();
            inner.want_all_cancelled();
            let in_kernel = inner.in_kernel();
            let waited = inner.turn(u32::from(in_kernel > 0), left.min(ROUND));
            self.dispatch_whatever_panics();
            self.release_completed();
            let inner = self.state.get_mut();
            if inner.in_kernel() == 0 || left.is_zero() {
                break;
            }
            if waited.is_err() {
                inner.backend_mut().pause(Duration::from_millis(1));
            }
        }
        self.state.get_mut().stats.publish();
        self.leave();
    }

    /// Callbacks run for what was cancelled, each whatever the one before it did.
    fn dispatch_whatever_panics(&self) {
        while catch_unwind(AssertUnwindSafe(|| self.dispatch())).is_err() {}
    }

    /// Gives back what completed and was never taken: tokens not reaped, futures forgotten.
    fn release_completed(&self) {
        let ids: Vec<OpId> = {
            let inner = self.state.borrow();
            let slots = inner.table.occupied();
            slots
                .filter(|&slot| matches!(inner.table.state(slot), State::Ready | State::Done))
                .map(|slot| OpId {
                    slot,
                    generation: inner.table.generation(slot),
                    ring: self.id,
                })
                .collect()
        };
        for id in ids {
            // A destructor of the caller that panics must not keep the others from running.
            let _ = catch_unwind(AssertUnwindSafe(|| self.orphan(id)));
        }
    }

    /// Drops carrier and table, or leaves both to the reaper while the kernel still has some of it.
    fn leave(&mut self) {
        let inner = self.state.get_mut();
        let Some(mut backend) = inner.backend.take() else {
            return;
        };
        let outstanding = inner.in_kernel();
        if outstanding == 0 {
            drop(backend);
            return;
        }
        inner.table.drop_continuations();
        let table = std::mem::replace(&mut inner.table, super::table::Table::new(0));
        let ledger = std::mem::take(&mut inner.ledger);
        let keep_alive = std::mem::take(&mut inner.keep_alive);
        let leftover = Leftover {
            table,
            _ledger: ledger,
            _keep_alive: keep_alive,
            outstanding,
        };
        reaper::adopt(backend.as_mut(), leftover);
        drop(backend);
    }
}

impl Inner {
    /// Asks for the cancellation of everything in flight.
    fn want_all_cancelled(&mut self) {
        for slot in self.table.occupied() {
            if self.table.hot(slot).state == State::InFlight {
                self.want_cancel(slot);
            }
        }
    }
}
