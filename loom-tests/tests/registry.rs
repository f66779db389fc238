//! sync-base's registry: a record has one owner at a time, and the next one sees what the last one wrote.
#![cfg(loom)]

use loom_tests::{Bounds, check};
use sync_base::cell::UnsafeCell;
use sync_base::sync::Arc;
use sync_base::{Registry, thread};

/// A payload that only its owner may touch: loom reports a race if two owners overlap or a hand-over is not ordered.
struct Owned(UnsafeCell<u64>);
// SAFETY: the model gives it to one claim at a time; that is what is being checked.
unsafe impl Sync for Owned {}
// SAFETY: as above.
unsafe impl Send for Owned {}

#[test]
fn claim_is_exclusive_and_hands_over_what_was_written() {
    check(
        "registry.claim_hands_over",
        Bounds {
            threads: 3,
            quick: 3,
            deep: 4,
        },
        || {
            let registry: Arc<Registry<Owned>> = Arc::new(Registry::new());
            let add = |registry: &Registry<Owned>| {
                let claim = registry.claim_with(|| Owned(UnsafeCell::new(0)));
                // SAFETY: the claim makes this thread the only one that touches the payload.
                claim.0.with_mut(|v| unsafe { *v += 1 });
            };
            let threads: Vec<_> = (0..2)
                .map(|_| {
                    let registry = Arc::clone(&registry);
                    thread::spawn(move || add(&registry))
                })
                .collect();
            add(&registry);
            for thread in threads {
                thread.join().unwrap();
            }
            // SAFETY: every owner was joined.
            let sum: u64 = registry.iter().map(|owned| owned.0.with(|v| unsafe { *v })).sum();
            assert_eq!(sum, 3);
        },
    );
}

#[test]
fn walk_sees_a_linked_record_whole() {
    check(
        "registry.walk_sees_linked",
        Bounds {
            threads: 3,
            quick: 3,
            deep: 4,
        },
        || {
            let registry: Arc<Registry<Owned>> = Arc::new(Registry::new());
            let theirs = Arc::clone(&registry);
            let linker = thread::spawn(move || {
                theirs.claim_with(|| Owned(UnsafeCell::new(5)));
            });
            let theirs = Arc::clone(&registry);
            let walker = thread::spawn(move || {
                for owned in theirs.iter() {
                    // SAFETY: nobody writes after the record is linked; loom reports it if the walk is not ordered after.
                    assert_eq!(owned.0.with(|v| unsafe { *v }), 5);
                }
            });
            linker.join().unwrap();
            walker.join().unwrap();
            assert_eq!(registry.iter().count(), 1);
        },
    );
}

#[test]
fn a_record_seen_free_shows_what_its_owner_wrote() {
    check(
        "registry.seen_free",
        Bounds {
            threads: 3,
            quick: 3,
            deep: 4,
        },
        || {
            let registry: Arc<Registry<Owned>> = Arc::new(Registry::new());
            let theirs = Arc::clone(&registry);
            let owner = thread::spawn(move || {
                let claim = theirs.claim_with(|| Owned(UnsafeCell::new(0)));
                // SAFETY: the claim makes this thread the only one that touches the payload.
                claim.0.with_mut(|v| unsafe { *v = 5 });
            });
            let theirs = Arc::clone(&registry);
            let visitor = thread::spawn(move || {
                for (owned, claimed) in theirs.iter_claimed() {
                    if !claimed {
                        // SAFETY: free, and nobody claims it again; loom reports it if the visit is not ordered after.
                        assert_eq!(owned.0.with(|v| unsafe { *v }), 5);
                    }
                }
            });
            owner.join().unwrap();
            visitor.join().unwrap();
        },
    );
}
