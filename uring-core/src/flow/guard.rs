//! Keeping the tail under a target: counts what is over it at one window.

/// Fewest latencies over the target that mean anything.
const FEWEST: u32 = 4;
/// Share over the target that acts, by how many completions were seen: a p99 of few samples is not one percent sharp.
const ACT: [(u32, f64); 3] = [(0, 0.05), (400, 0.02), (2_000, 0.0115)];
/// A share that cuts two levels at once.
const GROSS: f64 = 0.10;
/// Completions after which a clean count starts over, so that old peace does not hide new trouble.
const FORGET: u32 = 4_000;

/// What the guard asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub(super) enum Cut {
    None,
    /// Levels to go down, and the share that was over the target.
    By {
        levels: u8,
        share: f64,
    },
}

/// Episodes that mean anything. A device that stalls once delays all that is in flight at once: that is one event, and
/// a smaller window would not have prevented it.
const EPISODES: u32 = 2;

/// Latencies over the target since the window was last changed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Guard {
    seen: u32,
    over: u32,
    episodes: u32,
    /// Completions that were in flight when the present episode began, and so belong to it.
    same_episode: u32,
}

impl Guard {
    /// Forgets what it saw: the window has changed.
    pub(super) fn restart(&mut self) {
        *self = Self::default();
    }

    /// Takes one latency, seen with the window all but full and so much in flight.
    pub(super) fn take(&mut self, over: bool, in_flight: u32) -> Cut {
        self.seen += 1;
        self.over += u32::from(over);
        if self.same_episode > 0 {
            self.same_episode -= 1;
        } else if over {
            self.episodes += 1;
            self.same_episode = in_flight.saturating_sub(1);
        }
        let share = f64::from(self.over) / f64::from(self.seen);
        let act = over
            && self.over >= FEWEST
            && self.episodes >= EPISODES
            && ACT.iter().any(|&(n, most)| self.seen >= n && share > most);
        if act {
            self.restart();
            return Cut::By {
                levels: if share > GROSS { 2 } else { 1 },
                share,
            };
        }
        if self.seen >= FORGET {
            self.restart();
        }
        Cut::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds a latency over the target every `every` completions; when it acts, after how many.
    fn acts_after(every: u32) -> Option<(u32, u8)> {
        let mut guard = Guard::default();
        (1..20_000).find_map(|n| match guard.take(n % every == 0, 1) {
            Cut::By { levels, .. } => Some((n, levels)),
            Cut::None => None,
        })
    }

    #[test]
    fn e7_p99_of_few_samples_needs_more_than_one_outlier() {
        let mut guard = Guard::default();
        assert_eq!([true, true, true].map(|over| guard.take(over, 1)), [Cut::None; 3]);
        assert!(matches!(guard.take(true, 1), Cut::By { levels: 2, .. }));
    }

    #[test]
    fn one_percent_is_allowed_and_a_little_more_is_found() {
        assert_eq!(acts_after(100), None);
        assert_eq!(acts_after(200), None);
        assert!(acts_after(80).is_some_and(|(n, levels)| (2_000..4_000).contains(&n) && levels == 1));
        assert!(acts_after(40).is_some_and(|(n, levels)| n < 1_000 && levels == 1));
        assert!(acts_after(4).is_some_and(|(n, levels)| n <= 16 && levels == 2));
    }

    #[test]
    fn one_stall_that_delays_all_in_flight_is_no_reason_to_shrink() {
        let mut guard = Guard::default();
        assert!((0..64).all(|_| guard.take(true, 64) == Cut::None));
        assert!((0..3_000).all(|_| guard.take(false, 64) == Cut::None));
        let mut bloated = Guard::default();
        assert!(
            (0..65).any(|_| bloated.take(true, 64) != Cut::None),
            "a queue that stays is found one window later"
        );
    }
}
