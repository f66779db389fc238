//! The two packed words of the number bitmap, with every bit named.

/// Numbers in one bitmap word. A model shrinks it, so that full words are common.
pub(crate) const WORD_BITS: u32 = if cfg!(loom) {
    2
} else if cfg!(shuttle) {
    8
} else {
    64
};

/// Bitmap words under one group word.
pub(crate) const GROUP_WORDS: u32 = if cfg!(any(loom, shuttle)) { 2 } else { 16 };

/// One bitmap word: bit `i` set means that the `i`-th number is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken(pub(crate) u64);

impl Taken {
    const ALL: u64 = u64::MAX >> (64 - WORD_BITS);

    /// The lowest free bit at or above `floor`.
    pub(crate) fn lowest_free(self, floor: u32) -> Option<u32> {
        let below = (1u64 << floor) - 1;
        let bit = (self.0 | below).trailing_ones();
        (bit < WORD_BITS).then_some(bit)
    }

    pub(crate) fn is_full(self) -> bool {
        self.0 == Self::ALL
    }

    pub(crate) fn has(self, bit: u32) -> bool {
        self.0 & Self::mask(bit) != 0
    }

    /// Whether a number is taken here that is free in `other`.
    pub(crate) fn has_more_than(self, other: Self) -> bool {
        self.0 & !other.0 != 0
    }

    pub(crate) fn with(self, bit: u32) -> Self {
        Self(self.0 | Self::mask(bit))
    }

    pub(crate) fn without(self, bit: u32) -> Self {
        Self(self.0 & !Self::mask(bit))
    }

    pub(crate) fn mask(bit: u32) -> u64 {
        1 << bit
    }

    pub(crate) fn count(self) -> u32 {
        self.0.count_ones()
    }
}

/// One group word: `version:48 | full:16`. A full bit says that a bitmap word has no free number; the version counts
/// the times that a full word of the group stopped being full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Group(pub(crate) u64);

impl Group {
    const FULL_BITS: u32 = 16;
    const FULL: u64 = (1 << GROUP_WORDS) - 1;

    /// The lowest word at or above `floor` that is not marked full.
    pub(crate) fn lowest_open(self, floor: u32) -> Option<u32> {
        let below = (1u64 << floor) - 1;
        let word = ((self.0 & Self::FULL) | below).trailing_ones();
        (word < GROUP_WORDS).then_some(word)
    }

    pub(crate) fn is_full(self, word: u32) -> bool {
        self.0 >> word & 1 != 0
    }

    /// The same version with the word marked full.
    pub(crate) fn marked(self, word: u32) -> Self {
        Self(self.0 | 1 << word)
    }

    /// The next version with the word not marked full.
    pub(crate) fn reopened(self, word: u32) -> Self {
        Self((self.0 & !(1 << word)).wrapping_add(1 << Self::FULL_BITS))
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn lowest_free_skips_what_is_taken_and_what_is_below_the_floor() {
        assert_eq!(Taken(0).lowest_free(0), Some(0));
        assert_eq!(Taken(0b1011).lowest_free(0), Some(2));
        assert_eq!(Taken(0b1011).lowest_free(3), Some(4));
        assert_eq!(Taken(0).lowest_free(63), Some(63));
        assert_eq!(Taken(u64::MAX).lowest_free(0), None);
        assert_eq!(Taken(1 << 63).lowest_free(63), None);
        assert!(Taken(u64::MAX).is_full() && !Taken(u64::MAX >> 1).is_full());
        assert!(Taken(0b101).has_more_than(Taken(0b011)) && !Taken(0b001).has_more_than(Taken(0b011)));
    }

    #[test]
    fn reopening_moves_the_version_even_where_no_bit_was_marked() {
        let group = Group(0);
        assert_ne!(group.reopened(3), group);
        assert_eq!(group.marked(3).reopened(3).0, 1 << 16);
        assert_eq!(group.marked(0).marked(1).lowest_open(0), Some(2));
        assert_eq!(Group(Group::FULL).lowest_open(0), None);
        assert!(group.marked(15).is_full(15));
        // The version wraps without touching the marks.
        assert_eq!(Group(u64::MAX).reopened(0).0, Group::FULL & !1);
    }
}
