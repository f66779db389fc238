//! What a family of lock-free crates shares, each piece used by two or more of them.
//!
//! - [`atomic`], [`cell`], [`thread`], [`sync`], [`hint`], [`global!`], [`thread_local!`]: one vocabulary over `std`,
//!   `loom` (`--cfg loom`) and `shuttle` (`--cfg shuttle`). Code written against it is model-checked as shipped, and
//!   so is code *downstream* that sets the same flag.
//! - [`CachePadded`] keeps two hot words off one cache line; [`Backoff`] bounds a wait: spin, then yield, then park.
//! - [`queue`]: bounded queues, each with a stated overrun policy.
//! - [`Registry`] holds per-thread records that are never freed and are reused when their thread is gone.

mod backoff;
pub mod barrier;
pub mod domain;
mod facade;
mod pad;
pub mod queue;
mod registry;
mod tally;

pub use backoff::{Backoff, Step};
pub use barrier::{heavy_barrier, light_barrier};
pub use domain::{Domain, Guard, Reader, Stalled};
pub use facade::{atomic, cell, hint, sync, thread};
pub use pad::CachePadded;
pub use registry::{Claim, Registry};
pub use tally::Tally;

/// The model of the heavy barrier under loom: which one, and where an execution begins.
#[cfg(loom)]
pub use facade::interrupt;

#[doc(hidden)]
pub use facade::macros as __macros;
