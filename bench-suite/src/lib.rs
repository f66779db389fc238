//! Every claim of the workspace, measured against its peers and its floor in one run.
//!
//! A *claim* ([`Claim`]) names what is measured and holds the function that measures it. That function sets up a
//! [`Contest`]: lanes (ours, the floor, the peers) that run in rotating order for several rounds, each on pinned
//! threads, timed by the CPU clock of those threads; and bounds, each a ratio between our lane and another lane *of
//! the same round*. The result is a [`Row`] whose verdict is `yes`, `no`, `undecided` or `not here`.
//!
//! One file a family under [`claims`]. `cargo xtask claims` runs them; `docs/BENCHMARKS.md` explains the method.

pub mod claims;
pub mod report;

mod allocs;
mod alone;
mod claim;
mod contest;
mod machine;
mod row;
mod scaling;

pub use allocs::{CountingAllocator, allocations_on_this_thread};
pub use alone::measure_alone;
pub use claim::{Claim, Curve, Invalid, Plan, Sink, Task};
pub use contest::{Contest, Worker};
pub use machine::{online_cpus, pin_to, steal_ticks, thread_cpu_ns};
pub use row::{Row, Verdict, render_table};
pub use scaling::{Point, scaling};

/// The examples of the workspace's README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}
