//! Sequence-locked statistics, wait-free-read latches and latency histograms.

mod histogram;
mod interval;
mod latch;
mod mean;
mod plain;
mod seqlock;
mod turn;
#[cfg_attr(any(loom, shuttle), path = "model_words.rs")]
mod words;

pub use histogram::{FULL_RANGE, Histogram, HistogramSnapshot, Recorder, Summary};
pub use interval::Interval;
pub use latch::{Latch, LatchWriter};
pub use mean::ratio;
pub use plain::Plain;
pub use seqlock::{SeqLock, Writer};
pub use turn::Hold;
#[doc(hidden)]
pub use turn::Taken;

#[doc(no_inline)]
pub use bytemuck;
