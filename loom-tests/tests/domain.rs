//! sync-base's reclamation domain: nothing is freed while a reader that may have found it is in its section.
#![cfg(loom)]

use loom_tests::{Bounds, check};
use sync_base::atomic::{AtomicPtr, Ordering};
use sync_base::cell::UnsafeCell;
use sync_base::sync::Arc;
use sync_base::{Domain, thread};

/// A payload that loom watches: freeing it is a write, so a free beside a read is reported as a race.
struct Payload(UnsafeCell<u64>);

impl Drop for Payload {
    fn drop(&mut self) {
        self.0.with_mut(|v| unsafe { *v = 0 });
    }
}

fn linked(value: u64) -> *mut Payload {
    Box::into_raw(Box::new(Payload(UnsafeCell::new(value))))
}

#[test]
fn retire_waits_for_pin() {
    check(
        "domain.retire_waits_for_pin",
        Bounds {
            threads: 3,
            quick: 3,
            deep: 4,
        },
        || {
            let domain = Domain::builder().batch(1).build();
            let root = Arc::new(AtomicPtr::new(linked(7)));
            let (d, r) = (domain.clone(), Arc::clone(&root));
            let reader = thread::spawn(move || {
                let guard = d.pin();
                // Acquire: pairs with the writer's swap.
                let found = r.load(Ordering::Acquire);
                // SAFETY: pinned; that is what is being checked.
                assert_ne!(unsafe { &*found }.0.with(|v| unsafe { *v }), 0);
                drop(guard);
            });
            let (d, r) = (domain.clone(), Arc::clone(&root));
            let writer = thread::spawn(move || {
                // AcqRel: pairs with the reader's load.
                let old = r.swap(linked(8), Ordering::AcqRel);
                // SAFETY: unlinked, once.
                unsafe { d.retire_box(old) };
            });
            reader.join().unwrap();
            writer.join().unwrap();
            // SAFETY: both are gone.
            drop(unsafe { Box::from_raw(root.load(Ordering::Acquire)) });
        },
    );
}
