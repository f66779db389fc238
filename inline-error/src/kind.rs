//! What went wrong, as a value small enough to stand beside the message.

use crate::Errno;
use core::fmt;

/// The classes of error that one library tells apart: a field-less enum of one or two bytes.
///
/// [`kinds!`](crate::kinds) declares one with all that belongs to it.
pub trait Kind: Copy + fmt::Debug + fmt::Display + Send + Sync + 'static {
    /// Names the kind that an error number of the operating system belongs to; total, so that no number is lost.
    fn from_errno(errno: Errno) -> Self;

    /// Names the error number that stands for this kind where none was recorded, if there is one.
    fn errno(self) -> Option<Errno> {
        None
    }
}

/// Declares an error kind: a one-byte `#[non_exhaustive]` enum, its texts, its predicates, its error numbers.
///
/// Each line is `Variant, predicate = "text" => [error numbers];`. The first number stands for the kind in
/// [`Kind::errno`]; a number in no list becomes the kind named after `else`. A number in two lists does not compile:
///
/// ```compile_fail,E0080
/// inline_error::kinds! {
///     /// Both claim the same number.
///     pub enum Twice else Second {
///         /// One.
///         First, is_first = "first" => [EIO, ENOENT];
///         /// The other.
///         Second, is_second = "second" => [ENOENT];
///     }
/// }
/// ```
///
/// ```
/// inline_error::kinds! {
///     /// What a cache can fail with.
///     pub enum CacheKind else Broken {
///         /// The key was never stored.
///         Missing, is_missing = "missing" => [ENOENT];
///         /// The cache holds all it may.
///         Full, is_full = "full" => [ENOSPC, EDQUOT];
///         /// Any other failure.
///         Broken, is_broken = "broken" => [];
///     }
/// }
/// use inline_error::{Errno, InlineError, Kind};
///
/// let error: InlineError<CacheKind> = InlineError::from_errno(Errno::EDQUOT).context("storing page 7");
/// assert!(error.kind().is_full());
/// assert_eq!(CacheKind::Full.errno(), Some(Errno::ENOSPC));
/// assert_eq!(format!("{error:#}"), "full: storing page 7: disk quota exceeded (EDQUOT, os error 122)");
/// ```
#[macro_export]
macro_rules! kinds {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident else $other:ident {
            $(
                $(#[$variant_meta:meta])*
                $variant:ident, $predicate:ident = $text:literal => [$($errno:ident),* $(,)?];
            )+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        #[non_exhaustive]
        $vis enum $name {
            $($(#[$variant_meta])* $variant,)+
        }

        impl $name {
            /// Every kind, in the order of declaration.
            $vis const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Returns the kind in words.
            #[must_use]
            $vis const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            $(
                #[doc = concat!("Says whether the kind is `", stringify!($variant), "`.")]
                #[must_use]
                $vis const fn $predicate(self) -> bool {
                    matches!(self, Self::$variant)
                }
            )+
        }

        const _: () = {
            let numbers: &[&[i32]] = &[$(&[$($crate::Errno::$errno.number()),*]),+];
            $crate::assert_apart(numbers);
        };

        impl ::core::fmt::Display for $name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.pad(self.text())
            }
        }

        impl $crate::Kind for $name {
            fn from_errno(errno: $crate::Errno) -> Self {
                $($(if errno == $crate::Errno::$errno { return Self::$variant; })*)+
                let _ = errno;
                Self::$other
            }

            fn errno(self) -> ::core::option::Option<$crate::Errno> {
                match self {
                    $(Self::$variant => {
                        let numbers: &[$crate::Errno] = &[$($crate::Errno::$errno),*];
                        numbers.first().copied()
                    })+
                }
            }
        }
    };
}

/// Checks that no error number stands twice. For [`kinds!`](crate::kinds) alone.
#[doc(hidden)]
pub const fn assert_apart(lists: &[&[i32]]) {
    let mut list = 0;
    while list < lists.len() {
        let mut at = 0;
        while at < lists[list].len() {
            assert!(
                count(lists, lists[list][at]) == 1,
                "an error number stands in two lists of `kinds!`: leave it in one"
            );
            at += 1;
        }
        list += 1;
    }
}

const fn count(lists: &[&[i32]], number: i32) -> usize {
    let (mut found, mut list) = (0, 0);
    while list < lists.len() {
        let mut at = 0;
        while at < lists[list].len() {
            found += (lists[list][at] == number) as usize;
            at += 1;
        }
        list += 1;
    }
    found
}
