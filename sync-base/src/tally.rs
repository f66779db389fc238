//! A count that no protocol depends on.

// std: stands outside the models, which must not see it.
use std::sync::atomic::{AtomicUsize, Ordering};

/// A counter for statistics and hints: every access Relaxed, and invisible to a model checker, so that what publishes
/// nothing costs no state.
///
/// Never decide with it what memory may be touched: a model does not look at it.
///
/// ```
/// let tally = sync_base::Tally::new(0);
/// tally.add(2);
/// assert_eq!(tally.get(), 2);
/// ```
#[derive(Debug, Default)]
pub struct Tally(AtomicUsize);

impl Tally {
    /// Begins at `value`.
    pub const fn new(value: usize) -> Self {
        Self(AtomicUsize::new(value))
    }

    /// The present value.
    #[inline(always)]
    pub fn get(&self) -> usize {
        // Relaxed: a statistic or a hint; publishes nothing.
        self.0.load(Ordering::Relaxed)
    }

    /// Replaces the value.
    #[inline(always)]
    pub fn set(&self, value: usize) {
        // Relaxed: as in `get`.
        self.0.store(value, Ordering::Relaxed);
    }

    /// Adds, wrapping.
    #[inline(always)]
    pub fn add(&self, n: usize) {
        // Relaxed: as in `get`.
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Subtracts, wrapping.
    #[inline(always)]
    pub fn sub(&self, n: usize) {
        // Relaxed: as in `get`.
        self.0.fetch_sub(n, Ordering::Relaxed);
    }
}
