#![doc = include_str!("../README.md")]

pub mod args;
pub mod bench;
pub mod probe;
pub mod report;

mod failure;
mod output;
mod signal;
mod sys;

pub use failure::{Failure, FailureKind};
pub use output::Output;
pub use signal::Stop;
