//! epoch-fdtable's histories under shuttle: what is linearizable, and what `insert` promises beyond one word.
//!
//! Two objects, since taking a number and publishing a value are two steps (as on Linux):
//! - *numbers*: inserts and removes of open descriptors, by their owners, are linearizable to "the lowest free number"
//!   within one bitmap word that does not fill up (8 numbers under shuttle, 64 as shipped);
//! - *values*: `put`, `insert_at`, `replace`, `remove`, `get` and being the target of a `dup2` are, of one number,
//!   linearizable to a cell that may be empty, where a `put` that returns `Busy` and an `insert_at` that returns `Taken`
//!   did nothing.
//!
//! `dup2` reads one number and writes another, each at a moment of its own between call and return (`dup` on Linux does
//! the same): so each of the two numbers has a history of its own, and the same call stands in both.
//!
//! Across words: no number below the one that `insert` returns was free during the whole call, beside one other thread;
//! beside two, see the exception in `numbers`.
#![cfg(shuttle)]

use epoch_fdtable::{Asymmetric, FdError, FdTable, Flags};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use sync_base::{Domain, thread};

const SCHEDULES: usize = 2_000;
const DEPTH: usize = 3;

fn table(limit: u32) -> Arc<FdTable<u64>> {
    let domain = Domain::builder().batch(2).build();
    Arc::new(FdTable::with_reclaim(limit, limit, Asymmetric::new(domain)))
}

/// Records a history and panics where it cannot be linearized.
struct History<S: SequentialSpec>(Arc<Mutex<LinearizabilityTester<usize, S>>>)
where
    S::Op: Clone + std::fmt::Debug,
    S::Ret: Clone + std::fmt::Debug;

impl<S> History<S>
where
    S: SequentialSpec + Clone + std::fmt::Debug,
    S::Op: Clone + std::fmt::Debug,
    S::Ret: Clone + std::fmt::Debug,
{
    fn new(spec: S) -> Self {
        Self(Arc::new(Mutex::new(LinearizabilityTester::new(spec))))
    }

    fn share(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    fn record(&self, thread: usize, op: S::Op, run: impl FnOnce() -> S::Ret) -> S::Ret {
        self.0.lock().unwrap().on_invoke(thread, op).unwrap();
        let ret = run();
        self.0.lock().unwrap().on_return(thread, ret.clone()).unwrap();
        ret
    }

    fn check(&self) {
        let history = self.0.lock().unwrap();
        assert!(
            history.is_consistent(),
            "no order explains this history: {history:?}"
        );
    }
}

#[derive(Clone, Debug, Default)]
struct Lowest(BTreeSet<u32>);

#[derive(Clone, Debug)]
enum NumberOp {
    Insert,
    Remove(u32),
}

impl SequentialSpec for Lowest {
    type Op = NumberOp;
    type Ret = Option<u32>;

    fn invoke(&mut self, op: &NumberOp) -> Option<u32> {
        match op {
            NumberOp::Insert => {
                let lowest = (0..8).find(|n| !self.0.contains(n))?;
                self.0.insert(lowest);
                Some(lowest)
            }
            NumberOp::Remove(n) => self.0.remove(n).then_some(*n),
        }
    }
}

fn numbers_are_linearizable(threads: usize) {
    let history = History::new(Lowest::default());
    let table = table(8);
    let workers: Vec<_> = (0..threads)
        .map(|me| {
            let (history, table) = (history.share(), Arc::clone(&table));
            thread::spawn(move || {
                for round in 0..2 {
                    let insert = || table.insert(me as u64).ok().map(|fd| fd.number());
                    let Some(n) = history.record(me, NumberOp::Insert, insert) else {
                        continue;
                    };
                    if round == 0 || me % 2 == 0 {
                        history.record(me, NumberOp::Remove(n), || table.remove(n).map(|_| n));
                    }
                }
            })
        })
        .collect();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    history.check();
}

#[test]
fn c6_numbers_of_one_word_are_linearizable_to_the_lowest_free() {
    shuttle::check_pct(|| numbers_are_linearizable(3), SCHEDULES, DEPTH);
    shuttle::check_random(|| numbers_are_linearizable(4), SCHEDULES);
    shuttle::check_random(|| numbers_are_linearizable(5), SCHEDULES / 4);
}

#[derive(Clone, Debug, Default)]
struct Cell(Option<u64>);

/// Stands for a value that was copied by a `dup2` and gone again before anybody could see which it was.
const UNSEEN: u64 = u64::MAX;

#[derive(Clone, Debug, PartialEq)]
enum ValueOp {
    Put(u64),
    InsertAt(u64),
    Replace(u64),
    Remove,
    Get,
    /// The number that a `dup2` read.
    Source,
    /// The number that it wrote.
    Target,
}

#[derive(Clone, Debug, PartialEq)]
enum ValueRet {
    Was(Option<u64>),
    /// The number is taken by another descriptor, or by a thread in the middle.
    Refused,
    /// What a `dup2` copied.
    Copied {
        value: u64,
        replaced: Option<u64>,
    },
    /// There was nothing to copy.
    NotOpen,
}

impl Cell {
    /// If the value was unseen: what an operation returned tells it.
    fn learn(&mut self, ret: &ValueRet) {
        let seen = match ret {
            ValueRet::Was(seen) => *seen,
            ValueRet::Copied { replaced, .. } => *replaced,
            ValueRet::Refused | ValueRet::NotOpen => None,
        };
        if self.0 == Some(UNSEEN) && seen.is_some() {
            self.0 = seen;
        }
    }
}

impl SequentialSpec for Cell {
    type Op = ValueOp;
    type Ret = ValueRet;

    fn invoke(&mut self, op: &ValueOp) -> ValueRet {
        let was = self.0;
        match op {
            ValueOp::Put(value) => self.0 = Some(*value),
            ValueOp::InsertAt(value) => self.0 = was.or(Some(*value)),
            ValueOp::Replace(value) => self.0 = was.map(|_| *value),
            ValueOp::Remove => self.0 = None,
            ValueOp::Get | ValueOp::Source | ValueOp::Target => {}
        }
        ValueRet::Was(was)
    }

    fn is_valid_step(&mut self, op: &ValueOp, ret: &ValueRet) -> bool {
        if *op != ValueOp::Source {
            self.learn(ret);
        }
        match (op, ret) {
            (ValueOp::Source, ValueRet::Copied { value, .. }) => {
                *value == UNSEEN && self.0.is_some() || self.0 == Some(*value)
            }
            (ValueOp::Source, ValueRet::NotOpen) => self.0.is_none(),
            // It was read, before the other number was found taken.
            (ValueOp::Source, ValueRet::Refused) => self.0.is_some(),
            (ValueOp::Target, ValueRet::Copied { value, replaced }) => self.0.replace(*value) == *replaced,
            // Refused without effect, whatever the state.
            (ValueOp::Put(_) | ValueOp::InsertAt(_) | ValueOp::Target, ValueRet::Refused) => true,
            (ValueOp::Target, ValueRet::NotOpen) => true,
            _ => self.invoke(op) == *ret,
        }
    }
}

fn apply(table: &FdTable<u64>, number: u32, op: &ValueOp) -> ValueRet {
    match *op {
        ValueOp::Put(value) => match table.put(number, value, Flags::NONE) {
            Ok(placed) => ValueRet::Was(placed.replaced.map(|old| *old)),
            Err(refused) => {
                assert_eq!(refused.error, FdError::Busy { number });
                ValueRet::Refused
            }
        },
        ValueOp::InsertAt(value) => match table.insert_at(number, value, Flags::NONE) {
            Ok(_) => ValueRet::Was(None),
            Err(refused) => {
                assert_eq!(refused.error, FdError::Taken { number });
                ValueRet::Refused
            }
        },
        ValueOp::Replace(value) => ValueRet::Was(table.replace(number, value).ok().map(|(_, old)| *old)),
        ValueOp::Remove => ValueRet::Was(table.remove(number).map(|old| *old)),
        ValueOp::Get => ValueRet::Was(table.with(number, |value| *value)),
        ValueOp::Source | ValueOp::Target => match table.dup2(0, 1) {
            Ok(placed) => ValueRet::Copied {
                value: table.with(placed.handle, |value| *value).unwrap_or(UNSEEN),
                replaced: placed.replaced.map(|old| *old),
            },
            Err(FdError::NotOpen { .. }) => ValueRet::NotOpen,
            Err(error) => {
                assert_eq!(error, FdError::Busy { number: 1 });
                ValueRet::Refused
            }
        },
    }
}

fn values_are_linearizable(threads: usize) {
    let history = History::new(Cell::default());
    let table = table(1);
    let workers: Vec<_> = (0..threads)
        .map(|me| {
            let (history, table) = (history.share(), Arc::clone(&table));
            thread::spawn(move || {
                let value = me as u64 * 10;
                let ops = match me % 3 {
                    0 => [ValueOp::Put(value + 1), ValueOp::Get, ValueOp::Replace(value + 2)],
                    1 => [
                        ValueOp::Replace(value + 1),
                        ValueOp::Remove,
                        ValueOp::InsertAt(value + 2),
                    ],
                    _ => [ValueOp::Get, ValueOp::Put(value + 1), ValueOp::Remove],
                };
                for op in ops {
                    history.record(me, op.clone(), || apply(&table, 0, &op));
                }
            })
        })
        .collect();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    history.check();
}

#[test]
fn c6_values_of_one_number_are_linearizable() {
    shuttle::check_pct(|| values_are_linearizable(3), SCHEDULES, DEPTH);
    shuttle::check_random(|| values_are_linearizable(4), SCHEDULES / 2);
}

/// A call that reads number 0 and writes number 1 stands in the history of each.
fn duplicates_are_linearizable(threads: usize) {
    let histories = [History::new(Cell::default()), History::new(Cell::default())];
    let table = table(2);
    let workers: Vec<_> = (0..threads)
        .map(|me| {
            let (histories, table) = (histories.each_ref().map(History::share), Arc::clone(&table));
            thread::spawn(move || {
                let value = me as u64 * 10;
                let ops = match me % 3 {
                    0 => [
                        (0, ValueOp::InsertAt(value + 1)),
                        (1, ValueOp::Target),
                        (0, ValueOp::Replace(value + 2)),
                    ],
                    1 => [
                        (1, ValueOp::Put(value + 1)),
                        (1, ValueOp::Get),
                        (0, ValueOp::Remove),
                    ],
                    _ => [
                        (1, ValueOp::Target),
                        (1, ValueOp::Remove),
                        (1, ValueOp::InsertAt(value + 1)),
                    ],
                };
                for (number, op) in ops {
                    let run = || apply(&table, number, &op);
                    let history = &histories[number as usize];
                    match op {
                        ValueOp::Target => {
                            history.record(me, op.clone(), || histories[0].record(me, ValueOp::Source, run))
                        }
                        _ => history.record(me, op.clone(), run),
                    };
                }
            })
        })
        .collect();
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    histories.iter().for_each(History::check);
}

#[test]
fn c6_of_a_duplicate_both_numbers_are_linearizable() {
    shuttle::check_pct(|| duplicates_are_linearizable(3), SCHEDULES, DEPTH);
    shuttle::check_random(|| duplicates_are_linearizable(4), SCHEDULES / 2);
}

/// One thread frees a low number and takes it again; others fill and empty words beside it.
fn freed_is_found() {
    let table = table(24);
    (0..7).for_each(|n| drop(table.insert(n)));
    let filler = {
        let table = Arc::clone(&table);
        thread::spawn(move || {
            // Above the first word but for its last number, so that the word becomes full and stops being full.
            for _ in 0..2 {
                let fd = table.insert_from(7, 9, Flags::NONE).unwrap();
                drop(table.remove(fd));
            }
        })
    };
    for round in 0..3u32 {
        drop(table.remove(round * 2).unwrap());
        assert_eq!(
            table.insert(8).unwrap().number(),
            round * 2,
            "free since before the insert began"
        );
    }
    filler.join().unwrap();
}

#[test]
fn c6_no_number_below_the_one_returned_was_free_throughout() {
    shuttle::check_pct(freed_is_found, SCHEDULES, DEPTH);
    shuttle::check_random(freed_is_found, SCHEDULES);
}
