//! One ring a core, each with its thread and its executor, and one handle to all of them.
//!
//! An [`Engine`] is a handle: clone it, send it, share it. Each of its cores is a thread, pinned to a processor, that owns a
//! [`LocalRing`](crate::LocalRing), tasks that never leave it, and timers. Whoever runs on a core (a task) uses that ring
//! directly: [`ring`], [`run`], [`spawn_local`], [`sleep`]. Whoever does not sends operations ([`Engine::submit`]), which go to
//! the ring of the processor that the sender runs on, or tasks ([`Engine::spawn_on`]).
//!
//! Nothing is shared between cores but mailboxes. These are bounded: a full one hands the value back, or lets the sender
//! wait. A core with nothing to do sleeps in its ring until something completes, a timer is due or somebody rings: an idle
//! engine has no wake-ups.
//!
//! # What ends what
//! A panic of a task, a callback or a destructor ends that alone; a core whose loop panics, or whose ring breaks, ends with
//! everything given back, and [`Engine::resume`] starts it anew. The engine ends when its last handle is dropped, or by
//! [`Engine::shut_down`]: tasks are dropped, operations are cancelled and come back as errors with their buffers, within
//! the rings' drain limit; what the kernel still holds then the reaper brings back.
//!
//! A task that holds a handle keeps the engine: it takes [`current`] when it needs one.

mod builder;
mod everywhere;
mod info;
mod lifecycle;
mod local;
#[allow(unreachable_pub)] // public for its model alone
pub(crate) mod mailbox;
mod opens;
mod order;
mod plan;
mod settings;
mod spawn;
mod station;
mod submit;
mod worker;

pub use crate::exec::local::{
    Elapsed, Interval, Sleep, interval, ring, run, sleep, sleep_until, spawn_local, timeout, timeout_at,
    window, yield_now,
};
pub use crate::exec::task::{JoinError, JoinHandle};
pub use crate::sys::scheduling::Scheduling;
pub use builder::{Builder, CrossCore};
pub use everywhere::{SharedFile, SharedSlab, fixed};
pub use info::{CoreInfo, CoreState, CoreStats, CoreStatus, EngineInfo};
pub use local::{current, current_core, lease};
pub use order::NotOnAll;
pub use plan::Affinity;
pub use settings::{Settings, SettingsReader, SharedSettings};
pub use spawn::{NotSent, Sending};
pub use submit::Submission;

use crate::error::{Error, ErrorKind};
use crate::stats::Sources;
use crate::sys::fork::Token as ForkToken;
use lifecycle::Threads;
use local::Resident;
use plan::Plan;
use rcu_map::RcuCell;
use station::Station;
use std::fmt;
use std::sync::Arc;

/// A handle to all cores. Cheap to clone; `Send` and `Sync`.
///
/// ```
/// use uring_core::{engine::Engine, op::Nop};
/// fn shared<T: Clone + Send + Sync>() {}
/// shared::<Engine>();
/// let engine = Engine::builder().core_count(2).build()?;
/// let nops: Vec<_> = (0..8).map(|_| engine.submit(Nop::new())).collect();
/// for nop in nops {
///     nop.wait()?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    /// Each core's present life.
    stations: Box<[RcuCell<Station>]>,
    resident: Resident,
    asked: Builder,
    plan: Plan,
    threads: Threads,
    /// Whose threads these are.
    fork: ForkToken,
}

impl Engine {
    /// Asks for an engine.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Starts an engine with the defaults: a core for each processor that this process may use.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn new() -> Result<Self, crate::SetupError> {
        Self::builder().build()
    }

    /// Counts the cores.
    pub fn core_count(&self) -> usize {
        self.inner.stations.len()
    }

    /// Says what was set up: what each core got, and what it was refused. Allocates.
    pub fn info(&self) -> EngineInfo {
        let stations = self.inner.stations.iter();
        EngineInfo {
            cores: stations.map(|station| station.load().info.clone()).collect(),
            refusals: self.inner.plan.refusals.clone(),
            p99_target: self.inner.asked.p99_target,
        }
    }

    /// Says how each core is, and what it has done. Stops nobody; allocates.
    pub fn cores(&self) -> Vec<CoreStatus> {
        let stations = self.inner.stations.iter().map(RcuCell::load);
        stations
            .map(|station| CoreStatus {
                state: station.state(),
                failure: station.failure(),
                stats: station.stats(),
            })
            .collect()
    }
}

impl Engine {
    /// Names what the present life of each core publishes, `core0` and so on: to print, to scrape, to hand on. Allocates; a
    /// core that is resumed begins anew under the same name, so ask again then.
    ///
    /// ```
    /// let engine = uring_core::engine::Engine::builder().core_count(1).build()?;
    /// let text = engine.sources().read().to_prometheus()?;
    /// assert!(text.contains("uring_window_window{ring=\"core0\"}"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn sources(&self) -> Sources {
        let mut sources = Sources::new();
        for (index, station) in self.inner.stations.iter().enumerate() {
            let (name, station) = (format!("core{index}"), station.load());
            sources.ring(name.clone(), station.ring.clone());
            sources.window(name, station.window.clone());
        }
        sources
    }
}

impl Inner {
    /// A forked child has none of the threads.
    fn check(&self) -> Result<(), Error> {
        if self.fork.is_current() {
            Ok(())
        } else {
            Err(Error::of(ErrorKind::Forked))
        }
    }

    /// The core that serves a processor.
    fn nearest(&self, processor: usize) -> usize {
        let routes = &self.plan.routes;
        routes.get(processor).copied().unwrap_or(0)
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let states: Vec<_> = self.inner.stations.iter().map(|s| s.load().state()).collect();
        f.debug_struct("Engine")
            .field("cores", &states)
            .finish_non_exhaustive()
    }
}
