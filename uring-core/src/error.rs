//! The error of an operation: eight bytes that say what failed and how.

use crate::sys::probe::operation;
use inline_error::{Errno, InlineError, Kind};
use std::fmt;
use std::io;

inline_error::kinds! {
    /// Broad classes of failure, for code that decides what to do next.
    pub enum ErrorKind else Os {
        /// No room now: reap completions, then try again. The one kind for every form of back-pressure.
        WouldBlock, is_would_block = "no room now" => [EAGAIN, EBUSY, ENOBUFS];
        /// The operation was cancelled before it did its work.
        Cancelled, is_cancelled = "cancelled" => [ECANCELED];
        /// The time given to it ran out.
        TimedOut, is_timed_out = "timed out" => [ETIMEDOUT, ETIME];
        /// The handle names an operation that is gone.
        Stale, is_stale = "the handle names an operation that is gone" => [];
        /// The ring is shutting down and takes nothing more.
        Closed, is_closed = "the ring is shutting down" => [];
        /// The ring belongs to another process: this one is its forked child.
        Forked, is_forked = "the ring belongs to the parent of this forked process" => [];
        /// This kernel or backend cannot do it.
        Unsupported, is_unsupported = "not supported here" => [EOPNOTSUPP, ENOSYS];
        /// An argument that no kernel would accept.
        InvalidInput, is_invalid_input = "invalid argument" => [EINVAL];
        /// io_uring itself is refused to this process.
        Refused, is_refused = "io_uring is refused" => [];
        /// Anything else that the operating system said.
        Os, is_os = "failed" => [];
    }
}

/// The error of what is done once and may be told at length, such as setting up a ring: kind, number, cause and remedy.
pub type SetupError = InlineError<ErrorKind>;

/// Why an operation failed.
///
/// Eight bytes, so that the success path pays nothing for it. [`Error::explain`] turns it into an
/// [`InlineError`](inline_error::InlineError) that names the operation and the remedy.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Error {
    errno: i32,
    kind: ErrorKind,
    /// The operation that this kernel lacks, by its number; 0, which every kernel has, for none.
    lacking: u8,
    detail: Detail,
}

/// What a number alone does not tell.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Detail {
    None,
    /// A registered file, a slab's slot or a buffer group of another ring.
    AnotherRing,
}

const _: () = assert!(size_of::<Error>() == 8);

impl Error {
    pub(crate) const fn of(kind: ErrorKind) -> Self {
        let errno = match kind {
            ErrorKind::WouldBlock => libc::EAGAIN,
            ErrorKind::Cancelled => libc::ECANCELED,
            ErrorKind::TimedOut => libc::ETIMEDOUT,
            ErrorKind::Stale => libc::ENOENT,
            ErrorKind::Closed => libc::ESHUTDOWN,
            ErrorKind::Forked => libc::EOWNERDEAD,
            ErrorKind::Unsupported => libc::EOPNOTSUPP,
            ErrorKind::Refused => libc::EPERM,
            ErrorKind::InvalidInput | ErrorKind::Os => libc::EINVAL,
        };
        Self {
            errno,
            kind,
            lacking: 0,
            detail: Detail::None,
        }
    }

    /// Says that what is named was registered with another ring.
    pub(crate) const fn of_another_ring() -> Self {
        Self {
            detail: Detail::AnotherRing,
            ..Self::of(ErrorKind::InvalidInput)
        }
    }

    /// Says that this kernel has no operation of this number.
    pub(crate) const fn lacking(opcode: u8) -> Self {
        Self {
            lacking: opcode,
            ..Self::of(ErrorKind::Unsupported)
        }
    }

    /// Classes an error number of the operating system.
    #[cold]
    pub fn from_errno(errno: i32) -> Self {
        let kind = Errno::new(errno).map_or(ErrorKind::Os, ErrorKind::from_errno);
        Self {
            errno,
            kind,
            lacking: 0,
            detail: Detail::None,
        }
    }

    /// The class.
    pub const fn kind(self) -> ErrorKind {
        self.kind
    }

    /// The error number of the operating system.
    pub const fn errno(self) -> i32 {
        self.errno
    }

    /// Whether the same operation may succeed later, unchanged.
    pub const fn is_retryable(self) -> bool {
        matches!(self.kind, ErrorKind::WouldBlock) || self.errno == libc::EINTR
    }

    /// Whether a cancellation, and not the operation itself, ended it.
    pub const fn is_cancelled(self) -> bool {
        matches!(self.kind, ErrorKind::Cancelled)
    }

    /// The operation that this kernel lacks, by its name in the kernel's header, and the first Linux that has it.
    ///
    /// `None` for every other error: an operation that exists and was refused by a file or a filesystem too.
    pub fn missing_operation(self) -> Option<(&'static str, &'static str)> {
        operation(self.lacking).filter(|_| self.lacking != 0)
    }

    /// Tells it at length: what failed, the number, the remedy. Allocates nothing.
    ///
    /// ```
    /// let error = uring_core::Error::from_errno(24);
    /// let told = error.explain("accept").to_string();
    /// assert!(told.contains("accept") && told.contains("ulimit -n"), "{told}");
    /// ```
    pub fn explain(self, operation: &str) -> InlineError<ErrorKind> {
        let told = match (self.missing_operation(), self.remedy()) {
            (Some((name, since)), _) => {
                InlineError::new(self.kind, format_args!("{operation}: {name} needs Linux {since}"))
            }
            (None, Some(remedy)) => InlineError::new(self.kind, format_args!("{operation}: {remedy}")),
            (None, None) => InlineError::new(self.kind, format_args!("{operation}")),
        };
        match Errno::new(self.errno) {
            Some(errno) => told.with_errno(errno),
            None => told,
        }
    }

    /// What to do about it, where there is something to do.
    pub const fn remedy(self) -> Option<&'static str> {
        if matches!(self.detail, Detail::AnotherRing) {
            return Some(
                "a file, slab or buffer group in it was registered with another ring: use that ring, or register with this one",
            );
        }
        Some(match (self.kind, self.errno) {
            (_, libc::ENOBUFS) => "give leased buffers back, or provide more",
            (ErrorKind::WouldBlock, _) => "reap completions, then submit again",
            (ErrorKind::Closed, _) => "the ring is being dropped: submit nothing more",
            (ErrorKind::Forked, _) => "make a ring of its own in the child",
            (ErrorKind::Unsupported, _) => "`uring probe` lists what this kernel has",
            (_, libc::EMFILE) => "raise the open-files limit: `ulimit -n`",
            (_, libc::ENOMEM) => "raise the locked-memory limit: `ulimit -l`",
            _ => return None,
        })
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::from_errno(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        io::Error::from_raw_os_error(error.errno)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            ErrorKind::Stale | ErrorKind::Closed | ErrorKind::Forked => self.kind.fmt(f),
            _ => io::Error::from_raw_os_error(self.errno).fmt(f),
        }?;
        if let Some((name, since)) = self.missing_operation() {
            write!(f, ": {name} needs Linux {since}")?;
        }
        match self.remedy() {
            Some(remedy) => write!(f, ": {remedy}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({:?}, errno {})", self.kind, self.errno)
    }
}

impl std::error::Error for Error {}

/// Which of several rings refused, and why. The others are as they were before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedBy<E = Error> {
    /// The position in the list of rings; its length when it was no ring but what was to be registered.
    pub ring: usize,
    /// Why.
    pub error: E,
}

impl<E: fmt::Display> fmt::Display for RefusedBy<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ring, error } = self;
        write!(
            f,
            "ring {ring} of the list refused, the others are as before: {error}"
        )
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for RefusedBy<E> {}

/// A submission that was not taken, with the operation and all that it owns.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Rejected<O> {
    /// The operation, untouched: buffer, descriptor and all.
    pub op: O,
    /// Why it was not taken.
    pub error: Error,
}

impl<O> fmt::Debug for Rejected<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejected")
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl<O> fmt::Display for Rejected<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "submission not taken: {}", self.error)
    }
}

impl<O> std::error::Error for Rejected<O> {}

impl<O> From<Rejected<O>> for io::Error {
    fn from(rejected: Rejected<O>) -> Self {
        rejected.error.into()
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn e13_every_form_of_back_pressure_is_one_kind() {
        for errno in [libc::EAGAIN, libc::EBUSY, libc::ENOBUFS] {
            let error = Error::from_errno(errno);
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            assert!(error.is_retryable());
        }
        assert_eq!(Error::of(ErrorKind::WouldBlock).kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn e14_an_operation_that_the_kernel_lacks_is_named_with_the_version_that_has_it() {
        let error = Error::lacking(crate::abi::code::FUTEX_WAIT);
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert_eq!(error.missing_operation(), Some(("FUTEX_WAIT", "6.7")));
        for told in [error.to_string(), error.explain("waiting").to_string()] {
            assert!(told.contains("FUTEX_WAIT needs Linux 6.7"), "{told}");
        }
        assert_eq!(Error::from_errno(libc::EOPNOTSUPP).missing_operation(), None);
    }

    #[test]
    fn c9_an_error_told_at_length_keeps_kind_and_number() {
        let told = Error::from_errno(libc::EMFILE).explain("open");
        assert_eq!(told.errno().map(Errno::number), Some(libc::EMFILE));
        assert!(told.to_string().contains("ulimit -n"));
        let told = Error::of(ErrorKind::Stale).explain("cancel");
        assert!(told.kind().is_stale());
    }
}
