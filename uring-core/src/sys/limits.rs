//! The limits that this process runs under, as far as they bear on io_uring.

use std::fs;
use std::io;

/// Soft limits and switches, each `None` where it cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Release of the running kernel.
    pub kernel: Option<String>,
    /// `RLIMIT_MEMLOCK` in bytes, `u64::MAX` for none: bounds registered buffers (and rings before Linux 5.12).
    pub memlock_bytes: Option<u64>,
    /// `RLIMIT_NOFILE`: bounds open descriptors and registered files.
    pub open_files: Option<u64>,
    /// `kernel.io_uring_disabled`: 0 open to all, 1 to a group and the privileged, 2 to nobody.
    pub uring_disabled: Option<u32>,
    /// `kernel.io_uring_group`: the group let in at 1, -1 for none.
    pub uring_group: Option<i64>,
    /// A seccomp filter is installed (most containers).
    pub seccomp_filter: Option<bool>,
    /// Processors that this thread may run on.
    pub processors: usize,
}

impl Limits {
    /// Reads them all; a missing file leaves a `None`.
    pub fn read() -> Self {
        Self {
            kernel: trimmed("/proc/sys/kernel/osrelease"),
            memlock_bytes: soft(libc::RLIMIT_MEMLOCK),
            open_files: soft(libc::RLIMIT_NOFILE),
            uring_disabled: trimmed("/proc/sys/kernel/io_uring_disabled").and_then(|s| s.parse().ok()),
            uring_group: trimmed("/proc/sys/kernel/io_uring_group").and_then(|s| s.parse().ok()),
            seccomp_filter: seccomp(),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

fn trimmed(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

#[cfg(target_env = "gnu")]
type Resource = libc::__rlimit_resource_t;
#[cfg(not(target_env = "gnu"))]
type Resource = libc::c_int;

fn soft(resource: Resource) -> Option<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: writes one `rlimit`.
    (unsafe { libc::getrlimit(resource, &mut limit) } == 0).then_some(limit.rlim_cur)
}

fn seccomp() -> Option<bool> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let mode = status.lines().find_map(|l| l.strip_prefix("Seccomp:"))?;
    Some(mode.trim() == "2")
}

/// Whether the kernel would map so many bytes for this process now: none of them is touched, and none kept.
///
/// # Errors
/// What it says.
pub(crate) fn has_room(bytes: usize) -> io::Result<()> {
    let (access, kind) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    );
    // SAFETY: a mapping of its own, wherever the kernel puts it.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, kind, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: exactly what was mapped above, of which nobody knows.
    unsafe { libc::munmap(start, bytes) };
    Ok(())
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn e14_limits_of_this_process_are_read() {
        let limits = Limits::read();
        assert!(limits.kernel.is_some_and(|k| k.contains('.')));
        assert!(limits.open_files.is_some_and(|n| n > 2));
        assert!(limits.processors >= 1);
    }
}
