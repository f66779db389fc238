//! seqstats' seqlock: a copy that is accepted is one published value, and writers take turns.
#![cfg(loom)]

use loom_tests::{Bounds, check};
use seqstats::{SeqLock, Writer};
use sync_base::sync::Arc;
use sync_base::thread;

const TWO: Bounds = Bounds {
    threads: 3,
    quick: 2,
    deep: 3,
};

#[test]
fn c3_accepted_copy_is_whole_and_not_older_than_the_last() {
    check("seqlock.copy_is_whole", TWO, || {
        let lock = Arc::new(SeqLock::new([0u64; 2]));
        let theirs = Arc::clone(&lock);
        let writer = thread::spawn(move || {
            let mut writer = Writer::try_claim(theirs).expect("the only writer");
            writer.write([1; 2]);
            writer.write([2; 2]);
        });
        let theirs = Arc::clone(&lock);
        let reader = thread::spawn(move || {
            let mut last = 0;
            for _ in 0..2 {
                if let Some([a, b]) = theirs.try_read() {
                    assert_eq!(a, b, "torn");
                    assert!(a >= last, "went back");
                    last = a;
                }
            }
        });
        writer.join().unwrap();
        reader.join().unwrap();
        assert_eq!(lock.try_read(), Some([2; 2]));
    });
}

#[test]
fn c3_copy_across_the_wrap_of_the_sequence_is_whole() {
    check("seqlock.wrap", TWO, || {
        let lock = Arc::new(SeqLock::with_sequence([0u64; 2], u64::MAX / 2));
        let theirs = Arc::clone(&lock);
        let writer = thread::spawn(move || {
            let mut writer = Writer::try_claim(theirs).expect("the only writer");
            writer.write([1; 2]);
            writer.write([2; 2]);
        });
        let theirs = Arc::clone(&lock);
        let reader = thread::spawn(move || {
            if let Some([a, b]) = theirs.try_read() {
                assert_eq!(a, b, "torn");
            }
        });
        writer.join().unwrap();
        reader.join().unwrap();
    });
}

#[test]
fn c3_writers_take_turns_sleep_and_are_woken() {
    check("seqlock.writers_take_turns", TWO, || {
        let lock = Arc::new(SeqLock::new([0u64; 2]));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let lock = Arc::clone(&lock);
                thread::spawn(move || {
                    lock.update(|[a, b]| {
                        assert_eq!(a, b, "the last writer's words were not all seen");
                        *a += 1;
                        *b += 1;
                    });
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(lock.try_read(), Some([2; 2]), "an update was lost");
    });
}

#[test]
fn c3_three_writers_never_sleep_through_their_turn() {
    let three = Bounds {
        threads: 4,
        quick: 2,
        deep: 3,
    };
    check("seqlock.three_writers", three, || {
        let lock = Arc::new(SeqLock::new(0u64));
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let lock = Arc::clone(&lock);
                thread::spawn(move || lock.update(|v| *v += 1))
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(lock.try_read(), Some(3));
    });
}
