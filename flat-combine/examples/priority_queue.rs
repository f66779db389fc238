//! A priority queue that several threads share: a plain `BinaryHeap` behind a combiner.
//!
//! "Take the most urgent task and put back its follow-up" is one closure, hence one step: no task is ever seen missing.

use flat_combine::{Combiner, Combining};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Task {
    due: u64,
    id: u32,
    left: u32,
}

/// Works until nothing is left; returns how many steps it did.
fn work(tasks: &Combiner<BinaryHeap<Reverse<Task>>>) -> u64 {
    let step = || {
        tasks.with(|heap| {
            let Reverse(mut task) = heap.pop()?;
            let due = task.due;
            task.left -= 1;
            task.due += u64::from(task.id % 7) + 1;
            if task.left > 0 {
                heap.push(Reverse(task));
            }
            Some(due)
        })
    };
    let (mut steps, mut last) = (0, 0);
    while let Some(due) = step() {
        assert!(due >= last, "a thread was given a task due before its last one");
        (steps, last) = (steps + 1, due);
    }
    steps
}

fn main() {
    const TASKS: u32 = 4_096;
    const STEPS: u32 = 20;
    for combining in [Combining::Adaptive, Combining::Always] {
        let tasks: BinaryHeap<_> = (0..TASKS)
            .map(|id| {
                Reverse(Task {
                    due: u64::from(id),
                    id,
                    left: STEPS,
                })
            })
            .collect();
        let tasks = Combiner::new(tasks).combining(combining);
        let steps: u64 = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..4).map(|_| scope.spawn(|| work(&tasks))).collect();
            workers
                .into_iter()
                .map(|w| w.join().expect("no panic in it"))
                .sum()
        });
        assert_eq!(steps, u64::from(TASKS * STEPS));
        let tally = tasks.tally();
        println!(
            "{combining:?}: {steps} steps; {tally:?}, mean lot {:.2}",
            tally.mean_lot()
        );
    }
}
