//! From `std::io::Error` and back.

use crate::{BoxedError, Errno, InlineError, Kind};
use std::io;

/// Keeps the error number; an error without one keeps its text or, if it wraps another error, that one as source.
///
/// An `io::Error` that was made from an `InlineError<K>` gives that very error back.
impl<K: Kind> From<io::Error> for InlineError<K> {
    fn from(error: io::Error) -> Self {
        if let Some(errno) = error.raw_os_error().and_then(Errno::new) {
            return Self::from_errno(errno);
        }
        let kind = kind_of::<K>(error.kind());
        match error.downcast::<Self>() {
            Ok(ours) => ours,
            Err(error) if error.get_ref().is_none() => Self::new(kind, format_args!("{error}")),
            Err(error) => match error.into_inner() {
                Some(inner) => Self::of(kind).with_source(inner),
                None => Self::of(kind),
            },
        }
    }
}

/// Names the kind of an error that carries no number, by the number that the same failure would have.
fn kind_of<K: Kind>(kind: io::ErrorKind) -> K {
    K::from_errno(match kind {
        io::ErrorKind::NotFound => Errno::ENOENT,
        io::ErrorKind::PermissionDenied => Errno::EACCES,
        io::ErrorKind::ConnectionRefused => Errno::ECONNREFUSED,
        io::ErrorKind::ConnectionReset => Errno::ECONNRESET,
        io::ErrorKind::ConnectionAborted => Errno::ECONNABORTED,
        io::ErrorKind::NotConnected => Errno::ENOTCONN,
        io::ErrorKind::AddrInUse => Errno::EADDRINUSE,
        io::ErrorKind::AddrNotAvailable => Errno::EADDRNOTAVAIL,
        io::ErrorKind::BrokenPipe => Errno::EPIPE,
        io::ErrorKind::AlreadyExists => Errno::EEXIST,
        io::ErrorKind::WouldBlock => Errno::EAGAIN,
        io::ErrorKind::InvalidInput => Errno::EINVAL,
        io::ErrorKind::InvalidData => Errno::EBADMSG,
        io::ErrorKind::TimedOut => Errno::ETIMEDOUT,
        io::ErrorKind::Interrupted => Errno::EINTR,
        io::ErrorKind::Unsupported => Errno::EOPNOTSUPP,
        io::ErrorKind::OutOfMemory => Errno::ENOMEM,
        io::ErrorKind::StorageFull => Errno::ENOSPC,
        _ => Errno::EIO,
    })
}

/// Keeps everything, at the price of what `io::Error` can hold.
///
/// An error that is its number alone becomes the plain system error: `raw_os_error` answers, nothing is allocated.
/// One with a message or a source is wrapped whole: `kind` and text answer, and the number is in the chain, where
/// [`Errno::in_chain`] finds it. [`InlineError::into_raw_io`] trades the message for `raw_os_error`.
///
/// ```
/// use inline_error::{Context, Errno, SyscallError};
/// use std::io;
/// let plain: io::Error = SyscallError::from_errno(Errno::ENOENT).into();
/// assert_eq!(plain.raw_os_error(), Some(2));
///
/// let told: io::Error = SyscallError::from_errno(Errno::ENOENT).context("opening the log").into();
/// assert_eq!((told.kind(), told.raw_os_error()), (io::ErrorKind::NotFound, None));
/// assert_eq!(Errno::in_chain(&told), Some(Errno::ENOENT));
/// assert_eq!(SyscallError::from(told).message(), "opening the log"); // nothing lost on the way back
/// ```
impl<K: Kind> From<InlineError<K>> for io::Error {
    fn from(error: InlineError<K>) -> Self {
        let number = error.errno().or_else(|| error.kind().errno());
        match error.errno() {
            Some(errno) if error.message().is_empty() && error.is_inline() => {
                Self::from_raw_os_error(errno.number())
            }
            _ => {
                let kind = number.map_or(io::ErrorKind::Other, |number| {
                    Self::from_raw_os_error(number.number()).kind()
                });
                Self::new(kind, error)
            }
        }
    }
}

impl<K: Kind> InlineError<K> {
    /// Makes the plain system error of the recorded number, dropping message and source; without a number, as `From`.
    pub fn into_raw_io(self) -> io::Error {
        match self.errno() {
            Some(errno) => io::Error::from_raw_os_error(errno.number()),
            None => self.into(),
        }
    }
}

impl<K: Kind> From<io::Error> for BoxedError<K> {
    fn from(error: io::Error) -> Self {
        InlineError::from(error).into()
    }
}

impl<K: Kind> From<BoxedError<K>> for io::Error {
    fn from(error: BoxedError<K>) -> Self {
        error.into_inner().into()
    }
}
