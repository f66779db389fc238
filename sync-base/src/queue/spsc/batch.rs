//! Values lent to the consumer where they lie, without a copy.

use super::Consumer;
use std::fmt;

/// The oldest values of a queue, read where they lie; the slots stay theirs until [`consume`](Self::consume).
///
/// Dropping it consumes nothing. Under `DropOldest` its values stay claimed: they give way to nothing, and `len` does not
/// count them.
pub struct Batch<'a, T> {
    consumer: &'a mut Consumer<T>,
    count: usize,
}

impl<'a, T> Batch<'a, T> {
    /// Lends the `count` values that the consumer claimed first (I2).
    pub(super) fn new(consumer: &'a mut Consumer<T>, count: usize) -> Self {
        Self { consumer, count }
    }

    /// The values, oldest first: a second slice follows where they run past the end of the memory.
    pub fn slices(&self) -> (&[T], &[T]) {
        // SAFETY: I2: claimed and unread. They stay so while `self` is borrowed, since giving them back takes it by value.
        unsafe { self.consumer.claimed(self.count) }
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Drops the oldest `count` values, or all if there are fewer, and gives their slots back. What remains is read
    /// again next time.
    pub fn consume(self, count: usize) {
        // SAFETY: I2: `self.count` are claimed and unread.
        unsafe { self.consumer.consume(count.min(self.count)) };
    }
}

impl<T> fmt::Debug for Batch<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}
