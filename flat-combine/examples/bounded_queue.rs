//! A bounded queue of several producers and consumers: a plain `VecDeque` behind a combiner.
//!
//! Nothing in the queue is concurrent; the combiner makes it so, and counts how often one thread did another's work.

use flat_combine::{Combiner, Tally};
use std::collections::VecDeque;

struct BoundedQueue<T> {
    capacity: usize,
    items: Combiner<VecDeque<T>>,
}

impl<T: Send> BoundedQueue<T> {
    fn new(capacity: usize) -> Self {
        Self {
            capacity,
            items: Combiner::new(VecDeque::with_capacity(capacity)),
        }
    }

    /// Appends, or hands the item back when the queue is full.
    fn push(&self, item: T) -> Result<(), T> {
        self.items.with(|items| {
            if items.len() < self.capacity {
                items.push_back(item);
                Ok(())
            } else {
                Err(item)
            }
        })
    }

    fn pop(&self) -> Option<T> {
        self.items.with(VecDeque::pop_front)
    }

    fn tally(&self) -> Tally {
        self.items.tally()
    }
}

fn main() {
    const EACH: u64 = 50_000;
    let queue = BoundedQueue::new(64);
    let received: u64 = std::thread::scope(|scope| {
        for producer in 0..2 {
            let queue = &queue;
            scope.spawn(move || {
                for at in 0..EACH {
                    let mut item = producer * EACH + at;
                    while let Err(back) = queue.push(item) {
                        item = back;
                        std::thread::yield_now();
                    }
                }
            });
        }
        let consumers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let (mut count, mut sum) = (0, 0);
                    while count < EACH {
                        match queue.pop() {
                            Some(item) => (count, sum) = (count + 1, sum + item),
                            None => std::thread::yield_now(),
                        }
                    }
                    sum
                })
            })
            .collect();
        consumers
            .into_iter()
            .map(|c| c.join().expect("no panic in it"))
            .sum()
    });
    assert_eq!(received, (0..2 * EACH).sum::<u64>());
    assert_eq!(queue.pop(), None);
    let tally = queue.tally();
    println!(
        "{} items through 64 places; {tally:?}, mean lot {:.2}",
        2 * EACH,
        tally.mean_lot()
    );
}
