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

/// Reads while `write` runs without pause; every copy is whole, none is older than the one before.
fn beside(mut write: impl FnMut([u64; 8]) + Send, read: impl Fn() -> [u64; 8]) -> u64 {
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
        let (mut last, mut changes) = (0, 0);
        for _ in 0..reads() {
            let v = read();
            let i = v[0];
            assert!(
                v.iter()
                    .enumerate()
                    .all(|(k, w)| *w == i.wrapping_mul(k as u64 + 1)),
                "torn: {v:?}"
            );
            assert!(i >= last, "went back");
            changes += u64::from(i != last);
            last = i;
        }
        // Relaxed: as above.
        stop.store(true, Ordering::Relaxed);
        changes
    })
}

#[test]
fn c3_no_seqlock_copy_is_torn_in_a_great_many() {
    let lock = SeqLock::new([0; 8]);
    let mut writer = Writer::try_claim(&lock).expect("the only writer");
    let changes = beside(move |v| writer.write(v), || lock.read());
    assert!(
        changes > 0,
        "the writer never ran beside the reader: the test shows nothing"
    );
    println!("{} copies of {changes} values", reads());
}

#[test]
fn c3_no_latch_copy_is_torn_in_a_great_many() {
    let latch = Latch::<_, 4>::new([0; 8]);
    let mut writer = LatchWriter::try_claim(&latch).expect("the only writer");
    let changes = beside(move |v| writer.write(v), || latch.read());
    assert!(
        changes > 0,
        "the writer never ran beside the reader: the test shows nothing"
    );
    println!("{} copies of {changes} values", reads());
}
