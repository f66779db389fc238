//! One attempt at an operation on the ring's own thread, which never blocks: it is done, or says what it waits for.

use super::blocking;
use super::clock;
use super::lookout::{ALWAYS, Interest};
use super::requests::Request;
use super::tables::{Groups, Range, check_range};
use crate::sys::abi::{self, Sqe, code};
use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use sync_base::sync::Arc;

/// Accept: fail instead of waiting.
const ACCEPT_DONTWAIT: u16 = 1 << 1;
/// Receive or send: several buffers at once.
const BUNDLE: u16 = 1 << 4;

/// The last operation that a kernel of today has (`IORING_OP_PIPE`): up to here one that is missing is said to be so.
const LAST_KNOWN: u8 = 62;

/// What came of an attempt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The last completion, with these flags.
    Done(i32, u32),
    /// One of several: the next attempt follows.
    Shot(i32, u32),
    /// The descriptor is not ready.
    Wait(Interest),
    /// For a thread of the pool.
    Block,
    /// The completion queue has no room for one more of a series.
    Starve,
    /// Due at this time.
    Sleep(u64),
    /// A series of polls for these events.
    Watch(u32),
}

fn done(result: i32) -> Step {
    Step::Done(result, 0)
}

fn failed(errno: i32) -> Step {
    Step::Done(-errno, 0)
}

/// What an operation on a stream would wait for, so that it may queue behind others without an attempt of its own.
pub(super) fn interest(sqe: &Sqe) -> Option<Interest> {
    match sqe.opcode {
        code::READ | code::READ_FIXED | code::READV | code::ACCEPT => Some(Interest::Read),
        code::RECV | code::RECVMSG if sqe.op_flags & libc::MSG_DONTWAIT as u32 == 0 => Some(Interest::Read),
        code::WRITE | code::WRITE_FIXED | code::WRITEV => Some(Interest::Write),
        code::SEND | code::SEND_ZC | code::SENDMSG | code::SENDMSG_ZC
            if sqe.op_flags & libc::MSG_DONTWAIT as u32 == 0 =>
        {
            Some(Interest::Write)
        }
        _ => None,
    }
}

/// Attempts an operation. `room` says whether a series may add to the completion queue.
///
/// # Safety
/// All memory that the entry names is valid for what the operation does with it.
pub(super) unsafe fn attempt(
    request: &mut Request,
    groups: &mut Groups,
    ranges: &[Range],
    room: bool,
) -> Step {
    let sqe = Sqe {
        fd: request.fd,
        ..request.sqe
    };
    let may_pick = matches!(sqe.opcode, code::READ | code::READ_MULTISHOT | code::RECV);
    if sqe.flags & abi::SQE_BUFFER_SELECT != 0 && !may_pick {
        return failed(libc::EINVAL);
    }
    match sqe.opcode {
        code::NOP => done(0),
        code::READ | code::WRITE | code::READV | code::WRITEV => {
            // SAFETY: the caller's promise.
            unsafe { transfer(request, groups, sqe) }
        }
        code::READ_FIXED | code::WRITE_FIXED => match check_range(ranges, sqe.buf_index, sqe.addr, sqe.len) {
            // SAFETY: as above.
            Ok(()) => unsafe { transfer(request, groups, sqe) },
            Err(errno) => failed(errno),
        },
        // SAFETY: as above.
        code::READ_MULTISHOT => unsafe { read_series(request, groups, sqe, room) },
        // SAFETY: as above.
        code::WAITID => unsafe { wait_for_child(request, sqe) },
        // SAFETY: as above.
        code::RECV => unsafe { receive(request, groups, sqe, room) },
        code::SEND | code::SEND_ZC => {
            if sqe.ioprio & abi::SEND_FIXED_BUF != 0
                && let Err(errno) = check_range(ranges, sqe.buf_index, sqe.addr, sqe.len)
            {
                return failed(errno);
            }
            // SAFETY: as above.
            unsafe { send(request, sqe) }
        }
        // SAFETY: as above.
        code::SENDMSG | code::SENDMSG_ZC | code::RECVMSG => unsafe { message(sqe) },
        // SAFETY: as above.
        code::ACCEPT => unsafe { accept(sqe, room) },
        // SAFETY: as above.
        code::CONNECT => unsafe { connect(request, sqe) },
        code::POLL_ADD => poll(sqe),
        // SAFETY: as above.
        code::TIMEOUT => unsafe { timeout(sqe) },
        other => match blocking::place(other) {
            // SAFETY: as above.
            Some(blocking::Place::Here) => done(unsafe { blocking::execute(&sqe, 0) }),
            Some(blocking::Place::Pool) => Step::Block,
            None if other <= LAST_KNOWN => failed(libc::EOPNOTSUPP),
            None => failed(libc::EINVAL),
        },
    }
}

/// What reads and writes treat apart.
enum Kind {
    /// Always ready, and slow: regular files, directories, block devices.
    File,
    Socket,
    /// Pipes, terminals, event counters.
    Stream,
}

fn kind(fd: c_int) -> Result<Kind, i32> {
    // SAFETY: an all-zero value is valid: plain numbers.
    let mut about: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: writes one `stat`.
    if unsafe { libc::fstat(fd, &mut about) } < 0 {
        return Err(last_errno());
    }
    Ok(match about.st_mode & libc::S_IFMT {
        libc::S_IFREG | libc::S_IFBLK | libc::S_IFDIR => Kind::File,
        libc::S_IFSOCK => Kind::Socket,
        _ => Kind::Stream,
    })
}

fn last_errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

fn has_flag(fd: c_int, flag: c_int) -> bool {
    // SAFETY: no memory.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    flags >= 0 && flags & flag != 0
}

fn is_nonblocking(fd: c_int) -> bool {
    has_flag(fd, libc::O_NONBLOCK)
}

/// Puts the picked buffer of a group in the entry's place, if it asks for one.
fn pick(request: &mut Request, groups: &mut Groups, sqe: &mut Sqe) -> Result<(), i32> {
    if sqe.flags & abi::SQE_BUFFER_SELECT == 0 {
        return Ok(());
    }
    let picked = match request.picked {
        Some(picked) => picked,
        None => groups.pick(sqe.buf_index)?,
    };
    request.picked = Some(picked);
    sqe.addr = picked.addr;
    sqe.len = match sqe.len {
        0 => picked.len,
        len => len.min(picked.len),
    };
    Ok(())
}

/// Lets the picked buffer go: gives the flags that name it, where data came, or gives it back.
pub(super) fn settle(request: &mut Request, groups: &mut Groups, moved: i32) -> u32 {
    let picked = request.picked.take();
    picked.map_or(0, |picked| {
        groups.used(request.sqe.buf_index, picked, moved.max(0) as u32)
    })
}

/// Whether a read or write of a file may wait for its device however it is asked: writes, direct reads, and what cannot be
/// resumed in the middle.
fn may_wait(sqe: &Sqe) -> bool {
    sqe.flags & abi::SQE_ASYNC != 0
        || blocking::is_write(sqe.opcode)
        || sqe.opcode == code::READV
        || has_flag(sqe.fd, libc::O_DIRECT)
}

/// # Safety
/// As [`attempt`].
unsafe fn transfer(request: &mut Request, groups: &mut Groups, mut sqe: Sqe) -> Step {
    if sqe.len > i32::MAX as u32 {
        return failed(libc::EINVAL);
    }
    let kind = match kind(sqe.fd) {
        Ok(kind) => kind,
        Err(errno) => return failed(errno),
    };
    if let Kind::File = kind
        && may_wait(&sqe)
    {
        return match pick(request, groups, &mut sqe) {
            Ok(()) => Step::Block,
            Err(errno) => failed(errno),
        };
    }
    if let Err(errno) = pick(request, groups, &mut sqe) {
        return failed(errno);
    }
    // SAFETY: the caller's promise.
    let step = unsafe {
        match kind {
            Kind::File => read_cached(request, sqe),
            Kind::Socket => on_socket(sqe),
            Kind::Stream => on_stream(sqe),
        }
    };
    match step {
        Step::Done(moved, _) => Step::Done(moved, settle(request, groups, moved)),
        Step::Wait(interest) => {
            settle(request, groups, 0);
            Step::Wait(interest)
        }
        step => step,
    }
}

/// Reads again and again, each time into a buffer of its own.
///
/// # Safety
/// As [`attempt`].
unsafe fn read_series(request: &mut Request, groups: &mut Groups, sqe: Sqe, room: bool) -> Step {
    if sqe.flags & abi::SQE_BUFFER_SELECT == 0 {
        return failed(libc::EINVAL);
    }
    match kind(sqe.fd) {
        Ok(Kind::File) => return failed(libc::EBADFD),
        Ok(_) if !room => return Step::Starve,
        Ok(_) if nothing_more(request) => return Step::Wait(Interest::Read),
        Ok(_) => {}
        Err(errno) => return failed(errno),
    }
    // SAFETY: the caller's promise.
    match unsafe { transfer(request, groups, sqe) } {
        Step::Done(moved, named) if moved > 0 => Step::Shot(moved, named),
        // It has to be read on a thread, which reads once.
        Step::Block => {
            settle(request, groups, 0);
            failed(libc::EBADFD)
        }
        step => step,
    }
}

/// Waits for a child: at once if it changed already, else until its process descriptor says that it ended. What has no
/// such descriptor (a group, any child, a stop) is waited for on a thread.
///
/// # Safety
/// As [`attempt`].
unsafe fn wait_for_child(request: &mut Request, sqe: Sqe) -> Step {
    let options = sqe.file_index as c_int;
    let which = sqe.len as libc::idtype_t;
    // SAFETY: an all-zero value is valid: plain numbers.
    let mut unseen: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let told = match sqe.off {
        0 => &raw mut unseen,
        at => at as *mut libc::siginfo_t,
    };
    let id = request.sqe.fd as libc::id_t;
    // SAFETY: the caller's promise.
    if unsafe { libc::waitid(which, id, told, options | libc::WNOHANG) } < 0 {
        return failed(last_errno());
    }
    // SAFETY: written by the call: zero where there is nothing to tell.
    if unsafe { (*told).si_pid() } != 0 || options & libc::WNOHANG != 0 {
        return done(0);
    }
    if which != libc::P_PID || options & (libc::WSTOPPED | libc::WCONTINUED) != 0 {
        return Step::Block;
    }
    if request.file.is_none() {
        // SAFETY: makes a descriptor or fails.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, id, 0) } as c_int;
        if fd < 0 {
            return Step::Block;
        }
        // SAFETY: just made, owned by nobody else.
        request.file = Some(Arc::new(unsafe { OwnedFd::from_raw_fd(fd) }));
        request.fd = fd;
    }
    Step::Wait(Interest::Read)
}

/// Reads of a file what is in memory; the rest is for the pool.
///
/// # Safety
/// As [`attempt`].
unsafe fn read_cached(request: &mut Request, sqe: Sqe) -> Step {
    let flags = sqe.op_flags as c_int | libc::RWF_NOWAIT;
    loop {
        let position = blocking::position(&sqe, request.moved);
        // SAFETY: the caller's promise.
        let read = unsafe { blocking::read_or_write(&sqe, request.moved, position, flags) };
        match read {
            // The end of the file, or all of it.
            0 => return done(request.moved as i32),
            1.. => {
                request.moved += read as u32;
                if request.moved == sqe.len {
                    return done(request.moved as i32);
                }
            }
            _ if -read == libc::EAGAIN && sqe.op_flags as c_int & libc::RWF_NOWAIT != 0 => {
                return done(read);
            }
            _ if matches!(-read, libc::EAGAIN | libc::EOPNOTSUPP) => return Step::Block,
            _ if request.moved > 0 => return done(request.moved as i32),
            _ => return done(read),
        }
    }
}

/// # Safety
/// As [`attempt`].
unsafe fn on_socket(sqe: Sqe) -> Step {
    let (mut one, several) = blocking::vector(&sqe, 0);
    if !several && sqe.len == 0 {
        return done(0);
    }
    // SAFETY: an all-zero value is valid: no address, no memory.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    if several {
        message.msg_iov = sqe.addr as *mut libc::iovec;
        message.msg_iovlen = sqe.len as _;
    } else {
        message.msg_iov = &raw mut one;
        message.msg_iovlen = 1;
    }
    let write = blocking::is_write(sqe.opcode);
    // SAFETY: the caller's promise.
    let moved = blocking::outcome(unsafe {
        if write {
            libc::sendmsg(sqe.fd, &message, libc::MSG_DONTWAIT)
        } else {
            libc::recvmsg(sqe.fd, &mut message, libc::MSG_DONTWAIT)
        }
    } as i64);
    or_wait(moved, direction(write))
}

fn direction(write: bool) -> Interest {
    if write { Interest::Write } else { Interest::Read }
}

fn or_wait(result: i32, interest: Interest) -> Step {
    match result {
        again if again == -libc::EAGAIN => Step::Wait(interest),
        result => done(result),
    }
}

/// # Safety
/// As [`attempt`].
unsafe fn on_stream(sqe: Sqe) -> Step {
    let write = blocking::is_write(sqe.opcode);
    let flags = sqe.op_flags as c_int;
    let mut offset = blocking::position(&sqe, 0);
    let mut nowait = libc::RWF_NOWAIT;
    loop {
        // SAFETY: the caller's promise.
        let moved = unsafe { blocking::read_or_write(&sqe, 0, offset, flags | nowait) };
        match -moved {
            libc::ESPIPE if offset != -1 => offset = -1,
            libc::EAGAIN if flags & libc::RWF_NOWAIT != 0 => return done(moved),
            // No way to ask it not to block, unless its description says so already.
            libc::EOPNOTSUPP if nowait != 0 => {
                if is_nonblocking(sqe.fd) {
                    nowait = 0;
                    continue;
                }
                let events = if write { libc::POLLOUT } else { libc::POLLIN };
                return match blocking::poll_now(sqe.fd, events) {
                    0 => Step::Wait(direction(write)),
                    _ => Step::Block,
                };
            }
            _ => return or_wait(moved, direction(write)),
        }
    }
}

/// Whether a series that goes on would only find out that there is nothing: it has to wait then even if no buffer is left,
/// for one may be provided before the next data comes.
fn nothing_more(request: &Request) -> bool {
    request.goes_on && blocking::poll_now(request.fd, libc::POLLIN) == 0
}

/// # Safety
/// As [`attempt`].
unsafe fn receive(request: &mut Request, groups: &mut Groups, mut sqe: Sqe, room: bool) -> Step {
    let series = sqe.ioprio & abi::RECV_MULTISHOT != 0;
    if sqe.ioprio & BUNDLE != 0 || series && sqe.flags & abi::SQE_BUFFER_SELECT == 0 {
        return failed(libc::EINVAL);
    }
    if series && !room {
        return Step::Starve;
    }
    if series && nothing_more(request) {
        return Step::Wait(Interest::Read);
    }
    if let Err(errno) = pick(request, groups, &mut sqe) {
        return failed(errno);
    }
    let flags = sqe.op_flags as c_int;
    let whole = flags & libc::MSG_WAITALL != 0;
    loop {
        let at = (sqe.addr + u64::from(request.moved)) as *mut c_void;
        let len = (sqe.len - request.moved) as usize;
        // SAFETY: the caller's promise.
        let got =
            blocking::outcome(unsafe { libc::recv(sqe.fd, at, len, flags | libc::MSG_DONTWAIT) } as i64);
        if got > 0 {
            request.moved += got as u32;
            if whole && request.moved < sqe.len && flags & libc::MSG_PEEK == 0 {
                continue;
            }
        } else if got == -libc::EAGAIN && flags & libc::MSG_DONTWAIT == 0 {
            if request.moved == 0 {
                settle(request, groups, 0);
            }
            return Step::Wait(Interest::Read);
        }
        // What came before an error, or before the end, is the result.
        let moved = match std::mem::take(&mut request.moved) {
            0 => got,
            moved => moved as i32,
        };
        let named = settle(request, groups, moved);
        return if series && moved > 0 {
            Step::Shot(moved, named)
        } else {
            Step::Done(moved, named)
        };
    }
}

/// # Safety
/// As [`attempt`].
unsafe fn send(request: &mut Request, sqe: Sqe) -> Step {
    if sqe.ioprio & BUNDLE != 0 {
        return failed(libc::EINVAL);
    }
    let flags = sqe.op_flags as c_int;
    loop {
        let at = (sqe.addr + u64::from(request.moved)) as *const c_void;
        let len = (sqe.len - request.moved) as usize;
        let address = sqe.off as *const libc::sockaddr;
        let address_len = (sqe.file_index & 0xffff) as libc::socklen_t;
        let how = flags | libc::MSG_DONTWAIT;
        // SAFETY: the caller's promise.
        let sent =
            blocking::outcome(unsafe { libc::sendto(sqe.fd, at, len, how, address, address_len) } as i64);
        if sent == -libc::EAGAIN && flags & libc::MSG_DONTWAIT == 0 {
            return Step::Wait(Interest::Write);
        }
        if sent > 0 {
            request.moved += sent as u32;
            if flags & libc::MSG_WAITALL != 0 && request.moved < sqe.len {
                continue;
            }
        }
        return done(match request.moved {
            0 => sent,
            moved => moved as i32,
        });
    }
}

/// # Safety
/// As [`attempt`].
unsafe fn message(sqe: Sqe) -> Step {
    let (receives, flags) = (sqe.opcode == code::RECVMSG, sqe.op_flags as c_int);
    if receives && sqe.ioprio & abi::RECV_MULTISHOT != 0 {
        return failed(libc::EINVAL);
    }
    let at = sqe.addr as *mut libc::msghdr;
    let how = flags | libc::MSG_DONTWAIT;
    // SAFETY: the caller's promise.
    let moved = blocking::outcome(unsafe {
        if receives {
            libc::recvmsg(sqe.fd, at, how)
        } else {
            libc::sendmsg(sqe.fd, at, how)
        }
    } as i64);
    if flags & libc::MSG_DONTWAIT != 0 {
        return done(moved);
    }
    or_wait(moved, direction(!receives))
}

/// # Safety
/// As [`attempt`].
unsafe fn accept(sqe: Sqe, room: bool) -> Step {
    let series = sqe.ioprio & abi::ACCEPT_MULTISHOT != 0;
    if series && !room {
        return Step::Starve;
    }
    let accepted = if is_nonblocking(sqe.fd) {
        // SAFETY: the caller's promise.
        unsafe { blocking::accept_now(&sqe) }
    } else if blocking::poll_now(sqe.fd, libc::POLLIN) != 0 {
        // There is no accept that does not block but by a flag of the description, which others share.
        return Step::Block;
    } else {
        -libc::EAGAIN
    };
    after_accept(&sqe, accepted)
}

/// What follows from an accept, wherever it was made.
pub(super) fn after_accept(sqe: &Sqe, accepted: i32) -> Step {
    if accepted == -libc::EAGAIN && sqe.ioprio & ACCEPT_DONTWAIT == 0 {
        return Step::Wait(Interest::Read);
    }
    if accepted >= 0 && sqe.ioprio & abi::ACCEPT_MULTISHOT != 0 {
        return Step::Shot(accepted, 0);
    }
    done(accepted)
}

/// Begins a connection without waiting for it, and concludes it when the socket is ready.
///
/// # Safety
/// As [`attempt`].
unsafe fn connect(request: &mut Request, sqe: Sqe) -> Step {
    if std::mem::replace(&mut request.moved, 1) == 0 {
        // SAFETY: the caller's promise.
        return match unsafe { connect_now(&sqe) } {
            (libc::EINPROGRESS, _) => Step::Wait(Interest::Write),
            // A Unix listener whose queue is full: nothing to poll for, so a thread waits for room.
            (libc::EAGAIN, true) => Step::Block,
            (errno, _) => failed(errno),
        };
    }
    if blocking::poll_now(sqe.fd, libc::POLLOUT) == 0 {
        return Step::Wait(Interest::Write);
    }
    let mut errno: c_int = 0;
    let mut len = size_of::<c_int>() as libc::socklen_t;
    let at = (&raw mut errno).cast();
    // SAFETY: room for one number, whose size is told.
    if unsafe { libc::getsockopt(sqe.fd, libc::SOL_SOCKET, libc::SO_ERROR, at, &mut len) } < 0 {
        return failed(last_errno());
    }
    if errno != 0 {
        return failed(errno);
    }
    // The socket itself learns that it is connected by being asked once more.
    // SAFETY: the caller's promise.
    match unsafe { connect_now(&sqe) } {
        (0 | libc::EISCONN, _) => done(0),
        (libc::EALREADY | libc::EINPROGRESS, _) => Step::Wait(Interest::Write),
        (errno, _) => failed(errno),
    }
}

/// Connects without waiting: the error number, and whether the description blocks. Its flag is borrowed for the call: a
/// socket that is not connected yet is of little use to anybody else in that moment.
///
/// # Safety
/// As [`attempt`].
unsafe fn connect_now(sqe: &Sqe) -> (i32, bool) {
    // SAFETY: no memory.
    let flags = unsafe { libc::fcntl(sqe.fd, libc::F_GETFL) };
    if flags < 0 {
        return (last_errno(), false);
    }
    let blocks = flags & libc::O_NONBLOCK == 0;
    if blocks {
        // SAFETY: no memory.
        unsafe { libc::fcntl(sqe.fd, libc::F_SETFL, flags | libc::O_NONBLOCK) };
    }
    let (address, len) = (sqe.addr as *const libc::sockaddr, sqe.off as libc::socklen_t);
    // SAFETY: the caller's promise.
    let connected = blocking::outcome(unsafe { libc::connect(sqe.fd, address, len) });
    if blocks {
        // SAFETY: no memory.
        unsafe { libc::fcntl(sqe.fd, libc::F_SETFL, flags) };
    }
    (-connected, blocks)
}

/// The events of an entry.
pub(super) fn events(sqe: &Sqe) -> u32 {
    if cfg!(target_endian = "big") {
        sqe.op_flags.rotate_left(16)
    } else {
        sqe.op_flags
    }
}

fn poll(sqe: Sqe) -> Step {
    let events = events(&sqe) & 0xffff;
    if sqe.len & !abi::POLL_MULTISHOT != 0 {
        return failed(libc::EINVAL);
    }
    if sqe.len & abi::POLL_MULTISHOT != 0 {
        return Step::Watch(events);
    }
    let ready = blocking::poll_now(sqe.fd, (events | ALWAYS) as i16);
    if ready & libc::POLLNVAL != 0 {
        return failed(libc::EBADF);
    }
    match ready {
        0 => Step::Wait(Interest::Events(events)),
        ready => done(i32::from(ready)),
    }
}

/// # Safety
/// As [`attempt`].
unsafe fn timeout(sqe: Sqe) -> Step {
    let known = clock::ABSOLUTE | clock::WALL_CLOCK | clock::BOOT_CLOCK | clock::SUCCESS | clock::MULTISHOT;
    let series = sqe.op_flags & clock::MULTISHOT != 0;
    if sqe.len != 1 || sqe.op_flags & !known != 0 || (sqe.off != 0 && !series) {
        return failed(libc::EINVAL);
    }
    // SAFETY: the caller's promise.
    match unsafe { clock::due(sqe.addr, sqe.op_flags) } {
        Ok(due) => Step::Sleep(due),
        Err(errno) => failed(errno),
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use std::fs::OpenOptions;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::OpenOptionsExt;

    /// `RWF_NOWAIT` keeps a read from waiting for memory and locks, not for the device.
    #[test]
    fn d7_direct_read_is_never_made_on_the_rings_thread() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let read = |fd| may_wait(&Sqe::new(code::READ, fd));
        assert!(!read(file.as_file().as_raw_fd()));
        let mut direct = OpenOptions::new();
        match direct.read(true).custom_flags(libc::O_DIRECT).open(file.path()) {
            Ok(direct) => assert!(read(direct.as_raw_fd())),
            Err(refused) => eprintln!("skipped: no direct reads on this file system: {refused}"),
        }
    }
}
