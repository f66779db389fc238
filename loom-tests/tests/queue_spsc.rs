//! sync-base's queue of one producer, one consumer: slots have one owner, sleepers are woken, a close strands nothing.
#![cfg(loom)]

use loom_tests::{Bounds, check};
use sync_base::cell::UnsafeCell;
use sync_base::interrupt::{Model, under};
use sync_base::queue::{Overrun, PopError, Pushed, spsc};
use sync_base::sync::Arc;
use sync_base::thread;

const TWO: Bounds = Bounds {
    threads: 3,
    quick: 3,
    deep: 4,
};

/// Loom reports an `Arc` that is never dropped.
fn value(v: u64) -> Arc<u64> {
    Arc::new(v)
}

#[test]
fn a8_values_arrive_in_order_and_slots_are_not_shared() {
    check("spsc.in_order", TWO, || {
        let (mut tx, mut rx) = spsc::channel(1, Overrun::DropNewest);
        let producer = thread::spawn(move || (1..=2).filter(|i| tx.try_push(value(*i)).is_ok()).count());
        let consumer = thread::spawn(move || {
            let got: Vec<u64> = (0..2).filter_map(|_| rx.try_pop().ok()).map(|v| *v).collect();
            (got, rx)
        });
        let pushed = producer.join().unwrap();
        let (mut got, mut rx) = consumer.join().unwrap();
        got.extend(std::iter::from_fn(|| rx.try_pop().ok()).map(|v| *v));
        assert_eq!(got.len(), pushed);
        assert!(got.is_sorted_by(|a, b| a < b));
        assert_eq!(rx.try_pop().unwrap_err(), PopError::Closed);
    });
}

#[test]
fn a8_every_value_is_popped_displaced_or_handed_back_once() {
    check("spsc.drop_oldest", TWO, || {
        let (mut tx, mut rx) = spsc::channel(1, Overrun::DropOldest);
        let producer = thread::spawn(move || {
            let mut back = Vec::new();
            for i in 1..=3 {
                match tx.push(value(i)).expect("the consumer stays") {
                    Pushed::Stored => {}
                    Pushed::DroppedOldest(v) | Pushed::DroppedNewest(v) => back.push(*v),
                }
            }
            assert_eq!(tx.drops().total(), back.len() as u64);
            back
        });
        let consumer = thread::spawn(move || {
            let got: Vec<u64> = (0..2).filter_map(|_| rx.try_pop().ok()).map(|v| *v).collect();
            (got, rx)
        });
        let back = producer.join().unwrap();
        let (mut got, mut rx) = consumer.join().unwrap();
        got.extend(std::iter::from_fn(|| rx.try_pop().ok()).map(|v| *v));
        assert!(got.is_sorted_by(|a, b| a < b), "{got:?}");
        got.extend(back);
        got.sort_unstable();
        assert_eq!(got, [1, 2, 3]);
    });
}

/// The consumer reads a batch in place while the producer pushes; loom watches the slots.
fn batch(name: &str, overrun: Overrun) {
    check(name, TWO, move || {
        let (mut tx, mut rx) = spsc::channel(2, overrun);
        tx.try_push(1u64).unwrap();
        let producer = thread::spawn(move || {
            for i in 2..=3 {
                let _ = tx.push(i).expect("the consumer stays");
            }
            tx
        });
        let consumer = thread::spawn(move || {
            let batch = rx.batch(2);
            let (first, second) = batch.slices();
            let seen: Vec<u64> = first.iter().chain(second).copied().collect();
            assert!(seen.is_sorted_by(|a, b| a < b), "{seen:?}");
            batch.consume(1);
            rx
        });
        let _tx = producer.join().unwrap();
        let mut rx = consumer.join().unwrap();
        let rest: Vec<u64> = std::iter::from_fn(|| rx.try_pop().ok()).collect();
        assert!(rest.is_sorted_by(|a, b| a < b) && !rest.is_empty(), "{rest:?}");
    });
}

#[test]
fn a10_slots_of_a_batch_are_not_reused_while_it_is_borrowed() {
    batch("spsc.batch", Overrun::DropNewest);
}

#[test]
fn a10_slots_of_a_batch_are_not_displaced_while_it_is_borrowed() {
    batch("spsc.batch_drop_oldest", Overrun::DropOldest);
}

#[test]
fn a8_length_is_that_of_one_moment_while_the_oldest_gives_way() {
    check("spsc.length", TWO, || {
        let (mut tx, rx) = spsc::channel(3, Overrun::DropOldest);
        for i in 0..3 {
            tx.try_push(i).unwrap();
        }
        let producer = thread::spawn(move || {
            for i in 3..5 {
                assert!(matches!(tx.push(i), Ok(Pushed::DroppedOldest(_))));
            }
            tx
        });
        let consumer = thread::spawn(move || {
            let len = rx.len();
            assert!((2..=3).contains(&len), "{len} were never queued");
            rx
        });
        let _tx = producer.join().unwrap();
        let _rx = consumer.join().unwrap();
    });
}

fn pop_wakes() {
    let (mut tx, mut rx) = spsc::channel(1, Overrun::DropNewest);
    let producer = thread::spawn(move || tx.try_push(value(1)).is_ok());
    let consumer = thread::spawn(move || {
        assert_eq!(rx.pop().map(|v| *v), Some(1));
        assert!(rx.pop().is_none());
    });
    assert!(producer.join().unwrap());
    consumer.join().unwrap();
}

#[test]
fn a8_sleeping_consumer_is_woken_by_a_push_and_by_the_close() {
    check("spsc.pop_wakes", TWO, pop_wakes);
}

#[test]
fn a8_sleeping_consumer_is_woken_by_a_push_and_by_the_close_fenced() {
    under(Model::Fence, || check("spsc.pop_wakes.fenced", TWO, pop_wakes));
}

#[test]
fn a8_sleeping_producer_is_woken_by_a_pop() {
    check("spsc.push_wakes", TWO, || {
        let (mut tx, mut rx) = spsc::channel(1, Overrun::Block);
        let producer = thread::spawn(move || {
            for i in 1..=2 {
                assert!(matches!(tx.push(i), Ok(Pushed::Stored)));
            }
        });
        let consumer = thread::spawn(move || {
            assert_eq!((rx.pop(), rx.pop()), (Some(1), Some(2)));
        });
        producer.join().unwrap();
        consumer.join().unwrap();
    });
}

#[test]
fn a8_sleeping_producer_is_woken_by_the_close_and_gets_its_value_back() {
    check("spsc.close_wakes_producer", TWO, || {
        let (mut tx, rx) = spsc::channel(1, Overrun::Block);
        tx.try_push(value(1)).unwrap();
        let producer = thread::spawn(move || *tx.push(value(2)).expect_err("nobody pops").0);
        let consumer = thread::spawn(move || drop(rx));
        assert_eq!(producer.join().unwrap(), 2);
        consumer.join().unwrap();
    });
}

#[test]
fn a8_closed_is_said_only_after_the_last_value() {
    check("spsc.close", TWO, || {
        let (mut tx, mut rx) = spsc::channel(2, Overrun::DropNewest);
        let producer = thread::spawn(move || tx.try_push(value(1)).unwrap());
        let consumer = thread::spawn(move || {
            let mut got = 0;
            for _ in 0..3 {
                match rx.try_pop() {
                    Ok(_) => got += 1,
                    Err(PopError::Empty) => {}
                    Err(PopError::Closed) => assert_eq!(got, 1, "closed before its last value"),
                }
            }
            rx
        });
        producer.join().unwrap();
        drop(consumer.join().unwrap());
    });
}

/// What one end did before it left is seen by the other end once that sees it gone.
fn leaving_is_seen_whole<A: 'static, B: 'static>(name: &str, ends: fn() -> (A, B), gone: fn(&B) -> bool) {
    check(name, TWO, move || {
        let (leaving, staying) = ends();
        let note = Arc::new(UnsafeCell::new(0));
        let theirs = Arc::clone(&note);
        let leaves = thread::spawn(move || {
            // SAFETY: read by the other end only once this one is gone; loom reports it otherwise.
            theirs.with_mut(|n| unsafe { *n = 5 });
            drop(leaving);
            theirs
        });
        let stays = thread::spawn(move || {
            if gone(&staying) {
                // SAFETY: as above.
                assert_eq!(note.with(|n| unsafe { *n }), 5);
            }
            (staying, note)
        });
        let _note = leaves.join().unwrap();
        let _end = stays.join().unwrap();
    });
}

#[test]
fn a8_producer_that_sees_the_consumer_gone_sees_what_it_did() {
    let ends = || {
        let (tx, rx) = spsc::channel::<u64>(1, Overrun::DropNewest);
        (rx, tx)
    };
    leaving_is_seen_whole("spsc.consumer_gone", ends, |tx| tx.is_closed());
}

#[test]
fn a8_consumer_that_sees_the_producer_gone_sees_what_it_did() {
    let ends = || spsc::channel::<u64>(1, Overrun::DropNewest);
    leaving_is_seen_whole("spsc.producer_gone", ends, |rx| rx.is_closed());
}

/// A consumer that leaves drops what is queued, while the producer pushes, and under `DropOldest` displaces, beside it.
#[test]
fn b11_what_is_queued_as_the_consumer_leaves_is_dropped_once() {
    for (name, overrun) in [
        ("spsc.leaving", Overrun::DropNewest),
        ("spsc.leaving_drop_oldest", Overrun::DropOldest),
    ] {
        check(name, TWO, move || {
            let (mut tx, rx) = spsc::channel(1, overrun);
            tx.try_push(value(1)).unwrap();
            let producer = thread::spawn(move || {
                for i in 2..=3 {
                    match tx.push(value(i)) {
                        Ok(Pushed::Stored) => {}
                        Ok(Pushed::DroppedOldest(back) | Pushed::DroppedNewest(back)) => assert!(*back <= i),
                        Err(closed) => assert_eq!(*closed.0, i),
                    }
                }
                tx
            });
            let consumer = thread::spawn(move || drop(rx));
            let tx = producer.join().unwrap();
            consumer.join().unwrap();
            assert!(tx.is_closed());
        });
    }
}
