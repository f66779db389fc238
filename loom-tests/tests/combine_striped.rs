//! flat-combine's striped counter: cells published, summed and taken while threads end and counters are made anew.
#![cfg(loom)]

use flat_combine::StripedCounter;
use loom_tests::{Bounds, check};
use sync_base::sync::Arc;
use sync_base::thread;

const THREE: Bounds = Bounds {
    threads: 3,
    quick: 3,
    deep: 4,
};

const FOUR: Bounds = Bounds {
    threads: 4,
    quick: 2,
    deep: 3,
};

#[test]
fn takers_beside_an_adder_share_the_total() {
    check("striped.take_hands_out_once", THREE, || {
        let counter = Arc::new(StripedCounter::new());
        let theirs = Arc::clone(&counter);
        let adder = thread::spawn(move || {
            theirs.add(1);
            theirs.add(2);
        });
        let theirs = Arc::clone(&counter);
        let taker = thread::spawn(move || {
            let first = theirs.take();
            let second = theirs.take();
            assert!(first >= 0 && second >= 0);
            first + second
        });
        adder.join().unwrap();
        let taken = taker.join().unwrap();
        assert_eq!(taken + counter.take(), 3);
        assert_eq!(counter.sum(), 0);
    });
}

#[test]
fn two_takers_never_go_back() {
    check("striped.takers_never_go_back", FOUR, || {
        let counter = Arc::new(StripedCounter::new());
        let theirs = Arc::clone(&counter);
        let adder = thread::spawn(move || {
            theirs.add(1);
            theirs.add(1);
        });
        let takers: Vec<_> = (0..2)
            .map(|_| {
                let theirs = Arc::clone(&counter);
                thread::spawn(move || {
                    let lot = theirs.take();
                    assert!(lot >= 0, "a counter that only grows gave {lot}");
                    lot
                })
            })
            .collect();
        adder.join().unwrap();
        let taken: i64 = takers.into_iter().map(|t| t.join().unwrap()).sum();
        assert_eq!(taken + counter.take(), 2);
    });
}

#[test]
fn threads_that_end_leave_their_counts_and_their_block() {
    check("striped.exit_keeps_counts", THREE, || {
        let counter = Arc::new(StripedCounter::new());
        let add = |counter: &Arc<StripedCounter>| {
            let counter = Arc::clone(counter);
            thread::spawn(move || counter.add(1))
        };
        let first = add(&counter);
        let second = add(&counter);
        first.join().unwrap();
        // The first one's block may be free or not yet: both are explored.
        second.join().unwrap();
        add(&counter).join().unwrap();
        assert_eq!(counter.sum(), 3);
    });
}

#[test]
fn a_reused_id_starts_from_zero_beside_the_old_cells() {
    check(
        "striped.reused_id_starts_from_zero",
        Bounds { quick: 2, ..THREE },
        || {
            let old = Arc::new(StripedCounter::new());
            let theirs = Arc::clone(&old);
            thread::spawn(move || theirs.add(5)).join().unwrap();
            drop(old);
            let fresh = Arc::new(StripedCounter::new());
            let adders: Vec<_> = (0..2)
                .map(|_| {
                    let theirs = Arc::clone(&fresh);
                    thread::spawn(move || {
                        theirs.add(1);
                        let sum = theirs.sum();
                        assert!((1..=2).contains(&sum), "{sum}");
                    })
                })
                .collect();
            for adder in adders {
                adder.join().unwrap();
            }
            assert_eq!(fresh.sum(), 2);
        },
    );
}

#[test]
fn a_reader_beside_a_lengthening_sees_no_cell_go_back() {
    check("striped.lengthening_keeps_cells", THREE, || {
        let counters = Arc::new([StripedCounter::new(), StripedCounter::new()]);
        let theirs = Arc::clone(&counters);
        let adder = thread::spawn(move || {
            theirs[0].add(1);
            theirs[1].add(1); // one line is full: the array is replaced
            theirs[0].add(1);
        });
        let theirs = Arc::clone(&counters);
        let reader = thread::spawn(move || {
            let before = theirs[0].sum();
            let after = theirs[0].sum();
            assert!(
                (0..=2).contains(&before) && after >= before,
                "{before} then {after}"
            );
        });
        adder.join().unwrap();
        reader.join().unwrap();
        assert_eq!((counters[0].sum(), counters[1].sum()), (2, 1));
    });
}

#[test]
fn a_sum_after_a_take_is_never_negative() {
    check("striped.sum_after_take", FOUR, || {
        let counter = Arc::new(StripedCounter::new());
        let theirs = Arc::clone(&counter);
        let adder = thread::spawn(move || theirs.add(1));
        let theirs = Arc::clone(&counter);
        let taker = thread::spawn(move || theirs.take());
        let theirs = Arc::clone(&counter);
        let reader = thread::spawn(move || {
            let sum = theirs.sum();
            assert!((0..=1).contains(&sum), "{sum}");
        });
        adder.join().unwrap();
        reader.join().unwrap();
        assert_eq!(taker.join().unwrap() + counter.sum(), 1);
    });
}

#[test]
fn a_sum_beside_the_first_add_knows_where_a_reused_id_began() {
    check("striped.sum_knows_its_origin", THREE, || {
        let old = Arc::new(StripedCounter::new());
        let theirs = Arc::clone(&old);
        thread::spawn(move || theirs.add(5)).join().unwrap();
        drop(old);
        let fresh = Arc::new(StripedCounter::new());
        let theirs = Arc::clone(&fresh);
        let adder = thread::spawn(move || theirs.add(1));
        let theirs = Arc::clone(&fresh);
        let reader = thread::spawn(move || {
            let sum = theirs.sum();
            assert!((0..=1).contains(&sum), "{sum}");
        });
        adder.join().unwrap();
        reader.join().unwrap();
        assert_eq!(fresh.sum(), 1);
    });
}
