//! sync-base's queues are linearizable: histories of two to five threads under shuttle's schedules, judged by
//! stateright's tester. Shuttle treats every ordering as SeqCst: this checks logic, not orderings.
#![cfg(shuttle)]

use loom_tests::history::{History, check};
use shuttle::sync::Mutex;
use shuttle::thread;
use stateright::semantics::SequentialSpec;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use sync_base::queue::{Overrun, PopError, PushError, Pushed, mpmc, mpsc, spsc};

#[derive(Clone, Debug, PartialEq)]
enum Op {
    TryPush(u8),
    /// By the policy of the queue.
    Push(u8),
    PushBatch(Vec<u8>),
    /// The half of a push that takes out the oldest value: an operation of its own, for others may come between.
    GiveWay,
    TryPop,
    /// Waits for a value.
    Pop,
    PopBatch(usize),
    Len,
    Close,
}

#[derive(Clone, Debug, PartialEq)]
enum Ret {
    /// So many went in, from the front.
    Stored(usize),
    /// The new value came back.
    TurnedAway,
    GaveWay(Option<u8>),
    Full,
    Closed,
    Empty,
    Popped(Vec<u8>),
    Len(usize),
}

/// What a bounded queue is.
#[derive(Clone, Debug)]
struct Spec {
    queued: VecDeque<u8>,
    capacity: usize,
    closed: bool,
    /// How far from full a value may be turned away: one, where the oldest value is claimed and its slot not yet free.
    slack: usize,
}

impl Spec {
    fn new(capacity: usize) -> Self {
        Self {
            queued: VecDeque::new(),
            capacity,
            closed: false,
            slack: 0,
        }
    }

    fn room(&self) -> usize {
        self.capacity - self.queued.len()
    }

    fn push(&mut self, values: &[u8]) -> bool {
        self.queued.extend(values);
        !self.closed && self.queued.len() <= self.capacity
    }

    fn pop(&mut self, values: &[u8]) -> bool {
        values.iter().all(|value| self.queued.pop_front() == Some(*value))
    }
}

impl SequentialSpec for Spec {
    type Op = Op;
    type Ret = Ret;

    fn invoke(&mut self, _: &Op) -> Ret {
        unreachable!("a batch may come out shorter than it could: answers are judged, not foretold")
    }

    fn is_valid_step(&mut self, op: &Op, ret: &Ret) -> bool {
        match (op, ret) {
            (Op::TryPush(v) | Op::Push(v), Ret::Stored(1)) => self.push(&[*v]),
            (Op::TryPush(_), Ret::Full) | (Op::Push(_), Ret::TurnedAway) => {
                !self.closed && self.room() <= self.slack
            }
            (Op::TryPush(_) | Op::Push(_) | Op::PushBatch(_), Ret::Closed) => self.closed,
            (Op::PushBatch(values), Ret::Stored(n)) => self.push(&values[..*n]),
            (Op::GiveWay, Ret::GaveWay(value)) => value.is_none_or(|v| self.pop(&[v])),
            (Op::TryPop, Ret::Empty) => !self.closed && self.queued.is_empty(),
            (Op::TryPop | Op::Pop, Ret::Closed) => self.closed && self.queued.is_empty(),
            (Op::TryPop | Op::Pop, Ret::Popped(value)) => value.len() == 1 && self.pop(value),
            (Op::PopBatch(max), Ret::Popped(values)) => values.len() <= *max && self.pop(values),
            (Op::Len, Ret::Len(len)) => *len == self.queued.len(),
            (Op::Close, Ret::Stored(0)) => {
                self.closed = true;
                true
            }
            _ => false,
        }
    }
}

/// An end of a queue, or a queue that is both: runs an operation and says what gave way for it, and what became of it.
type End = Box<dyn FnMut(&Op) -> (Option<u8>, Ret) + Send>;

fn popped(result: Result<u8, PopError>) -> Ret {
    match result {
        Ok(value) => Ret::Popped(vec![value]),
        Err(PopError::Empty) => Ret::Empty,
        Err(PopError::Closed) => Ret::Closed,
    }
}

fn tried(result: Result<(), PushError<u8>>) -> Ret {
    match result {
        Ok(()) => Ret::Stored(1),
        Err(PushError::Full(_)) => Ret::Full,
        Err(PushError::Closed(_)) => Ret::Closed,
    }
}

fn pushed<E>(result: Result<Pushed<u8>, E>) -> (Option<u8>, Ret) {
    match result {
        Ok(Pushed::Stored) => (None, Ret::Stored(1)),
        Ok(Pushed::DroppedOldest(oldest)) => (Some(oldest), Ret::Stored(1)),
        Ok(Pushed::DroppedNewest(_)) => (None, Ret::TurnedAway),
        Err(_) => (None, Ret::Closed),
    }
}

/// What the pushing ends have in common but no trait.
macro_rules! push_end {
    ($end:expr, $op:expr) => {
        match $op {
            Op::TryPush(value) => (None, tried($end.try_push(*value))),
            Op::Push(value) => pushed($end.push(*value)),
            Op::PushBatch(values) => {
                let stored = $end.push_batch(&mut values.iter().copied().collect());
                (None, stored.map_or(Ret::Closed, Ret::Stored))
            }
            _ => (None, Ret::Len($end.len())),
        }
    };
}

/// The same of the popping ends.
macro_rules! pop_end {
    ($end:expr, $op:expr) => {
        match $op {
            Op::TryPop => popped($end.try_pop()),
            Op::Pop => popped($end.pop().ok_or(PopError::Closed)),
            Op::PopBatch(max) => {
                let mut values = Vec::new();
                $end.pop_batch(&mut values, *max);
                Ret::Popped(values)
            }
            _ => Ret::Len($end.len()),
        }
    };
}

/// Where the tester keeps the other half of a thread's push.
const HALF: usize = 100;

/// Runs each script on its end, all at once, and judges the history.
fn run(spec: Spec, threads: Vec<(End, Vec<Op>)>) {
    let history = History::new(spec);
    let running: Vec<_> = threads
        .into_iter()
        .enumerate()
        .map(|(me, (mut end, script))| {
            let history = history.clone();
            thread::spawn(move || {
                for op in script {
                    let halves = matches!(op, Op::Push(_));
                    if halves {
                        history.called(me + HALF, Op::GiveWay);
                    }
                    history.called(me, op.clone());
                    let (gave_way, ret) = end(&op);
                    if halves {
                        history.answered(me + HALF, Ret::GaveWay(gave_way));
                    }
                    history.answered(me, ret);
                }
                end // dropped when all are done: an end that goes closes its queue
            })
        })
        .collect();
    let _ends: Vec<End> = running.into_iter().map(|t| t.join().unwrap()).collect();
    history.assert_linearizable();
}

/// A generator of scripts: each execution draws others.
struct Dice(u64);

impl Dice {
    fn of_this_execution() -> Self {
        static SEED: AtomicU64 = AtomicU64::new(1);
        // Relaxed: it only varies the scripts.
        Self(
            SEED.fetch_add(1, Ordering::Relaxed)
                .wrapping_mul(0x9E37_79B9_7F4A_7C15)
                | 1,
        )
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) % sides
    }

    fn push(&mut self, value: u8) -> Op {
        match self.roll(6) {
            0 | 1 => Op::TryPush(value),
            2 | 3 => Op::Push(value),
            4 => Op::PushBatch(vec![value, value + 100]),
            _ => Op::Len,
        }
    }

    fn pop(&mut self) -> Op {
        match self.roll(6) {
            0..=3 => Op::TryPop,
            4 => Op::PopBatch(2),
            _ => Op::Len,
        }
    }

    /// A script of one thread; no two threads push the same value.
    fn script(&mut self, thread: usize, ops: usize, pushes: bool, pops: bool) -> Vec<Op> {
        (0..ops)
            .map(|at| {
                if pushes && (!pops || self.roll(2) == 0) {
                    self.push((thread * 8 + at) as u8)
                } else {
                    self.pop()
                }
            })
            .collect()
    }
}

const POLICIES: [Overrun; 2] = [Overrun::DropNewest, Overrun::DropOldest];

#[test]
fn b11_mpmc_is_linearizable_with_three_to_five_threads() {
    for overrun in POLICIES {
        for (threads, ops, capacity) in [(3, 4, 1), (3, 4, 2), (4, 3, 2), (5, 2, 1), (5, 2, 4)] {
            let name = format!("mpmc.linearizable_{overrun:?}_{threads}_threads_{capacity}_slots");
            check(&name, 150, move || {
                let mut dice = Dice::of_this_execution();
                let queue = Arc::new(mpmc::Queue::after_laps(capacity, overrun, 3));
                let threads = (0..threads)
                    .map(|me| {
                        let mut script = dice.script(me, ops, true, true);
                        // What gives way beside a close is dropped and counted, which a history cannot tell.
                        if me == 0 && overrun == Overrun::DropNewest && dice.roll(3) == 0 {
                            script.insert(ops / 2, Op::Close);
                        }
                        let queue = Arc::clone(&queue);
                        let end: End = Box::new(move |op| match op {
                            Op::TryPush(_) | Op::Push(_) | Op::PushBatch(_) => push_end!(queue, op),
                            Op::Close => {
                                queue.close();
                                (None, Ret::Stored(0))
                            }
                            _ => (None, pop_end!(queue, op)),
                        });
                        (end, script)
                    })
                    .collect();
                run(Spec::new(capacity), threads);
            });
        }
    }
}

#[test]
fn b11_mpsc_is_linearizable_with_three_to_five_threads() {
    for overrun in POLICIES {
        for (senders, ops, capacity) in [(2, 4, 2), (3, 3, 1), (4, 2, 1)] {
            let name = format!(
                "mpsc.linearizable_{overrun:?}_{}_threads_{capacity}_slots",
                senders + 1
            );
            check(&name, 150, move || {
                let mut dice = Dice::of_this_execution();
                let (tx, mut rx) = mpsc::channel(capacity, overrun);
                let mut threads: Vec<(End, Vec<Op>)> = (0..senders)
                    .map(|me| {
                        let tx = tx.clone();
                        let end: End = Box::new(move |op| push_end!(tx, op));
                        (end, dice.script(me, ops, true, false))
                    })
                    .collect();
                let mut script = dice.script(senders, ops + 2, false, true);
                if overrun == Overrun::DropNewest && dice.roll(3) == 0 {
                    script.insert(ops, Op::Close);
                }
                let receiver: End = Box::new(move |op| match op {
                    Op::Close => {
                        rx.close();
                        (None, Ret::Stored(0))
                    }
                    _ => (None, pop_end!(rx, op)),
                });
                threads.push((receiver, script));
                // `tx` lives on: the last sender to go would close the queue.
                run(Spec::new(capacity), threads);
                drop(tx);
            });
        }
    }
}

#[test]
fn b11_spsc_is_linearizable_however_many_threads_pass_its_ends_on() {
    for overrun in POLICIES {
        // Threads that share the producer, threads that share the consumer.
        for (pushing, popping, ops, capacity) in [
            (1, 1, 6, 1),
            (1, 1, 6, 3),
            (2, 1, 4, 2),
            (2, 2, 3, 2),
            (2, 3, 2, 1),
        ] {
            let name = format!(
                "spsc.linearizable_{overrun:?}_{}_threads_{capacity}_slots",
                pushing + popping
            );
            check(&name, 150, move || {
                let mut dice = Dice::of_this_execution();
                let (tx, rx) = spsc::channel(capacity, overrun);
                let (tx, rx) = (Arc::new(Mutex::new(Some(tx))), Arc::new(Mutex::new(rx)));
                let mut threads: Vec<(End, Vec<Op>)> = Vec::new();
                for me in 0..pushing {
                    let tx = Arc::clone(&tx);
                    let mut script = dice.script(me, ops, true, false);
                    if pushing == 1 {
                        script.push(Op::Close);
                    }
                    let end: End = Box::new(move |op| {
                        let mut end = tx.lock().unwrap();
                        if *op == Op::Close {
                            *end = None;
                            return (None, Ret::Stored(0));
                        }
                        let end = end.as_mut().expect("dropped last");
                        push_end!(end, op)
                    });
                    threads.push((end, script));
                }
                for me in 0..popping {
                    let rx = Arc::clone(&rx);
                    let end: End = Box::new(move |op| (None, pop_end!(rx.lock().unwrap(), op)));
                    threads.push((end, dice.script(pushing + me, ops + 1, false, true)));
                }
                let mut spec = Spec::new(capacity);
                // What the consumer has claimed, at most two here, is popped, and keeps its slot until it has been read.
                spec.slack = if overrun == Overrun::DropOldest { 2 } else { 0 };
                run(spec, threads);
            });
        }
    }
}

#[test]
fn a8_pushes_and_pops_that_wait_are_linearizable() {
    for (producers, consumers, each, capacity) in [(2, 1, 3, 1), (2, 2, 3, 2), (3, 2, 2, 1)] {
        let name = format!("mpmc.linearizable_Block_{}_threads", producers + consumers);
        check(&name, 150, move || {
            let queue = Arc::new(mpmc::Queue::new(capacity, Overrun::Block));
            let end = || -> End {
                let queue = Arc::clone(&queue);
                Box::new(move |op| match op {
                    Op::Push(_) => push_end!(queue, op),
                    _ => (None, pop_end!(queue, op)),
                })
            };
            let total = producers * each;
            let threads = (0..producers)
                .map(|me| {
                    let script = (0..each).map(|at| Op::Push((me * 8 + at) as u8)).collect();
                    (end(), script)
                })
                .chain((0..consumers).map(|me| {
                    let share = total / consumers + usize::from(me < total % consumers);
                    (end(), vec![Op::Pop; share])
                }))
                .collect();
            run(Spec::new(capacity), threads);
            assert!(queue.is_empty());
        });
    }
}
