//! Storage with a part not initialised: the one place with unsafe code.

#![allow(unsafe_code)]

mod line;
mod utf8;

pub(crate) use line::Line;
pub(crate) use utf8::Utf8;
