//! `Combiner`: every operation runs once, answers its own caller, and hurts nobody else.
#![cfg(not(any(loom, shuttle)))]

use flat_combine::{Combiner, Combining};
use proptest::prelude::*;
use std::collections::BinaryHeap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, ThreadId};

const BOTH: [Combining; 2] = [Combining::Adaptive, Combining::Always];

/// What each operation found, and how many operations were combined: whether any is depends on how the threads meet.
fn found_by(combining: Combining, threads: u64, ops: u64) -> (Vec<u64>, u64) {
    let sum = Combiner::new(0u64).combining(combining);
    let mut found: Vec<u64> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let one = |at: u64| {
                        sum.with(|n| {
                            if at.is_multiple_of(64) {
                                thread::yield_now(); // while it holds: the others pile up
                            }
                            *n += 1;
                            *n - 1
                        })
                    };
                    (0..ops).map(one).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
    });
    let tally = sum.tally();
    println!(
        "{combining:?}, {threads} threads: {tally:?}, mean lot {:.2}",
        tally.mean_lot()
    );
    assert_eq!(sum.into_inner(), threads * ops);
    found.sort_unstable();
    (found, tally.combined)
}

#[test]
fn c2_combined_previous_values_form_a_permutation() {
    let mut all_combined = 0;
    for combining in BOTH {
        for threads in 2..=8 {
            let (found, combined) = found_by(combining, threads, 1_500);
            assert!(found.into_iter().eq(0..threads * 1_500));
            all_combined += combined;
        }
    }
    assert!(
        all_combined > 0,
        "nothing was ever published: the test shows nothing"
    );
}

/// A lock, then combining, then a lock again, as contention comes and goes, with every value found accounted for.
#[test]
fn c2_exact_while_a_lock_turns_to_combining_and_back() {
    const ROUNDS: u64 = 20;
    let sum = Combiner::new(0u64);
    let draw = |n: &mut u64| {
        *n += 1;
        *n - 1
    };
    let mut found = Vec::new();
    let (mut quiet, mut crowded, mut waits) = (0, 0, 0u32);
    for _ in 0..ROUNDS {
        let before = sum.tally().combined;
        found.extend((0..50).map(|_| sum.with(draw)));
        assert_eq!(sum.tally().combined, before, "published with nobody about");
        quiet += 1;
        // One holds while the other asks: once that wait has lasted, what the other asks for is published.
        while sum.tally().combined == before {
            waits += 1;
            assert!(waits < 10_000, "a wait that lasts is never taken for contention");
            let asking = AtomicBool::new(false);
            thread::scope(|scope| {
                let holder = scope.spawn(|| {
                    sum.with(|n| {
                        while !asking.load(Ordering::Acquire) {
                            thread::yield_now();
                        }
                        thread::sleep(std::time::Duration::from_micros(200));
                        draw(n)
                    })
                });
                let asker = scope.spawn(|| {
                    asking.store(true, Ordering::Release);
                    sum.with(draw)
                });
                found.extend([holder.join().unwrap(), asker.join().unwrap()]);
            });
        }
        crowded += 1;
    }
    let tally = sum.tally();
    println!(
        "lock to combining {crowded} times, back to the lock {} times in {waits} waits: {tally:?}, {} operations exact",
        quiet - 1,
        found.len()
    );
    found.sort_unstable();
    assert!(found.into_iter().eq(0..sum.into_inner()));
}

#[test]
fn c2_more_waiting_threads_than_slots_drop_and_strand_nothing() {
    // 30 open slots and one gated: half of these threads have to queue.
    for combining in BOTH {
        assert!(found_by(combining, 64, 200).0.into_iter().eq(0..64 * 200));
    }
}

#[test]
fn c2_no_operation_is_stranded_behind_a_slow_leader() {
    let sum = Combiner::new(0u32);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    // Long enough that the others park; they must all come back.
                    sum.with(|n| {
                        thread::sleep(std::time::Duration::from_micros(300));
                        *n += 1;
                    });
                }
            });
        }
    });
    let tally = sum.tally();
    println!("{tally:?}");
    assert!(tally.unparked > 0, "nobody ever parked: the test shows nothing");
    assert_eq!(sum.into_inner(), 160);
}

#[test]
fn c2_a_long_served_leader_hands_over() {
    /// 64 operations of others, and the lot of 31 that may bring it there.
    const SERVED: u32 = 64 + 31;
    /// Who ran the last operation, and how many of others it has run since one of its own.
    struct Row {
        ops: u64,
        leader: Option<ThreadId>,
        others: u32,
        most: u32,
    }
    const OPS: usize = 1_000;
    let (begun, asking) = (AtomicUsize::new(0), AtomicUsize::new(0));
    // An operation that waits until others ask as well: the leader does not run dry.
    let patient = |caller: ThreadId| {
        let asking = &asking;
        move |row: &mut Row| {
            let crowded = |_: &u32| {
                thread::yield_now();
                asking.load(Ordering::Acquire) >= 4
            };
            (0..200).find(crowded);
            row.ops += 1;
            let leader = Some(thread::current().id());
            if leader != row.leader || leader == Some(caller) {
                (row.leader, row.others) = (leader, 0);
            }
            row.others += u32::from(leader != Some(caller));
            row.most = row.most.max(row.others);
        }
    };
    let row = Row {
        ops: 0,
        leader: None,
        others: 0,
        most: 0,
    };
    let served = Combiner::new(row).combining(Combining::Always);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while begun.fetch_add(1, Ordering::Relaxed) < OPS {
                    asking.fetch_add(1, Ordering::AcqRel);
                    served.with(patient(thread::current().id()));
                    asking.fetch_sub(1, Ordering::AcqRel);
                }
            });
        }
    });
    let tally = served.tally();
    let row = served.into_inner();
    println!(
        "{tally:?}, mean lot {:.2}, at most {} in a row for others",
        tally.mean_lot(),
        row.most
    );
    assert!(tally.hand_overs > 0, "a leader served without end");
    assert!(row.most <= SERVED, "a leader served {} others", row.most);
    assert_eq!(row.ops, OPS as u64);
}

#[test]
fn c2_a_panicking_closure_unwinds_in_its_own_caller_alone() {
    for combining in BOTH {
        let sum = Combiner::new(0u64).combining(combining);
        thread::scope(|scope| {
            for me in 0..4u64 {
                let sum = &sum;
                scope.spawn(move || {
                    for at in 0..500u64 {
                        if at.is_multiple_of(5) {
                            let panic = catch_unwind(AssertUnwindSafe(|| {
                                sum.with(|n| {
                                    *n += 1; // done before the panic, and kept
                                    std::panic::resume_unwind(Box::new(me << 32 | at));
                                });
                            }));
                            let payload = *panic.unwrap_err().downcast::<u64>().unwrap();
                            assert_eq!(payload, me << 32 | at, "somebody else's panic");
                        } else {
                            sum.with(|n| *n += 1);
                        }
                    }
                });
            }
        });
        assert_eq!(sum.into_inner(), 2_000);
    }
}

#[test]
fn calling_it_from_inside_is_a_clear_panic_and_harmless() {
    for combining in BOTH {
        let sum = Combiner::new(0).combining(combining);
        let panic = catch_unwind(AssertUnwindSafe(|| sum.with(|_| sum.with(|n| *n += 1)))).unwrap_err();
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or(panic.downcast_ref::<&str>().copied());
        assert!(
            text.unwrap()
                .contains("from inside an operation on the same combiner"),
            "{text:?}"
        );
        // Another thread is not mistaken for the one inside, whoever led before.
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1_000).for_each(|_| sum.with(|n| *n += 1)));
            }
        });
        assert_eq!(sum.with(|n| *n), 4_000);
        // Another combiner may be used inside.
        let other = Combiner::new(1);
        assert_eq!(sum.with(|n| *n + other.with(|m| *m)), 4_001);
    }
}

#[test]
fn closures_and_results_are_dropped_exactly_once() {
    struct Counted<'a>(&'a AtomicUsize);
    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    for combining in BOTH {
        let drops = AtomicUsize::new(0);
        let combiner = Combiner::new(()).combining(combining);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for at in 0..500 {
                        let carried = Counted(&drops);
                        let run = || {
                            combiner.with(|()| {
                                let _inside = carried;
                                if at % 3 == 0 {
                                    std::panic::resume_unwind(Box::new(()));
                                }
                                Counted(&drops)
                            })
                        };
                        let _ = catch_unwind(AssertUnwindSafe(run)).map(drop);
                    }
                });
            }
        });
        let panics = (0..500).filter(|at| at % 3 == 0).count();
        assert_eq!(drops.into_inner(), 4 * (500 + 500 - panics));
    }
}

#[test]
fn one_end_of_lot_covers_every_operation_before_its_caller_goes_on() {
    #[derive(Default)]
    struct Log {
        pending: u64,
        flushed: u64,
        flushes: u64,
    }
    for combining in BOTH {
        let log = Combiner::new(Log::default())
            .combining(combining)
            .on_lot_end(|log, count| {
                assert_eq!(log.pending, u64::from(count));
                log.flushed += std::mem::take(&mut log.pending);
                log.flushes += 1;
            });
        let done = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2_000 {
                        log.with(|log| {
                            thread::yield_now();
                            log.pending += 1;
                        });
                        // AcqRel, pairs with itself: who sees a count sees what was pending before it.
                        let before = done.fetch_add(1, Ordering::AcqRel) as u64 + 1;
                        let flushed = log.with(|log| {
                            log.pending += 1;
                            log.flushed
                        });
                        assert!(
                            flushed >= before,
                            "{before} calls had returned, {flushed} were flushed"
                        );
                    }
                });
            }
        });
        let log = log.into_inner();
        println!(
            "{combining:?}: {} operations in {} flushes",
            log.flushed, log.flushes
        );
        assert!(
            log.flushes < 16_000,
            "no lot held two operations: the test shows nothing"
        );
        assert_eq!((log.pending, log.flushed), (0, 16_000));
    }
}

#[test]
fn a_panic_at_the_end_of_a_lot_answers_everybody() {
    let combiner = Combiner::new(0u32)
        .combining(Combining::Always)
        .on_lot_end(|n, _| assert!(*n % 3 != 0, "every third"));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..300 {
                    let _ = catch_unwind(AssertUnwindSafe(|| combiner.with(|n| *n += 1)));
                }
            });
        }
    });
    assert_eq!(combiner.into_inner(), 1_200);
}

#[test]
fn it_works_in_a_static_and_while_thread_locals_are_torn_down() {
    static LATE: Combiner<u32> = Combiner::new(0);
    struct AtExit;
    impl Drop for AtExit {
        fn drop(&mut self) {
            LATE.with(|n| *n += 1);
        }
    }
    thread_local! { static AT_EXIT: AtExit = const { AtExit }; }
    let threads: Vec<_> = (0..50)
        .map(|_| {
            thread::spawn(|| {
                AT_EXIT.with(|_| ());
                LATE.with(|n| *n += 1);
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    assert_eq!(LATE.with(|n| *n), 100);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_heap_behind_it_gives_out_what_went_in(items in prop::collection::vec(any::<u16>(), 1..400), threads in 1..5usize) {
        let heap = Arc::new(Combiner::new(BinaryHeap::new()).combining(Combining::Always));
        let mut out: Vec<u16> = thread::scope(|scope| {
            let lots: Vec<_> = items
                .chunks(items.len().div_ceil(threads))
                .map(|lot| {
                    let heap = &heap;
                    scope.spawn(move || {
                        lot.iter().filter_map(|item| heap.with(|heap| { heap.push(*item); heap.pop() })).collect::<Vec<_>>()
                    })
                })
                .collect();
            lots.into_iter().flat_map(|t| t.join().unwrap()).collect()
        });
        out.sort_unstable();
        let mut items = items;
        items.sort_unstable();
        prop_assert_eq!(out, items);
        prop_assert!(heap.with(|heap| heap.is_empty()));
    }
}

#[test]
fn its_sole_owner_reaches_the_value_directly() {
    let mut words: Combiner<Vec<u8>> = Combiner::default();
    words.get_mut().push(1);
    words.with(|words| words.push(2));
    words.get_mut().push(3);
    assert_eq!(words.into_inner(), [1, 2, 3]);
}
