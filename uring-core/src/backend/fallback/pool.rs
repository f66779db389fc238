//! A bounded pool of threads for work that may block.
//!
//! # States of a piece of work
//! ```text
//!   add ──► queued ──┬──► taken by a thread, run
//!                    ├──► withdrawn: handed back to whoever asked
//!                    └──► refused: no thread could be started and none is there
//! ```
//! - **P1** a piece of work is in one place at a time: the queue, one thread's hands, or back with a caller. Every move
//!   is made under the lock, so what is withdrawn never runs and what runs is never withdrawn. The linearization point
//!   of either is the removal from the queue.
//! - **P2** at each unlock the queue is no longer than `free`, or `live` is at its limit: `free` counts threads that
//!   wait, start, or have yet to look at the queue again, so each of them is good for one piece of work. Hence work
//!   waits only while every thread that may be is busy.
//! - **P3** a thread leaves only under the lock, with the queue empty, and takes itself off both counts in the same
//!   critical section. Hence nothing is queued for a thread that is gone.
//! - **P4** nobody is woken for nothing left behind: a thread waits on the condition with the queue empty, and whoever
//!   adds notifies after the unlock.
//!
//! All under one lock; there is no other ordering. The model is `ring.pool_*` in `loom-tests/tests/ring_fallback.rs`.
//! The queue has no limit of its own: its users bound it, each ring by its credits.

use std::collections::VecDeque;
use std::time::Duration;
use sync_base::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Something to be run on a thread of the pool.
pub trait Work: Send + 'static {
    /// Runs it. May block for as long as it likes; must not panic.
    fn run(self);
}

/// Threads and what they have yet to do.
#[derive(Debug)]
pub struct Pool<W> {
    state: Mutex<State<W>>,
    added: Condvar,
    limit: usize,
}

#[derive(Debug)]
struct State<W> {
    queue: VecDeque<W>,
    live: usize,
    free: usize,
}

impl<W: Work> Pool<W> {
    /// Makes a pool that runs at most `limit` pieces at a time. Starts no thread.
    pub fn new(limit: usize) -> Self {
        Self {
            state: Mutex::new(State {
                queue: VecDeque::new(),
                live: 0,
                free: 0,
            }),
            added: Condvar::new(),
            limit,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a piece of work; `true` when the caller has to start a thread that [`serve`](Self::serve)s, or say that it
    /// [could not](Self::thread_failed).
    #[must_use]
    pub fn add(&self, work: W) -> bool {
        let mut state = self.lock();
        state.queue.push_back(work);
        let short = state.queue.len() > state.free && state.live < self.limit;
        if short {
            state.live += 1;
            state.free += 1;
        }
        drop(state);
        if !short {
            self.added.notify_one();
        }
        short
    }

    /// Says that the thread asked for could not be started; gives back the work that nobody is left to do.
    #[must_use]
    pub fn thread_failed(&self) -> VecDeque<W> {
        let mut state = self.lock();
        state.live -= 1;
        state.free -= 1;
        if state.live > 0 {
            return VecDeque::new();
        }
        std::mem::take(&mut state.queue)
    }

    /// Takes the first piece of work back that is queued and is the one meant. `None` when it runs or ran.
    pub fn withdraw(&self, meant: impl FnMut(&W) -> bool) -> Option<W> {
        let mut state = self.lock();
        let at = state.queue.iter().position(meant)?;
        state.queue.remove(at)
    }

    /// Works, on the thread that was asked for, until there has been nothing to do for `idle`.
    pub fn serve(&self, idle: Duration) {
        let mut state = self.lock();
        loop {
            if let Some(work) = state.queue.pop_front() {
                state.free -= 1;
                drop(state);
                work.run();
                state = self.lock();
                state.free += 1;
                continue;
            }
            let is_up;
            (state, is_up) = self.linger(state, idle);
            if is_up && state.queue.is_empty() {
                state.live -= 1;
                state.free -= 1;
                return;
            }
        }
    }

    /// Sleeps until something is added or the time is up; tells which.
    #[cfg(not(any(loom, shuttle)))]
    fn linger<'a>(
        &'a self,
        state: MutexGuard<'a, State<W>>,
        idle: Duration,
    ) -> (MutexGuard<'a, State<W>>, bool) {
        let waited = self.added.wait_timeout(state, idle);
        let (state, result) = waited.unwrap_or_else(PoisonError::into_inner);
        (state, result.timed_out())
    }

    /// A model knows no time: there it is up at once, which is the hardest case.
    #[cfg(any(loom, shuttle))]
    fn linger<'a>(
        &'a self,
        state: MutexGuard<'a, State<W>>,
        _idle: Duration,
    ) -> (MutexGuard<'a, State<W>>, bool) {
        drop(state);
        sync_base::thread::yield_now();
        (self.lock(), true)
    }
}
