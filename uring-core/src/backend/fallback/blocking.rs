//! The system call that an entry stands for, made where it may block; the simulated kernel makes those that do not wait for
//! anybody with it too.

use crate::sys::abi::{self, Sqe, code};
use io_uring::opcode;
use std::ffi::{c_char, c_int, c_uint, c_void};
use std::io;
use sync_base::sync::{Mutex, PoisonError};

pub(super) const TIMEOUT_REMOVE: u8 = opcode::TimeoutRemove::CODE;
pub(super) const POLL_REMOVE: u8 = opcode::PollRemove::CODE;
const EPOLL_CTL: u8 = opcode::EpollCtl::CODE;

/// The current position instead of an offset.
pub(super) const CURRENT: u64 = u64::MAX;

/// Where an operation is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::backend) enum Place {
    /// It cannot block, so at once.
    Here,
    /// On a thread of the pool.
    Pool,
}

/// Where an operation is carried out that has no way to be tried without blocking; `None` for one that is unknown.
pub(in crate::backend) fn place(opcode: u8) -> Option<Place> {
    match opcode {
        code::SHUTDOWN | code::SOCKET | code::BIND | code::LISTEN | EPOLL_CTL | code::FIXED_FD_INSTALL => {
            Some(Place::Here)
        }
        code::FSYNC | code::OPENAT | code::CLOSE => Some(Place::Pool),
        code::SYNC_FILE_RANGE
        | code::FALLOCATE
        | code::STATX
        | code::FADVISE
        | code::MADVISE
        | code::OPENAT2
        | code::SPLICE
        | code::TEE
        | code::FTRUNCATE => Some(Place::Pool),
        code::RENAMEAT | code::UNLINKAT | code::MKDIRAT | code::SYMLINKAT | code::LINKAT => Some(Place::Pool),
        code::FSETXATTR | code::SETXATTR | code::FGETXATTR | code::GETXATTR => Some(Place::Pool),
        _ => None,
    }
}

/// Whether the result is a descriptor that somebody has to own.
pub(in crate::backend) fn brings_descriptor(sqe: &Sqe) -> bool {
    matches!(
        sqe.opcode,
        code::OPENAT | code::OPENAT2 | code::ACCEPT | code::SOCKET | code::FIXED_FD_INSTALL
    )
}

/// Whether the entry names a descriptor to work on.
pub(super) fn has_descriptor(opcode: u8) -> bool {
    !matches!(
        opcode,
        code::NOP
            | code::TIMEOUT
            | TIMEOUT_REMOVE
            | code::LINK_TIMEOUT
            | code::ASYNC_CANCEL
            | POLL_REMOVE
            | code::OPENAT
            | code::OPENAT2
            | code::CLOSE
            | code::STATX
            | code::RENAMEAT
            | code::UNLINKAT
            | code::MKDIRAT
            | code::SYMLINKAT
            | code::LINKAT
            | code::SETXATTR
            | code::GETXATTR
            | code::SOCKET
            | code::MADVISE
            | code::WAITID
    )
}

/// A system call's result as a completion's.
pub(super) fn outcome(returned: impl TryInto<i64>) -> i32 {
    match returned.try_into() {
        Ok(result) if result >= 0 => i32::try_from(result).unwrap_or(i32::MAX),
        _ => -io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO),
    }
}

/// The memory that a read or write moves, behind what was moved before.
pub(super) fn vector(sqe: &Sqe, moved: u32) -> (libc::iovec, bool) {
    let several = matches!(sqe.opcode, code::READV | code::WRITEV);
    let one = libc::iovec {
        iov_base: (sqe.addr + u64::from(moved)) as *mut c_void,
        iov_len: (sqe.len - if several { 0 } else { moved }) as usize,
    };
    (one, several)
}

/// Where in the file a read or write begins.
pub(super) fn position(sqe: &Sqe, moved: u32) -> i64 {
    match sqe.off {
        CURRENT => -1,
        offset => (offset + u64::from(moved)) as i64,
    }
}

pub(super) fn is_write(opcode: u8) -> bool {
    matches!(opcode, code::WRITE | code::WRITE_FIXED | code::WRITEV)
}

/// One read or write of memory, with these `RWF_*` flags.
///
/// # Safety
/// The entry's memory is valid.
pub(super) unsafe fn read_or_write(sqe: &Sqe, moved: u32, offset: i64, flags: c_int) -> i32 {
    let (one, several) = vector(sqe, moved);
    let (at, count) = if several {
        (sqe.addr as *const libc::iovec, sqe.len as c_int)
    } else {
        (&raw const one, 1)
    };
    // SAFETY: the caller's promise; `count` vectors lie at `at`.
    outcome(unsafe {
        if is_write(sqe.opcode) {
            libc::pwritev2(sqe.fd, at, count, offset, flags)
        } else {
            libc::preadv2(sqe.fd, at, count, offset, flags)
        }
    })
}

/// Reads or writes, blocking; adds what was moved before.
unsafe fn transfer(sqe: &Sqe, moved: u32) -> i32 {
    let flags = sqe.op_flags as c_int;
    // SAFETY: the caller's promise.
    let mut done = unsafe { read_or_write(sqe, moved, position(sqe, moved), flags) };
    if done == -libc::ESPIPE {
        // A stream has no positions; the kernel's ring does not ask for one either.
        // SAFETY: as above.
        done = unsafe { read_or_write(sqe, moved, -1, flags) };
    }
    match moved {
        0 => done,
        // The first part came: an error of the rest is met again by whoever asks for the rest.
        moved => moved as i32 + done.max(0),
    }
}

sync_base::global! {
    /// Listeners on which a thread of this process is about to accept.
    static ACCEPTING: Mutex<Vec<(u64, u64)>> = Mutex::new(Vec::new());
}

fn identity(fd: c_int) -> Option<(u64, u64)> {
    // SAFETY: an all-zero value is valid: plain numbers.
    let mut about: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: writes one `stat`.
    (unsafe { libc::fstat(fd, &mut about) } == 0).then_some((about.st_dev, about.st_ino))
}

/// Whether a descriptor is ready now.
pub(super) fn poll_now(fd: c_int, events: i16) -> i16 {
    let mut poll = libc::pollfd {
        fd,
        events,
        revents: 0,
    };
    // SAFETY: one valid pollfd, no wait.
    match unsafe { libc::poll(&mut poll, 1, 0) } {
        1 => poll.revents,
        _ => 0,
    }
}

/// Accepts on a listener whose description blocks. It was ready when the job was made; only one thread of this process
/// goes near it at a time, and looks once more, so it blocks only where another process took the connection in between.
unsafe fn accept(sqe: &Sqe) -> i32 {
    let Some(listener) = identity(sqe.fd) else {
        return -libc::EBADF;
    };
    {
        let mut accepting = ACCEPTING.lock().unwrap_or_else(PoisonError::into_inner);
        if accepting.contains(&listener) {
            return -libc::EAGAIN;
        }
        accepting.push(listener);
    }
    let accepted = if poll_now(sqe.fd, libc::POLLIN) == 0 {
        -libc::EAGAIN
    } else {
        // SAFETY: the caller's promise.
        unsafe { accept_now(sqe) }
    };
    let mut accepting = ACCEPTING.lock().unwrap_or_else(PoisonError::into_inner);
    accepting.retain(|other| *other != listener);
    accepted
}

/// # Safety
/// The entry's memory is valid.
pub(super) unsafe fn accept_now(sqe: &Sqe) -> i32 {
    let (address, len) = (sqe.addr as *mut libc::sockaddr, sqe.off as *mut libc::socklen_t);
    // SAFETY: the caller's promise.
    outcome(unsafe { libc::accept4(sqe.fd, address, len, sqe.op_flags as c_int) })
}

/// Makes the call of an entry, which may block for as long as it likes. `sqe.fd` is a descriptor, never a slot.
///
/// # Safety
/// All memory that the entry names is valid for what the operation does with it.
pub(in crate::backend) unsafe fn execute(sqe: &Sqe, moved: u32) -> i32 {
    let flags = sqe.op_flags as c_int;
    match sqe.opcode {
        code::READ | code::READ_FIXED | code::READV | code::WRITE | code::WRITE_FIXED | code::WRITEV => {
            // SAFETY: the caller's promise.
            unsafe { transfer(sqe, moved) }
        }
        // SAFETY: as above.
        code::ACCEPT => unsafe { accept(sqe) },
        // SAFETY: as above.
        code::CONNECT => outcome(unsafe { libc::connect(sqe.fd, sqe.addr as _, sqe.off as libc::socklen_t) }),
        code::FADVISE => {
            let len = if sqe.addr != 0 {
                sqe.addr
            } else {
                u64::from(sqe.len)
            };
            // SAFETY: no memory; it returns its error.
            -unsafe { libc::posix_fadvise(sqe.fd, sqe.off as i64, len as i64, flags) }
        }
        code::FIXED_FD_INSTALL => {
            let how = if flags & 1 == 0 {
                libc::F_DUPFD_CLOEXEC
            } else {
                libc::F_DUPFD
            };
            // SAFETY: makes a descriptor or fails.
            outcome(unsafe { libc::fcntl(sqe.fd, how, 0) })
        }
        code::RENAMEAT
        | code::UNLINKAT
        | code::MKDIRAT
        | code::SYMLINKAT
        | code::LINKAT
        | code::STATX
        | code::OPENAT
        | code::OPENAT2 => {
            // SAFETY: as above.
            unsafe { on_path(sqe) }
        }
        // SAFETY: as above.
        code::FSETXATTR | code::SETXATTR | code::FGETXATTR | code::GETXATTR => unsafe { on_attribute(sqe) },
        // SAFETY: as above.
        _ => unsafe { on_descriptor(sqe) },
    }
}

/// # Safety
/// As [`execute`].
unsafe fn on_path(sqe: &Sqe) -> i32 {
    let (path, other) = (sqe.addr as *const c_char, sqe.off as *const c_char);
    let flags = sqe.op_flags as c_int;
    // SAFETY: the caller's promise.
    outcome(unsafe {
        match sqe.opcode {
            code::OPENAT => i64::from(libc::openat(sqe.fd, path, flags, sqe.len as c_uint)),
            code::OPENAT2 => libc::syscall(libc::SYS_openat2, sqe.fd, path, sqe.off, sqe.len as usize),
            code::STATX => i64::from(libc::statx(
                sqe.fd,
                path,
                flags,
                sqe.len,
                sqe.off as *mut libc::statx,
            )),
            code::RENAMEAT => libc::syscall(
                libc::SYS_renameat2,
                sqe.fd,
                path,
                sqe.len as c_int,
                other,
                sqe.op_flags,
            ),
            code::UNLINKAT => i64::from(libc::unlinkat(sqe.fd, path, flags)),
            code::MKDIRAT => i64::from(libc::mkdirat(sqe.fd, path, sqe.len)),
            code::SYMLINKAT => i64::from(libc::symlinkat(path, sqe.fd, other)),
            _ => i64::from(libc::linkat(sqe.fd, path, sqe.len as c_int, other, flags)),
        }
    })
}

/// # Safety
/// As [`execute`].
unsafe fn on_attribute(sqe: &Sqe) -> i32 {
    let (name, path) = (sqe.addr as *const c_char, sqe.addr3 as *const c_char);
    let (value, len, flags) = (sqe.off, sqe.len as usize, sqe.op_flags as c_int);
    // SAFETY: the caller's promise.
    outcome(unsafe {
        match sqe.opcode {
            code::FSETXATTR => libc::fsetxattr(sqe.fd, name, value as *const c_void, len, flags) as isize,
            code::SETXATTR => libc::setxattr(path, name, value as *const c_void, len, flags) as isize,
            code::FGETXATTR => libc::fgetxattr(sqe.fd, name, value as *mut c_void, len),
            _ => libc::getxattr(path, name, value as *mut c_void, len),
        }
    } as i64)
}

/// # Safety
/// As [`execute`].
unsafe fn on_descriptor(sqe: &Sqe) -> i32 {
    let (fd, flags, len) = (sqe.fd, sqe.op_flags as c_int, sqe.len as c_int);
    // SAFETY: the caller's promise.
    outcome(unsafe {
        match sqe.opcode {
            code::FSYNC if flags & 1 != 0 => i64::from(libc::fdatasync(fd)),
            code::FSYNC => i64::from(libc::fsync(fd)),
            code::CLOSE => i64::from(libc::close(fd)),
            code::SYNC_FILE_RANGE => i64::from(libc::sync_file_range(
                fd,
                sqe.off as i64,
                i64::from(sqe.len),
                sqe.op_flags,
            )),
            code::FALLOCATE => i64::from(libc::fallocate(fd, len, sqe.off as i64, sqe.addr as i64)),
            code::FTRUNCATE => i64::from(libc::ftruncate(fd, sqe.off as i64)),
            code::MADVISE => {
                let bytes = if sqe.off != 0 { sqe.off } else { u64::from(sqe.len) };
                i64::from(libc::madvise(sqe.addr as *mut c_void, bytes as usize, flags))
            }
            code::WAITID => i64::from(libc::waitid(
                sqe.len as libc::idtype_t,
                fd as libc::id_t,
                sqe.off as *mut libc::siginfo_t,
                sqe.file_index as c_int,
            )),
            code::SHUTDOWN => i64::from(libc::shutdown(fd, len)),
            code::SOCKET => i64::from(libc::socket(fd, sqe.off as c_int, len)),
            code::BIND => i64::from(libc::bind(fd, sqe.addr as _, sqe.off as libc::socklen_t)),
            code::LISTEN => i64::from(libc::listen(fd, len)),
            EPOLL_CTL => i64::from(libc::epoll_ctl(fd, len, sqe.off as c_int, sqe.addr as _)),
            code::SPLICE => splice(sqe) as i64,
            code::TEE => libc::tee(
                sqe.file_index as c_int,
                fd,
                sqe.len as usize,
                sqe.op_flags & !abi::SPLICE_FD_IN_FIXED,
            ) as i64,
            _ => {
                *libc::__errno_location() = libc::EINVAL;
                -1
            }
        }
    })
}

/// # Safety
/// As [`execute`].
unsafe fn splice(sqe: &Sqe) -> isize {
    let (mut from, mut to) = (sqe.addr as i64, sqe.off as i64);
    let at = |offset: &mut i64| {
        if *offset == -1 {
            std::ptr::null_mut()
        } else {
            std::ptr::from_mut(offset)
        }
    };
    let flags = sqe.op_flags & !abi::SPLICE_FD_IN_FIXED;
    // SAFETY: the offsets outlive the call.
    unsafe {
        libc::splice(
            sqe.file_index as c_int,
            at(&mut from),
            sqe.fd,
            at(&mut to),
            sqe.len as usize,
            flags,
        )
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::{AsRawFd, FromRawFd};
    use sync_base::atomic::{AtomicBool, AtomicUsize, Ordering};

    /// Threads that race for each connection of a listener that blocks: none may be left sleeping in it.
    #[test]
    fn b9_no_thread_sleeps_in_a_listener_that_another_thread_emptied() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let sqe = Sqe::new(code::ACCEPT, listener.as_raw_fd());
        let (over, came) = (AtomicBool::new(false), AtomicUsize::new(0));
        let rounds: [AtomicUsize; 4] = std::array::from_fn(|_| AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for round in &rounds {
                scope.spawn(|| {
                    // Relaxed: tallies of a test, looked at until they are as they should be.
                    while !over.load(Ordering::Relaxed) {
                        // SAFETY: the entry names no memory.
                        let accepted = unsafe { accept(&sqe) };
                        if accepted >= 0 {
                            // SAFETY: just accepted.
                            drop(unsafe { TcpStream::from_raw_fd(accepted) });
                            came.fetch_add(1, Ordering::Relaxed); // Relaxed: as above.
                        }
                        round.fetch_add(1, Ordering::Relaxed); // Relaxed: as above.
                    }
                });
            }
            let mut stuck = false;
            for count in 1..=30 {
                let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                // Relaxed: as above.
                while came.load(Ordering::Relaxed) < count {
                    std::thread::yield_now();
                }
                let seen = || rounds.each_ref().map(|round| round.load(Ordering::Relaxed)); // Relaxed: as above.
                let before = seen();
                stuck = (0..2000).all(|_| {
                    std::thread::sleep(std::time::Duration::from_millis(1));
                    seen().iter().zip(before).any(|(now, before)| *now <= before + 1)
                });
                if stuck {
                    break;
                }
            }
            // Relaxed: as above.
            over.store(true, Ordering::Relaxed);
            // Whoever sleeps in the listener has to be let out, or the test would hang instead of fail.
            let _last: Vec<_> = (0..if stuck { 4 } else { 0 })
                .map(|_| TcpStream::connect(listener.local_addr().unwrap()))
                .collect();
            assert!(!stuck, "a thread sleeps in accept");
        });
    }
}
