//! flat-combine under shuttle: more threads and operations than loom can explore, each history checked for
//! linearizability by stateright's tester. Shuttle treats every ordering as SeqCst: this checks logic, not orderings.
#![cfg(shuttle)]

use flat_combine::{Combiner, Combining, Counter, Way};
use loom_tests::history::{History, check};
use shuttle::thread;
use stateright::semantics::SequentialSpec;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

#[derive(Clone, Debug, PartialEq)]
enum Count {
    Add(u64),
    IfBelow(u64, u64),
    CheckedSub(u64),
    Load,
}

#[derive(Clone, Debug)]
struct CountSpec(u64);

impl SequentialSpec for CountSpec {
    type Op = Count;
    type Ret = Result<u64, u64>;

    fn invoke(&mut self, op: &Count) -> Self::Ret {
        let new = match *op {
            Count::Add(n) => Some(self.0.wrapping_add(n)),
            Count::IfBelow(n, limit) => self.0.checked_add(n).filter(|sum| *sum <= limit),
            Count::CheckedSub(n) => self.0.checked_sub(n),
            Count::Load => Some(self.0),
        };
        new.map(|new| std::mem::replace(&mut self.0, new)).ok_or(self.0)
    }
}

fn count(counter: &Counter, op: &Count) -> Result<u64, u64> {
    match *op {
        Count::Add(n) => Ok(counter.fetch_add(n)),
        Count::IfBelow(n, limit) => counter.fetch_add_if_below(n, limit),
        Count::CheckedSub(n) => counter.checked_sub(n),
        Count::Load => Ok(counter.load()),
    }
}

const SCRIPTS: [&[Count]; 4] = [
    &[
        Count::Add(1),
        Count::Add(2),
        Count::Load,
        Count::Add(4),
        Count::CheckedSub(3),
        Count::Add(1),
    ],
    &[
        Count::Add(u64::MAX),
        Count::IfBelow(2, 3),
        Count::Add(1),
        Count::Load,
        Count::IfBelow(1, 2),
        Count::Add(8),
    ],
    &[
        Count::IfBelow(3, 3),
        Count::Add(1 << 20),
        Count::CheckedSub(1 << 20),
        Count::Add(1),
        Count::Load,
        Count::Add(5),
    ],
    &[
        Count::Add(7),
        Count::Load,
        Count::CheckedSub(9),
        Count::Add(7),
        Count::IfBelow(1, 9),
        Count::Load,
    ],
];

#[test]
fn c2_counter_is_linearizable_across_switches() {
    check("counter.linearizable", 400, move || {
        let counter = Arc::new(Counter::new(0));
        let history = History::new(CountSpec(0));
        let threads: Vec<_> = SCRIPTS
            .iter()
            .enumerate()
            .map(|(me, script)| {
                let (counter, history) = (Arc::clone(&counter), history.clone());
                thread::spawn(move || {
                    for (at, op) in script.iter().enumerate() {
                        // Each thread switches the way for all of them, to and fro.
                        if at % 2 == me % 2 {
                            counter.set_way(if at % 4 < 2 { Way::Funnel } else { Way::Plain });
                        }
                        history.record(me, op.clone(), || count(&counter, op));
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        let switches = counter.switches();
        assert!(switches.to_funnel > 0 && switches.to_plain > 0, "{switches:?}");
        history.assert_linearizable();
    });
}

/// Told that it is crowded, until a funnel has been in use for a while, then that it is not, then again that it is.
mod told {
    use flat_combine::Meter;
    use std::sync::atomic::{AtomicU64, Ordering};

    static QUESTIONS: AtomicU64 = AtomicU64::new(0);

    fn crowded() -> bool {
        // Relaxed: one execution at a time.
        QUESTIONS.fetch_add(1, Ordering::Relaxed) % 8 < 5
    }

    pub(super) const METER: Meter = Meter {
        contended: |_| crowded(),
        funnelled: |batches, _| if crowded() { 4 * batches } else { batches },
        now_ns: || 0,
    };
}

#[test]
fn c2_counter_is_linearizable_while_the_policy_switches_by_itself() {
    let switched = Arc::new(Mutex::new((0, 0)));
    let seen = Arc::clone(&switched);
    check("counter.linearizable_by_policy", 400, move || {
        let counter = Arc::new(Counter::metered(0, told::METER));
        let history = History::new(CountSpec(0));
        let threads: Vec<_> = (0..3)
            .map(|me| {
                let (counter, history) = (Arc::clone(&counter), history.clone());
                thread::spawn(move || {
                    for at in 0..8 {
                        let op = if at % 4 == 3 {
                            Count::Load
                        } else {
                            Count::Add(at + 1)
                        };
                        history.record(me, op.clone(), || count(&counter, &op));
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        let switches = counter.switches();
        let mut seen = seen.lock().unwrap();
        *seen = (seen.0 + switches.to_funnel, seen.1 + switches.to_plain);
        history.assert_linearizable();
    });
    let (to_funnel, to_plain) = *switched.lock().unwrap();
    println!("by itself: plain to funnel {to_funnel} times, funnel to plain {to_plain} times");
    assert!(
        to_funnel > 100 && to_plain > 100,
        "hardly switched: the test shows nothing"
    );
}

#[test]
fn c2_previous_values_form_a_permutation_of_any_number_of_threads() {
    for threads in 2..=8u64 {
        check(
            &format!("counter.permutation_{threads}_threads"),
            150,
            move || {
                let counter = Arc::new(Counter::new(0));
                counter.set_way(Way::Funnel);
                let threads: Vec<_> = (0..threads)
                    .map(|me| {
                        let counter = Arc::clone(&counter);
                        thread::spawn(move || {
                            let draw = |at| {
                                if me == 0 && at == 2 {
                                    counter.set_way(Way::Plain);
                                }
                                counter.fetch_add(1)
                            };
                            (0..4).map(draw).collect::<Vec<_>>()
                        })
                    })
                    .collect();
                let total = 4 * threads.len() as u64;
                let mut found: Vec<u64> = threads.into_iter().flat_map(|t| t.join().unwrap()).collect();
                found.sort_unstable();
                assert!(found.into_iter().eq(0..total));
            },
        );
    }
}

#[test]
fn c2_limit_is_never_exceeded_under_any_schedule() {
    check("counter.limit", 400, || {
        let used = Arc::new(Counter::new(0));
        used.set_way(Way::Funnel);
        let threads: Vec<_> = (1..=4u64)
            .map(|amount| {
                let used = Arc::clone(&used);
                thread::spawn(move || {
                    for _ in 0..3 {
                        let granted = used.fetch_add_if_below(amount, 5);
                        assert!(used.load() <= 5);
                        if granted.is_ok() {
                            used.fetch_sub(amount);
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(used.load(), 0);
    });
}

#[derive(Clone, Debug, PartialEq)]
enum Queue {
    Push(u32),
    Pop,
}

const CAPACITY: usize = 2;

#[derive(Clone, Debug, Default)]
struct QueueSpec(VecDeque<u32>);

impl SequentialSpec for QueueSpec {
    type Op = Queue;
    type Ret = Option<u32>;

    /// A push that is refused returns what it brought.
    fn invoke(&mut self, op: &Queue) -> Option<u32> {
        match *op {
            Queue::Push(item) if self.0.len() < CAPACITY => {
                self.0.push_back(item);
                None
            }
            Queue::Push(item) => Some(item),
            Queue::Pop => self.0.pop_front(),
        }
    }
}

#[test]
fn c2_a_bounded_queue_behind_the_combiner_is_linearizable() {
    for combining in [Combining::Adaptive, Combining::Always] {
        check(
            &format!("combiner.queue_linearizable_{combining:?}"),
            400,
            move || {
                let queue = Arc::new(Combiner::new(QueueSpec::default()).combining(combining));
                let history = History::new(QueueSpec::default());
                let threads: Vec<_> = (0..4u32)
                    .map(|me| {
                        let (queue, history) = (Arc::clone(&queue), history.clone());
                        thread::spawn(move || {
                            for at in 0..6 {
                                let op = if (at + me) % 2 == 0 {
                                    Queue::Push(me * 10 + at)
                                } else {
                                    Queue::Pop
                                };
                                history.record(me as usize, op.clone(), || {
                                    queue.with(|queue| queue.invoke(&op))
                                });
                            }
                        })
                    })
                    .collect();
                threads.into_iter().for_each(|t| t.join().unwrap());
                history.assert_linearizable();
            },
        );
    }
}

#[test]
fn c2_no_operation_is_stranded_under_any_schedule() {
    // One open slot, one gated, hand-over after one operation: eight threads meet every corner of it.
    let most = Arc::new(Mutex::new((0, 0)));
    let seen = Arc::clone(&most);
    check("combiner.nobody_stranded", 300, move || {
        let sum = Arc::new(Combiner::new(0u32).combining(Combining::Always));
        let threads: Vec<_> = (0..8)
            .map(|me| {
                let sum = Arc::clone(&sum);
                thread::spawn(move || {
                    for at in 0..2 {
                        let panics = (me + at) % 5 == 0;
                        let run = || {
                            sum.with(|n| {
                                *n += 1;
                                if panics {
                                    std::panic::resume_unwind(Box::new(()));
                                }
                            });
                        };
                        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
                        assert_eq!(result.is_err(), panics);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(sum.with(|n| *n), 16);
        let tally = sum.tally();
        let mut most = seen.lock().unwrap();
        *most = (most.0.max(tally.hand_overs), most.1.max(tally.unparked));
    });
    let (hand_overs, unparked) = *most.lock().unwrap();
    println!("up to {hand_overs} hand-overs and {unparked} wake-ups in a schedule");
    assert!(hand_overs > 0 && unparked > 0, "the rare paths were not reached");
}
