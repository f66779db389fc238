//! The ladder for long, and where a curve or a device turns under it.
//!
//! `FLOW_HOUR=1` runs an hour of each model's time (optimised: `cargo test --release`); without it each runs as long as some
//! hundred thousand operations take.
#![cfg(not(any(loom, shuttle)))]

use uring_core::flow::simulate::{Device, Outcome, Static, run};
use uring_core::flow::{Completed, Controller, Ladder, LadderOptions};

const SECOND: u64 = 1_000_000_000;
const CALLERS: u32 = 256;

fn ladder() -> Ladder {
    Ladder::new(LadderOptions {
        max: 256,
        target_p99_ns: None,
    })
}

fn fresh_seed() -> u64 {
    let given = std::env::var("FLOW_SEED").ok().and_then(|s| s.parse().ok());
    let seed = given.unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().map_or(1, |t| t.as_nanos() as u64));
    println!("FLOW_SEED={seed}");
    seed
}

/// For as long as this runs, throughput is kept in every part of it, and the window is never stuck low or high.
fn lasts(device: &Device, seconds: u64, knee: u32, share: f64) {
    let hour = std::env::var_os("FLOW_HOUR").is_some();
    let (length, seed) = (SECOND * if hour { 3_600 } else { seconds }, fresh_seed());
    let ours = run(&mut ladder(), device, CALLERS, length, seed);
    let fixed = run(&mut Static(knee), device, CALLERS, length, seed);
    // The search is over after a twentieth, even of the shortest run of the slowest device.
    let parts = |outcome: &Outcome| -> Vec<u64> {
        outcome.completions[5..]
            .chunks(19)
            .map(|part| part.iter().sum())
            .collect()
    };
    for (part, (ours, theirs)) in parts(&ours).iter().zip(parts(&fixed)).enumerate() {
        assert!(
            *ours as f64 >= share * theirs as f64,
            "part {part} of 5: {ours} against {theirs} at a window of {knee}"
        );
    }
    assert_eq!(parts(&ours).len(), 5);
}

#[test]
fn e7_hour_of_an_nvme_with_stalls() {
    lasts(&Device::nvme(), 6, 12, 0.90);
}

#[test]
fn e7_hour_of_a_sata_ssd() {
    lasts(&Device::sata_ssd(), 5, 12, 0.90);
}

#[test]
fn e7_hour_of_a_spinning_disk() {
    lasts(&Device::spinning_disk(), 1_800, 24, 0.85);
}

#[test]
fn e7_hour_of_a_throttled_volume() {
    lasts(&Device::throttled_volume(), 20, 12, 0.90);
}

#[test]
fn e7_hour_of_a_network_that_collapses() {
    lasts(&Device::collapsing_network(), 6, 48, 0.85);
}

#[test]
fn e7_hour_of_a_noisy_neighbour() {
    lasts(&Device::noisy_neighbour(), 20, 12, 0.75);
}

/// A device that gives `rate(window, second)` operations a second, with a backlog always; the window at the end.
fn follow(seconds: f64, rate: impl Fn(u32, f64) -> f64) -> u32 {
    let (mut ladder, mut now) = (ladder(), 0.0);
    while now < seconds {
        let window = ladder.window();
        let gap = 1.0 / rate(window, now);
        now += gap;
        ladder.completed(Completed {
            now_ns: (now * 1e9) as u64,
            latency_ns: (f64::from(window) * gap * 1e9) as u64,
            in_flight: window,
            backlog: true,
            inline: false,
        });
    }
    ladder.window()
}

#[test]
fn e7_a_plateau_before_a_rise_is_escaped_within_three_seconds() {
    // Flat from 8 on at first; from the third second on flat only until 24.
    let curve = |window: u32, now: f64| {
        let places = match window {
            24.. if now > 2.0 => window.min(48),
            _ => window.min(8),
        };
        f64::from(places) * 2_000.0
    };
    let before = follow(2.0, curve);
    assert!((6..=12).contains(&before), "settled where it is flat: {before}");
    let after = follow(5.0, curve);
    assert!(after >= 24, "three seconds later still at {after}");
}

#[test]
fn e7_a_burst_that_ends_in_a_throttle_is_back_at_its_knee_within_a_second() {
    let half = 3 * SECOND;
    let device = Device::throttled_volume()
        .changing(0, 4.0, 1.0)
        .changing(half, 1.0, 1.0);
    for seed in [11, fresh_seed()] {
        let ours = run(&mut ladder(), &device, CALLERS, 2 * half, seed);
        // Hundredths are 60 ms: a second after the burst is the 67th.
        let done = |outcome: &Outcome| outcome.completions[67..].iter().sum::<u64>() as f64;
        let fixed =
            [12, 24, 48].map(|window| done(&run(&mut Static(window), &device, CALLERS, 2 * half, seed)));
        let best = fixed.into_iter().fold(0.0, f64::max);
        assert!(done(&ours) >= 0.92 * best, "{} of {best}", done(&ours));
        let last = ours.windows.last().copied().unwrap_or(0);
        assert!(
            last <= 48,
            "a window of {last} where 8 fill the device: {:?}",
            ours.windows
        );
    }
}
