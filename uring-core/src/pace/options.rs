//! What a caller may ask of a window.

use crate::error::{ErrorKind, SetupError};
use crate::flow::{Aimd, Controller, Ladder, LadderOptions};
use std::time::Duration;

/// Target of the textbook controller where none is given.
const AIMD_TARGET_NS: u64 = 10_000_000;

/// What moves a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Control {
    /// [`flow::Ladder`](crate::flow::Ladder): the smallest window with (nearly) all of the device's throughput.
    #[default]
    Ladder,
    /// [`flow::Aimd`](crate::flow::Aimd): additive increase, multiplicative decrease; the baseline.
    Aimd,
    /// Nothing: so many places for good.
    Fixed(u32),
}

/// How to wait for completions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Waiting {
    /// Asleep, unless alternating slices show that spinning pays on this device and this processor
    /// ([`flow::SpinChoice`](crate::flow::SpinChoice)).
    #[default]
    Measured,
    /// Asleep.
    Sleep,
    /// Spinning for as long as something is in flight, and a bounded time.
    Spin,
}

/// Options of a window.
///
/// ```
/// use std::time::Duration;
/// use uring_core::pace::{Control, WindowOptions};
/// let options = WindowOptions::new().target_p99(Duration::from_millis(2)).max(64).control(Control::Ladder);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct WindowOptions {
    max: Option<u32>,
    target: Option<Duration>,
    control: Control,
    pub(super) waiting: Waiting,
}

impl WindowOptions {
    /// Starts from the defaults: the ladder, up to the ring's depth, a target of ten milliseconds or 32 times the median at
    /// the first rung, whichever is greater; waits asleep unless spinning was seen to pay.
    pub const fn new() -> Self {
        Self {
            max: None,
            target: None,
            control: Control::Ladder,
            waiting: Waiting::Measured,
        }
    }

    /// Keeps the 99th percentile of the device's latency below this where the device can.
    pub const fn target_p99(mut self, target: Duration) -> Self {
        self.target = Some(target);
        self
    }

    /// Never has more than so many in flight; the ring's depth is a bound in any case.
    pub const fn max(mut self, places: u32) -> Self {
        self.max = Some(places);
        self
    }

    /// Chooses what moves the window.
    pub const fn control(mut self, control: Control) -> Self {
        self.control = control;
        self
    }

    /// Chooses how to wait.
    pub const fn waiting(mut self, waiting: Waiting) -> Self {
        self.waiting = waiting;
        self
    }

    /// Makes the controller for a ring so deep.
    pub(super) fn controller(&self, depth: u32) -> Result<Brain, SetupError> {
        let refused = |what: &str| {
            Err(SetupError::new(
                ErrorKind::InvalidInput,
                format_args!("{what}; leave it out for the default"),
            ))
        };
        if self.max == Some(0) {
            return refused("a window of at most 0 places lets nothing through: give 1 or more");
        }
        if self.target.is_some_and(|target| target.is_zero()) {
            return refused("no device keeps a p99 of zero: give a target such as 2 ms");
        }
        let max = self.max.unwrap_or(depth).min(depth);
        let target_ns = self
            .target
            .map(|target| u64::try_from(target.as_nanos()).unwrap_or(u64::MAX));
        Ok(match self.control {
            Control::Ladder => Brain::Ladder(Box::new(Ladder::new(LadderOptions {
                max,
                target_p99_ns: target_ns,
            }))),
            Control::Aimd => Brain::Aimd(Box::new(Aimd::new(target_ns.unwrap_or(AIMD_TARGET_NS), max))),
            Control::Fixed(0) => return refused("a fixed window of 0 places lets nothing through"),
            Control::Fixed(_) if self.target.is_some() => {
                return refused("a fixed window keeps no p99 target: give one of the two");
            }
            Control::Fixed(places) => Brain::Fixed(places.min(max)),
        })
    }
}

/// A controller of a window.
#[derive(Debug)]
pub(super) enum Brain {
    Ladder(Box<Ladder>),
    Aimd(Box<Aimd>),
    Fixed(u32),
}

impl Brain {
    pub(super) fn window(&self) -> u32 {
        match self {
            Self::Ladder(ladder) => ladder.window(),
            Self::Aimd(aimd) => aimd.window(),
            Self::Fixed(places) => *places,
        }
    }

    pub(super) fn completed(&mut self, completed: crate::flow::Completed) {
        match self {
            Self::Ladder(ladder) => ladder.completed(completed),
            Self::Aimd(aimd) => aimd.completed(completed),
            Self::Fixed(_) => {}
        }
    }

    /// Whether it has found what it was looking for.
    pub(super) fn has_settled(&self) -> bool {
        match self {
            Self::Ladder(ladder) => ladder.is_holding(),
            Self::Aimd(_) | Self::Fixed(_) => true,
        }
    }

    /// The p99 that it keeps, if it keeps one.
    pub(super) fn target_ns(&self) -> Option<u64> {
        match self {
            Self::Ladder(ladder) => Some(ladder.target_p99_ns()).filter(|target| *target != u64::MAX),
            Self::Aimd(aimd) => Some(aimd.target_p99_ns()),
            Self::Fixed(_) => None,
        }
    }

    /// Whether the target was given up for what the device can do.
    pub(super) fn target_unreachable(&self) -> bool {
        matches!(self, Self::Ladder(ladder) if ladder.target_unreachable())
    }
}
