//! One value from the thread that makes it to the thread that waits for it.
//!
//! # States
//! *open*, with the waker of whoever waits if somebody does -> *kept* (the value lies here) -> *taken*. All under one lock,
//! which orders everything: there is nothing else to order.
//!
//! - **P1** a value is kept at most once, and taken at most once.
//! - **P2** whoever waits is told: it leaves its waker under the lock under which it found nothing.
//!
//! The loom models are those of `engine_reply`.

use std::task::{Context, Poll, Waker};
use sync_base::sync::{Mutex, MutexGuard};

#[derive(Debug)]
enum State<T> {
    Open(Option<Waker>),
    Kept(T),
    Taken,
}

/// The place where the value lies.
#[derive(Debug)]
pub struct Reply<T> {
    state: Mutex<State<T>>,
}

impl<T> Reply<T> {
    /// Makes an open one.
    pub fn new() -> Self {
        Self {
            state: Mutex::new(State::Open(None)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Leaves the value and tells whoever waits.
    ///
    /// # Errors
    /// Hands it back when there was one already.
    pub fn keep(&self, value: T) -> Result<(), T> {
        let mut state = self.lock();
        let State::Open(waker) = &mut *state else {
            return Err(value);
        };
        let waker = waker.take();
        *state = State::Kept(value);
        drop(state);
        // Code of the caller's: called when nothing is locked.
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Takes the value, or leaves a waker.
    ///
    /// # Panics
    /// When it was taken before.
    pub fn poll(&self, cx: &Context<'_>) -> Poll<T> {
        // Cloned and dropped when nothing is locked.
        let fresh = cx.waker().clone();
        let old;
        let mut state = self.lock();
        match &mut *state {
            State::Open(waker) => {
                old = waker.replace(fresh);
                drop(state);
                drop(old);
                Poll::Pending
            }
            State::Kept(_) => Poll::Ready(Self::take(&mut state)),
            State::Taken => panic!("a finished future was polled again"),
        }
    }

    fn take(state: &mut State<T>) -> T {
        match std::mem::replace(state, State::Taken) {
            State::Kept(value) => value,
            _ => unreachable!("the caller looked"),
        }
    }

    /// Whether the value is there, or was.
    pub fn is_kept(&self) -> bool {
        !matches!(*self.lock(), State::Open(_))
    }
}

impl<T> Default for Reply<T> {
    fn default() -> Self {
        Self::new()
    }
}
