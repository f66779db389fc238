//! A cell that is an atomic where its type is a word, a lock otherwise.

mod choice;
mod locked;
mod word;

pub use locked::Locked;
pub use word::Word;

/// What the macro `adaptive!` expands to.
#[doc(hidden)]
pub mod __cell {
    pub use super::choice::{Choice, Choose, Otherwise, Plain, WORD};
}

use std::fmt;

mod sealed {
    /// `Word` and `Locked` alone.
    pub trait Sealed {}
}

/// A type that [`AdaptiveCell`] can hold. Implemented by [`adaptive!`](crate::adaptive), which chooses the
/// representation.
#[diagnostic::on_unimplemented(
    message = "`AdaptiveCell` does not know how to hold `{Self}`",
    note = "name a type of your own in `flat_combine::adaptive!`; put any other into a struct of yours and name that"
)]
pub trait Adaptive: Clone + PartialEq {
    /// [`Word`] or [`Locked`].
    type Repr: Representation<Self>;
}

/// One of the two representations; sealed.
pub trait Representation<T>: sealed::Sealed {
    /// Whether it is an atomic.
    const LOCK_FREE: bool;
    /// Wraps a value.
    fn new(value: T) -> Self;
    /// See [`AdaptiveCell::load`].
    fn load(&self) -> T;
    /// See [`AdaptiveCell::store`].
    fn store(&self, value: T);
    /// See [`AdaptiveCell::swap`].
    fn swap(&self, value: T) -> T;
    /// See [`AdaptiveCell::compare_exchange`].
    ///
    /// # Errors
    /// The value found and the new one.
    fn compare_exchange(&self, current: &T, new: T) -> Result<T, Refused<T>>;
    /// See [`AdaptiveCell::fetch_update`].
    ///
    /// # Errors
    /// The value for which `f` said `None`.
    fn fetch_update(&self, f: impl FnMut(&T) -> Option<T>) -> Result<T, T>;
    /// Takes the value out.
    fn into_inner(self) -> T;
}

/// A value shared between threads: one atomic word where its type is plain data of at most 8 bytes, a lock otherwise.
///
/// Which of the two is decided by the type, when it is compiled; a cell never holds both, and a type with padding,
/// whose unnamed bytes no comparison may look at, never becomes a word.
///
/// # Consistency
/// Linearizable. What a thread did before it wrote a value is visible to a thread that reads that value. Both
/// representations behave alike: values are compared by `==` (so a NaN is equal to nothing), closures run without a
/// lock and perhaps more than once.
///
/// # When not to use it
/// For large values read often by many threads: see `rcu-map`'s `RcuCell` and `seqstats`.
///
/// ```
/// use flat_combine::AdaptiveCell;
/// let word = AdaptiveCell::new(40u32);
/// let name = AdaptiveCell::new(String::from("lock"));
/// assert!(AdaptiveCell::<u32>::LOCK_FREE && !AdaptiveCell::<String>::LOCK_FREE);
/// assert_eq!(word.fetch_update(|n| n.checked_add(2)), Ok(40));
/// assert_eq!(name.swap("key".into()), "lock");
/// assert_eq!((word.load(), name.load()), (42, String::from("key")));
/// ```
pub struct AdaptiveCell<T: Adaptive>(T::Repr);

impl<T: Adaptive> AdaptiveCell<T> {
    /// Whether cells of this type are atomics.
    pub const LOCK_FREE: bool = T::Repr::LOCK_FREE;

    /// Wraps a value.
    pub fn new(value: T) -> Self {
        Self(T::Repr::new(value))
    }

    /// Wraps a value in the representation named, for a `static`. Under `--cfg loom` it is no constant function.
    ///
    /// ```
    /// use flat_combine::{AdaptiveCell, Locked, Word};
    /// static LEVEL: AdaptiveCell<u32> = AdaptiveCell::of(Word::new(3));
    /// static NAME: AdaptiveCell<&str> = AdaptiveCell::of(Locked::new("none"));
    /// assert_eq!((LEVEL.load(), NAME.load()), (3, "none"));
    /// ```
    ///
    /// The type decides, not the caller:
    /// ```compile_fail,E0308
    /// use flat_combine::{AdaptiveCell, Locked};
    /// static LEVEL: AdaptiveCell<u32> = AdaptiveCell::of(Locked::new(3));
    /// ```
    pub const fn of(repr: T::Repr) -> Self {
        Self(repr)
    }

    /// Clones the value. One atomic load, or a clone under the lock: a `clone` that uses the same cell waits for itself.
    #[inline]
    pub fn load(&self) -> T {
        self.0.load()
    }

    /// Puts another value in and drops the old one, outside the lock.
    ///
    /// A load followed by a store is no update: what another thread stored between the two is lost. See
    /// [`fetch_update`](Self::fetch_update).
    #[inline]
    pub fn store(&self, value: T) {
        self.0.store(value);
    }

    /// Puts another value in and returns the old one.
    #[inline]
    pub fn swap(&self, value: T) -> T {
        self.0.swap(value)
    }

    /// Puts `new` in if the value equals `current`, and returns the old one. Lock-free where it is a word; else each try
    /// takes the lock twice, and a try fails only if another write succeeded.
    ///
    /// # Errors
    /// The value found instead, and `new` back.
    #[inline]
    pub fn compare_exchange(&self, current: &T, new: T) -> Result<T, Refused<T>> {
        self.0.compare_exchange(current, new)
    }

    /// Replaces the value by what `f` makes of it, as one step, and returns the old one. `f` runs again when another
    /// thread wrote meanwhile; it may use this cell, and a panic in it changes nothing.
    ///
    /// # Errors
    /// The value for which `f` said `None`.
    #[inline]
    pub fn fetch_update(&self, f: impl FnMut(&T) -> Option<T>) -> Result<T, T> {
        self.0.fetch_update(f)
    }

    /// Takes the value out.
    pub fn into_inner(self) -> T {
        self.0.into_inner()
    }
}

impl<T: Adaptive + fmt::Debug> fmt::Debug for AdaptiveCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AdaptiveCell").field(&self.load()).finish()
    }
}

impl<T: Adaptive + Default> Default for AdaptiveCell<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

/// Why [`AdaptiveCell::compare_exchange`] changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused<T> {
    /// The value that was there.
    pub found: T,
    /// The value that was to go in.
    pub new: T,
}

impl<T: fmt::Debug> fmt::Display for Refused<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the cell held {:?}, so {:?} was not put in",
            self.found, self.new
        )
    }
}

impl<T: fmt::Debug> std::error::Error for Refused<T> {}
