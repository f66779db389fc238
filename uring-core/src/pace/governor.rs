//! What follows from completions: the window, how many a wait asks for, how it waits.
//!
//! Pure: time comes in with the completions.

use super::options::{Brain, Waiting, WindowOptions};
use crate::error::SetupError;
use crate::flow::{Completed, SpinChoice, Wait, wait_for};
use crate::ring::Seen;

/// A submission in so many is made apart from its wait, to see what of it completes in it.
const LOOK_EVERY: u32 = 64;
/// Submissions that a judgement takes: one alone may complete meanwhile by chance.
const LOOK_FEWEST: u32 = 16;
/// Operations of a hundred that complete in their own submission from which on the window is not applied.
const CACHED: u32 = 90;

/// Places while operations complete in their own submission: enough to share a system call among; more at a time only
/// leave the processor's cache.
const CACHED_PLACES: u32 = 64;

/// The window's decisions.
#[derive(Debug)]
pub(super) struct Governor {
    brain: Brain,
    waiting: Waiting,
    spin: SpinChoice,
    trying: bool,
    /// What the last looks saw together.
    cached: bool,
    /// Submitted and completed at once, since it was judged last.
    looked: (u32, u32),
    turns_to_look: u32,
}

impl Governor {
    pub(super) fn new(options: &WindowOptions, depth: u32) -> Result<Self, SetupError> {
        Ok(Self {
            brain: options.controller(depth)?,
            waiting: options.waiting,
            spin: SpinChoice::new(),
            trying: false,
            cached: false,
            looked: (0, 0),
            turns_to_look: 0,
        })
    }

    pub(super) fn brain(&self) -> &Brain {
        &self.brain
    }

    /// Operations that may be in flight.
    pub(super) fn window(&self) -> u32 {
        let window = self.brain.window();
        match (&self.brain, self.cached) {
            (Brain::Ladder(_), true) => window.min(CACHED_PLACES),
            _ => window,
        }
    }

    /// Whether operations complete in their own submission.
    pub(super) fn is_cached(&self) -> bool {
        self.cached
    }

    /// Completions that the next wait asks for, with so many in flight.
    pub(super) fn want(&self, in_flight: u32, backlog: bool) -> u32 {
        // What is in the page cache is there when the submission is over.
        wait_for(self.brain.window(), in_flight, backlog && !self.cached)
    }

    /// Whether the next wait spins.
    pub(super) fn spins(&self) -> bool {
        match self.waiting {
            Waiting::Sleep => false,
            Waiting::Spin => true,
            Waiting::Measured => self.spin.wait() == Wait::Spin,
        }
    }

    /// Whether the next submission is to be looked at.
    pub(super) fn wants_look(&mut self) -> bool {
        let now = self.turns_to_look == 0;
        self.turns_to_look = self.turns_to_look.saturating_sub(1);
        now
    }

    /// Learns how many of a submission completed in it.
    pub(super) fn looked(&mut self, submitted: u32, completed: u32) {
        self.looked.0 += submitted;
        self.looked.1 += completed;
        if self.looked.0 >= LOOK_FEWEST {
            self.cached = self.looked.1 * 100 >= self.looked.0 * CACHED;
            self.looked = (0, 0);
            self.turns_to_look = LOOK_EVERY - 1;
        }
    }

    /// Learns of the completions of a reap, before which `in_flight` operations were in flight.
    pub(super) fn reaped(&mut self, seen: &[Seen], in_flight: u32, backlog: bool) {
        self.follow_waits(seen, in_flight, backlog);
        for (seen, before) in seen.iter().zip(0..) {
            // What failed says nothing of the device. During a trial of spinning the rate is not the window's doing.
            if seen.failed || self.trying {
                continue;
            }
            self.brain.completed(Completed {
                now_ns: seen.now_ns,
                latency_ns: seen.now_ns.saturating_sub(seen.started_ns),
                in_flight: in_flight.saturating_sub(before),
                backlog,
                inline: self.cached,
            });
        }
    }

    /// Tells the spin choice, once the window has settled or callers ask for little.
    fn follow_waits(&mut self, seen: &[Seen], in_flight: u32, backlog: bool) {
        let Some(last) = seen.last() else { return };
        if self.waiting != Waiting::Measured || self.cached || (backlog && !self.brain.has_settled()) {
            return;
        }
        let count = seen.len() as u32;
        let total: u64 = seen.iter().map(|s| s.now_ns.saturating_sub(s.started_ns)).sum();
        self.spin
            .reaped(last.now_ns, count, total / u64::from(count), in_flight);
        let trying = self.spin.is_trying();
        if trying && !self.trying {
            // One that saw no backlog stops the controller's clock until two that did.
            self.brain.completed(Completed {
                now_ns: last.now_ns,
                latency_ns: 0,
                in_flight,
                backlog: false,
                inline: false,
            });
        }
        self.trying = trying;
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::pace::Control;

    fn governor(options: WindowOptions) -> Governor {
        Governor::new(&options, 128).unwrap()
    }

    fn seen(now_ns: u64) -> Seen {
        Seen {
            slot: 0,
            failed: false,
            started_ns: now_ns - 100_000,
            now_ns,
        }
    }

    #[test]
    fn e6_low_load_asks_for_one_and_sleeps_at_first() {
        let governor = governor(WindowOptions::new());
        for in_flight in 0..200 {
            assert_eq!(governor.want(in_flight, false), 1);
            assert!((1..=in_flight.max(1)).contains(&governor.want(in_flight, true)));
        }
        assert!(!governor.spins());
    }

    #[test]
    fn what_completes_in_its_submission_is_not_held_back_until_it_no_longer_does() {
        let mut governor = governor(WindowOptions::new());
        governor.looked(10, 10);
        assert!(!governor.is_cached(), "too few to tell");
        governor.looked(10, 8);
        assert!(governor.is_cached());
        (0..64).for_each(|n| governor.reaped(&[seen(200_000 + n)], 4, true));
        assert_eq!((governor.window(), governor.want(64, true)), (64, 1));
        governor.looked(20, 17);
        (0..64).for_each(|n| governor.reaped(&[seen(300_000 + n)], 4, true));
        assert_eq!(governor.brain().window(), 4);
        assert!(!governor.is_cached());
        governor.looked(0, 0);
        assert!(!governor.is_cached(), "a submission of nothing says nothing");
    }

    #[test]
    fn one_submission_in_64_is_looked_at() {
        let mut governor = governor(WindowOptions::new());
        let look = |governor: &mut Governor| {
            let now = governor.wants_look();
            if now {
                governor.looked(8, 0);
            }
            now
        };
        let looks = (0..650).filter(|_| look(&mut governor)).count();
        assert_eq!(looks, 20, "two of eight make a judgement, and 63 turns pass");
    }

    #[test]
    fn failures_move_no_window() {
        let mut governor = governor(WindowOptions::new());
        for n in 0..100_000 {
            let failed = Seen {
                failed: true,
                ..seen(1_000_000 + n * 10_000)
            };
            governor.reaped(&[failed], 4, true);
        }
        assert_eq!(governor.brain().window(), 4);
    }

    #[test]
    fn a_trial_of_spinning_begins_when_the_window_has_settled_and_moves_none() {
        let mut governor = governor(WindowOptions::new());
        let (mut window, mut tried) = (0, 0);
        // A device of one channel: whatever the window, 10,000 a second.
        for n in 0..200_000u64 {
            let was_trying = governor.trying;
            governor.reaped(&[seen(1_000_000 + n * 100_000)], governor.brain.window(), true);
            if governor.trying && was_trying {
                tried += 1;
                assert_eq!(governor.brain.window(), window, "a trial moves nothing");
                assert!(governor.brain.has_settled());
            }
            window = governor.brain.window();
        }
        assert!(tried > 0 && !governor.spins());
    }

    #[test]
    fn spinning_can_be_asked_for_or_ruled_out() {
        assert!(governor(WindowOptions::new().waiting(Waiting::Spin)).spins());
        let mut asleep = governor(
            WindowOptions::new()
                .waiting(Waiting::Sleep)
                .control(Control::Fixed(1)),
        );
        (0..10_000).for_each(|n| asleep.reaped(&[seen(1_000_000 + n * 100_000)], 1, false));
        assert!(!asleep.spins() && !asleep.trying);
    }
}
