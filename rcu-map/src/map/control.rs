//! The word at the head of a line: a tag for each slot, and how many nodes had to go on past the line.
//!
//! ```text
//! byte 7           6 .. 0
//! nodes that       tag of each slot, 0 where the slot is free
//! went past
//! ```
//! All tags are compared at once, in one register and without a branch on where the match is ([`lanes`]). A count of 255
//! stays: what it then costs is a look at the next line, until the table is rebuilt.

use super::hash::Tag;

/// Slots to a line, which with the control word fill 64 bytes; two under loom, so that a model fills a table within its
/// few steps.
pub(crate) const SLOTS: usize = if cfg!(loom) { 2 } else { 7 };

const PAST: u64 = 1 << 56;
const PAST_MAX: u64 = 0xFF << 56;

/// A line's control word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Control(pub(crate) u64);

/// Slots whose tag matches, the first to come exact; a later one may be a false match, which the key tells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matches(lanes::Mask);

/// Comparing bytes by the sixteen-byte instructions that every x86-64 has.
#[cfg(target_arch = "x86_64")]
mod lanes {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_cvtsi64_si128, _mm_movemask_epi8, _mm_set1_epi8};

    pub(super) type Mask = u32;
    /// Bits of a mask to a byte of the word.
    pub(super) const STRIDE: u32 = 1;

    #[inline(always)]
    pub(super) fn equal(word: u64, byte: u8) -> Mask {
        // SAFETY: SSE2 is part of x86-64.
        unsafe {
            let equal = _mm_cmpeq_epi8(_mm_cvtsi64_si128(word as i64), _mm_set1_epi8(byte as i8));
            _mm_movemask_epi8(equal) as Mask
        }
    }
}

/// Comparing bytes in an ordinary register.
#[cfg(any(not(target_arch = "x86_64"), test))]
#[cfg_attr(target_arch = "x86_64", allow(dead_code))]
mod plain_lanes {
    pub(super) type Mask = u64;
    /// Bits of a mask to a byte of the word.
    pub(super) const STRIDE: u32 = 8;
    const ONES: u64 = 0x0101_0101_0101_0101;

    /// The lowest bit set is exact; one above it may stand for a byte that differs in its lowest bit.
    #[inline(always)]
    pub(super) fn equal(word: u64, byte: u8) -> Mask {
        let differ = word ^ (u64::from(byte) * ONES);
        (differ.wrapping_sub(ONES) & !differ & ONES << 7) >> 7
    }
}
#[cfg(not(target_arch = "x86_64"))]
use plain_lanes as lanes;

/// The bits of a mask that stand for slots.
const MASK: lanes::Mask = (1 << (lanes::STRIDE * SLOTS as u32)) - 1;

#[inline(always)]
fn byte(slot: usize, value: u8) -> u64 {
    u64::from(value) << (8 * slot)
}

impl Control {
    pub(crate) const EMPTY: Self = Self(0);

    /// Slots that hold a tag.
    #[inline(always)]
    pub(crate) fn matching(self, tag: Tag) -> Matches {
        Matches(lanes::equal(self.0, tag.0) & MASK)
    }

    /// The first free slot.
    #[inline]
    pub(crate) fn vacant(self) -> Option<usize> {
        Matches(lanes::equal(self.0, 0) & MASK).next()
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
    pub(crate) fn with(self, slot: usize, tag: Tag) -> Self {
        debug_assert!(self.0 & byte(slot, 0xFF) == 0);
        Self(self.0 | byte(slot, tag.0))
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
        let slot = (self.0.trailing_zeros() / lanes::STRIDE) as usize;
        self.0 &= self.0 - 1;
        Some(slot)
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn every_slot_is_found_by_its_tag_whatever_stands_beside_it() {
        for tag in (0x80..=255).map(Tag) {
            for slot in 0..SLOTS {
                for other in [0x80, 0x81, tag.0 ^ 1, tag.0 ^ 0x40, 0xFF].map(Tag) {
                    let mut control = Control::EMPTY.passed();
                    for at in (0..SLOTS).filter(|at| *at != slot && at % 3 != 1) {
                        control = control.with(at, other);
                    }
                    let control = control.with(slot, tag);
                    if other != tag {
                        assert_eq!(
                            control.matching(tag).next(),
                            Some(slot),
                            "{tag:?} beside {other:?}"
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
    fn both_ways_of_comparing_agree_on_the_first_match() {
        let mut word = 0x9E37_79B9_7F4A_7C15u64;
        for round in 0..200_000u32 {
            word ^= word << 13;
            word ^= word >> 7;
            word ^= word << 17;
            // A byte that is there, or one beside it.
            let byte = (word >> (8 * (round % 8))) as u8 ^ (round / 8 % 3) as u8;
            let first = (0..8).find(|at| (word >> (8 * at)) as u8 == byte);
            let by = |mask: u64, stride| (mask != 0).then(|| mask.trailing_zeros() / stride);
            assert_eq!(by(plain_lanes::equal(word, byte), plain_lanes::STRIDE), first);
            // Of sixteen bytes the upper eight are zero.
            let mask = u64::from(lanes::equal(word, byte)) & !(u64::MAX << (8 * lanes::STRIDE));
            assert_eq!(by(mask, lanes::STRIDE), first);
        }
    }

    #[test]
    fn slots_are_taken_in_turn_and_given_back() {
        let mut control = Control::EMPTY;
        for slot in 0..SLOTS {
            assert_eq!(control.vacant(), Some(slot));
            control = control.with(slot, Tag(0xFF));
        }
        assert_eq!((control.vacant(), control.is_passed()), (None, false));
        control = control.without(3);
        assert_eq!(control.vacant(), Some(3));
        assert_eq!((0..SLOTS).fold(control, Control::without), Control::EMPTY);
    }

    #[test]
    fn a_count_that_was_ever_full_stays() {
        let mut control = Control::EMPTY.with(2, Tag(0x89));
        for _ in 0..254 {
            control = control.passed();
        }
        assert!((0..254).fold(control, |c, _| c.unpassed()) == Control::EMPTY.with(2, Tag(0x89)));
        control = control.passed().passed();
        control = (0..300).fold(control, |c, _| c.unpassed());
        assert!(control.is_passed(), "255 and more were not told apart");
        assert_eq!(
            control.matching(Tag(0x89)).next(),
            Some(2),
            "the tags are not touched"
        );
    }
}
