//! What must be in files and streams, by what was acknowledged.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use uring_core::Error;

pub(crate) const REGION: usize = 16;
pub(crate) const REGIONS: usize = 64;

pub(crate) type Fd = Arc<OwnedFd>;

/// A part of the file that has one writer or several readers at a time.
#[derive(Clone, Default)]
pub(crate) struct Region {
    pub(crate) content: [u8; REGION],
    pub(crate) readers: u32,
    pub(crate) writing: bool,
    /// What a writer that was let go of may have written.
    pub(crate) maybe: Option<[u8; REGION]>,
}

pub(crate) struct Disk {
    pub(crate) file: Fd,
    pub(crate) regions: Vec<Region>,
}

impl Disk {
    pub(crate) fn new() -> Self {
        // SAFETY: makes a descriptor or fails.
        let fd = unsafe { libc::memfd_create(c"storm".as_ptr(), libc::MFD_CLOEXEC) };
        assert!(fd >= 0);
        // SAFETY: of a descriptor just made, owned by nobody else.
        let file = unsafe {
            libc::ftruncate(fd, (REGION * REGIONS) as i64);
            OwnedFd::from_raw_fd(fd)
        };
        Self {
            file: Arc::new(file),
            regions: vec![Region::default(); REGIONS],
        }
    }

    /// Compares the file with the model; regions still being written are left alone.
    pub(crate) fn compare(&mut self) -> Result<(), String> {
        let mut found = [0u8; REGION * REGIONS];
        // SAFETY: writes so many bytes at most.
        let read = unsafe { libc::pread(self.file.as_raw_fd(), found.as_mut_ptr().cast(), found.len(), 0) };
        if read != found.len() as isize {
            return Err(format!("the file has {read} bytes"));
        }
        for (at, region) in self.regions.iter_mut().enumerate() {
            if region.writing {
                continue;
            }
            let found: [u8; REGION] = found[at * REGION..][..REGION].try_into().unwrap();
            let fits = match region.maybe.take() {
                None => found == region.content,
                Some(new) => {
                    (0..=REGION).any(|n| found[..n] == new[..n] && found[n..] == region.content[n..])
                }
            };
            if !fits {
                return Err(format!("region {at}: {found:?} is not {:?}", region.content));
            }
            region.content = found;
        }
        Ok(())
    }
}

/// The byte at a position of any stream.
pub(crate) fn byte_at(position: u64) -> u8 {
    (position % 251) as u8
}

/// A stream with one writer and one reader at a time.
pub(crate) struct Stream {
    /// Tells it apart from the one before, which was given up.
    pub(crate) number: u64,
    pub(crate) to: Fd,
    pub(crate) from: Fd,
    pub(crate) written: u64,
    pub(crate) read: u64,
    pub(crate) writing: bool,
    pub(crate) reading: bool,
}

impl Stream {
    pub(crate) fn new(number: u64) -> Self {
        let mut ends = [0; 2];
        let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
        // SAFETY: writes two descriptors.
        let made = unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) };
        assert_eq!(made, 0);
        // SAFETY: two descriptors just made, owned by nobody else.
        let [to, from] = ends.map(|fd| Arc::new(unsafe { OwnedFd::from_raw_fd(fd) }));
        Self {
            number,
            to,
            from,
            written: 0,
            read: 0,
            writing: false,
            reading: false,
        }
    }

    /// Bytes came out: they must be the next ones.
    pub(crate) fn came(&mut self, bytes: &[u8]) -> Result<(), String> {
        if bytes.is_empty() {
            return Err("a stream ended that nobody closed".into());
        }
        let start = self.read;
        let right = bytes.iter().zip(start..).all(|(&b, at)| b == byte_at(at));
        self.read = start + bytes.len() as u64;
        if !right || self.read > self.written {
            return Err(format!(
                "{bytes:?} are not the bytes from {start} on, of {} written",
                self.written
            ));
        }
        Ok(())
    }
}

/// Bytes leased out, to be found unchanged when the lease is given back.
pub(crate) struct Leases<L> {
    pub(crate) held: VecDeque<(L, Vec<u8>)>,
}

impl<L: std::ops::Deref<Target = [u8]>> Leases<L> {
    pub(crate) fn give_one(&mut self) -> Result<(), String> {
        match self.held.pop_front() {
            Some((lease, bytes)) if lease[..] != bytes[..] => Err("a leased buffer was written".into()),
            _ => Ok(()),
        }
    }
}

/// Errors that a healthy caller has to expect of a transfer.
pub(crate) fn is_ordinary(error: Error) -> bool {
    matches!(
        error.errno(),
        libc::EINTR | libc::EAGAIN | libc::ENOMEM | libc::ENOBUFS
    )
}
