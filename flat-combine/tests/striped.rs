//! `StripedCounter`: nothing lost, nothing counted twice, whatever threads and counters come and go.
#![cfg(not(any(loom, shuttle)))]

use flat_combine::StripedCounter;
use proptest::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

#[test]
fn c2_exact_sum_of_a_hundred_thousand_threads() {
    static COUNTER: StripedCounter = StripedCounter::new();
    const THREADS: u64 = 100_000;
    const AT_ONCE: u64 = 8;
    for _ in 0..THREADS / AT_ONCE {
        thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| COUNTER.add(3));
            }
        });
    }
    assert_eq!(COUNTER.sum_unsigned(), 3 * THREADS);
    let blocks = StripedCounter::footprint().blocks;
    // The other tests of this process run beside this one: at most a few dozen threads at once.
    assert!(
        blocks <= 100,
        "{blocks} blocks for {THREADS} threads, {AT_ONCE} at once"
    );
}

#[test]
fn c2_subtracting_more_than_was_added_is_negative_and_does_not_wrap() {
    let counter = StripedCounter::new();
    counter.add(5);
    thread::scope(|scope| scope.spawn(|| counter.sub(8)).join().unwrap());
    assert_eq!(counter.sum(), -3);
    assert_eq!(counter.sum_unsigned(), 0);
    counter.add_signed(i64::MIN + 3);
    assert_eq!(counter.sum(), i64::MIN);
    counter.add_signed(i64::MAX);
    assert_eq!(counter.take(), -1);
    assert_eq!(counter.sum(), 0);
}

#[test]
fn a_counter_that_reuses_an_id_starts_from_zero() {
    for round in 1..=100 {
        let counter = StripedCounter::new();
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| counter.add(round));
            }
        });
        assert_eq!(counter.sum_unsigned(), 3 * round);
    }
}

#[test]
fn adds_from_destructors_of_thread_locals_are_counted() {
    static COUNTER: StripedCounter = StripedCounter::new();
    struct Late;
    impl Drop for Late {
        fn drop(&mut self) {
            COUNTER.add(1);
        }
    }
    thread_local! { static LATE: Late = const { Late }; }
    // Registered before and after the counter's own destructor: one of the two runs when the block is gone.
    for early in [true, false] {
        for _ in 0..100 {
            thread::spawn(move || {
                if early {
                    LATE.with(|_| ());
                }
                COUNTER.add(1);
                LATE.with(|_| ());
            })
            .join()
            .unwrap();
        }
    }
    assert_eq!(COUNTER.sum(), 400);
}

#[test]
fn takers_beside_adders_share_the_total_exactly_once() {
    let counter = StripedCounter::new();
    let done = AtomicBool::new(false);
    let taken: i64 = thread::scope(|scope| {
        let takers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut mine = 0;
                    while !done.load(Ordering::Acquire) {
                        let lot = counter.take();
                        assert!(lot >= 0, "a counter that only grows gave {lot}");
                        assert!(counter.sum() >= 0);
                        mine += lot;
                    }
                    mine
                })
            })
            .collect();
        let adders: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| (0..100_000).for_each(|_| counter.add(1))))
            .collect();
        adders.into_iter().for_each(|t| t.join().unwrap());
        done.store(true, Ordering::Release);
        takers.into_iter().map(|t| t.join().unwrap()).sum()
    });
    assert_eq!(taken + counter.take(), 300_000);
}

#[test]
fn counters_made_and_dropped_while_others_count_do_not_mix() {
    thread::scope(|scope| {
        for seed in 1..=4u64 {
            scope.spawn(move || {
                for round in 0..500 {
                    let counters: Vec<_> = (0..seed * 20).map(|_| StripedCounter::new()).collect();
                    for (i, counter) in counters.iter().enumerate() {
                        counter.add(seed * 1_000_000 + i as u64 + round);
                    }
                    for (i, counter) in counters.iter().enumerate() {
                        assert_eq!(counter.sum_unsigned(), seed * 1_000_000 + i as u64 + round);
                    }
                }
            });
        }
    });
}

#[derive(Clone, Debug)]
enum Op {
    New,
    Drop(usize),
    Add(usize, i64),
    AddElsewhere(usize, i64),
    Take(usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let amount = prop_oneof![Just(i64::MIN), Just(i64::MAX), -1_000..1_000i64];
    let op = prop_oneof![
        2 => Just(Op::New),
        1 => (0..80usize).prop_map(Op::Drop),
        8 => (0..80usize, amount.clone()).prop_map(|(i, n)| Op::Add(i, n)),
        2 => (0..80usize, amount).prop_map(|(i, n)| Op::AddElsewhere(i, n)),
        2 => (0..80usize).prop_map(Op::Take),
    ];
    prop::collection::vec(op, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_history_reads_as_a_plain_integer(ops in ops()) {
        let mut counters = vec![(StripedCounter::new(), 0i64)];
        for op in ops {
            let len = counters.len();
            match op {
                Op::New => counters.push((StripedCounter::new(), 0)),
                Op::Drop(i) if len > 1 => drop(counters.swap_remove(i % len)),
                Op::Drop(_) => (),
                Op::Add(i, n) => {
                    let (counter, oracle) = &mut counters[i % len];
                    counter.add_signed(n);
                    *oracle = oracle.wrapping_add(n);
                }
                Op::AddElsewhere(i, n) => {
                    let (counter, oracle) = &mut counters[i % len];
                    thread::scope(|scope| scope.spawn(|| counter.add_signed(n)).join().unwrap());
                    *oracle = oracle.wrapping_add(n);
                }
                Op::Take(i) => {
                    let (counter, oracle) = &mut counters[i % len];
                    prop_assert_eq!(counter.take(), std::mem::take(oracle));
                }
            }
            for (counter, oracle) in &counters {
                prop_assert_eq!(counter.sum(), *oracle);
            }
        }
    }
}
