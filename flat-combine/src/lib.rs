//! Contention-adaptive counters, flat combining over any structure, and an adaptive cell.

mod combiner;
mod made_once;
mod striped;
mod thread_number;

pub use combiner::{Combiner, Combining, Tally};
pub use striped::{Footprint, StripedCounter};
