//! The few system calls that std has no word for.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What a file system is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileSystem {
    /// Its name, or "unknown".
    pub(crate) name: &'static str,
    /// Files are nowhere but in memory.
    pub(crate) in_memory: bool,
    /// It can hold files that a user makes, as far as is known.
    pub(crate) takes_files: bool,
    /// Bytes that this user may still write.
    pub(crate) free_bytes: u64,
}

/// Asks which file system holds `path`.
pub(crate) fn file_system(path: &Path) -> io::Result<FileSystem> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut told = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the path ends in NUL, and `told` has room for one answer.
    if unsafe { libc::statfs(path.as_ptr(), told.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so it wrote the answer.
    let told = unsafe { told.assume_init() };
    // The numbers of linux/magic.h; the field's type differs between architectures.
    let (name, in_memory) = match told.f_type as u64 & 0xffff_ffff {
        0x0102_1994 => ("tmpfs", true),
        0x8584_58f6 => ("ramfs", true),
        0xef53 => ("ext4", false),
        0x5846_5342 => ("xfs", false),
        0x9123_683e => ("btrfs", false),
        0xf2f5_2010 => ("f2fs", false),
        0x2fc1_2fc1 => ("zfs", false),
        0x794c_7630 => ("overlayfs", false),
        0x6969 => ("nfs", false),
        0x9fa0 => ("proc", true),
        0x6265_6572 => ("sysfs", true),
        0x6367_7270 => ("cgroup2", true),
        _ => ("unknown", false),
    };
    let free_bytes = told
        .f_bavail
        .saturating_mul(u64::try_from(told.f_bsize).unwrap_or(0));
    Ok(FileSystem {
        name,
        in_memory,
        takes_files: !matches!(name, "proc" | "sysfs" | "cgroup2"),
        free_bytes,
    })
}

/// Pins the calling thread to a processor; says whether it could.
pub(crate) fn pin_to(cpu: usize) -> bool {
    // SAFETY: an all-zero set is an empty one.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    if cpu >= libc::CPU_SETSIZE as usize {
        return false;
    }
    // SAFETY: `cpu` is below the size of the set.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: the set is one of the size announced.
    unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) == 0 }
}

/// The processors that this thread may run on.
pub(crate) fn processors() -> Vec<usize> {
    // SAFETY: an all-zero set is an empty one.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is one of the size announced.
    let got = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) };
    if got != 0 {
        return vec![0];
    }
    // SAFETY: the numbers are below the size of the set.
    (0..libc::CPU_SETSIZE as usize)
        .filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) })
        .collect()
}

/// CPU time of the calling thread in nanoseconds, in the kernel and out of it.
pub(crate) fn thread_cpu_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes one `timespec`.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Makes the process deaf to a signal.
pub(crate) fn ignore(signal: i32) {
    // SAFETY: ignoring runs no code of ours.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// Whether the process is deaf to a signal, as under `nohup`.
pub(crate) fn is_ignored(signal: i32) -> bool {
    let mut now = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: changes nothing, and `now` has room for one answer.
    if unsafe { libc::sigaction(signal, std::ptr::null(), now.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: the call succeeded, so it wrote the answer.
    unsafe { now.assume_init() }.sa_sigaction == libc::SIG_IGN
}
