//! The reaper: one thread a process that waits for what dropped rings could not get back.
//!
//! A read from a hung disk cannot be cancelled, and the ring that made it cannot wait for ever. Its memory may be freed
//! only when the kernel is done with it, and by then nobody looks at the completion queue. So the dying ring leaves the
//! write end of a pipe among its registered files. The kernel closes registered files as the last act of taking a ring
//! down, after its last request is over; the reaper sees the pipe hang up, and frees.
//!
//! Completions still come meanwhile, and may bring what has to be given back: a descriptor, a provided buffer. The
//! carrier leaves a [`Posthumous`] behind that knows of them, where that can be arranged; the reaper makes of each what
//! the ring would have made of an orphan's, and only then drops what is left.
//!
//! # States of the reaper
//! `idle` (no thread) and `busy` (one thread, list not empty), under one lock:
//! - **R1** the thread exits only under the lock, with the list empty, and marks itself gone in the same critical section;
//! - **R2** whoever adds to the list does so under the lock, and starts a thread if there is none.
//!
//! Hence nothing is ever on the list without a thread that will look at it (loom model `ring.reaper_loses_nobody`). The
//! thread looks every 20 ms; there is no wake-up to be lost. Each process has a list of its own.

use super::ledger::Ledger;
use super::operation::Outcome;
use super::stats::totals;
use super::table::{State, Table};
use crate::backend::{Backend, Posthumous};
use crate::sys::abi::Cqe;
use crate::sys::fork::PerProcess;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use sync_base::sync::Mutex;

/// Sleep of the reaper between two looks; it runs only while something is left behind.
const ROUND: Duration = Duration::from_millis(20);

/// All that the kernel may still touch of a ring that is gone.
pub(crate) struct Leftover {
    pub(crate) table: Table,
    pub(crate) _ledger: Ledger,
    pub(crate) _keep_alive: Vec<Box<dyn Send>>,
    pub(crate) outstanding: u32,
}

impl Leftover {
    /// Gives back what the last completions brought: nobody else would.
    fn conclude(&mut self, completions: Vec<Cqe>) {
        for cqe in completions {
            let (slot, generation) = (cqe.user_data as u32, (cqe.user_data >> 32) as u32);
            let outcome = Outcome {
                raw: cqe.result,
                flags: cqe.flags,
            };
            let at = match self.table.find(slot, generation) {
                Some(hot) if hot.state == State::InFlight => self.table.op_at(slot),
                _ => continue,
            };
            let hot = self.table.hot(slot);
            let Some(op) = hot.op else { continue };
            if outcome.has_more() {
                if op.multishot {
                    // SAFETY: T1: the operation is there, and `item` may be called while it is in flight.
                    unsafe { (op.discard_shot)(at, outcome) };
                }
                continue;
            }
            hot.op = None;
            // SAFETY: T1, and its vtable was just taken, so nobody drops it again; the kernel is done with it.
            unsafe { (op.discard)(at, outcome) };
        }
    }
}

/// What the reaper waits for: something that is over at some time and is then dropped.
pub trait Ward: Send {
    /// Waits a while before the next look, at most `limit`.
    fn pause(limit: Duration);
    /// Whether it may be dropped.
    fn is_over(&self) -> bool;
}

/// The list and whether somebody watches it.
#[derive(Debug)]
pub struct Watch<W> {
    wards: Vec<W>,
    watched: bool,
}

impl<W: Ward> Watch<W> {
    /// Starts with nobody on it.
    pub const fn new() -> Self {
        Self {
            wards: Vec::new(),
            watched: false,
        }
    }

    /// Adds a ward; `true` when the caller has to start a watcher (R2).
    #[must_use]
    pub fn add(&mut self, ward: W) -> bool {
        self.wards.push(ward);
        !std::mem::replace(&mut self.watched, true)
    }

    /// Takes out what is over; `None` when nothing is left and the watcher has to go (R1).
    fn take_over(&mut self) -> Option<Vec<W>> {
        if self.wards.is_empty() {
            self.watched = false;
            return None;
        }
        Some(self.wards.extract_if(.., |ward| ward.is_over()).collect())
    }
}

/// Watches until nothing is left.
pub fn watch<W: Ward>(list: &Mutex<Watch<W>>) {
    loop {
        let over = list.lock().unwrap_or_else(|e| e.into_inner()).take_over();
        let Some(over) = over else { return };
        // Dropped outside the lock: a destructor of the caller may take its time, or drop a ring.
        let idle = over.is_empty();
        drop(over);
        if idle {
            W::pause(ROUND);
        }
    }
}

/// A ring that is gone, and the pipe that tells when it is gone for good.
struct Grave {
    hang_up: OwnedFd,
    rest: Option<Leftover>,
    will: Option<Box<dyn Posthumous>>,
}

impl Ward for Grave {
    fn pause(limit: Duration) {
        std::thread::sleep(limit);
    }

    fn is_over(&self) -> bool {
        let mut poll = libc::pollfd {
            fd: self.hang_up.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one valid pollfd, no wait.
        let ready = unsafe { libc::poll(&mut poll, 1, 0) };
        ready == 1 && poll.revents & libc::POLLHUP != 0
    }
}

impl Drop for Grave {
    fn drop(&mut self) {
        let Some(mut rest) = self.rest.take() else { return };
        let outstanding = u64::from(rest.outstanding);
        let completions = self.will.take().map(|mut will| will.completions());
        // A destructor of the caller that panics must not end the reaper.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            rest.conclude(completions.unwrap_or_default());
            drop(rest);
        }));
        totals().abandoned.sub(outstanding);
    }
}

sync_base::global! {
    static GRAVES: PerProcess<Mutex<Watch<Grave>>> = PerProcess::new();
}

/// What the rings of this process left behind. A forked child has a list and a thread of its own: its parent's thread is not
/// there, and what its parent left is not the child's to free.
fn graves() -> &'static Mutex<Watch<Grave>> {
    GRAVES.get(|| Mutex::new(Watch::new()))
}

/// Takes what a ring leaves behind. Where the hang-up cannot be arranged the memory is leaked: it may never be freed.
pub(crate) fn adopt(backend: &mut dyn Backend, rest: Leftover) {
    totals().abandoned.add(u64::from(rest.outstanding));
    let pipe = pipe().and_then(|(read, write)| {
        backend.tombstone(write.as_raw_fd())?;
        Ok(read)
    });
    let Ok(hang_up) = pipe else {
        std::mem::forget(rest);
        return;
    };
    let will = backend.will();
    let first = {
        let mut graves = graves().lock().unwrap_or_else(|e| e.into_inner());
        graves.add(Grave {
            hang_up,
            rest: Some(rest),
            will,
        })
    };
    if first {
        let thread = std::thread::Builder::new()
            .name("uring-reaper".into())
            .stack_size(128 << 10);
        if thread.spawn(|| watch(graves())).is_err() {
            // Too many threads: nobody watches, so the next ring that leaves something has to try again.
            graves().lock().unwrap_or_else(|e| e.into_inner()).watched = false;
        }
    }
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: writes two descriptors.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: two descriptors just made, owned by nobody else.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}
