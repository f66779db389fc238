//! What an entry asks for, done at once by plain system calls that never block.

use crate::backend::fallback::blocking;
use crate::sys::abi::{Sqe, code};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// The file's own position.
const CURRENT: u64 = u64::MAX;
/// A pipe that is ready for output takes so much without blocking.
const PIPE_BUF: usize = 4096;

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// A result, or a negated error number.
    Done(i32),
    /// The descriptor is not ready.
    Blocked,
}

fn told(result: isize) -> Attempt {
    if result >= 0 {
        return Attempt::Done(result as i32);
    }
    match io::Error::last_os_error().raw_os_error() {
        Some(libc::EAGAIN) => Attempt::Blocked,
        errno => Attempt::Done(-errno.unwrap_or(libc::EIO)),
    }
}

/// Which of `events` are there now; errors and hang-ups too.
pub(super) fn ready(fd: RawFd, events: i16) -> i16 {
    let mut poll = libc::pollfd {
        fd,
        events,
        revents: 0,
    };
    // SAFETY: one valid pollfd, no wait.
    if unsafe { libc::poll(&mut poll, 1, 0) } == 1 {
        poll.revents
    } else {
        0
    }
}

/// Watches a descriptor for events that are new, as a multishot poll does.
pub(super) fn watch(fd: RawFd, events: i16) -> io::Result<OwnedFd> {
    // SAFETY: makes a descriptor or fails.
    let made = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    if made < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made, owned by nobody else.
    let edge = unsafe { OwnedFd::from_raw_fd(made) };
    let mut event = libc::epoll_event {
        events: u32::from(events as u16) | libc::EPOLLET as u32,
        u64: 0,
    };
    // SAFETY: one valid event.
    if unsafe { libc::epoll_ctl(made, libc::EPOLL_CTL_ADD, fd, &mut event) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(edge)
}

/// What is new since the last look.
pub(super) fn news(edge: &OwnedFd) -> Attempt {
    let mut event = libc::epoll_event { events: 0, u64: 0 };
    // SAFETY: room for one event, no wait.
    match unsafe { libc::epoll_wait(edge.as_raw_fd(), &mut event, 1, 0) } {
        1 => Attempt::Done(event.events as i32),
        0 => Attempt::Blocked,
        _ => told(-1),
    }
}

/// Attempts what the entry asks for on `fd`, with at most `len` bytes at `addr`.
///
/// # Safety
/// All memory that the entry names is valid; `addr` and `len` lie in it, or in a provided buffer.
pub(super) unsafe fn attempt(fd: RawFd, sqe: &Sqe, addr: u64, len: u32, begun: &mut bool) -> Attempt {
    let (at, len) = (addr as *mut libc::c_void, len as usize);
    match sqe.opcode {
        // SAFETY: the caller's promise, for each of the calls below.
        code::READ | code::READ_FIXED => unsafe { read(fd, at, len, sqe.off) },
        // SAFETY: as above.
        code::WRITE | code::WRITE_FIXED => unsafe { write(fd, at, len, sqe.off) },
        code::RECV => {
            let flags = sqe.op_flags as i32 | libc::MSG_DONTWAIT;
            // SAFETY: as above.
            told(unsafe { libc::recv(fd, at, len, flags) })
        }
        code::SEND | code::SEND_ZC => {
            let flags = sqe.op_flags as i32 | libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            // SAFETY: as above.
            told(unsafe { libc::send(fd, at, len, flags) })
        }
        code::ACCEPT => {
            if ready(fd, libc::POLLIN) == 0 {
                return Attempt::Blocked;
            }
            let (address, size) = (sqe.addr as *mut libc::sockaddr, sqe.off as *mut libc::socklen_t);
            // SAFETY: as above; without an address both are null.
            told(unsafe { libc::accept4(fd, address, size, sqe.op_flags as i32) } as isize)
        }
        // SAFETY: as above.
        code::CONNECT => unsafe { connect(fd, sqe, begun) },
        code::OPENAT => {
            let path = sqe.addr as *const libc::c_char;
            // SAFETY: as above; the path ends with a zero.
            told(unsafe { libc::openat(sqe.fd, path, sqe.op_flags as i32, sqe.len) } as isize)
        }
        // SAFETY: the submitter gave the descriptor up to be closed.
        code::CLOSE => told(unsafe { libc::close(sqe.fd) } as isize),
        // SAFETY: touches no memory of ours.
        code::FSYNC => told(unsafe {
            if sqe.op_flags & 1 != 0 {
                libc::fdatasync(fd)
            } else {
                libc::fsync(fd)
            }
        } as isize),
        code::POLL_ADD => match ready(fd, sqe.op_flags as i16) {
            0 => Attempt::Blocked,
            events => Attempt::Done(i32::from(events)),
        },
        code::NOP => Attempt::Done(0),
        // What waits for a disk at most.
        opcode if is_prompt(opcode) || is_vectored(opcode) && is_file(fd) => {
            // SAFETY: as above; a descriptor and no slot.
            Attempt::Done(unsafe { blocking::execute(&Sqe { fd, ..*sqe }, 0) })
        }
        // Operations that Linux has and the simulation has not; numbers that nobody has are invalid, as in the kernel.
        opcode if opcode < super::kernel::OPERATIONS => Attempt::Done(-libc::EOPNOTSUPP),
        _ => Attempt::Done(-libc::EINVAL),
    }
}

/// Whether an operation waits for nobody.
fn is_prompt(opcode: u8) -> bool {
    blocking::place(opcode).is_some() && !matches!(opcode, code::SPLICE | code::TEE)
}

fn is_vectored(opcode: u8) -> bool {
    matches!(opcode, code::READV | code::WRITEV)
}

/// Whether it is a regular file, which is always ready.
fn is_file(fd: RawFd) -> bool {
    kind(fd) == Some(libc::S_IFREG)
}

/// What a descriptor leads to (`S_IF*`).
fn kind(fd: RawFd) -> Option<libc::mode_t> {
    // SAFETY: an all-zero record is a valid value of plain integers.
    let mut status: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: writes one record.
    let known = unsafe { libc::fstat(fd, &mut status) } == 0;
    known.then_some(status.st_mode & libc::S_IFMT)
}

/// # Safety
/// As [`attempt`].
unsafe fn read(fd: RawFd, at: *mut libc::c_void, len: usize, offset: u64) -> Attempt {
    if offset != CURRENT {
        // SAFETY: the caller's promise.
        let count = unsafe { libc::pread(fd, at, len, offset as i64) };
        if count >= 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ESPIPE) {
            return told(count);
        }
    }
    if ready(fd, libc::POLLIN) == 0 {
        return Attempt::Blocked;
    }
    // SAFETY: the caller's promise; it is ready, so that this does not block.
    told(unsafe { libc::read(fd, at, len) })
}

/// # Safety
/// As [`attempt`].
unsafe fn write(fd: RawFd, at: *mut libc::c_void, len: usize, offset: u64) -> Attempt {
    if offset != CURRENT {
        // SAFETY: the caller's promise.
        let count = unsafe { libc::pwrite(fd, at, len, offset as i64) };
        if count >= 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ESPIPE) {
            return told(count);
        }
    }
    // SAFETY: the caller's promise.
    let sent = unsafe { libc::send(fd, at, len, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
    if sent >= 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ENOTSOCK) {
        return told(sent);
    }
    if ready(fd, libc::POLLOUT) == 0 {
        return Attempt::Blocked;
    }
    let bounded = kind(fd) == Some(libc::S_IFIFO);
    // SAFETY: the caller's promise; a pipe that is ready takes so much without blocking, a file anything.
    told(unsafe { libc::write(fd, at, if bounded { len.min(PIPE_BUF) } else { len }) })
}

/// Begins a connection, then waits for it, whatever the mode of the socket.
///
/// # Safety
/// As [`attempt`].
unsafe fn connect(fd: RawFd, sqe: &Sqe, begun: &mut bool) -> Attempt {
    if *begun {
        if ready(fd, libc::POLLOUT) == 0 {
            return Attempt::Blocked;
        }
        let (mut error, mut size) = (0i32, size_of::<i32>() as libc::socklen_t);
        let at = (&raw mut error).cast();
        // SAFETY: writes one integer of the size said.
        let asked = unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_ERROR, at, &mut size) };
        return if asked < 0 {
            told(-1)
        } else {
            Attempt::Done(-error)
        };
    }
    // SAFETY: reads the flags of the descriptor.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    if flags < 0 {
        return told(-1);
    }
    // SAFETY: sets the flags of the descriptor, and back below.
    unsafe { libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) };
    // SAFETY: the caller's promise.
    let done = unsafe { libc::connect(fd, sqe.addr as *const libc::sockaddr, sqe.off as libc::socklen_t) };
    let error = io::Error::last_os_error();
    // SAFETY: as above.
    unsafe { libc::fcntl(fd, libc::F_SETFL, flags) };
    match (done, error.raw_os_error()) {
        (0, _) => Attempt::Done(0),
        (_, Some(libc::EINPROGRESS)) => {
            *begun = true;
            Attempt::Blocked
        }
        (_, Some(libc::EAGAIN)) => Attempt::Blocked,
        (_, errno) => Attempt::Done(-errno.unwrap_or(libc::EIO)),
    }
}
