//! Memory that the kernel reads and writes.

mod bufs;

pub use bufs::{IoBuf, IoBufMut, Registration, Slice};
