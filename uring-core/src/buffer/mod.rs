//! Memory that the kernel reads and writes.

mod bufs;
mod slab;

pub use bufs::{IoBuf, IoBufMut, Registration, Slice};
pub use slab::{FixedBuf, RegisteredSlab};
