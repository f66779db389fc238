//! Tokens: the caller keeps a handle, and reaps what completed by hand.

use super::core::Core;
use super::operation::{Operation, Outcome};
use super::table::{OpId, State};
use crate::error::{Error, ErrorKind};
use std::any::TypeId;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

/// A typed handle to an operation submitted with [`Core::submit`].
///
/// Dropping it changes nothing: the operation completes and waits to be reaped.
pub struct Token<O> {
    pub(crate) id: OpId,
    pub(crate) op: PhantomData<fn() -> O>,
}

impl<O> Token<O> {
    /// The untyped handle.
    pub fn id(&self) -> OpId {
        self.id
    }
}

impl<O> From<&Token<O>> for OpId {
    fn from(token: &Token<O>) -> OpId {
        token.id
    }
}

impl<O> fmt::Debug for Token<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Token").field(&self.id).finish()
    }
}

/// What became of a token that was asked for.
#[derive(Debug)]
#[must_use]
pub enum Taken<O: Operation> {
    /// It completed; here is what it gives.
    Done(O::Output),
    /// It is in flight; the token is handed back.
    Pending(Token<O>),
    /// It was taken before, or is another ring's.
    Gone,
}

/// A completed operation, handed to the closure of [`Core::reap`].
///
/// Dropped without being taken, it drops what the operation owned and brought.
#[derive(Debug)]
pub struct Done<'r> {
    core: &'r Core,
    slot: u32,
    id: OpId,
    outcome: Outcome,
}

impl Done<'_> {
    /// Which operation it was.
    pub fn id(&self) -> OpId {
        self.id
    }

    /// The count or descriptor, or the error, as the kernel said it.
    pub fn result(&self) -> Result<u32, Error> {
        self.outcome.result()
    }

    /// Takes the output, if the operation was an `O`; hands itself back if it was not.
    #[inline]
    pub fn take<O: Operation>(self) -> Result<O::Output, Self> {
        let op = {
            let mut inner = self.core.state.borrow_mut();
            let hot = inner.table.hot(self.slot);
            if hot.op.map(|op| (op.type_id)()) != Some(TypeId::of::<O>()) {
                drop(inner);
                return Err(self);
            }
            let at = inner.table.op_at(self.slot).cast::<O>();
            // SAFETY: T1: the slot is `Running` since `reap` took it off its list, and holds an `O` by its type id; it is
            // freed below, so this is the only copy that is used.
            let op = unsafe { at.read() };
            inner.table.free(self.slot);
            op
        };
        let outcome = self.outcome;
        std::mem::forget(self);
        Ok(op.finish(outcome))
    }
}

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.core.discard(self.slot, self.outcome);
    }
}

impl Core {
    /// Hands every completed token to `f`, oldest first, and returns how many there were. Makes no system call.
    ///
    /// `f` may submit, wait and reap on this ring. If it panics, what it was not yet given stays to be reaped.
    #[inline]
    pub fn reap(&self, mut f: impl FnMut(Done<'_>)) -> usize {
        let mut count = 0;
        loop {
            let done = {
                let mut guard = self.state.borrow_mut();
                let inner = &mut *guard;
                let Some(slot) = inner.ready.pop_front(&mut inner.table) else {
                    break;
                };
                let generation = inner.table.generation(slot);
                let hot = inner.table.hot(slot);
                hot.state = State::Running;
                let id = OpId {
                    slot,
                    generation,
                    ring: self.id,
                };
                Done {
                    core: self,
                    slot,
                    id,
                    outcome: hot.outcome,
                }
            };
            count += 1;
            f(done);
        }
        self.offer_room();
        count
    }

    /// Takes what a token's operation gives, if it completed. Makes no system call.
    pub fn take<O: Operation>(&self, token: Token<O>) -> Taken<O> {
        let id = token.id;
        let (op, outcome) = {
            let mut guard = self.state.borrow_mut();
            let inner = &mut *guard;
            if !inner.is_live(self.id, id) {
                return Taken::Gone;
            }
            let hot = inner.table.hot(id.slot);
            match hot.state {
                State::Ready => {}
                State::InFlight => return Taken::Pending(token),
                _ => return Taken::Gone,
            }
            let outcome = hot.outcome;
            debug_assert_eq!(hot.op.map(|op| (op.type_id)()), Some(TypeId::of::<O>()));
            inner.ready.unlink(&mut inner.table, id.slot);
            let at = inner.table.op_at(id.slot).cast::<O>();
            // SAFETY: T1 and T3: ring, slot and generation are those that `submit::<O>` gave the token, so this is its
            // `O`, complete and not yet taken; the slot is freed at once.
            let op = unsafe { at.read() };
            inner.table.free(id.slot);
            (op, outcome)
        };
        self.offer_room();
        Taken::Done(op.finish(outcome))
    }

    /// Waits until a token's operation completed and takes what it gives; runs callbacks and wake-ups meanwhile.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`] with the token, when the time is up; [`ErrorKind::Stale`] without one, when it is gone.
    pub fn finish<O: Operation>(
        &self,
        token: Token<O>,
        timeout: Duration,
    ) -> Result<O::Output, (Option<Token<O>>, Error)> {
        // The clock is read once, and not at all for what is there already.
        let mut deadline = None;
        let mut token = token;
        loop {
            token = match self.take(token) {
                Taken::Done(output) => return Ok(output),
                Taken::Gone => return Err((None, Error::of(ErrorKind::Stale))),
                Taken::Pending(token) => token,
            };
            let left = match deadline {
                None => {
                    deadline = Some(self.deadline(timeout));
                    timeout
                }
                Some(deadline) => self.left_until(deadline),
            };
            if left.is_zero() {
                return Err((Some(token), Error::of(ErrorKind::TimedOut)));
            }
            match self.wait(1, left) {
                Ok(_) => {}
                Err(error) if error.is_retryable() => std::thread::yield_now(),
                Err(error) => return Err((Some(token), error)),
            }
        }
    }
}
