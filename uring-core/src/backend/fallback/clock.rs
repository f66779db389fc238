//! Time as the kernel tells it, and the alarm clock that makes the ring's descriptor readable when something is due.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

const NANOS: u64 = 1_000_000_000;

/// Absolute time (`IORING_TIMEOUT_ABS`).
pub(super) const ABSOLUTE: u32 = 1 << 0;
/// Against the wall clock.
pub(super) const WALL_CLOCK: u32 = 1 << 3;
/// Against the clock that counts suspended time.
pub(super) const BOOT_CLOCK: u32 = 1 << 2;
/// Running out is a success in a chain.
pub(super) const SUCCESS: u32 = 1 << 5;
/// Again and again.
pub(super) const MULTISHOT: u32 = 1 << 6;

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes one timespec.
    unsafe { libc::clock_gettime(clock, &mut time) };
    to_nanos(time.tv_sec, time.tv_nsec)
}

fn to_nanos(seconds: i64, nanos: i64) -> u64 {
    (seconds as u64)
        .saturating_mul(NANOS)
        .saturating_add(nanos as u64)
}

pub(super) use crate::sys::clock::now_ns as now;

/// When an operation with this timespec and these flags is due, on the monotonic clock.
///
/// # Safety
/// `timespec` names a `struct __kernel_timespec`.
pub(super) unsafe fn due(timespec: u64, flags: u32) -> Result<u64, i32> {
    // SAFETY: the caller's promise: two words of eight bytes.
    let [seconds, nanos] = unsafe { (timespec as *const [i64; 2]).read_unaligned() };
    if seconds < 0 || nanos < 0 {
        return Err(libc::EINVAL);
    }
    let time = to_nanos(seconds, nanos);
    if flags & ABSOLUTE == 0 {
        return Ok(now().saturating_add(time));
    }
    let clock = match flags & (WALL_CLOCK | BOOT_CLOCK) {
        0 => return Ok(time),
        WALL_CLOCK => libc::CLOCK_REALTIME,
        BOOT_CLOCK => libc::CLOCK_BOOTTIME,
        _ => return Err(libc::EINVAL),
    };
    Ok(now().saturating_add(time.saturating_sub(read(clock))))
}

/// A timerfd.
#[derive(Debug)]
pub(super) struct Alarm {
    fd: OwnedFd,
    /// When it goes off; 0 is at once.
    set: Cell<Option<u64>>,
}

impl Alarm {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: makes a descriptor or fails.
        let fd =
            unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            // SAFETY: just made, owned by nobody else.
            fd: unsafe { OwnedFd::from_raw_fd(fd) },
            set: Cell::new(None),
        })
    }

    pub(super) fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Says that it went off.
    pub(super) fn went_off(&self) {
        self.set.replace(None);
        self.write(None);
    }

    /// Sets it to a time, or off.
    pub(super) fn set(&self, at: Option<u64>) {
        if self.set.replace(at) != at {
            self.write(at);
        }
    }

    fn write(&self, at: Option<u64>) {
        // Zero would stop it.
        let at = at.map_or(0, |at| at.max(1));
        // SAFETY: an all-zero value is valid: plain numbers.
        let mut time: libc::itimerspec = unsafe { std::mem::zeroed() };
        time.it_value.tv_sec = (at / NANOS) as i64;
        time.it_value.tv_nsec = (at % NANOS) as i64;
        let absolute = libc::TFD_TIMER_ABSTIME;
        // SAFETY: reads one itimerspec. It fails for no time that `at` can be.
        unsafe { libc::timerfd_settime(self.fd.as_raw_fd(), absolute, &time, std::ptr::null_mut()) };
    }
}
