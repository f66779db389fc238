#![no_std]
#![deny(unsafe_code)]
#![doc = include_str!("../README.md")]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

#[cfg(feature = "alloc")]
mod boxed;
mod context;
mod errno;
mod error;
#[cfg(feature = "std")]
mod io;
mod kind;
mod message;
mod raw;
#[cfg(feature = "serde")]
mod serde;
mod string;
mod syscall;

#[cfg(feature = "alloc")]
pub use boxed::BoxedError;
pub use context::Context;
pub use errno::Errno;
pub use error::InlineError;
pub use kind::Kind;
pub use string::{Full, InlineString};
pub use syscall::{SyscallError, SyscallKind};
