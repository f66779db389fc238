//! The error behind one pointer, so that the path without errors carries eight bytes.

use crate::{Errno, InlineError, Kind};
use alloc::boxed::Box;
use core::error::Error;
use core::fmt;
use core::ops::Deref;

/// An [`InlineError`] behind a box: `Result<(), BoxedError<K>>` is eight bytes and travels in a register.
///
/// Use it where a result passes through many frames and is almost always `Ok`: success costs what `io::Error`'s does
/// (claim `err.ok`). A failure pays one allocation of 64 bytes, at [`From`] or [`InlineError::boxed`], and none more.
/// Where errors are frequent (an empty queue, a retry) return the [`InlineError`] itself.
///
/// ```
/// use inline_error::{BoxedError, SyscallKind};
///
/// fn open(name: &str) -> Result<u32, BoxedError<SyscallKind>> {
///     if name.is_empty() {
///         return Err(SyscallKind::InvalidArgument.into());
///     }
///     Ok(3)
/// }
/// assert!(open("").unwrap_err().is_invalid_argument());
/// assert_eq!(size_of::<Result<(), BoxedError<SyscallKind>>>(), 8);
/// ```
pub struct BoxedError<K>(Box<InlineError<K>>);

impl<K> BoxedError<K> {
    const ONE_WORD: () = assert!(
        size_of::<Self>() == size_of::<usize>() && size_of::<Result<(), Self>>() == size_of::<usize>()
    );

    /// Takes the error out of its box. Frees the box.
    #[inline]
    pub fn into_inner(self) -> InlineError<K> {
        *self.0
    }
}

impl<K: Kind> BoxedError<K> {
    /// Puts `context` before the message, in the same box. See [`InlineError::context`].
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        *self.0 = self.0.clone().context(context);
        self
    }
}

impl<K: Copy> Clone for BoxedError<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Kind> From<InlineError<K>> for BoxedError<K> {
    #[cold]
    #[inline(never)]
    fn from(error: InlineError<K>) -> Self {
        const { Self::ONE_WORD };
        Self(Box::new(error))
    }
}

impl<K: Kind> From<BoxedError<K>> for InlineError<K> {
    #[inline]
    fn from(error: BoxedError<K>) -> Self {
        error.into_inner()
    }
}

impl<K: Kind> From<K> for BoxedError<K> {
    fn from(kind: K) -> Self {
        InlineError::of(kind).into()
    }
}

impl<K: Kind> From<Errno> for BoxedError<K> {
    fn from(errno: Errno) -> Self {
        InlineError::from_errno(errno).into()
    }
}

impl<K> Deref for BoxedError<K> {
    type Target = InlineError<K>;
    #[inline]
    fn deref(&self) -> &InlineError<K> {
        &self.0
    }
}

impl<K: Kind> fmt::Display for BoxedError<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&*self.0, f)
    }
}

impl<K: Kind> fmt::Debug for BoxedError<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl<K: Kind> Error for BoxedError<K> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}
