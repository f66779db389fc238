//! Who puts a task into a queue, when several wake it at once.
//!
//! # States of `word`
//! - `QUEUED`: the task stands in its core's run queue, or in the list of those that other threads woke.
//! - `ABORTED`: it is to be dropped instead of polled; never cleared.
//!
//! - **T1** whoever sets `QUEUED` puts the task into a queue; who finds it set need not, since the core has yet to clear it,
//!   and polls behind the clearing.
//!
//! | access | order | pairs with |
//! |---|---|---|
//! | `word.fetch_or(QUEUED)` in `claim` | Release | the Acquire in `begin`: the poll sees what each waker did |
//! | `word.fetch_and(!QUEUED)` in `begin` | Acquire | that Release |
//! | `word.fetch_or(ABORTED)` | Relaxed | nothing: published by the wake-up behind it |
//!
//! The loom model is `ring.a_task_woken_twice_is_polled_behind_both`.

use sync_base::atomic::{AtomicU32, Ordering};

const QUEUED: u32 = 1;
const ABORTED: u32 = 2;

/// Whether a task is queued, and whether it is to be dropped.
#[derive(Debug)]
pub struct QueueClaim {
    word: AtomicU32,
}

impl QueueClaim {
    /// In no queue.
    pub fn new() -> Self {
        Self {
            word: AtomicU32::new(0),
        }
    }

    /// Claims the right to queue the task (T1).
    pub fn claim(&self) -> bool {
        // Release: pairs with the Acquire in `begin`; the poll sees what the waker did before.
        self.word.fetch_or(QUEUED, Ordering::Release) & QUEUED == 0
    }

    /// Is out of the queue, about to be polled; whether it is to be dropped instead.
    pub fn begin(&self) -> bool {
        // Acquire: pairs with the Release in `claim`.
        self.word.fetch_and(!QUEUED, Ordering::Acquire) & ABORTED != 0
    }

    /// Asks for its end; a wake-up must follow.
    pub fn abort(&self) {
        // Relaxed: published by the wake-up.
        self.word.fetch_or(ABORTED, Ordering::Relaxed);
    }

    /// Whether somebody asked for its end.
    pub fn is_aborted(&self) -> bool {
        // Relaxed: only says which of two errors to report.
        self.word.load(Ordering::Relaxed) & ABORTED != 0
    }
}

impl Default for QueueClaim {
    fn default() -> Self {
        Self::new()
    }
}
