//! Additive increase, multiplicative decrease under a p99 guard: the textbook, kept as the baseline.

use super::latencies::Latencies;
use super::{Completed, Controller};

/// Completions to a decision.
const ROUND: u32 = 256;

/// Raises the window by one a round while p99 is within the target, cuts it by a quarter when it is not.
///
/// ```
/// use uring_core::flow::{Aimd, Completed, Controller};
/// let mut aimd = Aimd::new(10_000_000, 128);
/// let slow = Completed { now_ns: 1, latency_ns: 50_000_000, in_flight: 128, backlog: true, inline: false };
/// (0..256).for_each(|_| aimd.completed(slow));
/// assert!(aimd.window() < 4);
/// ```
#[derive(Clone, Debug)]
pub struct Aimd {
    target_ns: u64,
    window: f64,
    max: u32,
    seen: u32,
    latencies: Latencies,
}

impl Aimd {
    /// Begins at a window of 4, with a target for p99 and a most that may be in flight.
    pub fn new(target_p99_ns: u64, max: u32) -> Self {
        Self {
            target_ns: target_p99_ns,
            window: 4.0,
            max: max.max(1),
            seen: 0,
            latencies: Latencies::new(),
        }
    }

    /// The target for p99.
    pub fn target_p99_ns(&self) -> u64 {
        self.target_ns
    }
}

impl Controller for Aimd {
    fn completed(&mut self, completed: Completed) {
        if !completed.backlog {
            return;
        }
        self.seen += 1;
        self.latencies.record(completed.latency_ns);
        if self.seen < ROUND {
            return;
        }
        let late = self.latencies.quantile(0.99) > self.target_ns;
        self.window = if late {
            self.window * 0.75
        } else {
            self.window + 1.0
        };
        self.window = self.window.clamp(1.0, f64::from(self.max));
        self.seen = 0;
        self.latencies.clear();
    }

    fn window(&self) -> u32 {
        (self.window as u32).clamp(1, self.max)
    }
}
