//! Typed operations, one file a family.
//!
//! Each is a plain value that owns what it needs. Give it to a ring in any style: [`Core::submit`](crate::Core::submit)
//! (token), `submit_with` (callback) or [`Core::run`](crate::Core::run) (future). Every one gives back what it owns, on
//! every path.

mod file;
mod fs;
mod net;
mod nop;
mod poll;
mod raw;
mod target;
mod time;

pub use file::{Read, Write};
pub use fs::{Close, Fsync, Open};
pub use net::{Accept, Connect, Recv, RecvLeased, Send};
pub use nop::Nop;
pub use poll::Poll;
pub use raw::Raw;
pub use target::{FixedFd, IoFd, Target};
pub use time::{Timeout, Within};
