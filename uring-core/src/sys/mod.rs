//! Raw system calls of the engine, beneath every abstraction.

pub mod abi;
pub(crate) mod affinity;
pub(crate) mod clock;
pub(crate) mod fork;
mod known;
pub(crate) mod ladder;
pub(crate) mod limits;
pub(crate) mod numa;
pub(crate) mod probe;
pub(crate) mod random;
mod registers;
pub(crate) mod scheduling;
pub(crate) mod ticks;
