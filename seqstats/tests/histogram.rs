//! Histograms against exact, sorted samples.
#![cfg(not(any(loom, shuttle)))]

use proptest::prelude::*;
use seqstats::{FULL_RANGE, Histogram, HistogramSnapshot, Interval, Recorder};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const HOUR_NS: u64 = 3_600_000_000_000;

fn recorded(values: &[u64]) -> HistogramSnapshot {
    let histogram = Box::new(Histogram::<FULL_RANGE>::new());
    let mut recorder = Recorder::try_claim(&*histogram).expect("the only recorder");
    for &v in values {
        recorder.record(v);
    }
    histogram.snapshot()
}

fn within_3_percent(got: u64, exact: u64) -> bool {
    got.abs_diff(exact) as f64 <= exact as f64 * 0.03
}

/// Latencies spread evenly over the orders of magnitude from 1 ns to 1 h.
fn latency() -> impl Strategy<Value = u64> {
    (0.0..(HOUR_NS as f64).ln()).prop_map(|e| (e.exp() as u64).clamp(1, HOUR_NS))
}

proptest! {
    #[test]
    fn a14_quantiles_are_within_3_percent_of_exact_sorted_ones(mut values in prop::collection::vec(latency(), 1..500)) {
        let snapshot = recorded(&values);
        values.sort_unstable();
        let n = values.len();
        for q in [0.0, 0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999, 0.9999, 1.0] {
            let rank = ((q * n as f64 - 1e-9).ceil() as usize).clamp(1, n);
            let exact = values[rank - 1];
            prop_assert!(within_3_percent(snapshot.quantile(q), exact), "q {q}: {} for {exact}", snapshot.quantile(q));
        }
        let mean = values.iter().map(|v| *v as f64).sum::<f64>() / n as f64;
        prop_assert!((snapshot.mean() - mean).abs() <= mean * 0.03);
        prop_assert_eq!(snapshot.max(), values[n - 1]);
        prop_assert_eq!(snapshot.count(), n as u64);
    }

    #[test]
    fn a14_takes_add_up_to_what_was_recorded(values in prop::collection::vec((any::<u64>(), any::<bool>()), 0..300)) {
        let histogram = Box::new(Histogram::<FULL_RANGE>::new());
        let mut recorder = Recorder::try_claim(&*histogram).expect("the only recorder");
        let mut interval = Interval::new();
        let mut total = HistogramSnapshot::new();
        let mut since = Vec::new();
        for (v, take) in values {
            recorder.record(v);
            since.push(v);
            if take {
                let taken = interval.take(&histogram);
                prop_assert_eq!(taken.count() as usize, since.len());
                let max = *since.iter().max().unwrap();
                prop_assert!(taken.max() >= max && taken.max() as f64 <= max as f64 * 1.033);
                total.merge(&taken);
                since.clear();
            }
        }
        total.merge(&interval.take(&histogram));
        prop_assert_eq!(total, histogram.snapshot());
    }

    #[test]
    fn merge_of_cores_equals_one_histogram_of_all(a in prop::collection::vec(any::<u64>(), 0..200), b in prop::collection::vec(any::<u64>(), 0..200)) {
        let mut merged = recorded(&a);
        merged.merge(&recorded(&b));
        let all: Vec<u64> = a.into_iter().chain(b).collect();
        prop_assert_eq!(merged, recorded(&all));
    }
}

#[test]
fn a14_nothing_recorded_answers_zero_everywhere() {
    let empty = HistogramSnapshot::<FULL_RANGE>::new();
    assert!(empty.is_empty());
    assert_eq!(empty.mean(), 0.0);
    assert_eq!(empty.quantiles([0.0, 0.5, 1.0, f64::NAN]), [0; 4]);
    assert_eq!(empty.summary(), seqstats::Summary::default());
    assert_eq!(empty.since(&empty), empty);
}

#[test]
fn extremes_are_counted() {
    let snapshot = recorded(&[0, u64::MAX, 1]);
    assert_eq!(snapshot.quantile(0.0), 0);
    assert_eq!(snapshot.max(), u64::MAX);
    assert_eq!(snapshot.quantile(-3.0), 0);
    assert!(snapshot.quantile(7.0) > u64::MAX / 64 * 63);
    assert_eq!(snapshot.count_at_most(1), 2);
}

#[test]
fn short_histogram_counts_what_is_too_great_as_its_greatest() {
    let histogram = Histogram::<64>::new();
    let mut recorder = Recorder::try_claim(&histogram).expect("the only recorder");
    recorder.record(63);
    recorder.record(1 << 40);
    recorder.record_many(5, 0);
    let snapshot = histogram.snapshot();
    assert_eq!(
        (snapshot.count(), snapshot.max(), snapshot.quantile(0.5)),
        (2, 1 << 40, 63)
    );
}

#[test]
fn a14_reset_beside_a_flat_out_recorder_loses_nothing_and_is_not_torn() {
    let histogram = Arc::new(Histogram::<FULL_RANGE>::new());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let mut recorder = Recorder::try_claim(Arc::clone(&histogram)).expect("the only recorder");
            let mut n = 0u64;
            // Relaxed: only an end is signalled.
            while !stop.load(Ordering::Relaxed) {
                recorder.record(n % 5_000);
                n += 1;
            }
            n
        });
        let mut interval = Interval::new();
        let mut total = HistogramSnapshot::new();
        for _ in 0..2_000 {
            let taken = interval.take(&histogram);
            assert_eq!(taken.count(), taken.filled().map(|(_, n)| n).sum::<u64>());
            assert!(taken.count() < 1 << 40, "a bucket went backwards");
            total.merge(&taken);
        }
        // Relaxed: as above.
        stop.store(true, Ordering::Relaxed);
        let n = worker.join().expect("the recorder ended");
        total.merge(&interval.take(&histogram));
        assert_eq!(total.count(), n);
        assert_eq!(total, histogram.snapshot());
    });
}

#[test]
fn one_recorder_at_a_time() {
    let histogram = Histogram::<64>::new();
    let first = Recorder::try_claim(&histogram).expect("no recorder yet");
    assert!(Recorder::try_claim(&histogram).is_err());
    drop(first);
    assert!(Recorder::try_claim(&histogram).is_ok());
}

#[cfg(feature = "hdrhistogram")]
#[test]
fn a14_export_to_hdrhistogram_agrees_on_quantiles() {
    let values: Vec<u64> = (1..=100_000).map(|i| i * 37).collect();
    let snapshot = recorded(&values);
    let export = snapshot.to_hdrhistogram().expect("constant bounds");
    assert_eq!(export.len(), snapshot.count());
    for q in [0.5, 0.9, 0.99, 0.999, 1.0] {
        assert!(
            within_3_percent(export.value_at_quantile(q), snapshot.quantile(q)),
            "{q}"
        );
    }
}
