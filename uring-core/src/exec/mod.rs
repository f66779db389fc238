//! Running futures on a ring.

mod block_on;
mod driver;

pub use block_on::block_on;
pub use driver::Driver;
