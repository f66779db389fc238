//! `Counter`: exact on either way and across switches, never above a limit, never below zero unseen.
#![cfg(not(any(loom, shuttle)))]

use flat_combine::{Counter, Switches, Way};
use proptest::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// `threads` threads draw `each` tickets, calling `between` before each; the sorted tickets.
fn tickets(counter: &Counter, threads: u64, each: u64, between: impl Fn(u64) + Sync) -> Vec<u64> {
    let draw = |at| {
        between(at);
        counter.fetch_add(1)
    };
    let mut drawn: Vec<u64> = thread::scope(|scope| {
        let drawers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mine: Vec<u64> = (0..each).map(draw).collect();
                    assert!(mine.is_sorted(), "a thread saw the counter go back");
                    mine
                })
            })
            .collect();
        drawers.into_iter().flat_map(|t| t.join().unwrap()).collect()
    });
    drawn.sort_unstable();
    drawn
}

/// Lets the others run now and then, so that operations overlap on any machine.
fn now_and_then(at: u64) {
    if at.is_multiple_of(64) {
        thread::yield_now();
    }
}

#[test]
fn c2_previous_values_form_a_permutation() {
    for way in [Way::Adaptive, Way::Plain, Way::Funnel] {
        for threads in 2..=8 {
            let counter = Counter::new(0);
            counter.set_way(way);
            let drawn = tickets(&counter, threads, 3_000, now_and_then);
            assert!(
                drawn.into_iter().eq(0..threads * 3_000),
                "{way:?}, {threads} threads"
            );
            println!("{way:?}, {threads} threads: {:?}", counter.switches());
        }
    }
}

#[test]
fn c2_exact_across_forced_switches_both_ways() {
    let counter = Counter::new(0);
    let drawn = tickets(&counter, 6, 10_000, |at| {
        if at.is_multiple_of(50) {
            let funnel = (at / 50).is_multiple_of(2);
            counter.set_way(if funnel { Way::Funnel } else { Way::Plain });
            thread::yield_now();
        }
    });
    assert!(drawn.into_iter().eq(0..60_000));
    let Switches {
        to_funnel, to_plain, ..
    } = counter.switches();
    println!("plain to funnel {to_funnel} times, funnel to plain {to_plain} times, 60000 operations exact");
    assert!(
        to_funnel >= 2 && to_plain >= 1,
        "hardly switched: the test shows nothing"
    );
}

/// What a test tells a counter's policy: whether it is crowded, and what time it is.
mod told {
    use flat_combine::Meter;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    pub(super) static CROWDED: AtomicBool = AtomicBool::new(false);
    static NOW_NS: AtomicU64 = AtomicU64::new(0);

    /// Time passes with the samples of the plain way alone: a trial of the funnel always pays, as it would on a machine of
    /// many cores. Batches hold four while it is crowded, one after that.
    pub(super) const METER: Meter = Meter {
        contended: |_| {
            NOW_NS.fetch_add(1_000, Ordering::Relaxed);
            CROWDED.load(Ordering::Relaxed)
        },
        funnelled: |batches, _| {
            if CROWDED.load(Ordering::Relaxed) {
                4 * batches
            } else {
                batches
            }
        },
        now_ns: || NOW_NS.load(Ordering::Relaxed),
    };
}

#[test]
fn c2_exact_while_the_policy_switches_to_the_funnel_and_back() {
    const ROUNDS: u64 = 12;
    /// Operations after which a trial that pays is over for sure.
    const SETTLED: u64 = 60_000;
    let counter = Counter::metered(0, told::METER);
    let over = AtomicBool::new(false);
    let wait_until = |what: &str, done: &dyn Fn() -> bool| {
        let waited = counter.load();
        while !done() {
            assert!(
                counter.load() - waited < 5_000_000,
                "never {what}: {:?}",
                counter.switches()
            );
            thread::yield_now();
        }
    };
    let mut drawn: Vec<u64> = thread::scope(|scope| {
        let drawers: Vec<_> = (0..6)
            .map(|_| {
                scope.spawn(|| {
                    let mut mine = Vec::new();
                    while !over.load(Ordering::Acquire) {
                        mine.extend((0..256).map(|_| counter.fetch_add(1)));
                        thread::yield_now(); // a window of samples must come from four threads at least
                    }
                    assert!(mine.is_sorted(), "a thread saw the counter go back");
                    mine
                })
            })
            .collect();
        let raised = Raised(&over);
        for round in 1..=ROUNDS {
            told::CROWDED.store(true, Ordering::Relaxed);
            wait_until("took to the funnel", &|| counter.switches().to_funnel == round);
            let began = counter.load();
            wait_until("settled", &|| counter.load() >= began + SETTLED);
            assert_eq!(counter.switches().to_plain, round - 1, "left a funnel that pays");
            told::CROWDED.store(false, Ordering::Relaxed);
            wait_until("left the funnel", &|| counter.switches().to_plain == round);
        }
        let quiet = counter.load();
        wait_until("went on", &|| counter.load() >= quiet + SETTLED);
        drop(raised);
        drawers.into_iter().flat_map(|t| t.join().unwrap()).collect()
    });
    drawn.sort_unstable();
    let Switches {
        to_funnel, to_plain, ..
    } = counter.switches();
    println!(
        "by itself: plain to funnel {to_funnel} times, funnel to plain {to_plain} times, {} operations exact",
        drawn.len()
    );
    assert_eq!((to_funnel, to_plain), (ROUNDS, ROUNDS));
    assert!(drawn.iter().copied().eq(0..counter.load()));
}

/// Raises a flag when it goes, whatever the reason.
struct Raised<'a>(&'a AtomicBool);

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn c2_exact_whatever_the_policy_makes_of_this_machine() {
    for threads in [2, 8] {
        const EACH: u64 = 150_000;
        let counter = Counter::new(0);
        let drawn = tickets(&counter, threads, EACH, |_| ());
        assert!(drawn.into_iter().eq(0..threads * EACH));
        // How often depends on the machine: on two cores a funnel does not pay, and each trial ends as it began.
        let switches = counter.switches();
        println!(
            "{threads} threads, {} operations exact: {switches:?}",
            threads * EACH
        );
        assert!(switches.to_plain <= switches.to_funnel && switches.to_funnel <= switches.to_plain + 1);
    }
}

#[test]
fn c2_sum_of_signed_amounts_is_exact_in_a_funnel() {
    let counter = Counter::new(1 << 40);
    counter.set_way(Way::Funnel);
    thread::scope(|scope| {
        for me in 1..=6u64 {
            let counter = &counter;
            scope.spawn(move || {
                for at in 0..3_000u64 {
                    // 2^19 is the largest amount that a funnel carries; more goes past it.
                    let amount = (at * me) % ((1 << 19) + 2);
                    counter.fetch_add(amount);
                    counter.fetch_sub(amount);
                    counter.fetch_add(me << 20);
                }
            });
        }
    });
    assert_eq!(counter.load(), (1 << 40) + 21 * (3_000 << 20));
}

#[test]
fn c2_limit_is_never_exceeded_by_one() {
    for way in [Way::Plain, Way::Funnel] {
        const LIMIT: u64 = 64;
        let used = Counter::new(0);
        used.set_way(way);
        let over = AtomicBool::new(false);
        let refusals: u64 = thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                while !over.load(Ordering::Acquire) {
                    let now = used.load();
                    assert!(now <= LIMIT, "{now} in use of {LIMIT}");
                    thread::yield_now();
                }
            });
            let threads: Vec<_> = (1..=6u64)
                .map(|me| {
                    let used = &used;
                    scope.spawn(move || {
                        let mut refusals = 0;
                        for at in 0..10_000u64 {
                            let amount = me * 5 + at % 7;
                            match used.fetch_add_if_below(amount, LIMIT) {
                                Ok(before) => {
                                    assert!(before + amount <= LIMIT);
                                    if at.is_multiple_of(64) {
                                        thread::yield_now(); // while it holds its share: others are refused
                                    }
                                    used.fetch_sub(amount);
                                }
                                Err(found) => {
                                    assert!(found + amount > LIMIT, "refused {amount} at {found}");
                                    refusals += 1;
                                }
                            }
                        }
                        refusals
                    })
                })
                .collect();
            let refusals = threads.into_iter().map(|t| t.join().unwrap()).sum();
            over.store(true, Ordering::Release);
            watcher.join().unwrap();
            refusals
        });
        println!("{way:?}: {refusals} refusals");
        assert!(refusals > 0, "nothing was ever refused: the test shows nothing");
        assert_eq!(used.load(), 0);
    }
}

#[test]
fn c2_subtraction_below_zero_is_refused_or_stops_or_wraps_as_stated() {
    for way in [Way::Plain, Way::Funnel] {
        let counter = Counter::new(3);
        counter.set_way(way);
        assert_eq!(counter.checked_sub(4), Err(3));
        assert_eq!(counter.saturating_sub(4), 3);
        assert_eq!(counter.load(), 0);
        assert_eq!(counter.fetch_sub(1), 0);
        assert_eq!(counter.load(), u64::MAX);
        assert_eq!(counter.checked_add(1), Err(u64::MAX));
        assert_eq!(counter.saturating_add(9), u64::MAX);
        assert_eq!(counter.fetch_add_if_below(1, u64::MAX), Err(u64::MAX));
        assert_eq!(counter.fetch_add(1), u64::MAX);
        assert_eq!(counter.swap(7), 0);
        assert_eq!(counter.fetch_add_if_below(0, 6), Err(7));
    }
}

#[test]
fn c2_saturating_subtractions_never_take_more_than_there_was() {
    let counter = Counter::new(10_000);
    let taken: u64 = thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| (0..4_000).map(|_| counter.saturating_sub(1).min(1)).sum::<u64>()))
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).sum()
    });
    assert_eq!((taken, counter.load()), (10_000, 0));
}

#[test]
fn threads_asleep_in_a_funnel_are_all_woken() {
    let counter = Counter::new(0);
    counter.set_way(Way::Funnel);
    // Far more threads than cores: leaders lose their core in mid-batch and their members go to sleep.
    let drawn = tickets(&counter, 48, 300, now_and_then);
    assert!(drawn.into_iter().eq(0..48 * 300));
}

#[derive(Clone, Debug)]
enum Op {
    Add(u64),
    Sub(u64),
    CheckedAdd(u64),
    CheckedSub(u64),
    SaturatingAdd(u64),
    SaturatingSub(u64),
    IfBelow(u64, u64),
    Way(bool),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let n = || {
        let edge = 1u64 << 19;
        prop_oneof![
            0..9u64,
            edge - 1..edge + 2,
            Just(u64::MAX),
            Just(1 << 63),
            any::<u64>()
        ]
    };
    let op = prop_oneof![
        n().prop_map(Op::Add),
        n().prop_map(Op::Sub),
        n().prop_map(Op::CheckedAdd),
        n().prop_map(Op::CheckedSub),
        n().prop_map(Op::SaturatingAdd),
        n().prop_map(Op::SaturatingSub),
        (n(), n()).prop_map(|(a, b)| Op::IfBelow(a, b)),
        any::<bool>().prop_map(Op::Way),
    ];
    prop::collection::vec(op, 1..100)
}

proptest! {
    #[test]
    fn any_history_reads_as_a_plain_u64(start in any::<u64>(), ops in ops()) {
        let counter = Counter::new(start);
        let mut oracle = start;
        let checked = |new: Option<u64>, oracle: &mut u64| match new {
            Some(new) => Ok(std::mem::replace(oracle, new)),
            None => Err(*oracle),
        };
        for op in ops {
            match op {
                Op::Add(n) => {
                    prop_assert_eq!(counter.fetch_add(n), oracle);
                    oracle = oracle.wrapping_add(n);
                }
                Op::Sub(n) => {
                    prop_assert_eq!(counter.fetch_sub(n), oracle);
                    oracle = oracle.wrapping_sub(n);
                }
                Op::CheckedAdd(n) => prop_assert_eq!(counter.checked_add(n), checked(oracle.checked_add(n), &mut oracle)),
                Op::CheckedSub(n) => prop_assert_eq!(counter.checked_sub(n), checked(oracle.checked_sub(n), &mut oracle)),
                Op::SaturatingAdd(n) => {
                    prop_assert_eq!(counter.saturating_add(n), oracle);
                    oracle = oracle.saturating_add(n);
                }
                Op::SaturatingSub(n) => {
                    prop_assert_eq!(counter.saturating_sub(n), oracle);
                    oracle = oracle.saturating_sub(n);
                }
                Op::IfBelow(n, limit) => {
                    let new = oracle.checked_add(n).filter(|sum| *sum <= limit);
                    prop_assert_eq!(counter.fetch_add_if_below(n, limit), checked(new, &mut oracle));
                }
                Op::Way(funnel) => counter.set_way(if funnel { Way::Funnel } else { Way::Plain }),
            }
            prop_assert_eq!(counter.load(), oracle);
        }
    }
}

#[test]
fn counters_may_be_used_where_a_panic_is_caught() {
    let (counter, striped) = (Counter::new(1), flat_combine::StripedCounter::new());
    let blown = std::panic::catch_unwind(|| {
        striped.add(1);
        assert_eq!(counter.fetch_add(1), 0, "it was 1");
    });
    assert!(blown.is_err());
    assert_eq!((counter.load(), striped.sum()), (2, 1));
}
