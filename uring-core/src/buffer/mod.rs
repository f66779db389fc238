//! Memory that the kernel reads and writes.

mod bufs;
mod group;
mod slab;

pub use bufs::{IoBuf, IoBufMut, Registration, Slice};
pub(crate) use group::Picks;
pub use group::{BufGroup, Lease};
pub use slab::{FixedBuf, RegisteredSlab};
