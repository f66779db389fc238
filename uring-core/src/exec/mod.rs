//! Running futures on a ring.

mod block_on;

pub use block_on::block_on;
