//! From `std::io::Error` and back.

use crate::{BoxedError, Errno, InlineError, Kind};
use std::io;

/// Keeps the error number, or the one that a wrapped error leads to if it is of the same kind.
///
/// An error without a number keeps its text as the message and, if it wraps another error, that one as source. Its
/// [`io::ErrorKind`] is kept too: the predicates know an `Interrupted` or a `TimedOut`, and the way back gives the same
/// kind. [`errno`](InlineError::errno) answers only with a number that some system gave.
///
/// An `io::Error` that was made from an `InlineError<K>` gives that very error back.
///
/// ```
/// use inline_error::SyscallError;
/// use std::io;
/// let error = SyscallError::from(io::Error::new(io::ErrorKind::UnexpectedEof, "half a header"));
/// assert_eq!(error.to_string(), "I/O error: half a header");
/// assert_eq!(io::Error::from(error).kind(), io::ErrorKind::UnexpectedEof);
/// ```
impl<K: Kind> From<io::Error> for InlineError<K> {
    fn from(error: io::Error) -> Self {
        if let Some(errno) = error.raw_os_error().and_then(Errno::new) {
            return Self::from_errno(errno);
        }
        let kind = error.kind();
        let error = match error.downcast::<Self>() {
            Ok(ours) => return ours,
            Err(error) => error,
        };
        let mut ours = match number_behind(&error) {
            Some(errno) => Self::new(K::from_errno(errno), format_args!("{error}")).with_errno(errno),
            None => {
                let class = Class::of(kind);
                Self::new(K::from_errno(class.like), format_args!("{error}")).with_stand_in(class.number)
            }
        };
        if let Some(inner) = error.into_inner() {
            ours = ours.with_source(inner);
        }
        ours
    }
}

/// The number that a wrapped error leads to, unless the wrapping says that the failure is of another kind.
fn number_behind(error: &io::Error) -> Option<Errno> {
    let errno = Errno::in_chain(error.get_ref()?)?;
    let kind = error.kind();
    (kind == io::ErrorKind::Other || kind == kind_of(errno)).then_some(errno)
}

/// How an error without a number is recorded.
struct Class {
    /// Leads back to the kind of the `io::Error`.
    number: Errno,
    /// The number that the same failure would most likely have, by which its own kind is chosen.
    like: Errno,
}

impl Class {
    fn of(kind: io::ErrorKind) -> Self {
        let like = like(kind);
        let odd = ODD.iter().position(|&odd| odd == kind);
        let number = odd.and_then(|at| Errno::new(-1 - at as i32)).unwrap_or(like);
        Self { number, like }
    }
}

/// The kinds that no error number has. Where one stands in, it is by the negated place in this list.
const ODD: [io::ErrorKind; 4] = [
    io::ErrorKind::Other,
    io::ErrorKind::UnexpectedEof,
    io::ErrorKind::WriteZero,
    io::ErrorKind::InvalidData,
];

/// The kind of `io::Error` that a number has, one that stands in included.
fn kind_of(number: Errno) -> io::ErrorKind {
    let odd = usize::try_from(-1 - i64::from(number.number())).ok();
    match odd.and_then(|at| ODD.get(at)) {
        Some(&kind) => kind,
        None => io::Error::from_raw_os_error(number.number()).kind(),
    }
}

/// Names the number that the same failure would have.
fn like(kind: io::ErrorKind) -> Errno {
    match kind {
        io::ErrorKind::NotFound => Errno::ENOENT,
        io::ErrorKind::PermissionDenied => Errno::EACCES,
        io::ErrorKind::ConnectionRefused => Errno::ECONNREFUSED,
        io::ErrorKind::ConnectionReset => Errno::ECONNRESET,
        io::ErrorKind::ConnectionAborted => Errno::ECONNABORTED,
        io::ErrorKind::HostUnreachable => Errno::EHOSTUNREACH,
        io::ErrorKind::NetworkUnreachable => Errno::ENETUNREACH,
        io::ErrorKind::NetworkDown => Errno::ENETDOWN,
        io::ErrorKind::NotConnected => Errno::ENOTCONN,
        io::ErrorKind::AddrInUse => Errno::EADDRINUSE,
        io::ErrorKind::AddrNotAvailable => Errno::EADDRNOTAVAIL,
        io::ErrorKind::BrokenPipe => Errno::EPIPE,
        io::ErrorKind::AlreadyExists => Errno::EEXIST,
        io::ErrorKind::WouldBlock => Errno::EAGAIN,
        io::ErrorKind::NotADirectory => Errno::ENOTDIR,
        io::ErrorKind::IsADirectory => Errno::EISDIR,
        io::ErrorKind::DirectoryNotEmpty => Errno::ENOTEMPTY,
        io::ErrorKind::ReadOnlyFilesystem => Errno::EROFS,
        io::ErrorKind::InvalidInput => Errno::EINVAL,
        io::ErrorKind::InvalidData => Errno::EBADMSG,
        io::ErrorKind::TimedOut => Errno::ETIMEDOUT,
        io::ErrorKind::StorageFull => Errno::ENOSPC,
        io::ErrorKind::NotSeekable => Errno::ESPIPE,
        io::ErrorKind::QuotaExceeded => Errno::EDQUOT,
        io::ErrorKind::FileTooLarge => Errno::EFBIG,
        io::ErrorKind::ResourceBusy => Errno::EBUSY,
        io::ErrorKind::Deadlock => Errno::EDEADLK,
        io::ErrorKind::TooManyLinks => Errno::EMLINK,
        io::ErrorKind::ArgumentListTooLong => Errno::E2BIG,
        io::ErrorKind::Interrupted => Errno::EINTR,
        io::ErrorKind::Unsupported => Errno::EOPNOTSUPP,
        io::ErrorKind::OutOfMemory => Errno::ENOMEM,
        _ => Errno::EIO,
    }
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
        let number = error
            .errno()
            .or(error.stand_in())
            .or_else(|| error.kind().errno());
        match error.errno() {
            Some(errno) if error.message().is_empty() && error.is_inline() => {
                Self::from_raw_os_error(errno.number())
            }
            _ => Self::new(number.map_or(io::ErrorKind::Other, kind_of), error),
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
