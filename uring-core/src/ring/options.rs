//! What a caller may ask of a ring.

use crate::backend::sim::Simulation;
use crate::sys::ladder::Rung;
use std::time::Duration;

/// Which carrier of operations to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Carrier {
    /// io_uring where it is allowed, else the fallback; [`Core::info`](crate::Core::info) says which, and why.
    #[default]
    Auto,
    /// io_uring, or an error that names the remedy.
    Uring,
    /// epoll and a few blocking threads, even where io_uring is allowed.
    Fallback,
    /// A simulated kernel for tests: that of [`Options::simulated`], or a new one in which nothing goes wrong.
    Sim,
}

/// Options of a ring; the defaults suit a storage or network loop.
///
/// ```
/// use uring_core::{LocalRing, Options};
/// let ring = LocalRing::with(&Options::new().depth(64))?;
/// println!("{}", ring.info());
/// # Ok::<(), uring_core::SetupError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) depth: u32,
    /// Operations of the crate's own besides.
    pub(crate) own: u32,
    pub(crate) sq_entries: Option<u32>,
    pub(crate) sqpoll_idle: Option<Duration>,
    pub(crate) highest_rung: Option<Rung>,
    pub(crate) registered_files: u32,
    pub(crate) direct_files: u32,
    pub(crate) busy_poll: Option<Duration>,
    pub(crate) drain_limit: Duration,
    pub(crate) carrier: Carrier,
    pub(crate) simulation: Option<Simulation>,
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

impl Options {
    /// Starts from the defaults: 128 operations in flight, no polling thread, 64 registered files, one second to drain.
    pub const fn new() -> Self {
        Self {
            depth: 128,
            own: 0,
            sq_entries: None,
            sqpoll_idle: None,
            highest_rung: None,
            registered_files: 64,
            direct_files: 0,
            busy_poll: None,
            drain_limit: Duration::from_secs(1),
            carrier: Carrier::Auto,
            simulation: None,
        }
    }

    /// How many operations may be in flight at once: 1 to 16384. Each costs 336 bytes for as long as the ring lives.
    pub const fn depth(mut self, operations: u32) -> Self {
        self.depth = operations;
        self
    }

    /// How many submissions may be queued before a system call: 1 to 32768, taken as the next power of two from 4 on; the
    /// depth unless said otherwise.
    pub const fn sq_entries(mut self, entries: u32) -> Self {
        self.sq_entries = Some(entries);
        self
    }

    /// Asks for a kernel thread that takes submissions, and sleeps after this time without any (taken as a millisecond at
    /// least, a minute at most).
    pub const fn sqpoll(mut self, idle: Duration) -> Self {
        self.sqpoll_idle = Some(idle);
        self
    }

    /// Begins at a lower rung of the set-up ladder: to test one, or to keep clear of a kernel's defect.
    pub const fn highest_rung(mut self, rung: Rung) -> Self {
        self.highest_rung = Some(rung);
        self
    }

    /// How many slots the table of registered files has; at most 1,048,575 together with [`direct_files`](Self::direct_files).
    pub const fn registered_files(mut self, slots: u32) -> Self {
        self.registered_files = slots;
        self
    }

    /// How many slots the kernel hands out by itself to files that are opened, accepted or made without a descriptor
    /// ([`DirectSlots`](crate::file::DirectSlots)); none unless said otherwise (Linux 6.0).
    pub const fn direct_files(mut self, slots: u32) -> Self {
        self.direct_files = slots;
        self
    }

    /// Asks that a wait for sockets polls their network queue for so long before it sleeps (Linux 6.9): lower latency for
    /// a processor's whole time. Where the kernel refuses, [`Core::info`](crate::Core::info) says so and waits sleep.
    pub const fn busy_poll(mut self, limit: Duration) -> Self {
        self.busy_poll = Some(limit);
        self
    }

    /// How long dropping the ring may wait for cancelled operations.
    pub const fn drain_limit(mut self, limit: Duration) -> Self {
        self.drain_limit = limit;
        self
    }

    /// Which carrier to use; the best that is allowed, unless said otherwise.
    pub const fn carrier(mut self, carrier: Carrier) -> Self {
        self.carrier = carrier;
        self
    }

    /// Puts the ring into a simulated kernel: deterministic, with faults, for tests. See [`sim`](crate::sim).
    pub fn simulated(mut self, simulation: &Simulation) -> Self {
        self.carrier = Carrier::Sim;
        self.simulation = Some(simulation.clone());
        self
    }
}
