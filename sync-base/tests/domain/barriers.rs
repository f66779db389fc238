//! Who pays for heavy barriers: one serves many objects, and other threads too.

use super::{Drops, retire, sleeper};
use sync_base::Domain;

/// Batches that one turn frees at most.
const BATCHES_A_TURN: usize = 4;
/// Parts in which a thread seals what it lets wait.
const PARTS: usize = 16;

#[test]
fn a_thread_alone_pays_one_barrier_for_as_many_objects_as_were_asked() {
    let (domain, drops) = (Domain::builder().batch(160).build(), Drops::default());
    (0..16_000).for_each(|_| retire(&domain, &drops));
    let stats = domain.stats();
    assert!(
        (90..=100).contains(&stats.heavy_barriers),
        "{} barriers",
        stats.heavy_barriers
    );
    assert!(drops.count() >= 16_000 - 160, "{} freed", drops.count());
}

#[test]
fn what_anothers_barrier_covers_is_freed_at_the_next_seal() {
    let (domain, drops) = (Domain::builder().batch(10 * PARTS).build(), Drops::default());
    (0..20).for_each(|_| retire(&domain, &drops));
    assert_eq!((drops.count(), domain.stats().heavy_barriers), (0, 0));
    std::thread::scope(|s| {
        s.spawn(|| assert!(domain.has_passed(domain.grace())));
    });
    assert_eq!(domain.stats().heavy_barriers, 1);
    (0..9).for_each(|_| retire(&domain, &drops));
    assert_eq!(drops.count(), 0, "nothing to be had before the bag is full");
    retire(&domain, &drops);
    assert_eq!(
        drops.count(),
        20,
        "what was sealed before the barrier, and no more"
    );
    assert_eq!(domain.stats().heavy_barriers, 1, "for a scan alone");
}

#[test]
fn a_reader_that_has_not_moved_costs_no_more_barriers() {
    let (domain, drops) = (Domain::builder().batch(16).build(), Drops::default());
    let (wake, thread) = sleeper(&domain, "blocker");
    (0..10_000).for_each(|_| retire(&domain, &drops));
    assert_eq!(drops.count(), 0);
    assert!(
        domain.stats().heavy_barriers <= 2,
        "{} barriers",
        domain.stats().heavy_barriers
    );
    drop(wake);
    thread.join().unwrap();
    (0..10_000).for_each(|_| retire(&domain, &drops));
    assert!(drops.count() > 10_000, "{} freed", drops.count());
}

#[test]
fn no_single_retire_pays_for_a_backlog() {
    let part = 4;
    let (domain, drops) = (Domain::builder().batch(part * PARTS).build(), Drops::default());
    let guard = domain.pin();
    (0..4_000).for_each(|_| retire(&domain, &drops));
    drop(guard);
    let mut most = 0;
    for _ in 0..4_000 {
        let before = drops.count();
        retire(&domain, &drops);
        most = most.max(drops.count() - before);
    }
    assert_eq!(most, part * BATCHES_A_TURN);
    assert!(
        8_000 - drops.count() <= part * PARTS,
        "the backlog is gone: {} freed",
        drops.count()
    );
}

/// Objects that say they are large are freed long before there are as many as a full batch.
#[test]
fn bytes_that_wait_are_bounded_whatever_their_number() {
    unsafe fn nothing(_: *mut ()) {}
    let domain = Domain::new();
    let limit = domain.stats().limit;
    for _ in 0..5_000 {
        // SAFETY: `nothing` touches nothing.
        unsafe { domain.retire(std::ptr::null_mut(), 100 << 10, nothing) };
        assert!(domain.stats().garbage <= limit / 16);
    }
    // Small ones wait to be as many as were asked for, or 256 KiB.
    let small = Domain::new();
    for _ in 0..100_000 {
        // SAFETY: `nothing` touches nothing.
        unsafe { small.retire(std::ptr::null_mut(), 1 << 10, nothing) };
        assert!(small.stats().garbage <= (256 + 2 * 128) << 10);
    }
    assert!(domain.stats().heavy_barriers > 0 && small.stats().heavy_barriers > 0);
}

/// More records than a part holds objects: a part grows, so that a scan stays cheap for each object.
#[test]
fn a_part_is_never_smaller_than_the_records_a_scan_visits() {
    let (domain, drops) = (Domain::builder().batch(PARTS).build(), Drops::default());
    let readers: Vec<_> = (0..50).map(|_| domain.reader()).collect();
    (0..50).for_each(|_| retire(&domain, &drops));
    assert_eq!(domain.stats().batches_sealed, 0);
    retire(&domain, &drops);
    assert_eq!(
        domain.stats().batches_sealed,
        1,
        "51 records with this thread's own"
    );
    drop(readers);
}
