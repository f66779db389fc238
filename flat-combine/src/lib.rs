//! Counting and combining under contention.
//!
//! A counter that every thread adds to, a small structure that every thread updates, a value that every thread reads:
//! three places where cores spend their time passing a cache line around. Which remedy is right depends on what the
//! caller needs to know, so there are four types:
//!
//! | need | type | cost |
//! |---|---|---|
//! | a total, now and then | [`StripedCounter`] | a private `+= 1` and a bounds check (`ctr.add`) |
//! | the value before, a limit | [`Counter`] | an atomic add (`ctr.exact`); a funnel while that is measured to be faster |
//! | any update of any structure | [`Combiner`] | an uncontended lock; one hand-over to an operation under contention (`comb.heap`) |
//! | one value, read and replaced | [`AdaptiveCell`] | an atomic word, or a lock, as its type allows |
//!
//! ```
//! use flat_combine::{Combiner, Counter, StripedCounter};
//! static REQUESTS: StripedCounter = StripedCounter::new();
//! static IN_FLIGHT_BYTES: Counter = Counter::new(0);
//! static RECENT: Combiner<Vec<u64>> = Combiner::new(Vec::new());
//!
//! REQUESTS.add(1);
//! if IN_FLIGHT_BYTES.fetch_add_if_below(4096, 1 << 20).is_ok() {
//!     RECENT.with(|recent| recent.push(7));
//!     IN_FLIGHT_BYTES.fetch_sub(4096);
//! }
//! assert_eq!((REQUESTS.sum(), IN_FLIGHT_BYTES.load()), (1, 0));
//! ```
//!
//! # Consistency
//! [`Counter`], [`Combiner`] and [`AdaptiveCell`] are linearizable. [`StripedCounter`] loses nothing and counts nothing
//! twice, but its sum is no snapshot: adds that run beside it may or may not be in it.
//!
//! # When not to use it
//! - One thread, or a handful that rarely meet: a plain atomic or a mutex is simpler and as fast. The adaptive forms
//!   stay close to those by design, and `ctr.exact` and `comb.heap` say how close.
//! - Combining for its own sake on two cores: *forced* combining takes 100 to 140 ns an operation there, a good mutex 50 to
//!   75 and the adaptive form 43 to 53 (`comb.heap`); a forced funnel takes five to seven times what `fetch_add` does, the
//!   adaptive form about as long (`ctr.exact`). That is why neither is used before contention is measured, and why on two
//!   cores neither ever is for long.
//! - Closures that block, or that take long: a combiner runs one at a time, like a lock.
//!
//! # What was checked
//! Every protocol runs as shipped under loom (up to three threads beside the main one, each model's bounds are printed
//! with its result) and under shuttle, where whole histories are tested for linearizability, those too in which the
//! counter decides by itself to switch, on measurements that the test makes up. Not modelled: what a clock and two cores
//! really measure (no decision can make a result wrong), and the standard library's mutex and condition variable, which
//! are trusted.

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
#[doc(hidden)]
pub use counter::Meter;
pub use counter::{Counter, Switches, Way};
pub use striped::{Footprint, StripedCounter};
