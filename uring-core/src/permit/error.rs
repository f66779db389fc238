//! Why a path was not opened.

use super::normal::PathError;
use super::pattern::{Pattern, Shown};
use crate::error::{Error, ErrorKind};
use inline_error::{Errno, InlineError};

inline_error::kinds! {
    /// Why a policy, or the kernel on its behalf, did not do what was asked.
    pub enum PermitKind else Os {
        /// A rule denies the path, or none allows it.
        Denied, is_denied = "denied" => [EACCES, EPERM];
        /// The rules allow the path, and no mount holds it.
        Unmounted, is_unmounted = "no mount holds the path" => [];
        /// The path has no normal spelling, or does not name what the call needs.
        Malformed, is_malformed = "malformed path" => [EINVAL];
        /// The path, or a name in it, is too long.
        TooLong, is_too_long = "path too long" => [ENAMETOOLONG];
        /// A symbolic link stands on the path, and its mount follows none.
        Linked, is_linked = "a symbolic link stands on the path" => [ELOOP];
        /// The kernel would have had to leave the mount.
        Escapes, is_escape = "the path leads out of its mount" => [EXDEV];
        /// The kernel cannot bound how a path is resolved: nothing is opened rather than unbounded.
        Unsupported, is_unsupported = "bounded opening is not supported here" => [ENOSYS, EOPNOTSUPP];
        /// Anything else that the kernel said of it.
        Os, is_os = "failed" => [];
    }
}

/// An error of a policy: kind, error number, and a text that names the rule and the path. What strangers wrote is quoted,
/// escaped and, past 256 bytes, counted: fit for a log.
pub type PermitError = InlineError<PermitKind>;

pub(super) fn malformed(fault: PathError, path: &[u8]) -> PermitError {
    let kind = match fault {
        PathError::TooLong { .. } => PermitKind::TooLong,
        _ => PermitKind::Malformed,
    };
    PermitError::new(kind, format_args!("{fault}: {}", Shown(path)))
}

pub(super) fn denied(rule: Option<(usize, &Pattern)>, path: &[u8]) -> PermitError {
    match rule {
        Some((rule, pattern)) => PermitError::new(
            PermitKind::Denied,
            format_args!("rule {rule}, {pattern}: {}", Shown(path)),
        ),
        None => PermitError::new(PermitKind::Denied, format_args!("no rule allows {}", Shown(path))),
    }
}

pub(super) fn unmounted(path: &[u8]) -> PermitError {
    PermitError::new(PermitKind::Unmounted, format_args!("{}", Shown(path)))
}

/// What the kernel said of a path that was granted.
pub(super) fn refused(error: Error, path: &[u8]) -> PermitError {
    let errno = Errno::new(error.errno());
    let kind = match error.kind() {
        ErrorKind::Unsupported => PermitKind::Unsupported,
        // The ring's own refusals have numbers that only look like the kernel's, and an argument that the kernel refuses is none
        // of the path, which was looked at before.
        ErrorKind::Os => errno.map_or(PermitKind::Os, |errno| PermitError::from_errno(errno).kind()),
        _ => PermitKind::Os,
    };
    let path = Shown(path);
    let told = match errno {
        Some(Errno::EINVAL) => PermitError::new(
            kind,
            format_args!(
                "{path}: {error}: look at the flags and the mode, or whether one path lies in the other"
            ),
        ),
        _ => PermitError::new(kind, format_args!("{path}: {error}")),
    };
    match errno {
        Some(errno) => told.with_errno(errno),
        None => told,
    }
}
