//! The word at the head of a line: a tag for each slot, and how many nodes had to go on past the line.
//!
//! ```text
//! byte 7           6 .. 0
//! nodes that       tag of each slot, 0 where the slot is free
//! went past
//! ```
//! The eight tags are compared at once, in one register and without a branch on where the match is. A count of 255 stays:
//! what it then costs is a look at the next line, until the table is rebuilt.

/// Slots to a line, which with the control word fill 64 bytes; two under loom, so that a model fills a table within its
/// few steps.
pub(crate) const SLOTS: usize = if cfg!(loom) { 2 } else { 7 };

const ONES: u64 = 0x0101_0101_0101_0101;
const TOPS: u64 = ONES << 7;
const TAGS: u64 = (1 << (8 * SLOTS)) - 1;
const PAST: u64 = 1 << 56;
const PAST_MAX: u64 = 0xFF << 56;

/// A line's control word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Control(pub(crate) u64);

/// Slots whose tag matches, the first to come exact; a later one may be a false match, which the key tells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matches(u64);

/// The top bits of the bytes of `word` that are zero; the lowest is exact.
#[inline(always)]
fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & TOPS & TAGS
}

#[inline(always)]
fn byte(slot: usize, value: u8) -> u64 {
    u64::from(value) << (8 * slot)
}

impl Control {
    pub(crate) const EMPTY: Self = Self(0);

    /// Slots that hold a tag.
    #[inline(always)]
    pub(crate) fn matching(self, tag: u8) -> Matches {
        Matches(zero_bytes(self.0 ^ (u64::from(tag) * ONES)))
    }

    /// The first free slot.
    #[inline]
    pub(crate) fn vacant(self) -> Option<usize> {
        Matches(zero_bytes(self.0)).next()
    }

    /// Whether a node may lie further on.
    #[inline(always)]
    pub(crate) fn is_passed(self) -> bool {
        self.0 >= PAST
    }

    /// With one more node that went past.
    #[inline]
    pub(crate) fn passed(self) -> Self {
        if self.0 >= PAST_MAX {
            self
        } else {
            Self(self.0 + PAST)
        }
    }

    /// With one node fewer that went past.
    #[inline]
    pub(crate) fn unpassed(self) -> Self {
        debug_assert!(self.is_passed());
        if self.0 >= PAST_MAX {
            self
        } else {
            Self(self.0 - PAST)
        }
    }

    /// With a free slot taken.
    #[inline]
    pub(crate) fn with(self, slot: usize, tag: u8) -> Self {
        debug_assert!(self.0 & byte(slot, 0xFF) == 0 && tag != 0);
        Self(self.0 | byte(slot, tag))
    }

    /// With a slot given up.
    #[inline]
    pub(crate) fn without(self, slot: usize) -> Self {
        Self(self.0 & !byte(slot, 0xFF))
    }
}

impl Iterator for Matches {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let slot = self.0.trailing_zeros() as usize / 8;
        self.0 &= self.0 - 1;
        Some(slot)
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn every_slot_is_found_by_its_tag_whatever_stands_beside_it() {
        for tag in 1..=255u8 {
            for slot in 0..SLOTS {
                for other in [0, 1, tag - 1, tag.wrapping_add(1), 0x80, 0xFF] {
                    let mut control = Control::EMPTY.passed();
                    for at in (0..SLOTS).filter(|at| *at != slot && other != 0) {
                        control = control.with(at, other);
                    }
                    let control = control.with(slot, tag);
                    if other != tag {
                        assert_eq!(
                            control.matching(tag).next(),
                            Some(slot),
                            "tag {tag} beside {other}"
                        );
                    }
                    assert!(control.matching(tag).any(|at| at == slot));
                    assert!(control.matching(tag).all(|at| at < SLOTS));
                    assert!(control.is_passed());
                }
            }
        }
    }

    #[test]
    fn slots_are_taken_in_turn_and_given_back() {
        let mut control = Control::EMPTY;
        for slot in 0..SLOTS {
            assert_eq!(control.vacant(), Some(slot));
            control = control.with(slot, 0xFF);
        }
        assert_eq!((control.vacant(), control.is_passed()), (None, false));
        control = control.without(3);
        assert_eq!(control.vacant(), Some(3));
        assert_eq!((0..SLOTS).fold(control, Control::without), Control::EMPTY);
    }

    #[test]
    fn a_count_that_was_ever_full_stays() {
        let mut control = Control::EMPTY.with(2, 9);
        for _ in 0..254 {
            control = control.passed();
        }
        assert!((0..254).fold(control, |c, _| c.unpassed()) == Control::EMPTY.with(2, 9));
        control = control.passed().passed();
        control = (0..300).fold(control, |c, _| c.unpassed());
        assert!(control.is_passed(), "255 and more were not told apart");
        assert_eq!(control.matching(9).next(), Some(2), "the tags are not touched");
    }
}
