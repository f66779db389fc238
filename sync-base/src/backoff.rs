//! A bounded wait: spin a little, yield a little, then say that it is time to park.

use crate::{hint, thread};

/// How far a wait has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// It spun on the processor.
    Spun,
    /// It gave the processor away once.
    Yielded,
    /// It did nothing: the caller parks, or gives up.
    Park,
}

/// Counts the rounds of one wait: 2^0 to 2^5 spins, then four yields, then [`Step::Park`] for ever after.
///
/// Under a model each round is one yield, since a spinning thread would hide the thread that it waits for.
///
/// ```
/// use sync_base::{Backoff, Step};
/// let mut backoff = Backoff::new();
/// let rounds = std::iter::from_fn(|| Some(backoff.step())).take_while(|s| *s != Step::Park).count();
/// assert_eq!(rounds, 10);
/// ```
#[derive(Debug, Default)]
pub struct Backoff {
    round: u32,
}

const SPIN_ROUNDS: u32 = 6;
const YIELD_ROUNDS: u32 = 4;

impl Backoff {
    /// Begins a wait.
    pub const fn new() -> Self {
        Self { round: 0 }
    }

    /// Waits one round, each longer than the last.
    pub fn step(&mut self) -> Step {
        if self.round >= SPIN_ROUNDS + YIELD_ROUNDS {
            return Step::Park;
        }
        let round = self.round;
        self.round += 1;
        if cfg!(any(loom, shuttle)) || round >= SPIN_ROUNDS {
            thread::yield_now();
            return Step::Yielded;
        }
        for _ in 0..1u32 << round {
            hint::spin_loop();
        }
        Step::Spun
    }

    /// Forgets the rounds so far, after progress was seen.
    pub fn reset(&mut self) {
        self.round = 0;
    }
}
