//! What names a descriptor: a bare number, or a handle that knows which opening of the number it means.

use sync_base::atomic::{AtomicU64, Ordering};

/// A number with the generation that it had: once the descriptor is closed or replaced, the handle names nothing, even
/// when the number is open again. Generations are 64 bits, do not wrap, and are drawn for the whole
/// process: a handle names nothing in any other table either, such as that of a later process with the same id.
///
/// ```
/// use epoch_fdtable::FdTable;
/// let table = FdTable::new();
/// let first = table.insert("first").unwrap();
/// drop(table.remove(first));
/// let second = table.insert("second").unwrap();
/// assert_eq!(first.number(), second.number());
/// assert_eq!(table.pin().get(first), None);
/// assert_eq!(table.pin().get(second), Some(&"second"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Handle {
    pub(crate) number: u32,
    pub(crate) generation: u64,
}

impl Handle {
    /// The bare number.
    pub fn number(self) -> u32 {
        self.number
    }

    /// Tells this opening of the number from every other opening of any number in any table of this process. Of one
    /// number, later openings have greater generations.
    pub fn generation(self) -> u64 {
        self.generation
    }
}

/// Generations that a number uses up before it draws again from what the process has; few in a model, so that it draws.
const RUN: u64 = if cfg!(any(loom, shuttle)) { 2 } else { 1 << 16 };

sync_base::global! { static RUNS: AtomicU64 = AtomicU64::new(1); }

/// The generation that follows this one of the same number; zero comes before the first.
#[inline]
pub(crate) fn next_generation(last: u64) -> u64 {
    let next = last + 1;
    if last != 0 && !next.is_multiple_of(RUN) {
        next
    } else {
        draw_run()
    }
}

/// The first of a run of generations that no number of the process has used. Greater than all drawn before.
#[cold]
fn draw_run() -> u64 {
    // Relaxed: publishes nothing; read-modify-writes of one word never give a number twice.
    RUNS.fetch_add(1, Ordering::Relaxed) * RUN
}

/// A name for a descriptor: `u32`, whatever is open under it, or [`Handle`], that one opening of it.
pub trait Key: Named {}

impl Key for u32 {}
impl Key for Handle {}

/// What a key says. Private, which seals [`Key`].
pub trait Named: Copy {
    /// The number.
    fn number(self) -> u32;
    /// Says whether a descriptor of this generation is meant; the generation is read only if it matters.
    fn admits(self, generation: impl FnOnce() -> u64) -> bool;
}

impl Named for u32 {
    #[inline(always)]
    fn number(self) -> u32 {
        self
    }
    #[inline(always)]
    fn admits(self, _: impl FnOnce() -> u64) -> bool {
        true
    }
}

impl Named for Handle {
    #[inline(always)]
    fn number(self) -> u32 {
        self.number
    }
    #[inline(always)]
    fn admits(self, generation: impl FnOnce() -> u64) -> bool {
        generation() == self.generation
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn generations_of_two_numbers_grow_and_never_meet_past_the_end_of_a_run() {
        let mut seen = std::collections::HashSet::new();
        let mut last = [0, 0];
        for _ in 0..3 * RUN {
            for generation in &mut last {
                let next = next_generation(*generation);
                assert!(next > *generation && seen.insert(next));
                *generation = next;
            }
        }
    }
}
