//! Rings to test with, and what a test asks of them.

use std::fs::File;
use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use uring_core::{LocalRing, Operation, Options};

pub(crate) const LONG: Duration = Duration::from_secs(10);

pub(crate) fn ring(depth: u32) -> LocalRing {
    LocalRing::with(&Options::new().depth(depth)).unwrap()
}

pub(crate) fn done<O: Operation>(ring: &LocalRing, op: O) -> O::Output {
    ring.block_on(ring.run(op)).unwrap()
}

pub(crate) fn settle(ring: &LocalRing) {
    while ring.held() > 0 {
        assert_eq!(ring.ready(), 0, "tokens that the test never took");
        ring.wait(1, LONG).unwrap();
    }
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

/// A ring that, when the test is over, has nothing in flight and nothing registered: what was declared after it is gone by
/// then.
pub(crate) struct Clean(LocalRing);

impl std::ops::Deref for Clean {
    type Target = LocalRing;
    fn deref(&self) -> &LocalRing {
        &self.0
    }
}

impl Drop for Clean {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        settle(&self.0);
        self.0.poll().unwrap();
        assert_eq!(self.0.files_held(), 0, "slots for files");
        assert_eq!(self.0.slabs_held(), 0, "registered slabs");
        assert_eq!(self.0.stats().counts().stale, 0);
    }
}

/// A ring whose end is checked.
pub(crate) fn clean(options: &Options) -> Clean {
    Clean(LocalRing::with(options).unwrap())
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
