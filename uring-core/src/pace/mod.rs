//! A window on a ring: how many operations may be with the device, found while it works.
//!
//! More in flight than the device can work on makes no operation faster: it only waits there instead of here. A [`Window`]
//! keeps the smallest number in flight that gives (nearly) all of the device's throughput, and lets callers wait for a
//! *place* before they submit: a closed loop, first come, first served. What is decided is decided in
//! [`flow`](crate::flow), which is pure; this module is where a ring meets it.
//!
//! - Each ring has its own window: nothing is shared between rings, and nothing is told to another thread but statistics.
//! - No thread, no timer, no wake-up of its own, and no reading of the clock beyond the ring's: one a submission batch, one
//!   a reap. An idle window costs nothing.
//! - Back-pressure is visible: [`Window::enter`] refuses where there is no place, [`Window::run`] waits, and
//!   [`WindowHandle`] says how many wait and since when ([`WindowHandle::caller_ns`]).
//! - Operations that complete in their own submission, as reads of the page cache do, are not held back beyond batches of 64:
//!   one submission in 64 is made apart from its wait to see whether nine in ten do.
//!
//! What never waits for a device (a receive, a timer) needs no place: submit it to the ring itself.

mod gate;
mod governor;
mod options;
mod stats;
mod window;

pub use options::{Control, Waiting, WindowOptions};
pub use stats::{WindowHandle, WindowStats};
pub use window::{Paced, Window};
