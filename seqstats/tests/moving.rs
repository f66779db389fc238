//! Windows and rates against naive oracles.
#![cfg(not(any(loom, shuttle)))]

use proptest::prelude::*;
use seqstats::{FULL_RANGE, Histogram, HistogramSnapshot, Rate, Recorder, Window};

fn recorded(values: impl IntoIterator<Item = u64>) -> HistogramSnapshot {
    let histogram = Box::new(Histogram::<FULL_RANGE>::new());
    let mut recorder = Recorder::try_claim(&*histogram).expect("the only recorder");
    values.into_iter().for_each(|v| recorder.record(v));
    histogram.snapshot()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn window_shows_what_fell_into_its_spans(
        spans in 1usize..5, steps in prop::collection::vec((0u64..250, prop::collection::vec(1u64..1_000_000, 0..4)), 1..40),
    ) {
        const SPAN: u64 = 100;
        let histogram = Box::new(Histogram::<FULL_RANGE>::new());
        let mut recorder = Recorder::try_claim(&*histogram).expect("the only recorder");
        let mut window = Window::new(spans, SPAN);
        let (mut now, mut all) = (0, Vec::new());
        window.tick(&histogram, now);
        for (step, values) in steps {
            now += step;
            for v in values {
                recorder.record(v);
                // What is recorded between two ticks belongs to the span of the later one.
                all.push((now / SPAN, v));
            }
            let seen = window.tick(&histogram, now);
            let want = recorded(all.iter().filter(|(s, _)| s + spans as u64 > now / SPAN).map(|(_, v)| *v));
            prop_assert_eq!(seen.count(), want.count());
            for q in [0.5, 0.9] {
                let (got, want) = (seen.quantile(q), want.quantile(q));
                prop_assert!(got.abs_diff(want) as f64 <= want as f64 * 0.03, "{} for {}", got, want);
            }
            prop_assert!(seen.max() >= want.max() && seen.max() as f64 <= want.max() as f64 * 1.033);
        }
    }

    #[test]
    fn rate_is_exact_between_the_readings_it_remembers_and_never_nan(
        steps in prop::collection::vec((0u64..3_000_000_000, 0u64..10_000), 1..200), span in 0u64..20_000_000_000,
    ) {
        let mut rate = Rate::new(span);
        let (mut now, mut total) = (0, u64::MAX - 500);
        for (step, n) in steps {
            now += step;
            total = total.wrapping_add(n);
            let r = rate.update(now, total);
            prop_assert!(r.is_finite() && r >= 0.0);
        }
    }
}

#[test]
fn rate_of_a_steady_counter_is_its_speed_from_the_second_reading_on() {
    let mut rate = Rate::new(1_000_000_000);
    assert_eq!(rate.per_second(), 0.0);
    for i in 0..10_000u64 {
        let r = rate.update(i * 1_000_000, i * 5);
        assert!(i == 0 || (r - 5_000.0).abs() < 1e-6, "{r} at {i}");
    }
    // It stops: within the span the rate falls to nothing.
    for i in 10_000..11_100u64 {
        rate.update(i * 1_000_000, 49_995);
    }
    assert!(rate.per_second() < 1.0, "{}", rate.per_second());
}

#[test]
fn time_that_stands_still_or_runs_back_changes_nothing() {
    let mut rate = Rate::new(1_000);
    rate.update(5, 10);
    assert_eq!(rate.update(5, 20), 0.0);
    assert_eq!(rate.update(3, 99), 0.0);
    let histogram = Box::new(Histogram::<FULL_RANGE>::new());
    let mut window = Window::new(1, 10);
    Recorder::try_claim(&*histogram)
        .expect("the only recorder")
        .record(1);
    window.tick(&histogram, 100);
    assert_eq!(window.tick(&histogram, 7).count(), 1);
    assert_eq!(window.tick(&histogram, u64::MAX).count(), 0);
    assert!(std::panic::catch_unwind(|| Window::<FULL_RANGE>::new(0, 1)).is_err());
}

#[test]
fn rate_of_a_counter_that_begins_anew_is_what_it_counted_since() {
    let mut rate = Rate::new(10_000_000_000);
    rate.update(0, 1_000);
    assert_eq!(rate.update(1_000_000_000, 2_000), 1_000.0);
    // The process was restarted: 50 in the second since, and no 2^64.
    assert_eq!(rate.update(2_000_000_000, 50), 50.0);
    assert_eq!(rate.update(3_000_000_000, 150), 75.0);
    // One that wraps goes on: 11 in this second.
    let mut rate = Rate::new(10_000_000_000);
    rate.update(0, u64::MAX - 5);
    assert_eq!(rate.update(1_000_000_000, 5), 11.0);
    // Begun anew at one and the same time: not measured yet.
    assert_eq!(rate.update(1_000_000_000, 2), 0.0);
}
