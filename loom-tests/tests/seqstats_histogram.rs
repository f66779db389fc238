//! seqstats' histogram: what consecutive takes return adds up to what was recorded.
#![cfg(loom)]

use loom_tests::{Bounds, check};
use seqstats::{Histogram, Interval, Recorder};
use sync_base::sync::Arc;
use sync_base::thread;

const TWO: Bounds = Bounds {
    threads: 3,
    quick: 3,
    deep: 4,
};

#[test]
fn a14_reset_loses_nothing_and_counts_nothing_twice() {
    check("histogram.takes_add_up", TWO, || {
        let histogram = Arc::new(Histogram::<3>::new());
        let theirs = Arc::clone(&histogram);
        let worker = thread::spawn(move || {
            let mut recorder = Recorder::try_claim(theirs).expect("the only recorder");
            for value in [1, 2, 1] {
                recorder.record(value);
            }
        });
        let theirs = Arc::clone(&histogram);
        let taker = thread::spawn(move || {
            let mut interval = Interval::new();
            let first = interval.take(&theirs);
            let second = interval.take(&theirs);
            assert!(
                first.count() <= 3 && second.count() <= 3,
                "a bucket went backwards"
            );
            assert_eq!(first.count(), first.filled().map(|(_, n)| n).sum::<u64>(), "torn");
            assert!(
                first.is_empty() == (first.max() == 0),
                "a maximum that no bucket bears out"
            );
            (interval, first, second)
        });
        worker.join().unwrap();
        let (mut interval, mut total, second) = taker.join().unwrap();
        total.merge(&second);
        total.merge(&interval.take(&histogram));
        assert_eq!(total, histogram.snapshot());
        assert_eq!((total.count(), total.quantile(0.5), total.max()), (3, 1, 2));
    });
}

#[test]
fn a14_next_recorder_goes_on_where_the_last_one_stopped() {
    check("histogram.hand_over", TWO, || {
        let histogram = Arc::new(Histogram::<2>::new());
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let histogram = Arc::clone(&histogram);
                thread::spawn(move || match Recorder::try_claim(histogram) {
                    Ok(mut recorder) => {
                        recorder.record(1);
                        1
                    }
                    Err(_) => 0,
                })
            })
            .collect();
        let recorded: u64 = threads.into_iter().map(|t| t.join().unwrap()).sum();
        assert_eq!(histogram.snapshot().count(), recorded, "an event was lost");
    });
}
