//! Time: an operation that only waits (`clock_nanosleep(2)`), and a bound on any other.

use super::result_of;
use crate::error::Error;
use crate::ring::operation::sealed::Sealed;
use crate::ring::{Operation, Outcome};
use crate::sys::abi::{Sqe, code};
use std::time::Duration;

/// `struct __kernel_timespec`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Timespec {
    seconds: i64,
    nanos: i64,
}

impl From<Duration> for Timespec {
    fn from(time: Duration) -> Self {
        Self {
            seconds: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            nanos: i64::from(time.subsec_nanos()),
        }
    }
}

/// Completes when so much time has passed.
///
/// ```
/// use std::time::Duration;
/// use uring_core::{LocalRing, op::Timeout};
/// let ring = LocalRing::new()?;
/// ring.block_on(ring.run(Timeout::after(Duration::from_millis(1))))??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Timeout {
    /// Lives in the slot: the kernel may read it as late as the submission is taken, by a thread of its own under SQPOLL.
    time: Timespec,
}

impl Timeout {
    /// Starts to count when the submission reaches the kernel.
    pub fn after(time: Duration) -> Self {
        Self { time: time.into() }
    }
}

impl Sealed for Timeout {}

// SAFETY: the entry names the timespec inside the operation, which does not move.
unsafe impl Operation for Timeout {
    type Output = Result<(), Error>;

    fn entry(&mut self) -> Sqe {
        Sqe {
            addr: std::ptr::from_ref(&self.time) as u64,
            len: 1,
            ..Sqe::new(code::TIMEOUT, -1)
        }
    }

    fn finish(self, outcome: Outcome) -> Self::Output {
        // The kernel calls the passing of the time an error.
        if outcome.raw == -libc::ETIME {
            Ok(())
        } else {
            result_of(outcome, code::TIMEOUT).map(drop)
        }
    }
}

/// Another operation, cancelled by the kernel itself when it takes too long (a linked timeout). It then completes with
/// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) and gives back what it owns.
#[derive(Debug)]
pub struct Within<O> {
    op: O,
    /// Lives in the slot for as long as the operation, not on the stack of whoever submitted.
    limit: Timespec,
}

impl<O: Operation> Within<O> {
    /// Bounds an operation.
    pub fn new(limit: Duration, op: O) -> Self {
        Self {
            op,
            limit: limit.into(),
        }
    }

    /// Gives the operation back, unsubmitted.
    pub fn into_inner(self) -> O {
        self.op
    }
}

impl<O: Operation> Sealed for Within<O> {}

// SAFETY: the first entry is the inner operation's, which does not move either; the second names the timespec inside.
unsafe impl<O: Operation> Operation for Within<O> {
    type Output = O::Output;
    const ENTRIES: u32 = {
        assert!(O::ENTRIES == 1, "an operation has one limit");
        2
    };

    fn belongs_to(&self, ring: u32) -> bool {
        self.op.belongs_to(ring)
    }

    fn entry(&mut self) -> Sqe {
        self.op.entry()
    }

    fn linked(&mut self) -> Option<Sqe> {
        Some(Sqe {
            addr: std::ptr::from_ref(&self.limit) as u64,
            len: 1,
            ..Sqe::new(code::LINK_TIMEOUT, -1)
        })
    }

    fn half_done(&mut self) {
        self.op.half_done();
    }

    fn arrived(&mut self, outcome: Outcome) {
        self.op.arrived(outcome);
    }

    fn finish(self, outcome: Outcome) -> O::Output {
        self.op.finish(outcome)
    }
}
