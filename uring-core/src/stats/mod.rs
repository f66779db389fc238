//! What rings and windows publish, put together: to print, to scrape, to hand on.
//!
//! Every ring publishes by itself and without being asked ([`Core::stats`](crate::Core::stats)), and so does a window
//! ([`Window::handle`](crate::pace::Window::handle)). [`Sources`] names the handles once; [`Sources::read`] takes a
//! [`Snapshot`] of all of them, from any thread, without stopping a ring: it prints as text, is written for Prometheus, and with a
//! feature each goes to `serde`, `tracing` and `metrics`.
//!
//! ```
//! use uring_core::{LocalRing, op::Nop, stats::Sources};
//! let ring = LocalRing::new()?;
//! let mut sources = Sources::new();
//! sources.ring("core0", ring.stats());
//! ring.block_on(ring.run(Nop::new()))?.unwrap();
//! let now = sources.read();
//! assert_eq!(now.rings["core0"].kinds["NOP"].completed, 1);
//! assert!(now.to_prometheus()?.contains("uring_op_completed_total{ring=\"core0\",op=\"NOP\"} 1\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod exposition;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "tracing")]
mod tracing;

use crate::pace::{WindowHandle, WindowStats};
use crate::ring::{LATENCY_BUCKETS, OpStats, RingStats, StatsHandle, totals};
use seqstats::{HistogramSnapshot, Stats, Summary};
use std::collections::BTreeMap;
use std::fmt;

seqstats::stats! {
    /// Counts over every ring that this process ever had, those gone included.
    pub struct ProcessStats("uring") {
        /// Operations completed.
        counter completed,
        /// Of those, how many failed.
        counter failed,
        /// System calls made to submit or to wait.
        counter enters,
        /// Operations that a dropped ring could not get back in time and the kernel has not let go of.
        gauge abandoned,
    }
}

/// Handles to read from, each under a name.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    rings: BTreeMap<String, StatsHandle>,
    windows: BTreeMap<String, WindowHandle>,
}

impl Sources {
    /// Begins without any.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a ring; one of the same name is replaced.
    pub fn ring(&mut self, name: impl Into<String>, handle: StatsHandle) -> &mut Self {
        self.rings.insert(name.into(), handle);
        self
    }

    /// Adds the window of the ring of the same name.
    pub fn window(&mut self, name: impl Into<String>, handle: WindowHandle) -> &mut Self {
        self.windows.insert(name.into(), handle);
        self
    }

    /// Reads all of them. Never stops a ring; allocates.
    pub fn read(&self) -> Snapshot {
        let counts = totals();
        let rings = self.rings.iter().map(|(name, handle)| {
            let window = self.windows.get(name).map(|window| WindowSnapshot {
                stats: window.stats(),
                caller_ns: window.caller_ns(),
            });
            let ring = RingSnapshot {
                stats: handle.counts(),
                kinds: handle.by_kind().into_iter().collect(),
                latency_ns: handle.latency_ns(),
                window,
            };
            (name.clone(), ring)
        });
        Snapshot {
            process: ProcessStats {
                completed: counts.completed.sum_unsigned(),
                failed: counts.failed.sum_unsigned(),
                enters: counts.enters.sum_unsigned(),
                abandoned: counts.abandoned.sum(),
            },
            rings: rings.collect(),
        }
    }
}

/// What one window published.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct WindowSnapshot {
    /// Its counts.
    pub stats: WindowStats,
    /// What callers saw, their wait for a place included, in nanoseconds.
    #[cfg_attr(feature = "serde", serde(serialize_with = "summed_up"))]
    pub caller_ns: HistogramSnapshot<LATENCY_BUCKETS>,
}

/// What one ring published.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RingSnapshot {
    /// Its counts, as of one moment.
    pub stats: RingStats,
    /// The same by kind of operation, under the kernel's names.
    pub kinds: BTreeMap<&'static str, OpStats>,
    /// From the first submission of a batch to the reap, in nanoseconds.
    #[cfg_attr(feature = "serde", serde(serialize_with = "summed_up"))]
    pub latency_ns: HistogramSnapshot<LATENCY_BUCKETS>,
    /// Its window, where it has one.
    pub window: Option<WindowSnapshot>,
}

/// Everything, read at one go. `Serialize` with feature `serde`, histograms by their summary.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Snapshot {
    /// Over all rings of the process.
    pub process: ProcessStats,
    /// Ring by ring.
    pub rings: BTreeMap<String, RingSnapshot>,
}

#[cfg(feature = "serde")]
fn summed_up<S: serde::Serializer>(
    histogram: &HistogramSnapshot<LATENCY_BUCKETS>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serde::Serialize::serialize(&histogram.summary(), serializer)
}

impl Snapshot {
    /// What happened since `earlier`: counts and latencies by their difference, gauges as they stand. A ring that is only
    /// here is taken whole.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut now = self.clone();
        now.process = self.process.since(&earlier.process);
        for (name, ring) in &mut now.rings {
            let Some(before) = earlier.rings.get(name) else {
                continue;
            };
            ring.stats = ring.stats.since(&before.stats);
            ring.latency_ns = ring.latency_ns.since(&before.latency_ns);
            for (kind, stats) in &mut ring.kinds {
                *stats = stats.since(&before.kinds.get(kind).copied().unwrap_or_default());
            }
            if let (Some(window), Some(before)) = (&mut ring.window, &before.window) {
                window.stats = window.stats.since(&before.stats);
                window.caller_ns = window.caller_ns.since(&before.caller_ns);
            }
        }
        now
    }

    /// Writes everything in the text format that Prometheus scrapes.
    ///
    /// # Errors
    /// Never for the names used here; kept for those of later versions.
    pub fn to_prometheus(&self) -> Result<String, seqstats::ExpositionError> {
        exposition::text(self)
    }
}

fn microseconds(summary: &Summary) -> String {
    let us = |ns: u64| ns as f64 / 1e3;
    format!(
        "p50={:.1}us p99={:.1}us p99.9={:.1}us max={:.1}us",
        us(summary.p50),
        us(summary.p99),
        us(summary.p999),
        us(summary.max)
    )
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "all rings: {}", self.process)?;
        for (name, ring) in &self.rings {
            write!(f, "\n{name}: {}", ring.stats)?;
            write!(
                f,
                "\n{name} latency: {}",
                microseconds(&ring.latency_ns.summary())
            )?;
            for (kind, stats) in &ring.kinds {
                write!(f, "\n{name} {kind}: {stats}")?;
            }
            if let Some(window) = &ring.window {
                write!(f, "\n{name} window: {}", window.stats)?;
                let seen = microseconds(&window.caller_ns.summary());
                write!(f, "\n{name} as callers see it: {seen}")?;
            }
        }
        Ok(())
    }
}
