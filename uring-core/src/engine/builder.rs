//! What may be asked of an engine.

use super::Engine;
use super::plan::{Affinity, Cores, Machine, plan};
use crate::error::{Error, SetupError};
use crate::permit::Policy;
use crate::ring::Options;
use crate::sys::limits::has_room;
use crate::sys::scheduling::Scheduling;
use pooled_vec::ALIGN_DEFAULT;
use std::io;
use std::time::Duration;

/// How cores wake each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CrossCore {
    /// By messages from ring to ring where the kernel has them (Linux 6.3), else by event counters.
    #[default]
    Auto,
    /// By event counters alone.
    Event,
}

/// Registered memory of each core: slots, and bytes a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) slots: usize,
    pub(crate) slot_bytes: usize,
}

impl Memory {
    /// Whether there is room for that of so many cores. Touches none of it.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn room(&self, cores: usize) -> io::Result<()> {
        // As a slab spaces them.
        let stride = self.slot_bytes.checked_next_multiple_of(ALIGN_DEFAULT);
        let bytes = stride.unwrap_or(usize::MAX).saturating_mul(self.slots);
        has_room(bytes.saturating_mul(cores))
    }
}

/// Asks for an engine. Made by [`Engine::builder`].
///
/// Nothing is started before [`build`](Self::build), which checks everything first. What needs a privilege that is missing
/// (pinning, priority, memory) is done without, and [`Engine::info`] says what was asked, and why it was refused.
///
/// ```
/// use uring_core::engine::{Engine, Scheduling};
/// let engine = Engine::builder()
///     .core_count(1)
///     .depth(64)
///     .scheduling(Scheduling::Fifo(10))
///     .build()?;
/// println!("{}", engine.info());
/// # Ok::<(), uring_core::SetupError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is started before `build`"]
pub struct Builder {
    pub(crate) cores: Cores,
    pub(crate) affinity: Affinity,
    pub(crate) scheduling: Scheduling,
    pub(crate) nice: Option<i32>,
    pub(crate) stack_bytes: Option<usize>,
    pub(crate) node: Option<usize>,
    pub(crate) mailbox: usize,
    pub(crate) cross_core: CrossCore,
    pub(crate) memory: Option<Memory>,
    pub(crate) p99_target: Option<Duration>,
    pub(crate) policy: Option<Policy>,
    pub(crate) options: Options,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

impl Builder {
    /// Starts from the defaults: a core for each processor that this process may use, pinned to it, and the ring's own
    /// defaults.
    pub const fn new() -> Self {
        Self {
            cores: Cores::Allowed,
            affinity: Affinity::Pinned,
            scheduling: Scheduling::Inherit,
            nice: None,
            stack_bytes: None,
            node: None,
            mailbox: 1024,
            cross_core: CrossCore::Auto,
            memory: None,
            p99_target: None,
            policy: None,
            options: Options::new(),
        }
    }

    /// One core for each of these processors.
    pub fn cores(mut self, processors: impl IntoIterator<Item = usize>) -> Self {
        self.cores = Cores::Set(processors.into_iter().collect());
        self
    }

    /// So many cores, on the processors that this process may use, in turn.
    pub fn core_count(mut self, count: usize) -> Self {
        self.cores = Cores::Count(count);
        self
    }

    /// Where the threads of the cores may run.
    pub fn affinity(mut self, affinity: Affinity) -> Self {
        self.affinity = affinity;
        self
    }

    /// How the kernel schedules the threads of the cores.
    pub fn scheduling(mut self, scheduling: Scheduling) -> Self {
        self.scheduling = scheduling;
        self
    }

    /// The niceness of the threads: -20 (before others) to 19 (after them). As that of the builder's thread unless said.
    pub fn nice(mut self, nice: i32) -> Self {
        self.nice = Some(nice);
        self
    }

    /// The stack of each thread, in bytes; that of any thread of Rust's unless said.
    pub fn stack_bytes(mut self, bytes: usize) -> Self {
        self.stack_bytes = Some(bytes);
        self
    }

    /// Cores on the processors of this memory node alone, their memory from it where it has room.
    pub fn numa_node(mut self, node: usize) -> Self {
        self.node = Some(node);
        self
    }

    /// How many operations each core's ring has in flight at most: 1 to 16384; 128 unless said.
    pub fn depth(mut self, operations: u32) -> Self {
        self.options = self.options.depth(operations);
        self
    }

    /// Asks for a kernel thread for each core that takes submissions, and sleeps after this time without any.
    pub fn sqpoll(mut self, idle: Duration) -> Self {
        self.options = self.options.sqpoll(idle);
        self
    }

    /// Gives each core so many slots of registered memory, leased there by [`lease`](super::lease); at least one of at least one
    /// byte. Where the kernel refuses to register them (`RLIMIT_MEMLOCK`) they are plain memory, leased all the same; where there
    /// is no room for those of all cores there are none, and nothing is leased. [`Engine::info`] tells either. For
    /// buffers that go from core to core: [`Engine::register_slab`].
    pub fn registered_memory(mut self, slots: usize, slot_bytes: usize) -> Self {
        self.memory = Some(Memory { slots, slot_bytes });
        self
    }

    /// The latency that 99 of 100 operations should keep below: each core's [`window`](super::window) sees to it where the
    /// device can. Told by [`EngineInfo`](super::EngineInfo).
    pub fn p99_target(mut self, target: Duration) -> Self {
        self.p99_target = Some(target);
        self
    }

    /// What [`Engine::open`] may open, and where it leads. May be replaced while the engine runs: [`Policy::publish`].
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// How many messages from other threads may wait for a core; 1024 unless said. Rounded up to a power of two.
    pub fn mailbox(mut self, messages: usize) -> Self {
        self.mailbox = messages;
        self
    }

    /// How cores wake each other.
    pub fn cross_core(mut self, how: CrossCore) -> Self {
        self.cross_core = how;
        self
    }

    /// Changes what is asked of each core's ring: registered files, the carrier, the drain limit.
    pub fn ring(mut self, change: impl FnOnce(Options) -> Options) -> Self {
        self.options = change(self.options);
        self
    }

    /// Checks what was asked for, starts the cores and waits until each is ready. If one cannot be made, those that were are
    /// ended again.
    ///
    /// # Errors
    /// With what was wrong and what there is instead; with what the kernel refused, and the remedy.
    pub fn build(mut self) -> Result<Engine, SetupError> {
        let machine = Machine::read()
            .map_err(|error| Error::from(error).explain("asking which processors may be used"))?;
        let plan = plan(&self, &machine)?;
        self.memory = plan.memory;
        Engine::start(self, plan)
    }
}
