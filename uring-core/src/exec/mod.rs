//! Running futures on a ring.

#[allow(unreachable_pub)] // public for its model alone
pub(crate) mod alarm;
pub(crate) mod bell;
mod block_on;
#[allow(unreachable_pub)] // public for its model alone
pub(crate) mod claim;
mod driver;
mod event;
pub(crate) mod home;
pub(crate) mod local;
pub(crate) mod park;
#[allow(unreachable_pub)] // public for its model alone
pub(crate) mod reply;
pub(crate) mod task;
mod timers;
#[allow(unreachable_pub)] // public for its model alone
pub(crate) mod wakes;

pub use block_on::block_on;
pub use driver::Driver;
