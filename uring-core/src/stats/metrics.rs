//! A snapshot handed to whatever recorder the `metrics` crate has been given.

use super::Snapshot;
use seqstats::{Kind, Stats};

/// Hands a group on: a counter to what it stands at, a gauge to what it is, under the names that Prometheus is told.
fn hand_on<S: Stats>(stats: &S, labels: &[(&'static str, String)]) {
    let words = stats.to_words();
    for (field, &word) in S::FIELDS.iter().zip(words.as_ref()) {
        match field.kind {
            Kind::Counter => {
                let name = format!("{}_{}_total", S::NAME, field.name);
                metrics::counter!(name, labels).absolute(word);
            }
            Kind::Gauge => {
                let name = format!("{}_{}", S::NAME, field.name);
                metrics::gauge!(name, labels).set(word.cast_signed() as f64);
            }
        }
    }
}

impl Snapshot {
    /// Hands every count and gauge to the recorder that the program installed, and quantiles of latency as gauges; nothing
    /// where none is. Call it as often as figures are wanted.
    pub fn record(&self) {
        hand_on(&self.process, &[]);
        for (name, ring) in &self.rings {
            let labels = [("ring", name.clone())];
            hand_on(&ring.stats, &labels);
            for (op, stats) in &ring.kinds {
                hand_on(stats, &[("ring", name.clone()), ("op", (*op).to_owned())]);
            }
            let quantiles = |metric: &'static str, quantiles: [u64; 2]| {
                for (quantile, ns) in ["0.5", "0.99"].into_iter().zip(quantiles) {
                    let labels = [("ring", name.clone()), ("quantile", quantile.to_owned())];
                    metrics::gauge!(metric, &labels).set(ns as f64);
                }
            };
            quantiles("uring_latency_ns", ring.latency_ns.quantiles([0.5, 0.99]));
            if let Some(window) = &ring.window {
                hand_on(&window.stats, &labels);
                quantiles("uring_window_caller_ns", window.caller_ns.quantiles([0.5, 0.99]));
            }
        }
    }
}
