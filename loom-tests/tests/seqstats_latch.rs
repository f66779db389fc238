//! seqstats' latch: every read is one published value, by a glance or announced.
#![cfg(loom)]

use loom_tests::{Bounds, check};
use seqstats::{Latch, LatchWriter};
use sync_base::sync::Arc;
use sync_base::thread;

type Three = Latch<[u64; 2], 3>;

const TWO: Bounds = Bounds {
    threads: 3,
    quick: 3,
    deep: 4,
};

/// One writer publishes `1..=writes` by `try_write`; `read` runs beside it, twice; nothing torn, nothing older.
fn beside_a_writer(name: &str, bounds: Bounds, writes: u64, readers: usize, read: fn(&Three) -> [u64; 2]) {
    check(name, bounds, move || {
        let latch = Arc::new(Three::new([0; 2]));
        let theirs = Arc::clone(&latch);
        let writer = thread::spawn(move || {
            let mut writer = LatchWriter::try_claim(theirs).expect("the only writer");
            for i in 1..=writes {
                // A reader stopped in a slot may leave no room for the last of them.
                let _ = writer.try_write([i; 2]);
            }
        });
        let readers: Vec<_> = (0..readers)
            .map(|_| {
                let theirs = Arc::clone(&latch);
                thread::spawn(move || {
                    let mut last = 0;
                    for _ in 0..if writes > 2 { 1 } else { 2 } {
                        let [a, b] = read(&theirs);
                        assert_eq!(a, b, "torn");
                        assert!(a >= last, "went back");
                        last = a;
                    }
                })
            })
            .collect();
        writer.join().unwrap();
        for reader in readers {
            reader.join().unwrap();
        }
    });
}

#[test]
fn c3_glance_that_was_lapped_falls_back_and_is_whole() {
    // The fourth write comes round to the slot that was current at the start, the third to one read in between.
    beside_a_writer("latch.lapped", TWO, 4, 1, Latch::read);
}

#[test]
fn c3_reads_never_go_back() {
    beside_a_writer("latch.monotonic", TWO, 2, 1, Latch::read);
}

#[test]
fn c3_announced_reader_is_not_written_over() {
    beside_a_writer("latch.announced", TWO, 4, 1, Latch::read_announced);
}

#[test]
fn c3_two_announced_readers_are_counted_apart() {
    let three = Bounds {
        threads: 4,
        quick: 2,
        deep: 3,
    };
    beside_a_writer("latch.two_announced", three, 3, 2, Latch::read_announced);
}

#[test]
fn c3_next_writer_goes_on_where_the_last_one_stopped() {
    check("latch.hand_over", TWO, || {
        let latch = Arc::new(Three::new([0; 2]));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let latch = Arc::clone(&latch);
                thread::spawn(move || match LatchWriter::try_claim(latch) {
                    Ok(mut writer) => {
                        writer.update(|v| *v = [v[0] + 1; 2]);
                        1
                    }
                    Err(_) => 0,
                })
            })
            .collect();
        let written: u64 = threads.into_iter().map(|t| t.join().unwrap()).sum();
        assert_eq!(latch.read(), [written; 2]);
    });
}
