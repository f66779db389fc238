//! What follows from completions, run when no state is borrowed: callbacks, wake-ups, the end of orphans.

use super::core::Core;
use super::operation::Outcome;
use super::table::{OWN, OpId, State, Style};
use std::task::Waker;

/// Frees a slot even if what ran before panics.
struct Freeing<'r> {
    core: &'r Core,
    slot: u32,
}

impl Drop for Freeing<'_> {
    fn drop(&mut self) {
        self.core.state.borrow_mut().table.free(self.slot);
    }
}

/// Says that dispatching is over even if a callback panics.
struct Dispatching<'r>(&'r Core);

impl Drop for Dispatching<'_> {
    fn drop(&mut self) {
        self.0.dispatching.set(false);
    }
}

/// Wakers being woken; those that are left when one panics wait for the next turn.
struct Waking<'r> {
    core: &'r Core,
    /// Latest first.
    wakers: Vec<Waker>,
}

impl Drop for Waking<'_> {
    fn drop(&mut self) {
        let mut inner = self.core.state.borrow_mut();
        self.wakers.reverse();
        self.wakers.append(&mut inner.wakers);
        // The list with the room for all goes back.
        std::mem::swap(&mut self.wakers, &mut inner.wakers);
    }
}

enum Next {
    /// One of several completions.
    Shot(u32, Outcome),
    /// The last completion.
    Last(u32, Outcome),
}

impl Core {
    /// Runs everything that waits to be run, oldest first. A callback that waits on the ring comes here again: then the
    /// outer call goes on with what the inner one collected, so that no callback runs inside itself.
    ///
    /// If a callback panics, the panic goes to whoever waited; what had not run yet runs on the next turn.
    pub(crate) fn dispatch(&self) {
        if self.dispatching.replace(true) {
            return;
        }
        let _until_the_end = Dispatching(self);
        loop {
            self.wake_all();
            while let Some(next) = self.next() {
                match next {
                    Next::Shot(slot, outcome) => self.shot(slot, outcome),
                    Next::Last(slot, outcome) => self.last(slot, outcome),
                }
            }
            // A callback that waited on the ring may have collected more.
            if self.state.borrow().wakers.is_empty() {
                break;
            }
        }
    }

    /// Wakes the futures that completed, oldest first.
    #[inline]
    fn wake_all(&self) {
        let wakers = {
            let mut inner = self.state.borrow_mut();
            if inner.wakers.is_empty() {
                return;
            }
            std::mem::take(&mut inner.wakers)
        };
        let mut waking = Waking { core: self, wakers };
        waking.wakers.reverse();
        while let Some(waker) = waking.wakers.pop() {
            waker.wake();
        }
    }

    #[inline]
    fn next(&self) -> Option<Next> {
        let mut guard = self.state.borrow_mut();
        let inner = &mut *guard;
        while let Some((slot, generation, outcome)) = inner.shots.pop_front() {
            // Gone only if a callback took the completed token of a zero-copy send meanwhile.
            if inner.table.holds(slot, generation) {
                return Some(Next::Shot(slot, outcome));
            }
        }
        let slot = inner.dispatch.pop_front(&mut inner.table)?;
        let hot = inner.table.hot(slot);
        hot.state = State::Running;
        Some(Next::Last(slot, hot.outcome))
    }

    fn shot(&self, slot: u32, outcome: Outcome) {
        let (style, op, cont, at) = {
            let mut inner = self.state.borrow_mut();
            let at = inner.table.op_at(slot);
            let hot = inner.table.hot(slot);
            (hot.style, hot.op, hot.cont, at)
        };
        let op = op.expect("T1: an operation is there");
        if !op.multishot {
            // SAFETY: T1; the kernel sent the result, so it uses nothing any more but the memory sent from.
            unsafe { (op.half_done)(at) };
            return;
        }
        match (style, cont) {
            // SAFETY: the slot holds the operation and the continuation that the vtable was made for, and `dispatch`
            // never runs inside itself, so nobody else runs the continuation.
            (Style::Callback | Style::Stream, Some(cont)) => unsafe { (cont.more)(self, slot, outcome) },
            _ => {
                // SAFETY: T1; `item` may be called while the operation is in flight (contract of `Multishot`).
                unsafe { (op.discard_shot)(at, outcome) };
            }
        }
    }

    fn last(&self, slot: u32, outcome: Outcome) {
        let (style, cont) = {
            let mut inner = self.state.borrow_mut();
            let hot = inner.table.hot(slot);
            (hot.style, hot.cont)
        };
        match (style, cont) {
            // SAFETY: T1: operation and continuation are there, the slot is `Running` and in no list.
            (Style::Callback | Style::Stream, Some(cont)) => unsafe { (cont.run)(self, slot, outcome) },
            _ => self.discard(slot, outcome),
        }
    }

    /// Drops what a completed operation owned and brought, then frees its slot, which is `Running`.
    pub(crate) fn discard(&self, slot: u32, outcome: Outcome) {
        let (op, at) = {
            let mut inner = self.state.borrow_mut();
            let at = inner.table.op_at(slot);
            (inner.table.hot(slot).op.take(), at)
        };
        let _freed_whatever_happens = Freeing { core: self, slot };
        if let Some(op) = op {
            // SAFETY: T1: the operation is there, and its vtable was just taken, so nobody drops it again.
            unsafe { (op.discard)(at, outcome) };
        }
    }

    /// Lets go of an operation, in whatever state it is: what it owns is dropped now, or on its last completion.
    pub(crate) fn orphan(&self, id: OpId) {
        let outcome;
        let cont;
        {
            let mut guard = self.state.borrow_mut();
            let inner = &mut *guard;
            if !inner.is_live(self.id, id) {
                return;
            }
            let slot = id.slot;
            cont = inner
                .table
                .hot(slot)
                .cont
                .take()
                .map(|c| (c, inner.table.cont_at(slot)));
            let hot = inner.table.hot(slot);
            match hot.state {
                State::InFlight => {
                    hot.style = Style::Orphan;
                    let own = hot.flags & OWN != 0;
                    outcome = None;
                    inner.stats.counts.orphaned += u64::from(!own);
                    inner.want_cancel(slot);
                }
                State::Dispatch => {
                    hot.style = Style::Orphan;
                    outcome = None;
                }
                State::Ready => {
                    inner.ready.unlink(&mut inner.table, slot);
                    let hot = inner.table.hot(slot);
                    hot.state = State::Running;
                    outcome = Some(hot.outcome);
                }
                State::Done => {
                    hot.state = State::Running;
                    outcome = Some(hot.outcome);
                }
                // It is being seen to already.
                State::Running | State::Free => return,
            }
        }
        if let Some((cont, at)) = cont {
            // SAFETY: T1: the continuation lies there; its vtable was just taken, so nobody drops it again.
            unsafe { (cont.drop)(at) };
        }
        match outcome {
            Some(outcome) => {
                self.discard(id.slot, outcome);
                self.offer_room();
            }
            // Its cancellation is to be submitted.
            None => self.nudge(),
        }
    }
}
