//! The figures of one lane in one phase.

use super::course::Done;
use super::progress::Progress;
use crate::args::Rw;
use seqstats::{HistogramSnapshot, ratio};
use std::fmt;
use uring_core::LATENCY_BUCKETS;

/// Who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// One ring a core.
    Ring,
    /// Threads that call `pread` and `pwrite`.
    Pread,
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ring => "io_uring",
            Self::Pread => "pread",
        })
    }
}

/// What is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The page cache.
    Cached,
    /// The disk, past the page cache.
    Direct,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Cached => "page cache",
            Self::Direct => "O_DIRECT",
        })
    }
}

/// How many operations a lane may have in flight on each core.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Depth {
    /// So many, fixed.
    Static(u32),
    /// As many as the window allows, up to the ring's depth.
    Auto,
}

/// What was seen at one look.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Seconds that the lane had run.
    pub at_s: f64,
    /// Reads a second since the last look.
    pub per_second: f64,
    /// Latency since the last look.
    pub p99_ns: u64,
    /// Estimated mean number of reads between submission and reaping since the last look, at most what was allowed: rate
    /// and latency are published apart, so that a short look may see one before the other.
    pub in_flight: f64,
    /// Reads that the kernel held at the look.
    pub in_kernel: u64,
    /// What the windows of the rings allowed at the look, all cores together; of threads, how many there are.
    pub depth: u64,
}

/// Everything about one lane in one phase.
#[derive(Clone, Debug)]
pub struct Figures {
    /// What was read from.
    pub phase: Phase,
    /// Who read.
    pub lane: Lane,
    /// What its operations are.
    pub rw: Rw,
    /// Rings, or threads.
    pub readers: usize,
    /// What bounds it on each core.
    pub depth: Depth,
    /// How many reads it may have in flight.
    pub allowed: usize,
    /// For how long.
    pub seconds: f64,
    /// Reads completed, by the counters of the engine.
    pub reads: u64,
    /// Of those, how many failed, by the same.
    pub failed: u64,
    /// System calls, by the same.
    pub calls: u64,
    /// Latency, by the histogram that each ring publishes.
    pub latency_ns: HistogramSnapshot<LATENCY_BUCKETS>,
    /// Reads checked and found right, by the readers.
    pub checked: u64,
    /// Of those, how many word by word.
    pub checked_in_full: u64,
    /// CPU time of the readers.
    pub cpu_ns: u64,
    /// The greatest number of buffers out of the slab at once.
    pub buffers_out: usize,
    /// The slot under which the file was registered.
    pub slot: Option<u32>,
    /// How the rings were set up.
    pub ring: Option<String>,
    /// What was seen meanwhile.
    pub samples: Vec<Sample>,
}

impl Figures {
    pub(super) fn new(
        phase: Phase,
        lane: Lane,
        readers: usize,
        depth: Depth,
        allowed: usize,
        rw: Rw,
    ) -> Self {
        Self {
            rw,
            phase,
            lane,
            readers,
            depth,
            allowed,
            seconds: 0.0,
            reads: 0,
            failed: 0,
            calls: 0,
            latency_ns: HistogramSnapshot::new(),
            checked: 0,
            checked_in_full: 0,
            cpu_ns: 0,
            buffers_out: 0,
            slot: None,
            ring: None,
            samples: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, done: &Done) {
        self.checked += done.reads;
        self.checked_in_full += done.checked_in_full;
        self.cpu_ns += done.cpu_ns;
        self.slot = done.slot.or(self.slot);
        self.ring = done.ring.clone().or(self.ring.take());
    }

    pub(super) fn look(&mut self, sample: Sample, buffers_out: usize) {
        self.samples.push(sample);
        self.buffers_out = self.buffers_out.max(buffers_out);
    }

    pub(super) fn tell(&self, progress: &Progress) {
        if let Some(now) = self.samples.last() {
            progress.say(format_args!(
                "{} · {} · depth {} · {:.0} op/s · p99 {:.0} us · {:.0} in flight · {:.1} s",
                self.phase,
                self.name(),
                now.depth,
                now.per_second,
                now.p99_ns as f64 / 1e3,
                now.in_flight,
                now.at_s
            ));
        }
    }

    /// Reads a second.
    pub fn per_second(&self) -> f64 {
        ratio(self.reads as f64, self.seconds)
    }

    /// CPU nanoseconds a read, of the readers' threads, checking included.
    pub fn cpu_ns_per_read(&self) -> f64 {
        ratio(self.cpu_ns as f64, self.reads as f64)
    }

    /// System calls a read.
    pub fn calls_per_read(&self) -> f64 {
        ratio(self.calls as f64, self.reads as f64)
    }

    /// Reads that came back and were not found right. Such a read ends the run, so that finished ones have none.
    pub fn wrong(&self) -> u64 {
        self.reads.saturating_sub(self.failed + self.checked)
    }

    /// Estimated mean number of reads between submission and reaping.
    pub fn in_flight(&self) -> f64 {
        self.estimate(self.per_second(), self.latency_ns.mean())
    }

    /// Little's law: arrivals a second times the time each stays. Never more than what was allowed.
    pub(super) fn estimate(&self, per_second: f64, mean_ns: f64) -> f64 {
        (per_second * mean_ns / 1e9).min(self.allowed as f64)
    }

    /// Latencies in microseconds: p50, p99, p99.9.
    pub fn quantiles_us(&self) -> [f64; 3] {
        self.latency_ns
            .quantiles([0.5, 0.99, 0.999])
            .map(|ns| ns as f64 / 1e3)
    }

    /// The depth at which most of the run was spent: the median of the looks, all cores together.
    pub fn settled(&self) -> u64 {
        let mut depths: Vec<u64> = self.samples.iter().map(|sample| sample.depth).collect();
        depths.sort_unstable();
        depths.get(depths.len() / 2).copied().unwrap_or(0)
    }

    /// Lane and number of readers.
    pub fn name(&self) -> String {
        match self.lane {
            Lane::Ring => format!("{} x{}", self.lane, self.readers),
            Lane::Pread => format!("{} x{}", self.rw.calls(), self.readers),
        }
    }

    /// The same with what bounds it, to tell the lanes of a sweep apart.
    pub fn full_name(&self) -> String {
        match self.depth {
            // Threads are as many as their name says.
            _ if self.lane == Lane::Pread => self.name(),
            Depth::Static(depth) => format!("{} @{depth}", self.name()),
            Depth::Auto => format!("{} auto", self.name()),
        }
    }
}
