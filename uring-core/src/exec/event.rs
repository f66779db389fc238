//! An event counter of the kernel: what threads without a ring end the sleep of a ring's thread with.

use super::alarm::Chime;
use crate::error::Error;
use crate::op::{IoFd, Target};
use std::fs::File;
use std::io::Write;
use std::os::fd::FromRawFd;
use std::sync::Arc;

/// An eventfd. Its count stays until it is read, so a strike before the read is queued is not lost.
#[derive(Debug)]
pub(crate) struct Event(File);

impl Event {
    pub(crate) fn new() -> Result<Arc<Self>, Error> {
        // SAFETY: makes a descriptor or fails.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(std::io::Error::last_os_error().into());
        }
        // SAFETY: just made, owned by nobody else.
        Ok(Arc::new(Self(unsafe { File::from_raw_fd(fd) })))
    }
}

impl Chime for Event {
    fn strike(&self) {
        // It fails only when the counter is full, and then it was struck already.
        let _ = (&self.0).write(&1u64.to_ne_bytes());
    }
}

/// The counter as an operation reads it.
pub(crate) struct EventFd(pub(crate) Arc<Event>);

impl IoFd for EventFd {
    fn target(&self) -> Target {
        self.0.0.target()
    }
}
