//! The number by which the operating system says what went wrong.

use core::fmt;
use core::num::NonZeroI32;

/// An error number of the operating system: four bytes, never zero, so `Option<Errno>` is four bytes too.
///
/// It is an [`Error`](core::error::Error) by itself: it is what [`InlineError`](crate::InlineError) returns from `source()`, so a caller
/// who holds only a `dyn Error` finds the number with [`Errno::in_chain`]. Names and texts are those of Linux on the
/// architectures that share its generic table; a number without a name is kept and printed as a number.
///
/// ```
/// use inline_error::Errno;
/// assert_eq!(Errno::ENOENT.to_string(), "no such file or directory (ENOENT, os error 2)");
/// assert_eq!(Errno::new(0), None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Errno(NonZeroI32);

const _: () = assert!(size_of::<Option<Errno>>() == 4);

impl Errno {
    /// Wraps an error number; zero means no error and gives `None`.
    #[inline]
    #[must_use]
    pub const fn new(number: i32) -> Option<Self> {
        match NonZeroI32::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// Reads a result in the kernel's convention: a negative value is an error number, any other a success.
    ///
    /// # Errors
    /// The error number, when `result` is negative.
    ///
    /// ```
    /// use inline_error::Errno;
    /// assert_eq!(Errno::check(512), Ok(512)); // a completion that read 512 bytes
    /// assert_eq!(Errno::check(-5), Err(Errno::EIO));
    /// ```
    #[inline]
    pub const fn check(result: i32) -> Result<u32, Self> {
        if result >= 0 {
            return Ok(result as u32);
        }
        // The one value without a negation is no error number; it is kept as it stands.
        match NonZeroI32::new(result.wrapping_neg()) {
            Some(number) => Err(Self(number)),
            None => Ok(0),
        }
    }

    /// Returns the number, as `io::Error::raw_os_error` would.
    #[inline]
    #[must_use]
    pub const fn number(self) -> i32 {
        self.0.get()
    }

    /// Finds the first error number in `error` or its sources: ours, or an `io::Error`'s (feature `std`). O(depth).
    #[must_use]
    pub fn in_chain(error: &(dyn core::error::Error + 'static)) -> Option<Self> {
        let mut at = Some(error);
        while let Some(error) = at {
            if let Some(errno) = error.downcast_ref::<Self>() {
                return Some(*errno);
            }
            #[cfg(feature = "alloc")]
            if let Some(number) = error
                .downcast_ref::<crate::cause::Cause>()
                .and_then(crate::cause::Cause::number)
            {
                return Some(number);
            }
            #[cfg(feature = "std")]
            if let Some(number) = error
                .downcast_ref::<std::io::Error>()
                .and_then(std::io::Error::raw_os_error)
            {
                return Self::new(number);
            }
            at = error.source();
        }
        None
    }

    /// Says whether trying the same again, at once or after a wait, may succeed: interrupted, would block, out of a
    /// resource that others give back.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::EINTR | Self::EAGAIN | Self::EBUSY | Self::ENOBUFS | Self::ENOMEM
        )
    }
}

macro_rules! table {
    ($($name:ident = $number:literal, $text:literal;)*) => {
        #[allow(missing_docs)] // the texts stand in the table
        impl Errno {
            $(pub const $name: Self = Self(NonZeroI32::new($number).unwrap());)*

            /// Returns the symbolic name, such as `"ENOENT"`, where this table has one.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.number() {
                    $($number => Some(stringify!($name)),)*
                    _ => None,
                }
            }

            /// Returns what the number means in a few words, where this table has it.
            #[must_use]
            pub const fn text(self) -> Option<&'static str> {
                match self.number() {
                    $($number => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

// include/uapi/asm-generic/errno-base.h and errno.h; the texts are ours.
table! {
    EPERM = 1, "operation not permitted";
    ENOENT = 2, "no such file or directory";
    ESRCH = 3, "no such process";
    EINTR = 4, "interrupted by a signal";
    EIO = 5, "input/output error";
    ENXIO = 6, "no such device or address";
    E2BIG = 7, "argument list too long";
    ENOEXEC = 8, "not an executable format";
    EBADF = 9, "bad file descriptor";
    ECHILD = 10, "no child processes";
    EAGAIN = 11, "resource temporarily unavailable";
    ENOMEM = 12, "out of memory";
    EACCES = 13, "permission denied";
    EFAULT = 14, "bad address";
    EBUSY = 16, "device or resource busy";
    EEXIST = 17, "file exists";
    EXDEV = 18, "link across file systems";
    ENODEV = 19, "no such device";
    ENOTDIR = 20, "not a directory";
    EISDIR = 21, "is a directory";
    EINVAL = 22, "invalid argument";
    ENFILE = 23, "too many open files in the system";
    EMFILE = 24, "too many open files in the process";
    ENOTTY = 25, "not a terminal";
    EFBIG = 27, "file too large";
    ENOSPC = 28, "no space left on device";
    ESPIPE = 29, "illegal seek";
    EROFS = 30, "read-only file system";
    EMLINK = 31, "too many links";
    EPIPE = 32, "broken pipe";
    EDOM = 33, "argument out of domain";
    ERANGE = 34, "result out of range";
    EDEADLK = 35, "deadlock avoided";
    ENAMETOOLONG = 36, "file name too long";
    ENOSYS = 38, "function not implemented";
    ENOTEMPTY = 39, "directory not empty";
    ELOOP = 40, "too many symbolic links";
    ETIME = 62, "timer expired";
    EPROTO = 71, "protocol error";
    EBADMSG = 74, "bad message";
    EOVERFLOW = 75, "value too large";
    EBADFD = 77, "descriptor in bad state";
    EMSGSIZE = 90, "message too long";
    EOPNOTSUPP = 95, "operation not supported";
    EADDRINUSE = 98, "address in use";
    EADDRNOTAVAIL = 99, "address not available";
    ENETDOWN = 100, "network is down";
    ENETUNREACH = 101, "network unreachable";
    ECONNABORTED = 103, "connection aborted";
    ECONNRESET = 104, "connection reset by peer";
    ENOBUFS = 105, "no buffers left";
    EISCONN = 106, "already connected";
    ENOTCONN = 107, "not connected";
    ETIMEDOUT = 110, "timed out";
    ECONNREFUSED = 111, "connection refused";
    EHOSTUNREACH = 113, "no route to host";
    EALREADY = 114, "already in progress";
    EINPROGRESS = 115, "in progress";
    EDQUOT = 122, "disk quota exceeded";
    ECANCELED = 125, "cancelled";
    EOWNERDEAD = 130, "owner died";
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.number();
        match (self.text(), self.name()) {
            (Some(text), Some(name)) => write!(f, "{text} ({name}, os error {number})"),
            _ => write!(f, "os error {number}"),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "Errno({})", self.number()),
        }
    }
}

impl core::error::Error for Errno {}
