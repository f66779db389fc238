//! Saying, on the way up, what was being done when an error came by.

use crate::{InlineError, Kind};
use core::fmt;

/// Adds context to the error of a `Result`, whatever type it has that converts into an [`InlineError`].
///
/// Success passes through untouched, and costs nothing: not even the formatting.
///
/// ```
/// use inline_error::{Context, Errno, SyscallError};
///
/// fn read_header(completion: i32) -> Result<u32, SyscallError> {
///     Errno::check(completion).context("read of the header")
/// }
/// let error: SyscallError = read_header(-5).with_context(|| format!("page {}", 3)).unwrap_err();
/// assert_eq!(error.to_string(), "I/O error: page 3: read of the header");
/// assert_eq!(error.errno(), Some(Errno::EIO));
/// ```
pub trait Context<T, K>: Sized {
    /// Puts `context` before the error's message. See [`InlineError::context`].
    ///
    /// # Errors
    /// The error that was there, converted, with its context.
    fn context(self, context: impl fmt::Display) -> Result<T, InlineError<K>>;

    /// The same, with a context that is made only if there is an error.
    ///
    /// # Errors
    /// The error that was there, converted, with its context.
    fn with_context<D: fmt::Display>(self, context: impl FnOnce() -> D) -> Result<T, InlineError<K>>;
}

impl<T, E: Into<InlineError<K>>, K: Kind> Context<T, K> for Result<T, E> {
    #[inline]
    fn context(self, context: impl fmt::Display) -> Result<T, InlineError<K>> {
        self.map_err(|error| error.into().context(context))
    }

    #[inline]
    fn with_context<D: fmt::Display>(self, context: impl FnOnce() -> D) -> Result<T, InlineError<K>> {
        self.map_err(|error| error.into().context(context()))
    }
}
