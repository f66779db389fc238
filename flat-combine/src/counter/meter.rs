//! Where a counter's policy gets its measurements from: the machine, or a test that says what they are.

use std::sync::OnceLock;
use std::time::Instant;

/// Turns what was seen into what the policy is told. What it decides from that, and what follows, is the shipped code.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    /// Of a sample of the plain way: whether others added between two glances, given whether the value had changed.
    pub contended: fn(seen: bool) -> bool,
    /// Of a report of the funnel: the operations in so many batches, given how many there were.
    pub funnelled: fn(batches: u64, seen: u64) -> u64,
    /// Nanoseconds since some moment; for rates only.
    pub now_ns: fn() -> u64,
}

impl Meter {
    /// What was seen, as it was seen.
    pub const MACHINE: Self = Self {
        contended: |seen| seen,
        funnelled: |_, seen| seen,
        now_ns: since_first_call,
    };
}

fn since_first_call() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}
