//! Ends a real descriptor while somebody still looks at it.
//!
//! A reader that borrows an `OwnedFd` under a guard may be about to pass its number to the kernel. Closing it would
//! free the number, and the reader's call would reach whichever file is opened next. So `close` puts a dead descriptor
//! in its place with `dup3(2)`: in one step the file is closed, as the peer of a socket or the holder of a lock sees
//! at once, and the number stays reserved and answers every read and write with `EBADF` until the reader is gone.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

/// A value that [`close`](crate::FdTable::close) can end while readers hold `&self`.
///
/// The default does nothing and says so; implement it empty for a type that has nothing to cut off. Numbers, strings,
/// collections and counted pointers have that already; a type of another crate goes into a [`Plain`].
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
/// Do not close descriptors by range behind the process's back (`closefrom`, `close_range`): the dead descriptor is one of
/// them, and where its number is given out again severing replaces a file by that one instead, a live stranger.
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

macro_rules! nothing_to_sever {
    ($($plain:ty),*) => {
        $(impl Sever for $plain {})*
    };
}

nothing_to_sever!(
    (),
    bool,
    char,
    i8,
    i16,
    i32,
    i64,
    i128,
    isize,
    u8,
    u16,
    u32,
    u64,
    u128,
    usize,
    f32,
    f64,
    String,
    PathBuf,
    CString,
    OsString
);

impl<T: ?Sized> Sever for &T {}
/// What is counted elsewhere may be in use elsewhere.
impl<T: ?Sized> Sever for Arc<T> {}
impl<T> Sever for Vec<T> {}
impl<T, const N: usize> Sever for [T; N] {}
impl<K, V, S> Sever for HashMap<K, V, S> {}
impl<K, V> Sever for BTreeMap<K, V> {}

impl<T: Sever + ?Sized> Sever for Box<T> {
    /// Severs what the box holds.
    fn sever(&self) -> bool {
        (**self).sever()
    }
}

impl<T: Sever> Sever for Option<T> {
    /// Severs what there is.
    fn sever(&self) -> bool {
        self.as_ref().is_some_and(T::sever)
    }
}

/// Any value, with nothing to cut off: so that a table of another crate's type can be closed, swept and exited.
///
/// ```
/// use epoch_fdtable::{Plain, ProcessTables};
/// type Handler = Box<dyn Fn() -> u32 + Send + Sync>;
/// let processes = ProcessTables::<Plain<Handler>>::new(8);
/// processes.create(1)?;
/// let made: Handler = Box::new(|| 7);
/// let fd = processes.with(1, |table| table.insert(Plain(made))).unwrap().map_err(|refused| refused.error)?;
/// assert_eq!(processes.pin().get(1, fd).map(|handler| handler()), Some(7));
/// assert_eq!(processes.exit(1)?.total(), 1);
/// # Ok::<(), epoch_fdtable::FdError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Plain<T>(pub T);

impl<T> Sever for Plain<T> {}

impl<T> Deref for Plain<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Plain<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

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
