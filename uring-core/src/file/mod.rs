//! Files that rings know by slot, so that an operation needs no look-up and no reference count of a descriptor.
//!
//! | handle | names | its slot is used again |
//! |---|---|---|
//! | [`FixedFd`] | a file registered with one ring; a copy | never: a handle kept too long fails with `EBADF` |
//! | [`DirectFd`] | a file that has a slot and no descriptor, or one registered for a while; owned | when the last holder is gone |
//! | [`Files`] | files that several rings know, each under one slot everywhere | by [`Files::replace`] alone |
//!
//! A slot is never found by a bare number: a number can be closed and given to another file behind our back.

mod direct;
mod files;
mod fixed;
#[allow(unreachable_pub)] // public for its model alone
pub(crate) mod words;

pub use direct::{DirectFd, DirectSlots, EmptySlot};
pub use files::Files;
pub use fixed::FixedFd;
