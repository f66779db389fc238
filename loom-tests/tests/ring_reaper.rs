//! uring-core's reaper: nothing that a dropped ring leaves behind is ever on the list without a thread that looks at it.
#![cfg(loom)]

use loom_tests::{Bounds, check};
use std::time::Duration;
use sync_base::atomic::{AtomicUsize, Ordering};
use sync_base::cell::UnsafeCell;
use sync_base::sync::{Arc, Mutex};
use sync_base::thread;
use uring_core::{Ward, Watch, watch};

/// Over at once; its end is counted, and sees what was put into it by the thread that left it.
struct Left {
    ended: Arc<AtomicUsize>,
    legacy: UnsafeCell<u32>,
}

impl Left {
    fn new(ended: Arc<AtomicUsize>) -> Self {
        let legacy = UnsafeCell::new(0);
        // SAFETY: nobody else has it yet.
        legacy.with_mut(|at| unsafe { *at = 7 });
        Self { ended, legacy }
    }
}

impl Ward for Left {
    fn pause(_: Duration) {
        thread::yield_now();
    }

    fn is_over(&self) -> bool {
        true
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        // SAFETY: the last owner reads.
        let legacy = self.legacy.with(|at| unsafe { *at });
        assert_eq!(legacy, 7);
        // Relaxed: read after every thread was joined.
        self.ended.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn reaper_loses_nobody() {
    check(
        "ring.reaper_loses_nobody",
        Bounds {
            threads: 3,
            quick: 3,
            deep: 5,
        },
        || {
            let list = Arc::new(Mutex::new(Watch::new()));
            let ended = Arc::new(AtomicUsize::new(0));
            let threads: Vec<_> = (0..2)
                .map(|_| {
                    let (list, ended) = (Arc::clone(&list), Arc::clone(&ended));
                    thread::spawn(move || {
                        // Whoever has to start a watcher becomes it, which saves the model a thread.
                        let first = list.lock().unwrap().add(Left::new(ended));
                        if first {
                            watch(&list);
                        }
                    })
                })
                .collect();
            for thread in threads {
                thread.join().unwrap();
            }
            // Relaxed: every thread was joined.
            assert_eq!(ended.load(Ordering::Relaxed), 2, "somebody was left on the list");
        },
    );
}
