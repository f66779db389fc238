//! Typed operations, one file a family.
//!
//! Each is a plain value that owns what it needs. Give it to a ring in any style: [`Core::submit`](crate::Core::submit)
//! (token), `submit_with` (callback) or [`Core::run`](crate::Core::run) (future). Every one gives back what it owns, on
//! every path.

mod file;
mod nop;
mod target;

pub use file::{Read, Write};
pub use nop::Nop;
pub use target::{FixedFd, IoFd, Target};
