//! One blocking operation on its way through the pool, and the home that it comes back to.
//!
//! - **J1** a job that was taken by a thread holds everything it uses: the entry, a registered file if it works on one,
//!   and its home. The memory that the entry names is the submitter's, who keeps it until the result is collected.
//! - **J2** a home lives until the ring and the last of its jobs have let go of it, and a job lets go after its system
//!   call and its delivery. So the descriptor left as a tombstone is closed when no memory is touched any more, which is
//!   what tells the reaper that the memory of a ring that is gone may be freed.
//! - **J3** what a job brings after its ring is gone goes to the reaper with the ring's end of the queue. A descriptor in a
//!   result that nobody takes at all is closed by whoever drops the result.

use super::blocking;
use super::handover::{Bell, Inbox, Outbox, handover};
use super::pool::{Pool, Work};
use crate::backend::Posthumous;
use crate::sys::abi::{Cqe, Sqe};
use crate::sys::fork::PerProcess;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;
use sync_base::sync::{Arc, Mutex, PoisonError};

/// Operations that a process runs at a time on threads, whatever the number of its rings.
const THREADS: usize = 8;
/// A thread leaves when there was nothing to do for so long.
const IDLE: Duration = Duration::from_secs(2);
/// System calls need little.
const STACK_BYTES: usize = 128 << 10;

sync_base::global! {
    static POOL: PerProcess<Pool<Job>> = PerProcess::new();
}

/// The pool of this process.
fn pool() -> &'static Pool<Job> {
    POOL.get(|| Pool::new(THREADS))
}

/// An eventfd.
#[derive(Debug)]
pub(super) struct EventFd(OwnedFd);

impl EventFd {
    fn new() -> io::Result<Self> {
        // SAFETY: makes a descriptor or fails.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just made, owned by nobody else.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }
}

impl AsRawFd for EventFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Bell for EventFd {
    fn ring(&self) {
        let one = 1u64;
        // SAFETY: eight readable bytes. It fails only when the counter is full, and then it rings already.
        unsafe { libc::write(self.as_raw_fd(), (&raw const one).cast(), 8) };
    }

    fn silence(&self) {
        let mut count = 0u64;
        // SAFETY: eight writable bytes; the descriptor does not block.
        unsafe { libc::read(self.as_raw_fd(), (&raw mut count).cast(), 8) };
    }
}

/// The result of a job.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) key: u64,
    user_data: u64,
    result: i32,
    brings_fd: bool,
}

impl Finished {
    /// The completion that it amounts to, with whatever it brings.
    fn into_completion(self) -> Cqe {
        Cqe {
            user_data: self.user_data,
            result: self.into_result(),
            flags: 0,
        }
    }

    /// The result, with whatever it brings.
    pub(super) fn into_result(mut self) -> i32 {
        self.brings_fd = false;
        self.result
    }
}

impl Drop for Finished {
    fn drop(&mut self) {
        if self.brings_fd && self.result >= 0 {
            // SAFETY: J3: the descriptor was made by the job and handed to nobody.
            unsafe { libc::close(self.result) };
        }
    }
}

/// Where the jobs of a ring come back to.
#[derive(Debug)]
pub(super) struct Home {
    outbox: Outbox<Finished, EventFd>,
    tombstone: Mutex<Option<OwnedFd>>,
}

impl Home {
    /// Makes a home for at most `credits` jobs, and the ring's end of it.
    pub(super) fn new(credits: u32) -> io::Result<(Arc<Self>, Inbox<Finished, EventFd>)> {
        let (outbox, inbox) = handover(credits as usize, EventFd::new()?);
        let home = Self {
            outbox,
            tombstone: Mutex::new(None),
        };
        Ok((Arc::new(home), inbox))
    }

    /// Keeps a descriptor until the ring and the last job are gone (J2).
    pub(super) fn keep(&self, fd: OwnedFd) {
        *self.tombstone.lock().unwrap_or_else(PoisonError::into_inner) = Some(fd);
    }

    /// Takes a queued job back. `false` when it runs, or ran.
    pub(super) fn withdraw(&self, key: u64) -> bool {
        pool()
            .withdraw(|job| job.key == key && std::ptr::eq(&*job.home, self))
            .is_some()
    }

    /// Takes every queued job back.
    pub(super) fn withdraw_all(&self) {
        while pool().withdraw(|job| std::ptr::eq(&*job.home, self)).is_some() {}
    }
}

/// What the jobs of a ring that is gone brought home.
#[derive(Debug)]
pub(super) struct Estate(pub(super) Inbox<Finished, EventFd>);

impl Posthumous for Estate {
    fn completions(&mut self) -> Vec<Cqe> {
        std::iter::from_fn(|| self.0.take())
            .map(Finished::into_completion)
            .collect()
    }
}

/// A blocking operation.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) key: u64,
    pub(super) sqe: Sqe,
    /// Bytes that were moved before: the operation goes on behind them.
    pub(super) moved: u32,
    /// Keeps a registered file open.
    pub(super) _file: Option<Arc<OwnedFd>>,
    pub(super) _second: Option<Arc<OwnedFd>>,
    pub(super) home: Arc<Home>,
}

impl Job {
    /// Queues it, and sees that there is a thread for it.
    pub(super) fn start(self) {
        let pool = pool();
        if !pool.add(self) {
            return;
        }
        let thread = std::thread::Builder::new()
            .name("uring-blocking".into())
            .stack_size(STACK_BYTES);
        let started = thread.spawn(move || {
            block_signals();
            pool.serve(IDLE);
        });
        if started.is_err() {
            for job in pool.thread_failed() {
                job.finish(-libc::EAGAIN);
            }
        }
    }

    fn finish(self, result: i32) {
        let finished = Finished {
            key: self.key,
            user_data: self.sqe.user_data,
            result,
            brings_fd: blocking::brings_descriptor(&self.sqe),
        };
        // A ring that is gone hands it back, and dropping it closes what it brought.
        let _ = self.home.outbox.deliver(finished);
    }
}

impl Work for Job {
    fn run(self) {
        // SAFETY: J1: the submitter keeps what the entry names until the result is collected or the home is gone.
        let result = unsafe { blocking::execute(&self.sqe, self.moved) };
        self.finish(result);
    }
}

/// Signals of the program are not for these threads.
fn block_signals() {
    // SAFETY: an all-zero set is a valid place for `sigfillset` to write to.
    let mut all: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: one valid set; the mask is this thread's own.
    unsafe {
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_BLOCK, &all, std::ptr::null_mut());
    }
}
