//! What the models of rcu-map store, and how they run it.

use loom_tests::Bounds;
use sync_base::cell::UnsafeCell;
use sync_base::sync::Arc;
use sync_base::thread;

/// A value that loom watches: a free beside a read is a race, a value never freed a leak.
pub(crate) struct Value(UnsafeCell<u32>, #[allow(dead_code)] Arc<()>);

// SAFETY: written when it is made and when it is dropped; whether those are ordered with the reads is being checked.
unsafe impl Sync for Value {}
// SAFETY: as above.
unsafe impl Send for Value {}

impl Value {
    pub(crate) fn new(value: u32) -> Self {
        let made = Self(UnsafeCell::new(0), Arc::new(()));
        // Written once more, since loom does not always take the making of a cell for a write.
        // SAFETY: not shared yet.
        made.0.with_mut(|v| unsafe { *v = value });
        made
    }

    pub(crate) fn get(&self) -> u32 {
        // SAFETY: as above.
        let value = self.0.with(|v| unsafe { *v });
        assert_ne!(value, 0, "read what was freed");
        value
    }
}

impl Clone for Value {
    fn clone(&self) -> Self {
        Self::new(self.get())
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        // SAFETY: dropped once; loom reports anybody who still reads.
        self.0.with_mut(|v| unsafe { *v = 0 });
    }
}

pub(crate) fn bounds(threads: usize, quick: usize) -> Bounds {
    Bounds {
        threads,
        quick,
        deep: quick + 1,
    }
}

/// Runs `body` on what is shared, in a thread of its own.
pub(crate) fn spawn<C: 'static, R: 'static>(
    shared: &Arc<C>,
    body: impl FnOnce(&C) -> R + 'static,
) -> thread::JoinHandle<R> {
    let shared = Arc::clone(shared);
    thread::spawn(move || body(&shared))
}

pub(crate) fn join(threads: impl IntoIterator<Item = thread::JoinHandle<()>>) {
    for thread in threads {
        thread.join().unwrap();
    }
}
