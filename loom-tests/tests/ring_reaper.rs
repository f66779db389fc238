//! uring-core's reaper: nothing that a dropped ring leaves behind is ever on the list without a thread that looks at it.
#![cfg(loom)]

use loom_tests::{Bounds, check};
use std::time::Duration;
use sync_base::atomic::{AtomicUsize, Ordering};
use sync_base::sync::{Arc, Mutex};
use sync_base::thread;
use uring_core::{Ward, Watch, watch};

/// Over at once; its end is counted.
struct Left(Arc<AtomicUsize>);

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
        // Relaxed: read after every thread was joined.
        self.0.fetch_add(1, Ordering::Relaxed);
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
                        let first = list.lock().unwrap().add(Left(ended));
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
