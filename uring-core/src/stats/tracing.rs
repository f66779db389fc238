//! A snapshot as events of the `tracing` crate.

use super::Snapshot;

impl Snapshot {
    /// Emits one event of level `INFO` under the target `uring_core::stats` for each ring and each window.
    pub fn trace(&self) {
        for (name, ring) in &self.rings {
            let (stats, latency) = (&ring.stats, ring.latency_ns.summary());
            tracing::info!(
                target: "uring_core::stats",
                ring = name.as_str(),
                submitted = stats.submitted,
                completed = stats.completed,
                failed = stats.failed,
                enters = stats.enters,
                refused = stats.refused,
                in_flight = stats.in_flight,
                p50_ns = latency.p50,
                p99_ns = latency.p99,
                "ring"
            );
            let Some(window) = &ring.window else { continue };
            let (stats, caller) = (&window.stats, window.caller_ns.summary());
            tracing::info!(
                target: "uring_core::stats",
                ring = name.as_str(),
                places = stats.window,
                in_flight = stats.in_flight,
                waiting = stats.waiting,
                target_p99_ns = stats.target_p99_ns,
                target_unreachable = stats.target_unreachable,
                caller_p99_ns = caller.p99,
                "window"
            );
        }
    }
}
