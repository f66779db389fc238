//! The state word of a record: the epoch a reader entered at, how deep it is nested, what awaits its leaving.

/// `epoch << 16 | flags << 12 | depth`; zero is an idle record on which a read section begins with one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(pub(super) u64);

/// One epoch; epochs are kept shifted, so that a pin adds nothing but a one.
pub(super) const STEP: u64 = 1 << 16;
/// Greatest nesting held in the word; deeper nesting is counted beside it.
pub(super) const DEPTH_MAX: u64 = 0x0fff;
/// The owner owes a collection when its outermost guard ends.
pub(super) const NEED: u64 = 0x1000;
/// The record is given back when its outermost guard ends.
pub(super) const TRANSIENT: u64 = 0x2000;
/// Both sides fence: set in every record where membarrier is refused, so that no pin takes the short way.
pub(super) const FENCED: u64 = 0x4000;

impl Word {
    pub(super) fn depth(self) -> u64 {
        self.0 & DEPTH_MAX
    }

    pub(super) fn is_pinned(self) -> bool {
        self.depth() != 0
    }

    /// The epoch, shifted as in the word.
    pub(super) fn epoch(self) -> u64 {
        self.0 & !(STEP - 1)
    }

    /// Whether this state holds back what that one held back: nesting does not matter.
    pub(super) fn holds_as(self, before: Self) -> bool {
        self.is_pinned() && self.epoch() == before.epoch()
    }

    pub(super) fn has(self, flag: u64) -> bool {
        self.0 & flag != 0
    }

    /// The word after the outermost guard at `epoch` began.
    pub(super) fn entered(self, epoch: u64) -> Self {
        Self(epoch | (self.0 & (STEP - 1) & !DEPTH_MAX) | 1)
    }

    /// The word when no guard is left: the standing flags alone.
    pub(super) fn left(self) -> Self {
        Self(self.0 & FENCED)
    }
}
