//! Ends a real descriptor while somebody still looks at it.
//!
//! A reader that borrows an `OwnedFd` under a guard may be about to pass its number to the kernel. Closing it would
//! free the number, and the reader's call would reach whichever file is opened next. So `close` puts a dead descriptor
//! in its place with `dup3(2)`: in one step the file is closed, as the peer of a socket or the holder of a lock sees
//! at once, and the number stays reserved and answers every read and write with `EBADF` until the reader is gone.

use std::fs::File;
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::sync::OnceLock;

/// A value that [`close`](crate::FdTable::close) can end while readers hold `&self`.
///
/// The default does nothing and says so; implement it empty for a type that has nothing to cut off.
///
/// ```
/// use epoch_fdtable::{Closed, FdTable, Sever};
/// struct Handler(u32);
/// impl Sever for Handler {}
/// let table = FdTable::new();
/// let fd = table.insert(Handler(7)).unwrap();
/// assert!(matches!(table.close(fd), Ok(Closed::Now | Closed::Deferred)));
/// ```
pub trait Sever {
    /// Cuts the value off from what it names, and says whether it did. Called at most once, when no descriptor and no
    /// [`Shared`](crate::Shared) is left.
    fn sever(&self) -> bool {
        false
    }
}

/// Replaces an open descriptor by one on which every operation fails with `EBADF`; its file is closed by that.
///
/// # Errors
/// What `open(2)` gave when the first call made the dead descriptor, or what `dup3(2)` gave.
pub fn sever_descriptor(fd: BorrowedFd<'_>) -> io::Result<()> {
    let dead = dead_descriptor()?;
    loop {
        // SAFETY: both descriptors are open for the whole call; `dup3` touches no memory.
        let done = unsafe { libc::dup3(dead.as_raw_fd(), fd.as_raw_fd(), libc::O_CLOEXEC) };
        let error = match done {
            -1 => io::Error::last_os_error(),
            _ => return Ok(()),
        };
        // EBUSY: Linux's race between dup3 and an open in progress; it passes.
        if !matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY)) {
            return Err(error);
        }
    }
}

/// An `O_PATH` descriptor: it names the root directory and permits no input or output. Made once.
fn dead_descriptor() -> io::Result<BorrowedFd<'static>> {
    use std::os::unix::fs::OpenOptionsExt;
    static DEAD: OnceLock<OwnedFd> = OnceLock::new();
    if let Some(dead) = DEAD.get() {
        return Ok(dead.as_fd());
    }
    let made = File::options().read(true).custom_flags(libc::O_PATH).open("/")?;
    Ok(DEAD.get_or_init(|| made.into()).as_fd())
}

macro_rules! sever_as_descriptor {
    ($($owner:ty),*) => {
        $(impl Sever for $owner {
            /// Closes the file and leaves the number reserved. `false` if the process has no descriptor left to do so.
            fn sever(&self) -> bool {
                sever_descriptor(self.as_fd()).is_ok()
            }
        })*
    };
}

sever_as_descriptor!(
    OwnedFd,
    File,
    TcpListener,
    TcpStream,
    UdpSocket,
    UnixDatagram,
    UnixListener,
    UnixStream
);

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn a_severed_socket_is_closed_for_its_peer_and_its_number_answers_ebadf() {
        let (mut near, mut far) = UnixStream::pair().unwrap();
        assert!(near.sever());
        assert_eq!(far.read(&mut [0; 1]).unwrap(), 0, "the peer sees the end");
        assert_eq!(near.write(b"x").unwrap_err().raw_os_error(), Some(libc::EBADF));
        assert_eq!(
            near.read(&mut [0; 1]).unwrap_err().raw_os_error(),
            Some(libc::EBADF)
        );
        let number = near.as_raw_fd();
        assert_ne!(
            File::open("/").unwrap().as_raw_fd(),
            number,
            "the number is still reserved"
        );
    }
}
