//! A worked example: the errors of a kernel-like service, nine kinds in one line each.

use crate::{InlineError, kinds};

kinds! {
    /// What a system call of a small kernel, or a service shaped like one, fails with.
    pub enum SyscallKind else OperationFailed {
        /// The caller may not do this.
        PermissionDenied, is_permission_denied = "permission denied" => [EACCES, EPERM, EROFS];
        /// It was tried and did not work, for a reason that no other kind names.
        OperationFailed, is_operation_failed = "operation failed" => [];
        /// The request makes no sense: mend the caller.
        InvalidArgument, is_invalid_argument = "invalid argument" => [EINVAL, EFAULT, EBADF, E2BIG, EDOM, ERANGE, ENAMETOOLONG, EISDIR, ENOTDIR];
        /// What it names does not exist.
        NotFound, is_not_found = "not found" => [ENOENT, ESRCH, ENXIO, ENODEV];
        /// Not now: trying again may work.
        Unavailable, is_unavailable = "unavailable" => [EAGAIN, EBUSY, EINTR, ENOMEM, ENOBUFS, EMFILE, ENFILE, ETIMEDOUT];
        /// A device or a connection failed.
        Io, is_io = "I/O error" => [EIO, ENOSPC, EDQUOT, EPIPE, ECONNRESET, ECONNREFUSED, ECONNABORTED];
        /// Nobody wrote it yet, here.
        NotImplemented, is_not_implemented = "not implemented" => [ENOSYS, EOPNOTSUPP];
        /// The part of the system that would answer is not running.
        ManagerNotAvailable, is_manager_not_available = "manager not available" => [EOWNERDEAD];
        /// Bytes that do not read back as what they should be.
        Serialization, is_serialization = "serialization failed" => [EBADMSG, EPROTO, EOVERFLOW];
    }
}

/// An error of [`SyscallKind`]: what `enum SyscallError { NotFound(String), ... }` would be with no allocation in it.
///
/// ```
/// use inline_error::{SyscallError, SyscallKind};
///
/// fn kill(pid: u32) -> Result<(), SyscallError> {
///     match pid {
///         1 => Err(SyscallError::new(SyscallKind::PermissionDenied, format_args!("pid {pid} is init"))),
///         _ => Err(SyscallKind::NotFound.into()),
///     }
/// }
/// let error = kill(1).unwrap_err();
/// assert!(error.is_permission_denied() && error.is_inline());
/// assert_eq!(error.to_string(), "permission denied: pid 1 is init");
/// ```
pub type SyscallError = InlineError<SyscallKind>;

macro_rules! predicates {
    ($($predicate:ident $kind:ident;)*) => {
        impl InlineError<SyscallKind> {
            $(
                #[doc = concat!("Says whether the kind is [`SyscallKind::", stringify!($kind), "`].")]
                #[inline]
                #[must_use]
                pub fn $predicate(&self) -> bool {
                    self.is(SyscallKind::$kind)
                }
            )*
        }
    };
}

predicates! {
    is_permission_denied PermissionDenied;
    is_operation_failed OperationFailed;
    is_invalid_argument InvalidArgument;
    is_not_found NotFound;
    is_unavailable Unavailable;
    is_io Io;
    is_not_implemented NotImplemented;
    is_manager_not_available ManagerNotAvailable;
    is_serialization Serialization;
}
