//! Contention-adaptive counters, flat combining over any structure, and an adaptive cell.

mod combiner;
mod counter;
mod made_once;
mod striped;
mod thread_number;

pub use combiner::{Combiner, Combining, Tally};
pub use counter::{Counter, Switches, Way};
pub use striped::{Footprint, StripedCounter};
