//! flat-combine's adaptive cell: updates are one step on either representation, and publish what came before them.
#![cfg(loom)]

use flat_combine::{Adaptive, AdaptiveCell};
use loom_tests::{Bounds, check};
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
    check("cell.locked_store_load", TWO, || {
        publishes(String::new(), "x".into(), |c, v| c.store(v), |c| c.load());
    });
}
