//! The queues under real threads: every value once, in order, counted, dropped.
#![cfg(not(any(loom, shuttle)))]

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use sync_base::queue::{Overrun, Pushed, mpmc::Queue, mpsc, spsc};

const EACH: u64 = 30_000;
const POLICIES: [Overrun; 3] = [Overrun::Block, Overrun::DropNewest, Overrun::DropOldest];

/// A value on the heap, so that a use after free or a double free does not go by unseen.
fn boxed(v: u64) -> Box<u64> {
    Box::new(v)
}

#[test]
fn a8_spsc_delivers_in_order_and_counts_every_drop() {
    for overrun in POLICIES {
        for capacity in [1, 2, 3, 64] {
            let (mut tx, mut rx) = spsc::channel(capacity, overrun);
            let producer = std::thread::spawn(move || {
                let mut back = 0;
                for i in 0..EACH {
                    match tx.push(boxed(i)).expect("the consumer stays") {
                        Pushed::Stored => {}
                        Pushed::DroppedOldest(_) | Pushed::DroppedNewest(_) => back += 1,
                    }
                }
                assert_eq!(tx.drops().total(), back);
                back
            });
            let mut got = 0;
            let mut last = None;
            while let Some(v) = rx.pop() {
                assert!(Some(*v) > last, "out of order or twice");
                last = Some(*v);
                got += 1;
            }
            let dropped = producer.join().expect("the producer ended");
            assert_eq!(got + dropped, EACH, "{overrun:?} {capacity}");
            assert!(overrun != Overrun::Block || dropped == 0);
        }
    }
}

#[test]
fn a8_spsc_batches_and_slices_deliver_what_was_pushed() {
    for overrun in POLICIES {
        let (mut tx, mut rx) = spsc::channel(7, overrun);
        let producer = std::thread::spawn(move || {
            let mut next = 0u64;
            while next < EACH {
                let run: Vec<u64> = (next..EACH.min(next + 5)).collect();
                let n = if next.is_multiple_of(2) {
                    tx.push_slice(&run)
                } else {
                    tx.push_batch(&mut VecDeque::from(run))
                };
                next += n.expect("the consumer stays") as u64;
                if n == Ok(0) {
                    std::thread::yield_now();
                }
            }
        });
        let mut expected = 0;
        while expected < EACH {
            let batch = rx.batch(4);
            let (first, second) = batch.slices();
            for v in first.iter().chain(second) {
                assert_eq!(*v, expected);
                expected += 1;
            }
            let n = batch.len();
            batch.consume(n);
            if n == 0 {
                std::thread::yield_now();
            }
        }
        producer.join().expect("the producer ended");
    }
}

/// Each producer's values arrive in its order, none twice; what is missing was counted as dropped.
fn many_to(consumers: usize, overrun: Overrun, capacity: usize) {
    const PRODUCERS: u64 = 3;
    let queue = Arc::new(Queue::new(capacity, overrun));
    let dropped = AtomicU64::new(0);
    let seen: Vec<_> = (0..PRODUCERS * EACH).map(|_| AtomicUsize::new(0)).collect();
    std::thread::scope(|scope| {
        let producers: Vec<_> = (0..PRODUCERS)
            .map(|p| {
                let (queue, dropped) = (&queue, &dropped);
                scope.spawn(move || {
                    for i in 0..EACH {
                        match queue.push(boxed(p * EACH + i)).expect("open") {
                            Pushed::Stored => {}
                            // Relaxed: a tally read after the threads ended.
                            Pushed::DroppedOldest(_) | Pushed::DroppedNewest(_) => {
                                dropped.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                    }
                })
            })
            .collect();
        for _ in 0..consumers {
            scope.spawn(|| {
                let mut last = [None; PRODUCERS as usize];
                while let Some(v) = queue.pop() {
                    let producer = (*v / EACH) as usize;
                    assert!(Some(*v) > last[producer], "out of order");
                    last[producer] = Some(*v);
                    // Relaxed: a tally read after the threads ended.
                    seen[*v as usize].fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for producer in producers {
            producer.join().expect("the producer ended");
        }
        queue.close();
    });
    // Relaxed: the threads ended.
    assert!(
        seen.iter().all(|n| n.load(Ordering::Relaxed) <= 1),
        "delivered twice"
    );
    // Relaxed: as above.
    let got: usize = seen.iter().map(|n| n.load(Ordering::Relaxed)).sum();
    // Relaxed: as above.
    let dropped = dropped.load(Ordering::Relaxed);
    assert_eq!(got as u64 + dropped, PRODUCERS * EACH, "{overrun:?} {capacity}");
    assert_eq!(queue.drops().total(), dropped);
}

#[test]
fn b11_slots_reused_at_once_are_never_mistaken_for_older_laps() {
    // Capacity 1 and 2: every push reuses the slot that was just emptied, which is where ABA would strike.
    for overrun in POLICIES {
        many_to(2, overrun, 1);
        many_to(2, overrun, 2);
    }
}

#[test]
fn a8_mpmc_delivers_every_value_once_and_counts_every_drop() {
    for overrun in POLICIES {
        many_to(3, overrun, 64);
    }
}

#[test]
fn a8_mpsc_closes_with_its_last_sender_after_all_that_was_pushed() {
    for overrun in POLICIES {
        for capacity in [1, 8] {
            let (tx, mut rx) = mpsc::channel(capacity, overrun);
            let producers: Vec<_> = (0..3)
                .map(|_| {
                    let tx = tx.clone();
                    std::thread::spawn(move || {
                        let mut dropped = 0u64;
                        for i in 0..EACH {
                            if !matches!(tx.push(boxed(i)), Ok(Pushed::Stored)) {
                                dropped += 1;
                            }
                        }
                        dropped
                    })
                })
                .collect();
            drop(tx);
            let got = std::iter::from_fn(|| rx.pop()).count() as u64;
            let dropped: u64 = producers.into_iter().map(|p| p.join().expect("it ended")).sum();
            assert_eq!(
                (got + dropped, rx.drops().total()),
                (3 * EACH, dropped),
                "{overrun:?}"
            );
        }
    }
}

#[test]
fn b11_empty_pool_of_slots_blocks_and_wakes() {
    // Both sides sleep in turn: a producer that finds no slot, a consumer that finds no value.
    let queue = Arc::new(Queue::new(1, Overrun::Block));
    let popper = {
        let queue = Arc::clone(&queue);
        std::thread::spawn(move || {
            let mut sum = 0u64;
            while let Some(v) = queue.pop() {
                sum += v;
                if v % 64 == 0 {
                    std::thread::sleep(std::time::Duration::from_micros(200));
                }
            }
            sum
        })
    };
    for i in 0..2_000 {
        assert_eq!(queue.push(i), Ok(Pushed::Stored));
        if i % 100 == 0 {
            std::thread::sleep(std::time::Duration::from_micros(500));
        }
    }
    queue.close();
    assert_eq!(popper.join().expect("it ended"), 1_999 * 2_000 / 2);
}

#[test]
fn blocked_push_gets_its_value_back_when_the_queue_closes() {
    let (tx, rx) = mpsc::channel(1, Overrun::Block);
    assert_eq!(tx.push(boxed(1)), Ok(Pushed::Stored));
    let blocked = std::thread::spawn(move || tx.push(boxed(2)));
    std::thread::sleep(std::time::Duration::from_millis(5));
    drop(rx);
    let value = *blocked.join().expect("woken").expect_err("closed").0;
    assert_eq!(value, 2);
}
