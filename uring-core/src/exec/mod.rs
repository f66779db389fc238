//! Running futures on a ring.

#[allow(unreachable_pub)] // public for its model alone
pub(crate) mod alarm;
mod block_on;
mod driver;

pub use block_on::block_on;
pub use driver::Driver;
