//! The latch as its users see it: every read succeeds, whole and not older than the last.
#![cfg(not(any(loom, shuttle)))]

use seqstats::{Latch, LatchWriter};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

#[test]
fn c3_every_latch_read_is_whole_and_monotonic_beside_a_flat_out_writer() {
    let latch = Latch::<[u64; 32], 3>::new([0; 32]);
    let stop = AtomicBool::new(false);
    let written = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut writer = LatchWriter::try_claim(&latch).expect("the only writer");
            let mut i = 0;
            // Relaxed: only an end is signalled.
            while !stop.load(Ordering::Relaxed) {
                i += 1;
                writer.write([i; 32]);
            }
            // Relaxed: read after the thread ended.
            written.store(i, Ordering::Relaxed);
        });
        let readers: Vec<_> = (0..3)
            .map(|reader| {
                let latch = &latch;
                scope.spawn(move || {
                    let mut last = 0;
                    for i in 0..100_000 {
                        // One reader always goes the way of the lapped.
                        let v = if reader == 0 || i % 64 == 0 {
                            latch.read_announced()
                        } else {
                            latch.read()
                        };
                        assert!(v.iter().all(|w| *w == v[0]), "torn: {v:?}");
                        assert!(v[0] >= last, "went back from {last} to {}", v[0]);
                        last = v[0];
                    }
                })
            })
            .collect();
        for reader in readers {
            reader.join().expect("the reader ended");
        }
        // Relaxed: as above.
        stop.store(true, Ordering::Relaxed);
    });
    // Relaxed: the writer ended.
    assert_eq!(latch.read()[0], written.load(Ordering::Relaxed));
}

#[test]
fn c3_latch_version_wraps() {
    let latch = Latch::<u64>::with_version(0, u64::MAX / 2 - 3);
    let mut writer = LatchWriter::try_claim(&latch).expect("no writer yet");
    for i in 1..=20 {
        writer.write(i);
        assert_eq!((latch.read(), latch.read_announced(), writer.get()), (i, i, i));
    }
    let latch = Latch::<u64>::with_version(0, u64::from(u32::MAX) - 3);
    let mut writer = LatchWriter::try_claim(&latch).expect("no writer yet");
    for i in 1..=20 {
        writer.write(i);
        assert_eq!(latch.read(), i);
    }
}

#[test]
fn c3_panicking_latch_writer_leaves_readers_unharmed() {
    let latch = Arc::new(Latch::<[u64; 2]>::new([1, 1]));
    let mut writer = LatchWriter::try_claim(Arc::clone(&latch)).expect("no writer yet");
    let failed = catch_unwind(AssertUnwindSafe(|| {
        writer.update(|v| {
            v[0] = 9;
            panic!("in the closure");
        })
    }));
    assert!(failed.is_err());
    assert_eq!(latch.read(), [1, 1]);
    writer.update(|v| v[1] = 2);
    assert_eq!(latch.read(), [1, 2]);
    assert!(LatchWriter::try_claim(Arc::clone(&latch)).is_err());
    drop(writer);
    assert!(LatchWriter::try_claim(latch).is_ok());
}

#[test]
fn odd_sizes_come_back_whole() {
    let latch = Latch::<[u8; 13], 5>::new([7; 13]);
    let mut writer = LatchWriter::try_claim(&latch).expect("no writer yet");
    for i in 0..=255 {
        writer.write([i; 13]);
        assert_eq!(latch.read(), [i; 13]);
    }
    assert!(format!("{latch:?}").contains("255"));
    assert_eq!(Latch::<(), 3>::new(()).read(), ());
}
