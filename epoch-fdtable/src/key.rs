//! What names a descriptor: a bare number, or a handle that knows which opening of the number it means.

/// A number with the generation that it had: once the descriptor is closed or replaced, the handle names nothing, even
/// when the number is open again. Generations are 64 bits and do not wrap.
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

    /// How many descriptors this number had named when this one was opened, itself counted.
    pub fn generation(self) -> u64 {
        self.generation
    }
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
