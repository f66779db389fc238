//! How an end that is the faster one keeps off the other's cache line.
//!
//! Whoever looks how far the other end has come takes the line that the other is writing. An end that is a little faster
//! than the other catches up, and then looks again for each handful of values: both go at the speed of cache lines moving
//! to and fro, a tenth of what they could (claim `queue.spsc`). So one that found something, but little, twice in a row
//! pauses before it looks again. The other gains a lead meanwhile, the next look finds much, and there is no pause.
//!
//! One that finds nothing never pauses, and forgets what it found before: where values come one by one, each is found at
//! once.

use crate::hint;

/// Looks in a row that found little, after which the next one is put off.
const PATIENCE: u32 = 2;
/// Pauses of the processor: half a microsecond or so.
const PAUSES: u32 = 16;
/// Values that are never little, however great the queue.
const ENOUGH: usize = 256;

/// What the last looks found.
#[derive(Debug)]
pub(super) struct Pace {
    enough: usize,
    little: u32,
}

impl Pace {
    /// Begins for a queue of this capacity: a quarter of it is much.
    pub(super) const fn new(capacity: usize) -> Self {
        let quarter = capacity / 4;
        Self {
            enough: if quarter < ENOUGH { quarter } else { ENOUGH },
            little: 0,
        }
    }

    /// Called before a look; says whether it paused.
    #[inline]
    pub(super) fn before(&self) -> bool {
        // Under a model a pause shows nothing that the order of the threads does not.
        let pause = self.little >= PATIENCE && !cfg!(any(loom, shuttle));
        if pause {
            (0..PAUSES).for_each(|_| hint::spin_loop());
        }
        pause
    }

    /// Called after a look that found so many values, or so much room, more than was known.
    #[inline]
    pub(super) fn after(&mut self, found: usize) {
        self.little = if found == 0 || found >= self.enough {
            0
        } else {
            self.little.saturating_add(1)
        };
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    fn paused_after(capacity: usize, found: &[usize]) -> bool {
        let mut pace = Pace::new(capacity);
        found.iter().for_each(|n| pace.after(*n));
        pace.before()
    }

    #[test]
    fn only_an_end_that_keeps_finding_little_pauses() {
        assert!(!paused_after(1024, &[]));
        assert!(!paused_after(1024, &[1]));
        assert!(paused_after(1024, &[1, 255]));
        assert!(paused_after(1024, &[300, 1, 1, 1]));
        assert!(!paused_after(1024, &[1, 1, 256]), "enough is no reason to wait");
        assert!(
            !paused_after(1024, &[1, 1, 0]),
            "whoever waits for the next value gets it at once"
        );
        assert!(
            !paused_after(1024, &[1, 0, 1, 0, 1]),
            "values that come one by one are not put off"
        );
        assert!(paused_after(1 << 40, &[255, 255]) && !paused_after(1 << 40, &[256, 256]));
        assert!(
            !paused_after(4, &[1, 1, 1, 4]),
            "of a small queue one value is enough"
        );
    }
}
