//! Which representation a type gets, decided when it is compiled.

use super::{Adaptive, Locked, Representation, Word};
use bytemuck::NoUninit;
use std::marker::PhantomData;
use std::num::{
    NonZeroI8, NonZeroI16, NonZeroI32, NonZeroI64, NonZeroIsize, NonZeroU8, NonZeroU16, NonZeroU32,
    NonZeroU64, NonZeroUsize,
};
use std::sync::Arc;

/// Asks whether `T` is plain data without padding: `PLAIN` is the inherent constant where it is, and that of
/// [`Otherwise`] where the inherent one does not apply.
#[derive(Debug)]
pub struct Plain<T>(PhantomData<T>);

impl<T: NoUninit> Plain<T> {
    /// It is.
    pub const PLAIN: bool = true;
}

/// The other answer of [`Plain`].
pub trait Otherwise {
    /// It is not.
    const PLAIN: bool = false;
}

impl<T> Otherwise for Plain<T> {}

/// The bytes of a word.
pub const WORD: usize = size_of::<u64>();

/// `IS_WORD` turned into a type.
#[derive(Debug)]
pub struct Choice<const IS_WORD: bool>;

/// The representation that a [`Choice`] stands for.
pub trait Choose<T> {
    /// It.
    type Repr: Representation<T>;
}

impl<T: NoUninit + PartialEq> Choose<T> for Choice<true> {
    type Repr = Word<T>;
}

impl<T: Clone + PartialEq> Choose<T> for Choice<false> {
    type Repr = Locked<T>;
}

/// Lets [`AdaptiveCell`](crate::AdaptiveCell) hold values of the types named.
///
/// A type gets a word if it is `bytemuck::NoUninit` (derive it: the derive proves that there is no padding) and at most
/// 8 bytes long, else a lock. The types must be `Clone + PartialEq`.
///
/// ```
/// use flat_combine::{AdaptiveCell, adaptive};
///
/// #[derive(Clone, Copy, PartialEq, Debug, bytemuck::NoUninit)]
/// #[repr(C)]
/// struct Point { x: i32, y: i32 }
///
/// #[derive(Clone, Copy, PartialEq, Debug)]
/// struct Padded { tag: u8, value: u32 } // three bytes between the fields are nobody's
///
/// adaptive!(Point, Padded);
/// assert!(AdaptiveCell::<Point>::LOCK_FREE);
/// assert!(!AdaptiveCell::<Padded>::LOCK_FREE);
/// ```
#[macro_export]
macro_rules! adaptive {
    ($($t:ty),+ $(,)?) => {$(
        impl $crate::Adaptive for $t {
            type Repr = <$crate::__cell::Choice<{
                #[allow(unused_imports)]
                use $crate::__cell::{Otherwise as _, Plain, WORD};
                Plain::<$t>::PLAIN && size_of::<$t>() <= WORD
            }> as $crate::__cell::Choose<$t>>::Repr;
        }
    )+};
}

adaptive!(
    bool,
    char,
    u8,
    u16,
    u32,
    u64,
    u128,
    usize,
    i8,
    i16,
    i32,
    i64,
    i128,
    isize,
    f32,
    f64,
    ()
);
adaptive!(NonZeroU8, NonZeroU16, NonZeroU32, NonZeroU64, NonZeroUsize);
adaptive!(NonZeroI8, NonZeroI16, NonZeroI32, NonZeroI64, NonZeroIsize);
adaptive!(
    Option<NonZeroU8>,
    Option<NonZeroU16>,
    Option<NonZeroU32>,
    Option<NonZeroU64>,
    Option<NonZeroUsize>,
    Option<NonZeroI8>,
    Option<NonZeroI16>,
    Option<NonZeroI32>,
    Option<NonZeroI64>,
    Option<NonZeroIsize>
);
adaptive!(
    Option<bool>,
    Option<char>,
    Option<u8>,
    Option<u16>,
    Option<u32>,
    Option<u64>,
    Option<u128>,
    Option<usize>,
    Option<i8>,
    Option<i16>,
    Option<i32>,
    Option<i64>,
    Option<i128>,
    Option<isize>,
    Option<f32>,
    Option<f64>,
    Option<String>,
    Option<&'static str>,
    Option<std::time::Duration>,
    Option<std::time::Instant>,
    Option<std::time::SystemTime>
);
adaptive!(
    [u8; 1], [u8; 2], [u8; 3], [u8; 4], [u8; 5], [u8; 6], [u8; 7], [u8; 8], [u8; 16], [u8; 32], [u8; 64]
);
adaptive!(
    [u16; 2], [u16; 4], [u32; 2], [i32; 2], [f32; 2], [u64; 2], [u64; 4], [u64; 8]
);
adaptive!(
    String,
    &'static str,
    std::time::Duration,
    std::time::Instant,
    std::time::SystemTime
);

impl<T: Clone + PartialEq> Adaptive for Vec<T> {
    type Repr = Locked<Self>;
}

impl<T: Clone + PartialEq> Adaptive for Box<T> {
    type Repr = Locked<Self>;
}

impl<T: PartialEq + ?Sized> Adaptive for Arc<T> {
    type Repr = Locked<Self>;
}

impl<T: PartialEq + ?Sized> Adaptive for Option<Arc<T>> {
    type Repr = Locked<Self>;
}

impl<A: Clone + PartialEq, B: Clone + PartialEq> Adaptive for (A, B) {
    type Repr = Locked<Self>;
}

impl<A: Clone + PartialEq, B: Clone + PartialEq, C: Clone + PartialEq> Adaptive for (A, B, C) {
    type Repr = Locked<Self>;
}
