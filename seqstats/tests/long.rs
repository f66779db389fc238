//! No torn copy in a great many reads beside a flat-out writer.
//!
//! `SEQSTATS_READS` sets how many; by default 200,000 of each kind, since debug builds are slow. The full proof is
//! `SEQSTATS_READS=100000000 cargo test -p seqstats --release --test long`.
#![cfg(not(any(loom, shuttle)))]

use seqstats::{Latch, LatchWriter, SeqLock, Writer};
use std::sync::atomic::{AtomicBool, Ordering};

fn reads() -> u64 {
    std::env::var("SEQSTATS_READS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(200_000)
}

/// Copies of one value in a row after which the reader waits for another.
const SAME: u64 = 5_000;
const WAIT_ROUNDS: u64 = 1_000_000;

/// Stops the writer, whatever becomes of the reader.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        // Relaxed: only an end is signalled.
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Reads while `write` runs without pause; every copy is whole, none is older than the one before.
fn beside(mut write: impl FnMut([u64; 8]) + Send, read: impl Fn() -> [u64; 8]) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut i = 0u64;
            // Relaxed: only an end is signalled.
            while !stop.load(Ordering::Relaxed) {
                i += 1;
                write(std::array::from_fn(|k| i.wrapping_mul(k as u64 + 1)));
            }
        });
        let over = Over(&stop);
        let (mut last, mut changes, mut same) = (0, 0, 0);
        for _ in 0..reads() {
            same += 1;
            if same > SAME {
                // The writer lost its core, or cannot get its line back: reading on would show nothing.
                (0..WAIT_ROUNDS)
                    .find(|_| {
                        std::thread::yield_now();
                        read()[0] != last
                    })
                    .expect("the writer stands still");
            }
            let v = read();
            let i = v[0];
            assert!(
                v.iter()
                    .enumerate()
                    .all(|(k, w)| *w == i.wrapping_mul(k as u64 + 1)),
                "torn: {v:?}"
            );
            assert!(i >= last, "went back");
            if i != last {
                (changes, last, same) = (changes + 1, i, 0);
            }
        }
        drop(over);
        println!("{} copies of {changes} values", reads());
        assert!(
            changes >= reads() / (2 * SAME),
            "the writer hardly ran beside the reader: the test shows nothing"
        );
    })
}

#[test]
fn c3_no_seqlock_copy_is_torn_in_a_great_many() {
    let lock = SeqLock::new([0; 8]);
    let mut writer = Writer::try_claim(&lock).expect("the only writer");
    beside(move |v| writer.write(v), || lock.read());
}

#[test]
fn c3_no_latch_copy_is_torn_in_a_great_many() {
    let latch = Latch::<_, 4>::new([0; 8]);
    let mut writer = LatchWriter::try_claim(&latch).expect("the only writer");
    beside(move |v| writer.write(v), || latch.read());
}
