//! The seqlock as its users see it: whole values, bounded reads, a writer that fails.
#![cfg(not(any(loom, shuttle)))]

use seqstats::{Plain, SeqLock, Writer};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn round_trip<T: Plain + Send + PartialEq + std::fmt::Debug>(first: T, second: T) {
    let lock = SeqLock::new(first);
    assert_eq!(lock.read(), first);
    lock.write(second);
    assert_eq!(lock.try_read(), Some(second));
    assert_eq!(lock.into_inner(), second);
}

#[test]
fn every_size_from_zero_to_seventeen_bytes_comes_back_whole() {
    round_trip([0u8; 0], [0u8; 0]);
    round_trip((), ());
    macro_rules! sizes { ($($n:literal)*) => { $(round_trip(
        std::array::from_fn::<u8, $n, _>(|i| i as u8 + 1),
        std::array::from_fn::<u8, $n, _>(|i| 0xff - i as u8),
    );)* } }
    sizes!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17);
    round_trip(1.5f64, f64::INFINITY);
    round_trip([1u16; 5], [2u16; 5]);
    round_trip(u128::MAX, 1);
    round_trip([7u64; 32], [9u64; 32]);
}

#[test]
fn c3_panicking_writer_leaves_readers_unharmed() {
    let lock = SeqLock::new([1u64, 1]);
    let failed = catch_unwind(AssertUnwindSafe(|| {
        lock.update(|pair| {
            pair[0] = 99;
            panic!("in the closure");
        })
    }));
    assert!(failed.is_err());
    assert_eq!(lock.try_read(), Some([1, 1]), "a half-made change was published");
    lock.update(|pair| *pair = [2, 2]);
    assert_eq!(lock.read(), [2, 2], "the lock is still usable");

    let mut writer = Writer::try_claim(&lock).expect("the turn came back");
    let failed = catch_unwind(AssertUnwindSafe(|| writer.update(|_| panic!("again"))));
    assert!(failed.is_err());
    writer.write([3, 3]);
    assert_eq!(lock.read(), [3, 3]);
}

#[test]
fn c3_sequence_wraps_without_a_torn_or_refused_read() {
    let lock = SeqLock::with_sequence([0u64; 4], u64::MAX / 2 - 2);
    let mut writer = Writer::try_claim(&lock).expect("no writer yet");
    for i in 0..8 {
        writer.write([i; 4]);
        assert_eq!(lock.try_read(), Some([i; 4]), "write {i}");
    }
    drop(writer);
    assert!(format!("{lock:?}").contains('7'));
}

#[test]
fn second_writer_gets_its_handle_back() {
    let lock = Arc::new(SeqLock::new(0u64));
    let first = Writer::try_claim(Arc::clone(&lock)).expect("no writer yet");
    let refused = Writer::try_claim(Arc::clone(&lock)).expect_err("one writer at a time");
    assert!(Arc::ptr_eq(&refused, &lock));
    drop(first);
    assert!(Writer::try_claim(refused).is_ok());
}

#[test]
fn c3_bounded_read_gives_up_and_no_copy_is_torn_beside_a_flat_out_writer() {
    let lock = SeqLock::new([0u64; 8]);
    let stop = AtomicBool::new(false);
    let whole = |v: [u64; 8]| assert!(v.iter().all(|w| *w == v[0]), "torn: {v:?}");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut writer = Writer::try_claim(&lock).expect("the only writer");
            let mut i = 0;
            // Relaxed: only an end is signalled.
            while !stop.load(Ordering::Relaxed) {
                i += 1;
                writer.write([i; 8]);
            }
        });
        let mut refused = 0u64;
        for _ in 0..200_000 {
            whole(lock.read());
            match lock.read_bounded(2) {
                Some(v) => whole(v),
                None => refused += 1,
            }
        }
        assert_eq!(lock.read_bounded(0), None);
        // Relaxed: as above.
        stop.store(true, Ordering::Relaxed);
        println!("refused after two attempts: {refused} of 200000");
    });
}

#[test]
fn writers_under_the_lock_lose_no_update() {
    let lock = SeqLock::new([0u64; 2]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10_000 {
                    lock.update(|pair| {
                        pair[0] += 1;
                        pair[1] += 2;
                    });
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..20_000 {
                let [one, two] = lock.read();
                assert_eq!(two, one * 2);
            }
        });
    });
    assert_eq!(lock.read(), [40_000, 80_000]);
}

#[test]
fn waiting_writer_is_woken_when_the_turn_comes_back() {
    let lock = SeqLock::new(0u64);
    for round in 0..50 {
        let writer = lock.lock();
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| lock.update(|v| *v += 1));
            if round % 2 == 0 {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            drop(writer);
            waiter.join().expect("the waiter was woken");
        });
    }
    assert_eq!(lock.read(), 50);
}
