#![doc = include_str!("../README.md")]

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
pub use domain::{Domain, Guard, Reader, Stalled, forks};
pub use facade::{atomic, cell, hint, sync, thread};
pub use pad::CachePadded;
pub use registry::{Claim, Registry};
pub use tally::Tally;

/// The model of the heavy barrier under loom: which one, and where an execution begins.
#[cfg(loom)]
pub use facade::interrupt;

#[doc(hidden)]
pub use facade::macros as __macros;
