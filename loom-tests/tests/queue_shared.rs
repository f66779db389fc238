//! sync-base's queues of many producers: positions have one owner, drops are counted, a close strands nothing.
#![cfg(loom)]

use loom_tests::{Bounds, check};
use std::collections::VecDeque;
use sync_base::queue::{Overrun, PopError, PushError, Pushed, mpmc::Queue, mpsc};
use sync_base::sync::Arc;
use sync_base::thread;

const THREE: Bounds = Bounds {
    threads: 4,
    quick: 2,
    deep: 3,
};
const TWO: Bounds = Bounds {
    threads: 3,
    quick: 2,
    deep: 3,
};

/// Loom reports an `Arc` that is never dropped.
fn value(v: u64) -> Arc<u64> {
    Arc::new(v)
}

fn drain(queue: &Queue<Arc<u64>>) -> Vec<u64> {
    std::iter::from_fn(|| queue.try_pop().ok()).map(|v| *v).collect()
}

#[test]
fn b11_two_producers_never_share_a_slot() {
    check("mpmc.two_producers", THREE, || {
        let queue = Arc::new(Queue::new(1, Overrun::DropNewest));
        let producers: Vec<_> = (1..=2)
            .map(|i| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || queue.try_push(value(i)).is_ok())
            })
            .collect();
        let theirs = Arc::clone(&queue);
        let consumer = thread::spawn(move || theirs.try_pop().ok().map(|v| *v));
        let pushed = producers
            .into_iter()
            .map(|p| p.join().unwrap())
            .filter(|ok| *ok)
            .count();
        let mut got: Vec<u64> = consumer.join().unwrap().into_iter().collect();
        got.extend(drain(&queue));
        got.sort_unstable();
        got.dedup();
        assert_eq!(got.len(), pushed);
        assert!(pushed >= 1);
    });
}

#[test]
fn b11_two_consumers_never_take_the_same_value() {
    check("mpmc.two_consumers", THREE, || {
        let queue = Arc::new(Queue::new(2, Overrun::DropNewest));
        queue.try_push(value(1)).unwrap();
        let consumers: Vec<_> = (0..2)
            .map(|_| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || queue.try_pop().ok().map(|v| *v))
            })
            .collect();
        let theirs = Arc::clone(&queue);
        let producer = thread::spawn(move || (2..=3).filter(|i| theirs.try_push(value(*i)).is_ok()).count());
        let mut got: Vec<u64> = consumers.into_iter().filter_map(|c| c.join().unwrap()).collect();
        let pushed = producer.join().unwrap();
        got.extend(drain(&queue));
        got.sort_unstable();
        assert!(got.is_sorted_by(|a, b| a < b), "taken twice: {got:?}");
        assert_eq!(got.len(), pushed + 1);
    });
}

#[test]
fn b11_value_behind_a_lagging_producer_is_not_missed() {
    check("mpmc.lagging_producer", TWO, || {
        let queue = Arc::new(Queue::new(2, Overrun::DropNewest));
        let threads: Vec<_> = (1..=2)
            .map(|i| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || {
                    queue.try_push(i).expect("room for two");
                    // As many pops as pushes that returned: calling the queue empty now would be a lie, even where the
                    // oldest position was claimed by the other thread and is not written yet.
                    queue.try_pop().expect("a value is due")
                })
            })
            .collect();
        let mut got: Vec<u64> = threads.into_iter().map(|t| t.join().unwrap()).collect();
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
    });
}

#[test]
fn b11_room_behind_a_lagging_consumer_is_not_missed() {
    check("mpmc.lagging_consumer", TWO, || {
        let queue = Arc::new(Queue::new(4, Overrun::DropNewest));
        (0..4).for_each(|i| queue.try_push(i).expect("room for four"));
        let threads = [1, 2].map(|pops| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                for _ in 0..pops {
                    queue.try_pop().expect("four values, three pops");
                }
                // Each thread pops before it pushes: calling the queue full now would be a lie.
                queue.try_push(9).expect("room is due");
                queue
            })
        });
        let [queue, _other] = threads.map(|t| t.join().unwrap());
        assert_eq!(queue.len(), 3);
    });
}

/// A push or a pop that fell behind, and finds the index moved on, sees what the threads that moved it did before.
#[test]
fn b11_an_operation_that_fell_behind_misses_neither_room_nor_value() {
    check("mpmc.room_after_falling_behind", TWO, || {
        let queue = Arc::new(Queue::new(4, Overrun::DropNewest));
        queue.try_push(0).expect("room for four");
        let theirs = Arc::clone(&queue);
        let ahead = thread::spawn(move || {
            theirs.try_push(1).expect("never more than three");
            for _ in 0..2 {
                theirs.try_pop().expect("two values at least");
            }
            for i in 2..4 {
                theirs.try_push(i).expect("never more than three");
            }
        });
        // The position that it looks at first may be filled already, and the next one, of the next lap, may have been.
        let behind = thread::spawn(move || queue.try_push(9).expect("never more than three"));
        ahead.join().unwrap();
        behind.join().unwrap();
    });
}

/// One or two values are queued all the time.
#[test]
fn a8_length_is_that_of_one_moment() {
    check("mpmc.length", TWO, || {
        let queue = Arc::new(Queue::new(4, Overrun::DropNewest));
        queue.try_push(0).expect("room for four");
        let theirs = Arc::clone(&queue);
        let busy = thread::spawn(move || {
            for i in 1..4 {
                theirs.try_push(i).expect("room for four");
                theirs.try_pop().expect("two values");
            }
        });
        let watching = thread::spawn(move || {
            let len = queue.len();
            assert!((1..=2).contains(&len), "{len} were never queued");
        });
        busy.join().unwrap();
        watching.join().unwrap();
    });
    check("mpmc.length_displaced", TWO, || {
        let queue = Arc::new(Queue::new(2, Overrun::DropOldest));
        (0..2).for_each(|i| queue.try_push(i).expect("room for two"));
        let theirs = Arc::clone(&queue);
        let busy = thread::spawn(move || {
            for i in 2..4 {
                assert!(matches!(theirs.push(i), Ok(Pushed::DroppedOldest(_))));
            }
        });
        let watching = thread::spawn(move || {
            let len = queue.len();
            assert!((1..=2).contains(&len), "{len} were never queued");
        });
        busy.join().unwrap();
        watching.join().unwrap();
    });
    check("mpsc.length", TWO, || {
        let (tx, mut rx) = mpsc::channel(4, Overrun::DropNewest);
        tx.try_push(0).expect("room for four");
        let theirs = tx.clone();
        let busy = thread::spawn(move || {
            for i in 1..4 {
                theirs.try_push(i).expect("room for four");
                rx.try_pop().expect("two values");
            }
            rx
        });
        let watching = thread::spawn(move || {
            let len = tx.len();
            assert!((1..=2).contains(&len), "{len} were never queued");
        });
        let _rx = busy.join().unwrap();
        watching.join().unwrap();
    });
}

#[test]
fn a8_batches_publish_their_indices_as_single_values_do() {
    check("mpmc.room_beside_batch", TWO, || {
        let queue = Arc::new(Queue::new(4, Overrun::DropNewest));
        (0..4).for_each(|i| queue.try_push(i).expect("room for four"));
        let theirs = Arc::clone(&queue);
        let batch = thread::spawn(move || {
            for _ in 0..2 {
                theirs.try_pop().expect("four values, three pops");
            }
            theirs.push_batch(&mut VecDeque::from([9])).expect("open")
        });
        let theirs = Arc::clone(&queue);
        let single = thread::spawn(move || {
            theirs.try_pop().expect("four values, three pops");
            theirs.try_push(9).expect("room is due");
        });
        single.join().unwrap();
        assert_eq!(batch.join().unwrap() + 2, queue.len());
    });
    check("mpmc.value_beside_batch", TWO, || {
        let queue = Arc::new(Queue::new(4, Overrun::DropNewest));
        let theirs = Arc::clone(&queue);
        let batch = thread::spawn(move || {
            for i in 1..=2 {
                theirs.try_push(i).expect("room for four");
            }
            theirs.pop_batch(&mut Vec::new(), 1)
        });
        let theirs = Arc::clone(&queue);
        let single = thread::spawn(move || {
            theirs.try_push(3).expect("room for four");
            theirs.try_pop().expect("a value is due");
        });
        single.join().unwrap();
        assert_eq!(2 - batch.join().unwrap(), queue.len());
    });
}

#[test]
fn a8_queue_whose_oldest_gives_way_is_not_called_empty() {
    check("mpmc.displaced_not_empty", TWO, || {
        let queue = Arc::new(Queue::new(2, Overrun::DropOldest));
        (0..2).for_each(|i| queue.try_push(i).expect("room for two"));
        let theirs = Arc::clone(&queue);
        let producer = thread::spawn(move || {
            for i in 2..4 {
                let _ = theirs.push(i).expect("open");
            }
        });
        let consumer = thread::spawn(move || queue.try_pop().expect("one value stays at least"));
        producer.join().unwrap();
        consumer.join().unwrap();
    });
}

#[test]
fn b11_slot_of_the_next_lap_waits_for_the_last_reader() {
    check("mpmc.laps", TWO, || {
        let queue = Arc::new(Queue::new(1, Overrun::DropNewest));
        let theirs = Arc::clone(&queue);
        let producer = thread::spawn(move || (1..=3).filter(|i| theirs.try_push(value(*i)).is_ok()).count());
        let theirs = Arc::clone(&queue);
        let consumer = thread::spawn(move || {
            (0..2)
                .filter_map(|_| theirs.try_pop().ok())
                .map(|v| *v)
                .collect::<Vec<_>>()
        });
        let pushed = producer.join().unwrap();
        let mut got = consumer.join().unwrap();
        got.extend(drain(&queue));
        assert!(got.is_sorted_by(|a, b| a < b), "{got:?}");
        assert_eq!(got.len(), pushed);
    });
}

#[test]
fn a8_displaced_values_are_handed_out_once_and_counted() {
    check("mpmc.drop_oldest", TWO, || {
        let queue = Arc::new(Queue::new(1, Overrun::DropOldest));
        queue.try_push(value(1)).unwrap();
        let producers: Vec<_> = (2..=3)
            .map(|i| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || match queue.push(value(i)).expect("open") {
                    Pushed::Stored => None,
                    Pushed::DroppedOldest(v) | Pushed::DroppedNewest(v) => Some(*v),
                })
            })
            .collect();
        let mut got: Vec<u64> = producers.into_iter().filter_map(|p| p.join().unwrap()).collect();
        assert_eq!(queue.drops().oldest, got.len() as u64);
        got.extend(drain(&queue));
        got.sort_unstable();
        assert_eq!(got, [1, 2, 3]);
    });
}

#[test]
fn a8_value_is_displaced_or_popped_and_never_both() {
    check("mpmc.drop_oldest_pop", TWO, || {
        let queue = Arc::new(Queue::new(1, Overrun::DropOldest));
        let theirs = Arc::clone(&queue);
        let producer = thread::spawn(move || {
            let push = |i| match theirs.push(value(i)).expect("open") {
                Pushed::Stored => None,
                Pushed::DroppedOldest(v) | Pushed::DroppedNewest(v) => Some(*v),
            };
            (1..=2).filter_map(push).collect::<Vec<u64>>()
        });
        let theirs = Arc::clone(&queue);
        let consumer = thread::spawn(move || {
            (0..1)
                .filter_map(|_| theirs.try_pop().ok())
                .map(|v| *v)
                .collect::<Vec<_>>()
        });
        let mut got = producer.join().unwrap();
        let popped = consumer.join().unwrap();
        assert!(popped.is_sorted_by(|a, b| a < b), "{popped:?}");
        got.extend(popped);
        got.extend(drain(&queue));
        got.sort_unstable();
        assert_eq!(got, [1, 2]);
    });
}

#[test]
fn a8_sleepers_on_both_sides_are_woken() {
    check("mpmc.sleepers", TWO, || {
        let queue = Arc::new(Queue::new(1, Overrun::Block));
        let theirs = Arc::clone(&queue);
        let producer = thread::spawn(move || {
            for i in 1..=2 {
                assert!(matches!(theirs.push(i), Ok(Pushed::Stored)));
            }
            theirs.close();
        });
        let theirs = Arc::clone(&queue);
        let consumer = thread::spawn(move || std::iter::from_fn(|| theirs.pop()).collect::<Vec<u64>>());
        producer.join().unwrap();
        assert_eq!(consumer.join().unwrap(), [1, 2]);
    });
}

#[test]
fn a8_push_beside_a_close_is_popped_or_handed_back() {
    check("mpmc.close", THREE, || {
        let queue = Arc::new(Queue::new(1, Overrun::DropNewest));
        let theirs = Arc::clone(&queue);
        let producer = thread::spawn(move || match theirs.try_push(value(1)) {
            Ok(()) => 1,
            Err(PushError::Closed(_)) => 0,
            Err(PushError::Full(_)) => unreachable!("nothing else is pushed"),
        });
        let theirs = Arc::clone(&queue);
        let closer = thread::spawn(move || theirs.close());
        let theirs = Arc::clone(&queue);
        let consumer = thread::spawn(move || {
            for _ in 0..2 {
                match theirs.try_pop() {
                    Ok(_) => return Some(1),
                    Err(PopError::Empty) => {}
                    Err(PopError::Closed) => return Some(0),
                }
            }
            None
        });
        let pushed = producer.join().unwrap();
        closer.join().unwrap();
        match consumer.join().unwrap() {
            Some(popped) => assert_eq!(popped, pushed, "closed was said while a value was to come"),
            None => assert_eq!(drain(&queue).len(), pushed),
        }
    });
}

#[test]
fn a8_displacing_beside_a_close_strands_nothing() {
    check("mpmc.drop_oldest_close", THREE, || {
        let queue = Arc::new(Queue::new(1, Overrun::DropOldest));
        queue.try_push(value(1)).unwrap();
        let theirs = Arc::clone(&queue);
        let producer = thread::spawn(move || theirs.push(value(2)).is_ok());
        let theirs = Arc::clone(&queue);
        let closer = thread::spawn(move || theirs.close());
        let theirs = Arc::clone(&queue);
        let consumer = thread::spawn(move || theirs.try_pop().map(|v| *v));
        let stored = producer.join().unwrap();
        closer.join().unwrap();
        let popped = consumer.join().unwrap();
        let rest = drain(&queue);
        assert_eq!(rest.contains(&2) || popped == Ok(2), stored);
        if popped == Err(PopError::Closed) {
            assert!(rest.is_empty(), "closed was said while a value was to come");
        }
    });
}

#[test]
fn a8_batches_take_neighbouring_positions_once() {
    check("mpmc.batches", THREE, || {
        let queue = Arc::new(Queue::new(2, Overrun::DropNewest));
        let theirs = Arc::clone(&queue);
        let producer = thread::spawn(move || {
            let mut values = VecDeque::from([value(1), value(2)]);
            theirs.push_batch(&mut values).expect("open")
        });
        let theirs = Arc::clone(&queue);
        let other = thread::spawn(move || usize::from(theirs.try_push(value(3)).is_ok()));
        let theirs = Arc::clone(&queue);
        let consumer = thread::spawn(move || {
            let mut got = Vec::new();
            theirs.pop_batch(&mut got, 2);
            got.iter().map(|v| **v).collect::<Vec<_>>()
        });
        let pushed = producer.join().unwrap() + other.join().unwrap();
        let mut got = consumer.join().unwrap();
        got.extend(drain(&queue));
        let batch: Vec<u64> = got.iter().copied().filter(|v| *v < 3).collect();
        assert!(batch.is_sorted_by(|a, b| a < b), "{got:?}");
        got.sort_unstable();
        got.dedup();
        assert_eq!(got.len(), pushed);
    });
}

#[test]
fn a8_mpsc_ends_after_the_last_push_of_the_last_sender() {
    let bounds = Bounds {
        quick: 1,
        deep: 2,
        ..THREE
    };
    check("mpsc.close", bounds, || {
        let (tx, mut rx) = mpsc::channel(2, Overrun::DropNewest);
        let senders: Vec<_> = (1..=2)
            .map(|i| {
                let tx = tx.clone();
                thread::spawn(move || assert!(matches!(tx.push(value(i)), Ok(Pushed::Stored))))
            })
            .collect();
        drop(tx);
        let receiver = thread::spawn(move || std::iter::from_fn(|| rx.pop()).map(|v| *v).sum::<u64>());
        for sender in senders {
            sender.join().unwrap();
        }
        assert_eq!(receiver.join().unwrap(), 3);
    });
}

#[test]
fn a8_mpsc_delivers_in_order_over_laps() {
    check("mpsc.laps", TWO, || {
        let (tx, mut rx) = mpsc::channel(1, Overrun::DropNewest);
        let sender = thread::spawn(move || (1..=3).filter(|i| tx.try_push(value(*i)).is_ok()).count());
        let receiver = thread::spawn(move || {
            let got: Vec<u64> = (0..2).filter_map(|_| rx.try_pop().ok()).map(|v| *v).collect();
            (got, rx)
        });
        let pushed = sender.join().unwrap();
        let (mut got, mut rx) = receiver.join().unwrap();
        got.extend(std::iter::from_fn(|| rx.pop()).map(|v| *v));
        assert!(got.is_sorted_by(|a, b| a < b), "{got:?}");
        assert_eq!(got.len(), pushed);
    });
}
