//! One waker for two tasks.

use std::sync::Arc;
use std::task::{Wake, Waker};
use sync_base::sync::Mutex;

/// Which of the two directions a task waits for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Side {
    Read,
    Write,
}

/// The waker that every operation of one adapter is given: it wakes whoever waits for either direction.
///
/// A reader may have to see to what was written before (a short write has a rest), and a writer to a read in flight; so an
/// operation may be polled by two tasks, and its ring knows one waker. Waking both never loses one of them. Made once an
/// adapter; a wake-up takes the tasks out, so that one that waits no longer is not woken for ever.
#[derive(Debug, Default)]
pub(super) struct Both {
    tasks: Mutex<[Option<Waker>; 2]>,
}

impl Both {
    pub(super) fn new() -> (Arc<Self>, Waker) {
        let both = Arc::new(Self::default());
        (Arc::clone(&both), Waker::from(both))
    }

    /// Has a task woken by the next operation that completes.
    pub(super) fn register(&self, side: Side, waker: &Waker) {
        let mut tasks = self.tasks.lock().unwrap_or_else(|e| e.into_inner());
        let place = &mut tasks[side as usize];
        if place.as_ref().is_some_and(|known| known.will_wake(waker)) {
            return;
        }
        drop(tasks);
        // Cloned and dropped while nothing is locked: both are the caller's code.
        let fresh = waker.clone();
        let old = self.tasks.lock().unwrap_or_else(|e| e.into_inner())[side as usize].replace(fresh);
        drop(old);
    }
}

impl Wake for Both {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(|e| e.into_inner()));
        for task in tasks.into_iter().flatten() {
            task.wake();
        }
    }
}
