//! The flags of one descriptor, as a set of two bits.

use std::fmt;
use std::ops::BitOr;

/// What happens to a descriptor when its process executes or forks. Belongs to the descriptor and not to the value:
/// two descriptors of one value have flags of their own.
///
/// ```
/// use epoch_fdtable::Flags;
/// let flags = Flags::CLOSE_ON_EXEC | Flags::CLOSE_ON_FORK;
/// assert!(flags.contains(Flags::CLOSE_ON_EXEC) && !Flags::NONE.contains(Flags::CLOSE_ON_EXEC));
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Flags(u8);

impl Flags {
    /// Neither.
    pub const NONE: Self = Self(0);
    /// Closed when the process executes another program (`FD_CLOEXEC`).
    pub const CLOSE_ON_EXEC: Self = Self(1);
    /// Absent from a forked child (`FD_CLOFORK` of POSIX.1-2024).
    pub const CLOSE_ON_FORK: Self = Self(2);

    pub(crate) const ALL: u8 = 3;

    /// Says whether every flag of `other` is set here.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The flags of either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The flags of this one that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) const fn from_bits(bits: u8) -> Self {
        Self(bits & Self::ALL)
    }

    pub(crate) const fn bits(self) -> u8 {
        self.0
    }
}

impl BitOr for Flags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            0 => "NONE",
            1 => "CLOSE_ON_EXEC",
            2 => "CLOSE_ON_FORK",
            _ => "CLOSE_ON_EXEC | CLOSE_ON_FORK",
        })
    }
}
