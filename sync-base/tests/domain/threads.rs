//! Threads that come and go: what they retired, and the records that they leave.

use super::{Drops, eventually, retire};
use sync_base::Domain;

#[test]
fn an_exiting_thread_hands_over_what_it_could_not_free() {
    let (domain, drops) = (Domain::new(), Drops::default());
    let guard = domain.pin();
    let (theirs, count) = (domain.clone(), drops.clone());
    std::thread::spawn(move || retire(&theirs, &count))
        .join()
        .unwrap();
    assert_eq!(drops.count(), 0);
    drop(guard);
    domain.collect();
    assert_eq!(drops.count(), 1);
}

#[test]
fn a_hundred_thousand_threads_leave_few_records() {
    let (domain, drops) = (Domain::new(), Drops::default());
    let threads = 100_000;
    for _ in 0..threads / 4 {
        std::thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    let _guard = domain.pin();
                    retire(&domain, &drops);
                });
            }
        });
    }
    assert!(eventually(|| domain.collect() == 0 && drops.count() == threads));
    assert!(eventually(|| domain.stats().garbage == 0));
    let stats = domain.stats();
    // A scoped thread may still be tearing down when the next four begin.
    assert!(
        stats.records <= 16,
        "{} records for 4 threads at a time",
        stats.records
    );
}
