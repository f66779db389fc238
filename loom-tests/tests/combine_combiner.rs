//! flat-combine's combiner: publish, serve, park, hand over, recycle. Slots and limits are shrunk under loom: one open
//! slot, one gated, and a leader that hands over after one operation of another.
#![cfg(loom)]

use flat_combine::{Combiner, Combining};
use loom_tests::{Bounds, check};
use std::panic::{AssertUnwindSafe, catch_unwind};
use sync_base::cell::UnsafeCell;
use sync_base::sync::Arc;
use sync_base::thread;

const TWO: Bounds = Bounds {
    threads: 3,
    quick: 2,
    deep: 3,
};
const THREE: Bounds = Bounds {
    threads: 4,
    quick: 0,
    deep: 2,
};

/// Each thread increments so many times; checks that the values found are a permutation.
fn increments(combining: Combining, ops: &[u64]) {
    let sum = Arc::new(Combiner::new(0u64).combining(combining));
    let threads: Vec<_> = ops
        .iter()
        .map(|&ops| {
            let sum = Arc::clone(&sum);
            thread::spawn(move || {
                let one = |sum: &Combiner<u64>| {
                    sum.with(|n| {
                        *n += 1;
                        *n - 1
                    })
                };
                (0..ops).map(|_| one(&sum)).collect::<Vec<_>>()
            })
        })
        .collect();
    let expected = ops.iter().sum();
    let mut found: Vec<u64> = threads.into_iter().flat_map(|t| t.join().unwrap()).collect();
    found.sort_unstable();
    assert!(found.into_iter().eq(0..expected));
    assert_eq!(sum.with(|n| *n), expected);
}

#[test]
fn each_operation_runs_once_and_alone() {
    check("combiner.two_threads_adaptive", TWO, || {
        increments(Combining::Adaptive, &[2, 2]);
    });
}

#[test]
fn published_operations_run_once_and_alone() {
    check("combiner.two_threads_published", TWO, || {
        increments(Combining::Always, &[2, 1]);
    });
}

#[test]
fn the_lead_is_handed_over_and_the_gate_strands_nobody() {
    check(
        "combiner.three_threads_gate_and_hand_over",
        Bounds { deep: 1, ..THREE },
        || {
            let sum = Arc::new(Combiner::new(0u64).combining(Combining::Always));
            let threads: Vec<_> = (0..2)
                .map(|_| {
                    let sum = Arc::clone(&sum);
                    thread::spawn(move || sum.with(|n| *n += 1))
                })
                .collect();
            sum.with(|n| *n += 1);
            threads.into_iter().for_each(|t| t.join().unwrap());
            assert_eq!(sum.with(|n| *n), 3);
        },
    );
}

#[test]
fn a_third_thread_beside_a_lock_like_holder() {
    check(
        "combiner.three_threads_adaptive",
        Bounds { quick: 1, ..THREE },
        || {
            increments(Combining::Adaptive, &[1, 1, 1]);
        },
    );
}

/// Two threads lend their own memory to closures; each may be unparked by somebody else at any time.
fn lends(stray_unpark: bool) {
    struct Mine(UnsafeCell<u64>);
    // SAFETY: handed to the closure and back; loom reports it if a hand-over is not ordered.
    unsafe impl Sync for Mine {}
    let combiner = Arc::new(Combiner::new(()).combining(Combining::Always));
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let combiner = Arc::clone(&combiner);
            thread::spawn(move || {
                let mine = Mine(UnsafeCell::new(1));
                let there = &mine;
                // SAFETY: the caller waits while the closure runs.
                combiner.with(|()| there.0.with_mut(|n| unsafe { *n += 1 }));
                // SAFETY: the closure is over.
                assert_eq!(mine.0.with(|n| unsafe { *n }), 2);
            })
        })
        .collect();
    if stray_unpark {
        threads.iter().for_each(|t| t.thread().unpark());
    }
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn what_the_caller_wrote_is_visible_to_its_closure_and_back() {
    check("combiner.closure_borrows_its_caller", TWO, || lends(false));
}

#[test]
fn a_stray_unpark_is_taken_for_no_answer() {
    check("combiner.stray_unpark", TWO, || lends(true));
}

#[test]
fn a_panic_unwinds_in_its_own_caller_alone() {
    check("combiner.panic_stays_with_its_caller", TWO, || {
        let sum = Arc::new(Combiner::new(0u64).combining(Combining::Always));
        let theirs = Arc::clone(&sum);
        let panicking = thread::spawn(move || {
            let panic = catch_unwind(AssertUnwindSafe(|| {
                theirs.with(|_| std::panic::resume_unwind(Box::new(7u32)))
            }));
            assert_eq!(panic.unwrap_err().downcast_ref::<u32>(), Some(&7));
        });
        let theirs = Arc::clone(&sum);
        let adding = thread::spawn(move || theirs.with(|n| *n += 1));
        panicking.join().unwrap();
        adding.join().unwrap();
        assert_eq!(sum.with(|n| *n), 1);
    });
}

#[test]
fn the_end_of_a_lot_comes_before_any_of_its_callers_goes_on() {
    #[derive(Default)]
    struct Log {
        pending: u64,
        flushed: u64,
    }
    check("combiner.lot_end_before_answers", TWO, || {
        let log = Combiner::new(Log::default()).on_lot_end(|log, count| {
            assert_eq!(log.pending, u64::from(count));
            log.flushed += std::mem::take(&mut log.pending);
        });
        let log = Arc::new(log);
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let log = Arc::clone(&log);
                thread::spawn(move || {
                    log.with(|log| log.pending += 1);
                    assert!(
                        log.with(|log| {
                            log.pending += 1;
                            log.flushed
                        }) >= 1
                    );
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        let log = Arc::try_unwrap(log).unwrap().into_inner();
        assert_eq!((log.pending, log.flushed), (0, 4));
    });
}
