//! What a combiner counts of its own work.

/// What a [`Combiner`](crate::Combiner) did so far: see [`Combiner::tally`](crate::Combiner::tally).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Lots of published operations that leaders took.
    pub lots: u64,
    /// Operations in them.
    pub combined: u64,
    /// Times that a leader had served enough and another took over.
    pub hand_overs: u64,
    /// Answers that had to wake a parked thread.
    pub unparked: u64,
}

impl Tally {
    pub(super) const ZERO: Self = Self {
        lots: 0,
        combined: 0,
        hand_overs: 0,
        unparked: 0,
    };

    /// Published operations to a lot; 0 where there was none.
    pub fn mean_lot(&self) -> f64 {
        if self.lots == 0 {
            0.0
        } else {
            self.combined as f64 / self.lots as f64
        }
    }
}
