//! Contention-adaptive counters, flat combining over any structure, and an adaptive cell.

mod striped;

pub use striped::{Footprint, StripedCounter};
