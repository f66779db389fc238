//! Files: opened, written, flushed, read, closed; shaped and told about; each beside the system call.

use super::drive::*;
use std::sync::Arc;
use uring_core::ErrorKind;
use uring_core::op::{Close, Fsync, Open, Read, Write};

#[test]
fn b9_file_is_opened_written_flushed_read_and_closed() {
    let (ring, dir) = (ring(4), tempfile::tempdir().unwrap());
    let path = dir.path().join("file");
    let file = Arc::new(done(&ring, Open::new(&path, libc::O_RDWR | libc::O_CREAT).unwrap()).unwrap());
    assert_eq!(
        done(&ring, Write::new(Arc::clone(&file), b"content".to_vec()).at(0)).0,
        Ok(7)
    );
    done(&ring, Fsync::new(Arc::clone(&file))).unwrap();
    done(&ring, Fsync::data(Arc::clone(&file))).unwrap();
    let (read, buf) = done(&ring, Read::new(Arc::clone(&file), Vec::with_capacity(64)).at(3));
    assert_eq!((read, &buf[..]), (Ok(4), &b"tent"[..]));
    done(&ring, Close::new(Arc::into_inner(file).unwrap())).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), b"content");
}

#[test]
fn c9_missing_file_is_the_errors_own_number() {
    let ring = ring(2);
    let error = done(&ring, Open::new("/no/such/file", libc::O_RDONLY).unwrap()).unwrap_err();
    assert_eq!(error.errno(), libc::ENOENT);
    assert_eq!(
        Open::new("nul\0in it", 0).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
}

/// A close that was interrupted has freed the number all the same: closing it again would hit the file that has it next.
#[test]
fn d7_close_that_ran_is_not_repeated_and_one_that_did_not_is_made_up_for() {
    use std::os::fd::AsRawFd;
    use uring_core::{Operation, Outcome};
    let is_open = |fd| {
        // SAFETY: asks for flags.
        unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
    };
    for (errno, closed_by_us) in [
        (libc::EINTR, false),
        (libc::EIO, false),
        (libc::ECANCELED, true),
        (libc::EAGAIN, true),
    ] {
        // A number that no other thread of this process is given meanwhile.
        // SAFETY: makes a descriptor.
        let fd = unsafe { libc::fcntl(scratch().as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3000) };
        assert!(fd >= 3000);
        // SAFETY: just made.
        let close = Close::new(unsafe { <std::os::fd::OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd) });
        let told = close.finish(Outcome {
            raw: -errno,
            flags: 0,
        });
        assert_eq!(told.unwrap_err().errno(), errno);
        assert_eq!(is_open(fd), !closed_by_us, "error {errno}");
        // SAFETY: the kernel did not run: what the operation left open is ours.
        unsafe { libc::close(fd) };
    }
}
