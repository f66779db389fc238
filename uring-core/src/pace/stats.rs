//! What a window publishes.

use seqstats::{Group, Histogram, HistogramSnapshot, Recorder, Updater};
use sync_base::sync::Arc;

use crate::ring::LATENCY_BUCKETS;

seqstats::stats! {
    /// What a window did, and where it stands; published after each reap.
    pub struct WindowStats("uring_window") {
        /// Operations that got a place.
        counter admitted,
        /// Of those, how many had to wait for it.
        counter waited,
        /// Callers that would not wait and were refused.
        counter refused,
        /// Changes of the window.
        counter moves,
        /// Operations that may be in flight.
        gauge window,
        /// Operations in flight.
        gauge in_flight,
        /// Callers that wait for a place.
        gauge waiting,
        /// The p99 that is kept, in nanoseconds; 0 before it is known and without one.
        gauge target_p99_ns,
        /// 1 while the target is given up for what the device can do.
        gauge target_unreachable,
        /// 1 once the window has settled.
        gauge settled,
        /// 1 while operations complete in their own submission, as reads of the page cache do, so that they are only batched.
        gauge cached,
        /// 1 while waits spin.
        gauge spinning,
    }
}

/// What one window publishes, for any thread to read; outlives window and ring.
#[derive(Clone, Debug)]
pub struct WindowHandle {
    group: Arc<Group<WindowStats>>,
    caller_ns: Arc<Histogram<LATENCY_BUCKETS>>,
}

impl WindowHandle {
    /// Reads the figures as of one moment. Lock-free.
    pub fn stats(&self) -> WindowStats {
        self.group.snapshot()
    }

    /// Reads what callers saw, in nanoseconds: from asking for a place to the reap, the wait in our own queue included. What
    /// the device took is [`StatsHandle::latency_ns`](crate::StatsHandle::latency_ns): a smaller window moves waiting from
    /// there to here. Wait-free.
    ///
    /// The moment of asking is known to the last reading of the clock, since asking costs none of its own: the wait is
    /// over-stated by at most the time since the last submission or reap.
    pub fn caller_ns(&self) -> HistogramSnapshot<LATENCY_BUCKETS> {
        self.caller_ns.snapshot()
    }
}

/// The window's end of it.
pub(super) struct Publisher {
    pub(super) now: WindowStats,
    updater: Updater<Arc<Group<WindowStats>>, WindowStats>,
    caller_ns: Recorder<Arc<Histogram<LATENCY_BUCKETS>>>,
    handle: WindowHandle,
}

impl Publisher {
    pub(super) fn new() -> Self {
        let handle = WindowHandle {
            group: Arc::new(Group::new()),
            caller_ns: Arc::new(Histogram::new()),
        };
        let (group, caller_ns) = (Arc::clone(&handle.group), Arc::clone(&handle.caller_ns));
        Self {
            now: WindowStats::default(),
            updater: Updater::try_claim(group).expect("nobody else has it yet"),
            caller_ns: Recorder::try_claim(caller_ns).expect("nobody else has it yet"),
            handle,
        }
    }

    pub(super) fn handle(&self) -> WindowHandle {
        self.handle.clone()
    }

    #[inline]
    pub(super) fn caller(&mut self, ns: u64) {
        self.caller_ns.record(ns);
    }

    /// Publishes the figures.
    pub(super) fn publish(&mut self) {
        let now = self.now;
        if *self.updater.get() != now {
            self.updater.update(|published| *published = now);
        }
    }
}
