//! flat-combine's adaptive cell: updates are one step on either representation, and publish what came before them.
#![cfg(loom)]

use flat_combine::{Adaptive, AdaptiveCell};
use loom_tests::{Bounds, check};
use sync_base::atomic::{AtomicU64, Ordering};
use sync_base::cell::UnsafeCell;
use sync_base::sync::Arc;
use sync_base::thread;

const TWO: Bounds = Bounds {
    threads: 3,
    quick: 3,
    deep: 4,
};

fn updates<T: Adaptive + std::fmt::Debug + Send + Sync + 'static>(zero: T, next: fn(&T) -> T, sum: T)
where
    T::Repr: Send + Sync,
{
    let cell = Arc::new(AdaptiveCell::new(zero));
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let cell = Arc::clone(&cell);
            thread::spawn(move || {
                cell.fetch_update(|n| Some(next(n))).unwrap();
                let found = cell.load();
                let _ = cell.compare_exchange(&found, found.clone());
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    assert_eq!(cell.load(), sum);
}

#[test]
fn updates_of_a_word_are_one_step() {
    check("cell.word_updates", TWO, || updates(0u32, |n| n + 1, 2));
}

#[test]
fn updates_of_a_locked_value_are_one_step() {
    check("cell.locked_updates", TWO, || {
        updates(vec![0u8], |n| [n.as_slice(), &[0]].concat(), vec![0; 3]);
    });
}

struct Shared(UnsafeCell<u64>);
// SAFETY: written before the cell says so, read after; loom reports it if that is not ordered.
unsafe impl Sync for Shared {}
// SAFETY: as above.
unsafe impl Send for Shared {}

fn publishes<T>(before: T, after: T, put: fn(&AdaptiveCell<T>, T), get: fn(&AdaptiveCell<T>) -> T)
where
    T: Adaptive + Send + Sync + 'static,
    T::Repr: Send + Sync,
{
    let shared = Arc::new((AdaptiveCell::new(before), Shared(UnsafeCell::new(0))));
    let theirs = (Arc::clone(&shared), after.clone());
    let writer = thread::spawn(move || {
        // SAFETY: the reader keeps away until the cell has changed.
        theirs.0.1.0.with_mut(|n| unsafe { *n = 5 });
        put(&theirs.0.0, theirs.1);
    });
    let theirs = Arc::clone(&shared);
    let reader = thread::spawn(move || {
        if get(&theirs.0) == after {
            // SAFETY: the cell has changed, so the writer is done.
            assert_eq!(theirs.1.0.with(|n| unsafe { *n }), 5);
        }
    });
    writer.join().unwrap();
    reader.join().unwrap();
}

#[test]
fn a_value_read_shows_what_its_writer_did_before() {
    check("cell.word_store_load", TWO, || {
        publishes(0u8, 1, |c, v| c.store(v), |c| c.load())
    });
    check("cell.word_swap_swap", TWO, || {
        publishes(0u8, 1, |c, v| _ = c.swap(v), |c| c.swap(7));
    });
    check("cell.word_exchange_exchange", TWO, || {
        publishes(
            0u8,
            1,
            |c, v| _ = c.compare_exchange(&0, v),
            |c| {
                c.compare_exchange(&9, 9)
                    .map_or_else(|refused| refused.found, |found| found)
            },
        );
    });
    check("cell.word_exchange_after_retry", TWO, || {
        publishes(
            0u8,
            1,
            |c, v| _ = c.compare_exchange(&0, v),
            |c| c.fetch_update(|n| Some(n + 10)).unwrap(),
        );
    });
    check("cell.word_refused_after_retry", TWO, || {
        publishes(
            0u8,
            1,
            |c, v| _ = c.compare_exchange(&0, v),
            |c| c.compare_exchange(&0, 9).unwrap_or_else(|refused| refused.found),
        );
    });
    check("cell.locked_store_load", TWO, || {
        publishes(String::new(), "x".into(), |c, v| c.store(v), |c| c.load());
    });
}

/// The value that an update replaces may have come back since the update looked: it is the later one that counts.
#[test]
fn an_update_shows_what_the_writer_of_the_value_that_it_replaced_did_before() {
    check("cell.word_value_came_back", TWO, || {
        let shared = Arc::new((
            AdaptiveCell::new(1u8),
            Shared(UnsafeCell::new(0)),
            AtomicU64::new(0),
        ));
        let theirs = Arc::clone(&shared);
        let writer = thread::spawn(move || {
            let (cell, payload, replaced) = &*theirs;
            // Swaps, not stores: a model puts concurrent stores in no order.
            cell.swap(2);
            // SAFETY: the other thread keeps away until it knows that it replaced the 1 stored next.
            payload.0.with_mut(|n| unsafe { *n = 5 });
            cell.swap(1);
            if cell.compare_exchange(&10, 11).is_ok() {
                // Relaxed: it tells which value was replaced, and must order nothing.
                replaced.store(1, Ordering::Relaxed);
            }
        });
        let theirs = Arc::clone(&shared);
        let updater = thread::spawn(move || {
            let (cell, payload, replaced) = &*theirs;
            let done = cell.fetch_update(|n| (*n == 1).then_some(10)).is_ok();
            // Relaxed: as above.
            if done && replaced.load(Ordering::Relaxed) == 1 {
                // SAFETY: the second 1 was replaced, so the writer is done.
                assert_eq!(payload.0.with(|n| unsafe { *n }), 5);
            }
        });
        writer.join().unwrap();
        updater.join().unwrap();
    });
}
