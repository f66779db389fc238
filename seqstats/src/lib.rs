//! Sequence-locked statistics, wait-free-read latches and latency histograms.

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
#[cfg(feature = "serde")]
#[doc(hidden)]
pub use serde as __private_serde;
#[doc(hidden)]
pub use turn::Taken;
