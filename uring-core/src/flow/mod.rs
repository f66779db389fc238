//! How much to keep in flight, how long to wait for how many: decisions without a clock and without I/O.
//!
//! Everything here is a pure state machine. Time comes in as nanoseconds and samples come in as arguments, so that
//! each machine runs in [`simulate`] against device models for hours of device time in a second of ours.
//!
//! - [`Ladder`] finds the smallest in-flight window that gives (nearly) all of the device's throughput, and holds it
//!   there: search, then paired probes, under a guard on tail latency. The default.
//! - [`Aimd`] is the textbook controller, additive increase and multiplicative decrease: the baseline.
//! - [`wait_for`] sizes the batch that one wait asks for; [`SpinChoice`] finds out whether spinning pays.
//!
//! # What a controller is told
//! One [`Completed`] an operation: when, how long it took, how many were in flight, whether callers were waiting for a
//! place. Time and completions count only between two completions that both saw such a backlog (the *limited clock*):
//! an application that asks for little teaches nothing about the device and moves nothing.

mod aimd;
mod batch;
mod guard;
mod hold;
mod ladder;
mod latencies;
mod level;
mod limited;
mod sample;
mod search;
pub mod simulate;
mod spin;

pub use aimd::Aimd;
pub use batch::wait_for;
pub use ladder::{Ladder, LadderOptions};
pub use level::Level;
pub use spin::{SpinChoice, Wait};

/// One completed operation, as a controller sees it.
#[derive(Clone, Copy, Debug)]
pub struct Completed {
    /// When it was reaped; completions of one reap share a reading of the clock.
    pub now_ns: u64,
    /// From submission to completion.
    pub latency_ns: u64,
    /// Operations in flight just before, this one counted.
    pub in_flight: u32,
    /// Whether a caller was waiting for a place in the window.
    pub backlog: bool,
    /// Whether it completed inside its own submission, as a read from the page cache does.
    pub inline: bool,
}

/// What limits the operations in flight.
pub trait Controller {
    /// Learns of a completion.
    fn completed(&mut self, completed: Completed);

    /// Operations that may be in flight now: at least 1.
    fn window(&self) -> u32;
}
