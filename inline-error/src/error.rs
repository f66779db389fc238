//! Kind, error number, message in one cache line.

#[cfg(feature = "alloc")]
use crate::cause::Cause;
use crate::message::{self, INLINE};
use crate::raw::Line;
use crate::{Errno, Kind};
use core::error::Error;
use core::fmt;

/// An error of exactly one cache line: a kind, an error number of the system, a message of up to 56 bytes in place.
///
/// Building, returning, dropping one allocates nothing while the message fits (claims `err.short`, `err.40b`). A longer
/// message spills to the heap (feature `alloc`); without that feature, or without memory, it is cut at a character
/// and its text ends in `...[+N bytes]`, [`is_cut`](Self::is_cut) says so. Nothing is ever cut silently.
///
/// `{}` prints kind and message, `{:#}` the chain of sources after it. `K` takes at most two bytes; a larger one does
/// not compile. `Clone` shares the source and copies a message on the heap,
/// or cuts it where there is no memory for the copy.
///
/// ```
/// use inline_error::{Errno, InlineError, SyscallKind};
///
/// let pid = 42;
/// let error = InlineError::new(SyscallKind::NotFound, format_args!("process {pid}")).with_errno(Errno::ESRCH);
/// assert_eq!(error.to_string(), "not found: process 42");
/// assert_eq!(format!("{error:#}"), "not found: process 42: no such process (ESRCH, os error 3)");
/// assert_eq!(size_of_val(&error), 64);
/// ```
#[must_use]
#[repr(transparent)]
pub struct InlineError<K> {
    line: Line<K>,
}

impl<K: Kind> InlineError<K> {
    const ONE_LINE: () = assert!(
        size_of::<Self>() == 64 && align_of::<Self>() == 64 && size_of::<Result<(), Self>>() == 64,
        "an error kind takes at most two bytes"
    );

    /// Bytes of message that fit without an allocation.
    pub const INLINE: usize = INLINE;

    /// Builds an error from a kind and a formatted message. Formats once; allocates only past 56 bytes.
    #[inline]
    pub fn new(kind: K, message: fmt::Arguments<'_>) -> Self {
        match message.as_str() {
            Some(message) => Self::msg(kind, message),
            None => Self::build(kind, None, |line| message::format_into(line, message)),
        }
    }

    /// Builds an error from a kind and a text that needs no formatting. O(length); allocates only past 56 bytes.
    #[inline]
    pub fn msg(kind: K, message: &str) -> Self {
        Self::build(kind, None, |line| message::copy_into(line, message))
    }

    /// Builds an error that is its kind alone. No allocation.
    #[inline]
    pub fn of(kind: K) -> Self {
        Self::build(kind, None, |_| ())
    }

    /// Builds an error from an error number of the system; the kind follows from it. No allocation.
    #[inline]
    pub fn from_errno(errno: Errno) -> Self {
        Self::build(K::from_errno(errno), Some(errno), |_| ())
    }

    #[inline]
    fn build(kind: K, errno: Option<Errno>, fill: impl FnOnce(&mut Line<K>)) -> Self {
        const { Self::ONE_LINE };
        let line = Line::build(kind, errno, fill);
        Self { line }
    }

    /// Records the error number of the system that this error stands for.
    #[inline]
    pub fn with_errno(mut self, number: Errno) -> Self {
        self.line.set_errno(number);
        #[cfg(feature = "alloc")]
        if let Some(cause) = self.line.spill().and_then(|spill| spill.source.as_ref()) {
            let cause = cause.with_number(Some(number));
            return self.with_cause(cause);
        }
        self
    }

    /// Records a number that no system gave, for the predicates and the way back to an `io::Error`.
    #[cfg(feature = "std")]
    pub(crate) fn with_stand_in(mut self, number: Errno) -> Self {
        self.line.set_stand_in(number);
        self
    }

    /// The number that stands in where none was recorded.
    #[cfg(feature = "std")]
    pub(crate) fn stand_in(&self) -> Option<Errno> {
        self.line.stand_in()
    }

    /// The number that the predicates go by.
    #[inline]
    fn told(&self) -> Option<Errno> {
        self.errno().or(self.line.stand_in())
    }

    /// Records the error that caused this one, in place of an earlier one. Allocates.
    ///
    /// A recorded error number stays in the chain, before the cause.
    #[cfg(feature = "alloc")]
    pub fn with_source(self, cause: impl Into<alloc::boxed::Box<dyn Error + Send + Sync>>) -> Self {
        let cause = Cause::new(self.errno(), alloc::sync::Arc::from(cause.into()));
        self.with_cause(cause)
    }

    #[cfg(feature = "alloc")]
    fn with_cause(self, cause: Cause) -> Self {
        let line = Line::with_source(self.kind(), self.errno(), self.message(), cause);
        Self { line }.marked_as(&self)
    }

    /// Puts `context` before the message, as in `context: message`; kind, error number, source stay.
    ///
    /// Allocates only if the whole is longer than 56 bytes. See [`Context`](crate::Context) for results.
    ///
    /// ```
    /// use inline_error::{InlineError, SyscallKind};
    /// let error = InlineError::new(SyscallKind::Io, format_args!("page 3")).context("swap-in");
    /// assert_eq!(error.message(), "swap-in: page 3");
    /// ```
    pub fn context(self, context: impl fmt::Display) -> Self {
        let new = Self::build(self.kind(), self.errno(), |line| {
            message::prefix_into(line, context, self.message());
        });
        let new = new.marked_as(&self);
        #[cfg(feature = "alloc")]
        if let Some(cause) = self.line.spill().and_then(|spill| spill.source.as_ref()) {
            return new.with_cause(cause.clone());
        }
        new
    }

    /// Keeps what was recorded before, whatever was put around the message since: that it was cut, that its number
    /// stands in.
    fn marked_as(mut self, before: &Self) -> Self {
        if before.is_cut() {
            self.line.set_cut();
        }
        if let Some(number) = before.line.stand_in() {
            self.line.set_stand_in(number);
        }
        self
    }

    /// The recorded cause.
    pub(crate) fn cause(&self) -> Option<&(dyn Error + 'static)> {
        #[cfg(feature = "alloc")]
        return self.line.spill()?.source.as_ref().map(Cause::error);
        #[cfg(not(feature = "alloc"))]
        None
    }

    /// Returns the kind.
    #[inline]
    #[must_use]
    pub fn kind(&self) -> K {
        *self.line.kind()
    }

    /// Says whether the error is of this kind.
    #[inline]
    #[must_use]
    pub fn is(&self, kind: K) -> bool
    where
        K: PartialEq,
    {
        self.kind() == kind
    }

    /// Returns the error number of the system, if one was recorded.
    #[inline]
    #[must_use]
    pub fn errno(&self) -> Option<Errno> {
        *self.line.errno()
    }

    /// Borrows the message; empty if there is none.
    #[inline]
    #[must_use]
    pub fn message(&self) -> &str {
        self.line.message()
    }

    /// Says whether message and source take no heap.
    #[inline]
    #[must_use]
    pub fn is_inline(&self) -> bool {
        #[cfg(feature = "alloc")]
        return self.line.spill().is_none();
        #[cfg(not(feature = "alloc"))]
        true
    }

    /// Says whether part of the message is missing: it was over 56 bytes and there was no heap for it.
    #[inline]
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.line.is_cut()
    }

    /// Says whether the system was interrupted by a signal (`EINTR`).
    #[inline]
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.told() == Some(Errno::EINTR)
    }

    /// Says whether the operation would have blocked (`EAGAIN`).
    #[inline]
    #[must_use]
    pub fn is_would_block(&self) -> bool {
        self.told() == Some(Errno::EAGAIN)
    }

    /// Says whether the operation was cancelled (`ECANCELED`).
    #[inline]
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.told() == Some(Errno::ECANCELED)
    }

    /// Says whether time ran out (`ETIMEDOUT`, `ETIME`).
    #[inline]
    #[must_use]
    pub fn is_timed_out(&self) -> bool {
        matches!(self.told(), Some(Errno::ETIMEDOUT | Errno::ETIME))
    }

    /// Says whether trying the same again may succeed; see [`Errno::is_retryable`].
    #[inline]
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.told().is_some_and(Errno::is_retryable)
    }
}

impl<K: Copy> Clone for InlineError<K> {
    #[inline]
    fn clone(&self) -> Self {
        let line = self.line.clone();
        Self { line }
    }
}

impl<K: Kind> From<K> for InlineError<K> {
    #[inline]
    fn from(kind: K) -> Self {
        Self::of(kind)
    }
}

impl<K: Kind> From<Errno> for InlineError<K> {
    #[inline]
    fn from(errno: Errno) -> Self {
        Self::from_errno(errno)
    }
}

impl<K: Kind> fmt::Debug for InlineError<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("InlineError");
        debug
            .field("kind", &self.kind())
            .field("message", &self.message());
        if let Some(errno) = self.errno() {
            debug.field("errno", &errno);
        }
        if let Some(cause) = self.cause() {
            debug.field("source", &cause);
        }
        debug.finish()
    }
}

impl<K: Kind> Error for InlineError<K> {
    /// The error number, itself an error; then the recorded cause, which comes first where it leads to the same number.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        #[cfg(feature = "alloc")]
        if let Some(cause) = self.line.spill().and_then(|spill| spill.source.as_ref()) {
            return Some(cause.link());
        }
        self.line.errno().as_ref().map(|errno| errno as &dyn Error)
    }
}

#[cfg(feature = "alloc")]
impl<K: Kind> InlineError<K> {
    /// Moves the error behind one pointer. One allocation, on the failure path only.
    #[inline]
    pub fn boxed(self) -> crate::BoxedError<K> {
        self.into()
    }
}
