//! The windows that a controller chooses among: 1, 2, 3, 4, 6, 8, 12, 16, 24, ...

/// A rung of the ladder. Steps are by a third to a half, below what throughput can be told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(u8);

/// Rungs that exist: the last is a window of 65,536.
pub(super) const LEVELS: usize = 32;

impl Level {
    /// A window of one.
    pub const LOWEST: Self = Self(0);
    /// A window of four: where search begins.
    pub(super) const START: Self = Self(3);

    /// Operations in flight at this level.
    ///
    /// ```
    /// let windows: Vec<u32> = uring_core::flow::Level::all().take(10).map(|l| l.window()).collect();
    /// assert_eq!(windows, [1, 2, 3, 4, 6, 8, 12, 16, 24, 32]);
    /// ```
    pub fn window(self) -> u32 {
        match self.0 {
            0 => 1,
            n if n % 2 == 1 => 1 << n.div_ceil(2),
            n => 3 << (n / 2 - 1),
        }
    }

    /// All levels, lowest first.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..LEVELS as u8).map(Self)
    }

    /// The highest level whose window is at most `window`.
    pub fn at_most(window: u32) -> Self {
        Self::all()
            .take_while(|level| level.window() <= window)
            .last()
            .unwrap_or(Self::LOWEST)
    }

    /// `steps` rungs up, no further than `top`.
    pub(super) fn up(self, steps: u8, top: Self) -> Self {
        Self(self.0.saturating_add(steps).min(top.0))
    }

    /// `steps` rungs down, no further than the lowest.
    pub(super) fn down(self, steps: u8) -> Self {
        Self(self.0.saturating_sub(steps))
    }

    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_rise_by_at_most_one_half_from_two_on() {
        let windows: Vec<u32> = Level::all().map(Level::window).collect();
        assert!(
            windows
                .windows(2)
                .all(|w| w[0] < w[1] && (w[0] < 2 || w[1] * 2 <= w[0] * 3))
        );
        assert_eq!(windows.last(), Some(&65_536));
    }

    #[test]
    fn at_most_rounds_down() {
        assert_eq!(Level::at_most(0), Level::LOWEST);
        assert_eq!(Level::at_most(5).window(), 4);
        assert_eq!(Level::at_most(128).window(), 128);
    }
}
