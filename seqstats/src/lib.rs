//! Statistics that are written by one core and read by any, without a lock on either side.
//!
//! Servers count what they do and show it on every scrape, every control decision, every dashboard. A lock around the
//! figures makes the hot path wait for whoever looks; a bare atomic for each lets a reader see a hit that was counted and
//! a miss that was not yet. This crate publishes figures *together*, without making anybody wait:
//!
//! | to publish | use | the writer | the reader |
//! |---|---|---|---|
//! | a small plain value | [`SeqLock`] | plain stores | copies, and tries again if it was overtaken |
//! | the same, where every read must end | [`Latch`] | one swap | at most two copies, whatever the writer does |
//! | counters and gauges that belong together | [`stats!`], [`Group`] | as `SeqLock` | a snapshot of one moment |
//! | latencies | [`Histogram`] | one load and one store | wait-free; quantiles within 1.6 % |
//!
//! [`Interval`], [`GroupInterval`], [`Window`], [`Rate`] look at those from one moment to the next; [`Exposition`] writes
//! them for Prometheus.
//!
//! ```
//! use seqstats::{Group, Histogram, Recorder, Updater, groups::SocketStats};
//! static SOCKETS: Group<SocketStats> = Group::new();
//! static LATENCY_NS: Histogram = Histogram::new();
//! // The core that serves:
//! let mut sockets = Updater::try_claim(&SOCKETS).expect("one updater");
//! let mut latency = Recorder::try_claim(&LATENCY_NS).expect("one recorder");
//! sockets.update(|s| { s.accepted += 1; s.open += 1; });
//! latency.record(1_500);
//! // Anybody, any time:
//! let seen = SOCKETS.snapshot();
//! assert_eq!((seen.accepted, seen.open), (1, 1));
//! assert!((1_476..=1_524).contains(&LATENCY_NS.snapshot().quantile(0.99))); // within 1.6 %
//! ```
//!
//! # Consistency
//! A snapshot of a `SeqLock`, `Latch` or `Group` is exactly one published value, and later reads by the same thread are
//! never older. A histogram's snapshot counts each event wholly or not at all, but is not of one moment. A reset never
//! touches the writer: a reader subtracts what it saw last, so nothing is lost in between and several may reset alike.
//! No access races by the letter of the memory model: payloads are relaxed atomic words between fences.
//!
//! # When not to use it
//! - Many writers to one counter: `flat-combine`'s `StripedCounter`.
//! - A value that is large or owns memory: an RCU cell. A copy costs its size, and [`Plain`] admits no pointers.
//! - A single number: an atomic.
//! - A writer that never pauses, beside readers that must be fast: a `SeqLock` reader may be overtaken again and again.
//!   Take a `Latch`, or [`SeqLock::read_bounded`].
//!
//! # Costs
//! Claims `seq.read.64`, `seq.read.256`, `seq.read.hot`, `seq.read.hot.latch`, `seq.write.64`, `hist.record`. Nothing
//! allocates but snapshots of histograms; nothing waits but a second writer.
//!
//! # Checked, trusted
//! The seqlock, the latch, the histogram's reset and the writers' turns are model-checked as shipped under `--cfg loom`, at
//! two or three threads. Under a model the words of a value lie in a boxed slice instead of inline; that is the one file that
//! differs (`model_words.rs`).

#[cfg(feature = "serde")]
#[doc(hidden)]
pub mod as_data;
mod declare;
mod exposition;
mod group;
pub mod groups;
mod histogram;
mod interval;
mod latch;
mod mean;
mod names;
mod plain;
mod rate;
mod seqlock;
mod turn;
mod window;
#[cfg(not(feature = "serde"))]
mod without_data;
#[cfg_attr(any(loom, shuttle), path = "model_words.rs")]
mod words;

pub use exposition::{Exposition, ExpositionError, Labels};
pub use group::{Field, Group, GroupInterval, Kind, Stats, Updater};
pub use histogram::{FULL_RANGE, Histogram, HistogramSnapshot, Recorder, Summary};
pub use interval::Interval;
pub use latch::{Latch, LatchWriter};
pub use mean::ratio;
pub use plain::Plain;
pub use rate::Rate;
pub use seqlock::{SeqLock, Writer};
pub use turn::Hold;
pub use window::Window;

#[doc(no_inline)]
pub use bytemuck;

// For the macros.
#[doc(hidden)]
pub use group::display as __display;
#[doc(hidden)]
pub use names::{check as __check, named as __named};
#[cfg(feature = "serde")]
#[doc(hidden)]
pub use serde as __private_serde;
#[doc(hidden)]
pub use turn::Taken;
