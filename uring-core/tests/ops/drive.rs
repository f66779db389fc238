//! Rings to test with, and what a test asks of them.

pub(crate) use crate::counted::{CountedRing, settle};
use std::fs::File;
use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use uring_core::{LocalRing, Operation, Options};

pub(crate) const LONG: Duration = Duration::from_secs(10);

/// A ring whose end is checked.
pub(crate) fn ring(depth: u32) -> CountedRing {
    clean(&Options::new().depth(depth))
}

/// A ring that the test drops with something on it, or before something made on it: nothing is counted.
pub(crate) fn uncounted(options: &Options) -> LocalRing {
    LocalRing::with(options).unwrap()
}

pub(crate) fn done<O: Operation>(ring: &LocalRing, op: O) -> O::Output {
    ring.block_on(ring.run(op)).unwrap()
}

/// Whether the other end of a connection is closed: nobody holds its descriptor.
pub(crate) fn is_hung_up(mut client: TcpStream) -> bool {
    client.set_read_timeout(Some(LONG)).unwrap();
    !matches!(client.read(&mut [0; 1]), Err(e) if e.kind() == std::io::ErrorKind::WouldBlock)
}

/// Closes what waits to be accepted.
pub(crate) fn empty(listener: &TcpListener) {
    listener.set_nonblocking(true).unwrap();
    while listener.accept().is_ok() {}
    listener.set_nonblocking(false).unwrap();
}

/// A ring whose end is checked.
pub(crate) fn clean(options: &Options) -> CountedRing {
    CountedRing::with(options)
}

/// A temporary file that can be read and written.
pub(crate) fn scratch() -> Arc<File> {
    Arc::new(tempfile::tempfile().unwrap())
}

/// A pipe: where to read, where to write.
pub(crate) fn pipe() -> (Arc<OwnedFd>, Arc<OwnedFd>) {
    let (read, write) = std::io::pipe().unwrap();
    (Arc::new(read.into()), Arc::new(write.into()))
}
