//! Contention-adaptive counters, flat combining over any structure, and an adaptive cell.

mod cell;
mod combiner;
mod counter;
mod made_once;
mod striped;
mod thread_number;

#[doc(hidden)]
pub use cell::__cell;
pub use cell::{Adaptive, AdaptiveCell, Locked, Refused, Representation, Word};
pub use combiner::{Combiner, Combining, Tally};
pub use counter::{Counter, Switches, Way};
pub use striped::{Footprint, StripedCounter};
