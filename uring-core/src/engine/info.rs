//! What an engine tells about itself.

use crate::ring::RingStats;
use crate::sys::ladder::{Refusal, RingInfo};
use crate::sys::scheduling::Scheduling;
use std::fmt;
use std::time::Duration;

/// Where a core is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum CoreState {
    /// It takes messages and runs tasks.
    Running,
    /// It sees to completions and nothing else, until it is resumed.
    Paused,
    /// It was asked to end.
    Stopping,
    /// It has ended.
    Stopped,
    /// Its loop panicked, or its ring broke; what it had was given back.
    Failed,
}

impl CoreState {
    pub(crate) fn from_word(word: u8) -> Self {
        const ALL: [CoreState; 5] = [
            CoreState::Running,
            CoreState::Paused,
            CoreState::Stopping,
            CoreState::Stopped,
            CoreState::Failed,
        ];
        ALL[usize::from(word)]
    }
}

impl fmt::Display for CoreState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        })
    }
}

/// One core as it was set up: what it got, and what it was refused.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CoreInfo {
    /// Its number in the engine.
    pub index: usize,
    /// The processor whose threads it serves first.
    pub processor: usize,
    /// The processors that its thread may run on.
    pub runs_on: Vec<usize>,
    /// Its class of scheduling.
    pub scheduling: Scheduling,
    /// Its niceness.
    pub nice: i32,
    /// Its memory node, where one was asked for and given.
    pub node: Option<usize>,
    /// Bytes of registered memory; 0 where slots are leased that the kernel refused to register.
    pub registered_bytes: usize,
    /// Other rings wake it by messages; event counters do if not.
    pub messages: bool,
    /// Its ring.
    pub ring: RingInfo,
    /// What was asked for in vain.
    pub refusals: Vec<Refusal>,
}

impl fmt::Display for CoreInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, processor, .. } = self;
        write!(
            f,
            "core {index}: processor {processor}, runs on {:?}, {:?}, nice {}, woken by {}",
            self.runs_on,
            self.scheduling,
            self.nice,
            if self.messages { "messages" } else { "events" }
        )?;
        if let Some(node) = self.node {
            write!(f, ", memory of node {node}")?;
        }
        for refusal in &self.refusals {
            write!(f, "; {refusal}")?;
        }
        write!(f, "; {}", self.ring)
    }
}

/// An engine as it was set up.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EngineInfo {
    /// Its cores.
    pub cores: Vec<CoreInfo>,
    /// What was asked for the whole in vain.
    pub refusals: Vec<Refusal>,
    /// The latency asked for.
    pub p99_target: Option<Duration>,
}

impl EngineInfo {
    /// Everything that was asked for in vain, the cores' too.
    pub fn refused(&self) -> impl Iterator<Item = &Refusal> {
        let of_cores = self.cores.iter().flat_map(|core| &core.refusals);
        self.refusals.iter().chain(of_cores)
    }
}

impl fmt::Display for EngineInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.cores.len();
        write!(f, "{count} cores")?;
        if let Some(target) = self.p99_target {
            write!(f, ", p99 target {target:?}")?;
        }
        for refusal in &self.refusals {
            write!(f, "; {refusal}")?;
        }
        for core in &self.cores {
            write!(f, "\n{core}")?;
        }
        Ok(())
    }
}

/// One core at this moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CoreStatus {
    /// Where it is in its life.
    pub state: CoreState,
    /// Why it failed.
    pub failure: Option<String>,
    /// What it has done.
    pub stats: CoreStats,
}

/// What a core has done since it was started; each count by itself, not all of one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CoreStats {
    /// What its ring published.
    pub ring: RingStats,
    /// Messages that it ran.
    pub messages: u64,
    /// Messages that found its mailbox full and went back.
    pub messages_full: u64,
    /// Messages that it ended without running: their senders have their values, as errors.
    pub messages_refused: u64,
    /// Messages that wait now.
    pub messages_waiting: u64,
    /// Times that another ring's message ended its sleep.
    pub woken_by_message: u64,
    /// Times that the event counter did.
    pub woken_by_event: u64,
    /// Tasks that it took.
    pub tasks: u64,
    /// Times that it polled one.
    pub polls: u64,
    /// Panics of tasks, callbacks and destructors that it contained.
    pub panics: u64,
    /// Turns of its loop.
    pub turns: u64,
    /// Of those, how many slept.
    pub sleeps: u64,
}
