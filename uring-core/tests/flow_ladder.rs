//! The ladder against every device model: what it reaches, what it never does.
#![cfg(not(any(loom, shuttle)))]

use proptest::prelude::*;
use uring_core::flow::simulate::{Device, Outcome, Static, run};
use uring_core::flow::{Aimd, Completed, Controller, Ladder, LadderOptions};

const SECOND: u64 = 1_000_000_000;
const CALLERS: u32 = 256;

fn ladder() -> Ladder {
    Ladder::new(LadderOptions {
        max: 256,
        target_p99_ns: None,
    })
}

struct Row {
    share: f64,
    p99_of_deep: f64,
    aimd_misses: bool,
    outcome: Outcome,
}

fn compare(device: &Device, length_ns: u64, seed: u64) -> Row {
    let fixed = WINDOWS.map(|window| run(&mut Static(window), device, CALLERS, length_ns, seed));
    let best = fixed.iter().map(|outcome| outcome.per_second).fold(0.0, f64::max);
    let deep = fixed.last().expect("the deepest is last");
    let outcome = run(&mut ladder(), device, CALLERS, length_ns, seed);
    let aimd = run(&mut Aimd::new(10_000_000, 256), device, CALLERS, length_ns, seed);
    Row {
        share: outcome.per_second / best,
        p99_of_deep: outcome.p99_ns as f64 / deep.p99_ns as f64,
        aimd_misses: aimd.per_second < best * 0.92 || aimd.p99_ns as f64 > deep.p99_ns as f64 * 0.7,
        outcome,
    }
}

/// Static windows swept for the best: below, at and above every model's knee, and the deep one whose tail is the measure.
const WINDOWS: [u32; 4] = [12, 24, 48, 128];

/// A seed of this run, printed so that a failure can be repeated with `FLOW_SEED`.
fn fresh_seed() -> u64 {
    let given = std::env::var("FLOW_SEED").ok().and_then(|s| s.parse().ok());
    let seed = given.unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().map_or(1, |t| t.as_nanos() as u64));
    println!("FLOW_SEED={seed}");
    seed
}

/// Throughput at least `share` of the best static window's, tail at most 0.7 of a window of 128; on a fixed seed and a fresh one.
fn holds(device: &Device, length_ns: u64, share: f64) {
    for seed in [11, fresh_seed()] {
        let row = compare(device, length_ns, seed);
        let windows = &row.outcome.windows;
        assert!(
            row.share >= share,
            "{:.3} of the best static throughput; windows {windows:?}",
            row.share
        );
        assert!(
            row.p99_of_deep <= 0.7,
            "{:.3} of the p99 at 128; windows {windows:?}",
            row.p99_of_deep
        );
        // The baseline misses every row, in throughput or in the tail: otherwise the ladder would not be needed.
        assert!(row.aimd_misses);
    }
}

#[test]
fn e7_nvme_with_stalls_is_kept_busy_with_a_short_tail() {
    holds(&Device::nvme(), 4 * SECOND, 0.92);
}

#[test]
fn e7_sata_ssd_is_kept_busy_with_a_short_tail() {
    holds(&Device::sata_ssd(), 4 * SECOND, 0.92);
}

#[test]
fn e7_spinning_disk_is_kept_busy_with_a_short_tail() {
    holds(&Device::spinning_disk(), 300 * SECOND, 0.92);
}

#[test]
fn e7_throttled_volume_is_kept_busy_with_a_short_tail() {
    holds(&Device::throttled_volume(), 8 * SECOND, 0.92);
}

#[test]
fn e7_collapsing_network_is_kept_at_its_knee() {
    holds(&Device::collapsing_network(), 6 * SECOND, 0.92);
}

#[test]
fn e7_noisy_neighbour_is_lived_with() {
    holds(&Device::noisy_neighbour(), 12 * SECOND, 0.80);
}

/// Throughput in the part of the run from `from` to `to` hundredths, against the best static window there.
fn share_between(device: &Device, length_ns: u64, seed: u64, from: usize, to: usize) -> f64 {
    let sum = |outcome: &Outcome| outcome.completions[from..to].iter().sum::<u64>() as f64;
    let fixed = |window: u32| sum(&run(&mut Static(window), device, CALLERS, length_ns, seed));
    let best = WINDOWS.into_iter().map(fixed).fold(0.0, f64::max);
    sum(&run(&mut ladder(), device, CALLERS, length_ns, seed)) / best
}

#[test]
fn e7_a_step_of_the_device_is_followed_within_a_second() {
    let half = 3 * SECOND;
    for (name, device) in [
        ("capacity /4", Device::sata_ssd().changing(half, 0.25, 1.0)),
        ("capacity x4", Device::sata_ssd().changing(half, 4.0, 1.0)),
        ("latency x5", Device::sata_ssd().changing(half, 1.0, 5.0)),
        ("latency /5", Device::sata_ssd().changing(half, 1.0, 0.2)),
    ] {
        // Hundredths are 60 ms: a second after the change is the 67th.
        let share = share_between(&device, 2 * half, 11, 67, 100);
        assert!(
            share >= 0.92,
            "{name}: {share:.3} of the best static throughput a second after the step"
        );
    }
}

#[test]
fn e7_a_network_that_collapses_never_settles_above_half_again_its_knee() {
    let outcome = run(
        &mut ladder(),
        &Device::collapsing_network(),
        CALLERS,
        10 * SECOND,
        3,
    );
    let settled = &outcome.windows[3..];
    let above = settled.iter().filter(|&&w| w > 72).count();
    assert!(
        above <= 1,
        "a probe may be caught above it, a home may not: {settled:?}"
    );
}

#[test]
fn e7_the_window_does_not_oscillate_beyond_one_rung_and_its_probes() {
    let outcome = run(&mut ladder(), &Device::sata_ssd(), CALLERS, 8 * SECOND, 5);
    let homes = &outcome.windows[2..];
    let (low, high) = (homes.iter().min().unwrap(), homes.iter().max().unwrap());
    assert!(*high <= low * 3, "from {low} to {high}: {homes:?}");
}

#[test]
fn e6_an_application_that_asks_for_little_never_moves_the_window() {
    for per_second in [50, 5_000] {
        let mut ladder = ladder();
        for n in 0..20_000u64 {
            let now_ns = n * SECOND / per_second;
            ladder.completed(Completed {
                now_ns,
                latency_ns: 300_000,
                in_flight: 1,
                backlog: false,
                inline: false,
            });
            assert_eq!(ladder.window(), 4);
        }
    }
}

#[test]
fn e7_a_target_that_cannot_be_met_does_not_starve_the_device() {
    let options = LadderOptions {
        max: 256,
        target_p99_ns: Some(20_000),
    };
    let mut ladder = Ladder::new(options);
    let device = Device::sata_ssd();
    let outcome = run(&mut ladder, &device, CALLERS, 10 * SECOND, 5);
    let knee = run(&mut Static(12), &device, CALLERS, 10 * SECOND, 5);
    assert!(ladder.target_unreachable(), "windows {:?}", outcome.windows);
    assert!(
        outcome.per_second >= 0.9 * knee.per_second,
        "{} of {}",
        outcome.per_second,
        knee.per_second
    );
}

#[test]
fn e7_a_target_within_reach_is_kept() {
    let target = 1_000_000;
    let mut ladder = Ladder::new(LadderOptions {
        max: 256,
        target_p99_ns: Some(target),
    });
    let outcome = run(&mut ladder, &Device::sata_ssd(), CALLERS, 8 * SECOND, 5);
    assert!(
        outcome.p99_ns <= target,
        "p99 {} windows {:?}",
        outcome.p99_ns,
        outcome.windows
    );
    assert!(!ladder.target_unreachable());
}

#[test]
fn operations_that_complete_in_their_own_submission_are_not_held_back() {
    let mut ladder = ladder();
    for n in 0..200 {
        ladder.completed(Completed {
            now_ns: n,
            latency_ns: 500,
            in_flight: 4,
            backlog: true,
            inline: true,
        });
    }
    assert_eq!(ladder.window(), 256);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    /// Whatever it is told, clocks that stand or go back included: between 1 and the most.
    #[test]
    fn e7_the_window_is_never_below_one_nor_above_the_most(
        max in 1u32..300,
        told in prop::collection::vec((0u64..1 << 40, 0u64..1 << 40, 0u32..400, any::<bool>(), any::<bool>()), 1..600),
    ) {
        let mut ladder = Ladder::new(LadderOptions { max, target_p99_ns: Some(1_000_000) });
        for (now_ns, latency_ns, in_flight, backlog, inline) in told {
            ladder.completed(Completed { now_ns, latency_ns, in_flight, backlog, inline });
            prop_assert!((1..=max).contains(&ladder.window()));
        }
    }

    /// A device k times slower in everything is held at about the same window. Sample lengths are absolute, so the scale stays
    /// within what keeps them full.
    #[test]
    fn e7_a_device_scaled_in_time_gives_the_same_depth(scale in 1.0f64..4.0, seed in 0u64..1_000) {
        let scaled = |k: f64| {
            let mut device = Device::sata_ssd();
            (device.service_ns, device.path_ns) = (device.service_ns * k, device.path_ns * k);
            let outcome = run(&mut ladder(), &device, CALLERS, (3.0 * k * SECOND as f64) as u64, seed);
            let mut settled = outcome.windows[4..].to_vec();
            settled.sort_unstable();
            settled[settled.len() / 2]
        };
        let (one, other) = (scaled(1.0), scaled(scale));
        prop_assert!(one <= other * 2 && other <= one * 2, "{one} and {other}");
    }
}
