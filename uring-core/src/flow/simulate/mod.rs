//! Device models and a closed loop of callers: hours of a device's time in a second of ours.
//!
//! Deterministic: a model and a seed give the same run on every machine. The tests of [`flow`](super) run here, and so
//! can yours: how would a controller fare on your device?
//!
//! ```
//! use uring_core::flow::simulate::{Device, run};
//! use uring_core::flow::{Ladder, LadderOptions};
//! let mut ladder = Ladder::new(LadderOptions { max: 256, target_p99_ns: None });
//! let outcome = run(&mut ladder, &Device::sata_ssd(), 256, 2_000_000_000, 7);
//! assert!(outcome.per_second > 0.0);
//! ```

mod device;

pub use device::{Change, Device};

use super::{Completed, Controller};
use crate::sys::random::Random;
use device::Service;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Completions a second of device time, warm-up left out.
    pub per_second: f64,
    /// 99th percentile of the device's latency, warm-up left out.
    pub p99_ns: u64,
    /// Window after each tenth of the run.
    pub windows: Vec<u32>,
    /// Completions in each hundredth of the run.
    pub completions: Vec<u64>,
}

/// A window that never moves: what a user sets by hand.
#[derive(Clone, Copy, Debug)]
pub struct Static(pub u32);

impl Controller for Static {
    fn completed(&mut self, _: Completed) {}

    fn window(&self) -> u32 {
        self.0.max(1)
    }
}

/// Share of a run that is warm-up and left out of its outcome.
const WARM_UP: f64 = 0.25;

/// Runs `callers` in a closed loop, each asking again as soon as it was answered, for `length_ns` of device time.
pub fn run(
    controller: &mut dyn Controller,
    device: &Device,
    callers: u32,
    length_ns: u64,
    seed: u64,
) -> Outcome {
    let mut random = Random::new(seed);
    let mut service = Service::new(device, seed);
    let mut flying: BinaryHeap<Reverse<(u64, u64)>> = BinaryHeap::new();
    let mut latencies = Vec::new();
    let (mut windows, mut completions) = (Vec::new(), vec![0u64; 100]);
    let mut waiting = callers;
    let mut now = 0;
    let begin = (length_ns as f64 * WARM_UP) as u64;
    while now < length_ns {
        while waiting > 0 && flying.len() < controller.window() as usize {
            let done = service.submit(now, flying.len() as u32 + 1, &mut random);
            flying.push(Reverse((done, now)));
            waiting -= 1;
        }
        let Some(Reverse((done, submitted))) = flying.pop() else {
            break;
        };
        now = now.max(done);
        waiting += 1;
        let completed = Completed {
            now_ns: now,
            latency_ns: now - submitted,
            in_flight: flying.len() as u32 + 1,
            backlog: waiting > 1,
            inline: false,
        };
        controller.completed(completed);
        if now >= begin && now < length_ns {
            latencies.push(now - submitted);
        }
        if let Some(slot) = completions.get_mut((now as u128 * 100 / u128::from(length_ns)) as usize) {
            *slot += 1;
        }
        while windows.len() < (now as u128 * 10 / u128::from(length_ns)) as usize {
            windows.push(controller.window());
        }
    }
    let measured_ns = length_ns - begin;
    let p99 = (latencies.len() * 99 / 100).min(latencies.len().saturating_sub(1));
    let p99_ns = if latencies.is_empty() {
        0
    } else {
        *latencies.select_nth_unstable(p99).1
    };
    Outcome {
        per_second: latencies.len() as f64 * 1e9 / measured_ns as f64,
        p99_ns,
        windows,
        completions,
    }
}
