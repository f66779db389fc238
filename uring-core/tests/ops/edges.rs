//! Nothing, negative, and refused: each family beside the system call.

use super::drive::*;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;
use uring_core::op::{
    Accept, Children, Connect, Fadvise, Fsync, Ftruncate, FutexWake, Madvise, MemoryUse, Mkdir, Open, Read,
    ReadV, Recv, Rename, Send, SendMsg, Splice, Statx, Symlink, SyncFileRange, Tee, Timeout, Unlink, WaitId,
    Write, WriteV,
};
use uring_core::{Error, Options};

fn errno<T: std::fmt::Debug>(result: Result<T, Error>) -> i32 {
    result.unwrap_err().errno()
}

/// The error number of a system call that failed.
fn theirs(result: i32) -> i32 {
    assert!(result < 0, "the system call succeeded");
    std::io::Error::last_os_error().raw_os_error().unwrap()
}

fn position(file: &impl AsRawFd) -> i64 {
    // SAFETY: asks for a position.
    unsafe { libc::lseek(file.as_raw_fd(), 0, libc::SEEK_CUR) }
}

#[test]
fn b9_vectored_transfers_at_minus_one_use_the_files_own_position() {
    let (ring, file) = (clean(&Options::new()), scratch());
    assert_eq!(
        done(&ring, WriteV::new(Arc::clone(&file), vec![&b"ab"[..], b"cd"])).0,
        Ok(4)
    );
    assert_eq!(position(&*file), 4);
    let more = WriteV::new(Arc::clone(&file), vec![&b"e"[..]]).at(u64::MAX);
    assert_eq!((done(&ring, more).0, position(&*file)), (Ok(1), 5));
    let (read, got) = done(
        &ring,
        ReadV::new(Arc::clone(&file), vec![vec![0; 2], vec![0; 8]]).at(1),
    );
    assert_eq!(
        (read, got, position(&*file)),
        (Ok(4), vec![b"bc".to_vec(), b"de".to_vec()], 5)
    );
    let (read, _) = done(&ring, ReadV::new(Arc::clone(&file), vec![vec![0; 2]]).at(1 << 63));
    // SAFETY: one vector of two bytes.
    let expected = theirs(unsafe {
        let mut two = [0u8; 2];
        let one = libc::iovec {
            iov_base: two.as_mut_ptr().cast(),
            iov_len: 2,
        };
        libc::preadv(file.as_raw_fd(), &one, 1, i64::MIN) as i32
    });
    assert_eq!(errno(read), expected);
}

#[test]
fn b9_splices_of_nothing_move_nothing_and_minus_one_is_the_files_own_position() {
    let (ring, file) = (clean(&Options::new()), scratch());
    let (read, write) = pipe();
    done(&ring, Write::new(Arc::clone(&file), b"abcdef".to_vec()).at(0))
        .0
        .unwrap();
    let splice = |len| Splice::new(Arc::clone(&file), Arc::clone(&write), len);
    assert_eq!(done(&ring, splice(0)), Ok(0));
    assert_eq!(done(&ring, Tee::new(Arc::clone(&read), pipe().1, 0)), Ok(0));
    assert_eq!(
        (done(&ring, splice(2).from_offset(1)), position(&*file)),
        (Ok(2), 0)
    );
    assert_eq!((done(&ring, splice(3)), position(&*file)), (Ok(3), 3));
    assert_eq!(
        (done(&ring, splice(2).from_offset(u64::MAX)), position(&*file)),
        (Ok(2), 5)
    );
    assert_eq!(done(&ring, splice(64)), Ok(1), "as much as there is");
    assert_eq!(done(&ring, splice(64)), Ok(0), "the end");
    assert_eq!(done(&ring, Read::new(read, vec![0; 16])).1, b"bcabcdef");
}

#[test]
fn b9_flushes_and_cuts_refuse_what_the_system_calls_refuse() {
    let (ring, file) = (clean(&Options::new()), scratch());
    let (read, _write) = pipe();
    let fd = read.as_raw_fd();
    // SAFETY: no memory, for each.
    let refused = unsafe {
        [
            theirs(libc::fsync(fd)),
            theirs(libc::fdatasync(fd)),
            theirs(libc::sync_file_range(fd, 0, 0, 2)),
        ]
    };
    assert_eq!(errno(done(&ring, Fsync::new(Arc::clone(&read)))), refused[0]);
    assert_eq!(errno(done(&ring, Fsync::data(Arc::clone(&read)))), refused[1]);
    assert_eq!(errno(done(&ring, SyncFileRange::new(read, 0, 0, 2))), refused[2]);
    // No bytes are all of them, up to the end.
    done(
        &ring,
        SyncFileRange::new(Arc::clone(&file), 0, 0, libc::SYNC_FILE_RANGE_WRITE),
    )
    .unwrap();
    done(&ring, Ftruncate::new(Arc::clone(&file), 0)).unwrap();
    for len in [u64::MAX, 1 << 63] {
        // SAFETY: no memory.
        let expected = theirs(unsafe { libc::ftruncate(file.as_raw_fd(), len as i64) });
        assert_eq!(
            errno(done(&ring, Ftruncate::new(Arc::clone(&file), len))),
            expected
        );
    }
    // SAFETY: no memory; it returns its error.
    let expected = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, 99) };
    assert_eq!(errno(done(&ring, Fadvise::new(file, 0, 0, 99))), expected);
    let memory = pooled_vec::AlignedBuf::new(4096).unwrap();
    let none = uring_core::buffer::Slice::part(memory, 0, 0).unwrap();
    assert!(
        done(&ring, Madvise::new(none, MemoryUse::Cold)).0.is_ok(),
        "of no bytes"
    );
}

#[test]
fn b9_sends_and_receives_of_nothing_are_no_error_and_no_end() {
    let ring = clean(&Options::new());
    let (near, far) = UnixStream::pair().unwrap();
    let (near, far) = (Arc::new(near), Arc::new(far));
    assert_eq!(done(&ring, Send::new(Arc::clone(&near), vec![])).0, Ok(0));
    assert_eq!(
        done(&ring, SendMsg::new(Arc::clone(&near), Vec::<Vec<u8>>::new())).0,
        Ok(0)
    );
    assert_eq!(done(&ring, Send::new(Arc::clone(&near), b"x".to_vec())).0, Ok(1));
    assert_eq!(
        done(&ring, Recv::new(Arc::clone(&far), Vec::new())).0,
        Ok(0),
        "no room"
    );
    assert_eq!(
        done(&ring, Recv::new(Arc::clone(&far), vec![0; 4])),
        (Ok(1), b"x".to_vec())
    );
    drop(far);
    let (sent, back) = done(&ring, Send::new(near, b"late".to_vec()));
    assert_eq!(
        (errno(sent), back),
        (libc::EPIPE, b"late".to_vec()),
        "and no signal"
    );
}

#[test]
fn b9_connections_are_refused_as_by_the_system_calls() {
    let ring = clean(&Options::new());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let near = Arc::new(TcpStream::connect(address).unwrap());
    // SAFETY: no memory.
    let expected =
        theirs(unsafe { libc::accept(near.as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut()) });
    assert_eq!(
        errno(done(&ring, Accept::new(Arc::clone(&near)))),
        expected,
        "it does not listen"
    );
    assert_eq!(errno(done(&ring, Connect::new(near, address))), libc::EISCONN);
    drop(listener);
    let socket = done(&ring, uring_core::op::Socket::tcp(&address)).unwrap();
    assert_eq!(
        errno(done(&ring, Connect::new(Arc::new(socket), address))),
        libc::ECONNREFUSED
    );
    let socket = Arc::new(done(&ring, uring_core::op::Socket::tcp(&address)).unwrap());
    assert_eq!(
        errno(done(&ring, Recv::new(Arc::clone(&socket), vec![0; 4])).0),
        libc::ENOTCONN
    );
    assert_eq!(errno(done(&ring, Send::new(socket, vec![0; 4])).0), libc::EPIPE);
}

#[test]
fn d7_waits_for_no_time_nobody_and_no_child_end_at_once() {
    let ring = clean(&Options::new());
    done(&ring, Timeout::after(Duration::ZERO)).unwrap();
    let word = Arc::new(AtomicU32::new(0));
    assert_eq!(done(&ring, FutexWake::new(word, 0)), Ok(0));
    let pid = std::process::id();
    // SAFETY: no memory is written, since it fails.
    let expected = theirs(unsafe { libc::waitid(libc::P_PID, pid, std::ptr::null_mut(), libc::WEXITED) });
    assert_eq!(
        errno(done(&ring, WaitId::new(Children::Pid(pid)))),
        expected,
        "no child of its own"
    );
}

#[test]
fn b9_empty_names_are_missing_ones() {
    let ring = clean(&Options::new());
    let missing = [
        errno(done(&ring, Open::new("", libc::O_RDONLY).unwrap())),
        errno(done(&ring, Unlink::new("").unwrap())),
        errno(done(&ring, Mkdir::new("").unwrap())),
        errno(done(&ring, Rename::new("", "x").unwrap())),
        errno(done(&ring, Statx::new("").unwrap())),
        errno(done(&ring, Symlink::new("", "x").unwrap())),
    ];
    assert_eq!(missing, [libc::ENOENT; 6]);
}
