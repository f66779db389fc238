//! What the documents share between writers: a counter, a queue.

use crate::claims::queue::{SLOTS, hold, transfer};
use crate::{Contest, Invalid, Row, Task, Worker};
use flat_combine::Counter;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use sync_base::queue::{Overrun, spsc};

/// Adds one, and checks that the values found are, over all threads, those of a permutation: their sum.
fn adds(w: &mut Worker<'_>, found: &AtomicU64, add: impl Fn() -> u64) -> Result<(), Invalid> {
    let sum = w.measure(|n| (0..n).fold(0u64, |sum, _| sum.wrapping_add(add())));
    // Relaxed: read once every worker was joined.
    found.fetch_add(sum, Ordering::Relaxed);
    Ok(())
}

/// The document's combining counter made correct: an operation waits in a slot of its own for its own answer, where the
/// document's pushed a number on a queue, dropped it when the queue was full and answered with whatever was there.
struct Combined {
    value: Mutex<u64>,
    slots: Vec<Slot>,
}

/// 0 empty, 1 waiting, 2 answered.
struct Slot {
    state: AtomicU64,
    answer: AtomicU64,
}

impl Combined {
    fn new(threads: usize) -> Self {
        let slot = || Slot {
            state: AtomicU64::new(0),
            answer: AtomicU64::new(0),
        };
        Self {
            value: Mutex::new(0),
            slots: (0..threads).map(|_| slot()).collect(),
        }
    }

    fn fetch_add_one(&self, thread: usize) -> u64 {
        let mine = &self.slots[thread];
        // Release, pairs with the combiner's Acquire load of the state.
        mine.state.store(1, Ordering::Release);
        let mut spins = 0u32;
        loop {
            // Acquire, pairs with the combiner's Release store: the answer comes with it.
            if mine.state.load(Ordering::Acquire) == 2 {
                mine.state.store(0, Ordering::Relaxed);
                return mine.answer.load(Ordering::Relaxed);
            }
            if let Ok(mut value) = self.value.try_lock() {
                for slot in &self.slots {
                    // Acquire, pairs with the waiter's Release store.
                    if slot.state.load(Ordering::Acquire) == 1 {
                        slot.answer.store(*value, Ordering::Relaxed);
                        *value += 1;
                        // Release, pairs with the waiter's Acquire load.
                        slot.state.store(2, Ordering::Release);
                    }
                }
                continue;
            }
            spins += 1;
            if spins.is_multiple_of(64) {
                std::thread::yield_now();
            }
            std::hint::spin_loop();
        }
    }
}

pub(super) fn counter(task: &Task<'_>, threads: usize, factor: f64) -> Result<Row, Invalid> {
    let (ours, plain, theirs) = (Counter::new(0), AtomicU64::new(0), Combined::new(threads));
    let found = [AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0)];
    let mut contest = Contest::new(task);
    contest.ours("Counter", threads, |w| adds(w, &found[0], || ours.fetch_add(1)));
    contest.peer("fetch_add", threads, |w| {
        // Relaxed: what is being measured.
        adds(w, &found[1], || plain.fetch_add(1, Ordering::Relaxed))
    });
    contest.peer("the document's combining, made correct", threads, |w| {
        let thread = w.index;
        adds(w, &found[2], || theirs.fetch_add_one(thread))
    });
    contest.faster_than(factor, "fetch_add");
    let row = contest.run()?;
    drop(contest);
    // Relaxed: every worker was joined.
    let sums = found.map(|sum| sum.load(Ordering::Relaxed));
    let counts = [
        ours.load(),
        plain.into_inner(),
        *theirs.value.lock().expect("nobody panics"),
    ];
    for (sum, count) in sums.into_iter().zip(counts) {
        let permutation = (u128::from(count) * u128::from(count.saturating_sub(1)) / 2) as u64;
        if sum != permutation {
            return Err(Invalid(format!(
                "{count} adds found values that sum to {sum}, not {permutation}"
            )));
        }
    }
    Ok(row)
}

pub(super) fn queue(task: &Task<'_>) -> Result<Row, Invalid> {
    let mut contest = Contest::new(task);
    contest.by_wall_clock();
    let ends = hold(spsc::channel(SLOTS, Overrun::DropNewest));
    contest.ours("spsc", 2, move |w| {
        transfer(w, &ends, |p, v| p.try_push(v).is_ok(), |c| c.try_pop().ok())
    });
    let locked = Arc::new(Mutex::new(VecDeque::with_capacity(SLOTS)));
    let ends = hold((Arc::clone(&locked), locked));
    contest.peer("the documents' ring behind a Mutex", 2, move |w| {
        let push = |queue: &mut Arc<Mutex<VecDeque<u64>>>, value| {
            let mut queue = queue.lock().expect("nobody panics");
            let room = queue.len() < SLOTS;
            if room {
                queue.push_back(value);
            }
            room
        };
        let pop = |queue: &mut Arc<Mutex<VecDeque<u64>>>| queue.lock().expect("nobody panics").pop_front();
        transfer(w, &ends, push, pop)
    });
    contest.faster_than(5.0, "the documents' ring behind a Mutex");
    contest.run()
}
