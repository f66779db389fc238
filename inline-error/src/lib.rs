#![no_std]
#![deny(unsafe_code)]
#![doc = include_str!("../README.md")]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

// Unsafe code stands in `raw` alone: there it is allowed, and nowhere else can it be.
mod raw;

#[cfg(feature = "alloc")]
#[forbid(unsafe_code)]
mod boxed;
#[cfg(feature = "alloc")]
#[forbid(unsafe_code)]
mod cause;
#[forbid(unsafe_code)]
mod context;
#[forbid(unsafe_code)]
mod display;
#[forbid(unsafe_code)]
mod errno;
#[forbid(unsafe_code)]
mod error;
#[cfg(feature = "std")]
#[forbid(unsafe_code)]
mod io;
#[forbid(unsafe_code)]
mod kind;
#[forbid(unsafe_code)]
mod message;
#[cfg(feature = "serde")]
#[forbid(unsafe_code)]
mod serde;
#[forbid(unsafe_code)]
mod string;
#[forbid(unsafe_code)]
mod syscall;

#[cfg(feature = "alloc")]
pub use boxed::BoxedError;
pub use context::Context;
pub use errno::Errno;
pub use error::InlineError;
pub use kind::Kind;
#[doc(hidden)]
pub use kind::assert_apart;
pub use string::{Full, InlineString};
pub use syscall::{SyscallError, SyscallKind};
