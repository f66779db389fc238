//! The clock that runs only while callers wait for the device.

use super::Completed;

/// Counts time between completions that both saw a backlog.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LimitedClock {
    last: Option<u64>,
    elapsed_ns: u64,
}

impl LimitedClock {
    /// Advances by the time since the last completion if both saw a backlog; says whether this one counts.
    pub(super) fn advance(&mut self, completed: &Completed) -> bool {
        if !completed.backlog {
            self.last = None;
            return false;
        }
        let counts = self.last.is_some();
        if let Some(last) = self.last {
            self.elapsed_ns += completed.now_ns.saturating_sub(last);
        }
        // A clock that went back is the same moment.
        self.last = Some(self.last.unwrap_or(0).max(completed.now_ns));
        counts
    }

    /// Time counted so far.
    pub(super) fn elapsed_ns(&self) -> u64 {
        self.elapsed_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(now_ns: u64, backlog: bool) -> Completed {
        Completed {
            now_ns,
            latency_ns: 1,
            in_flight: 1,
            backlog,
            inline: false,
        }
    }

    #[test]
    fn idle_time_does_not_count() {
        let mut clock = LimitedClock::default();
        assert!(!clock.advance(&at(100, true)));
        assert!(clock.advance(&at(150, true)));
        assert!(!clock.advance(&at(1_000, false)));
        assert!(!clock.advance(&at(2_000, true)));
        assert!(clock.advance(&at(2_010, true)));
        assert_eq!(clock.elapsed_ns(), 60);
    }

    #[test]
    fn a_clock_that_stands_or_goes_back_adds_nothing() {
        let mut clock = LimitedClock::default();
        for now in [500, 500, 400, 500] {
            clock.advance(&at(now, true));
        }
        assert_eq!(clock.elapsed_ns(), 0);
    }
}
