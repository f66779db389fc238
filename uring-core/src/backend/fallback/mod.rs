//! The same contract without io_uring: epoll for what can be polled, threads for what blocks.
//!
//! Used where a kernel or a container refuses io_uring. It takes the entries that a kernel would, and makes the system
//! calls that they stand for:
//!
//! | operation on | is carried out |
//! |---|---|
//! | sockets, pipes, event counters | at once if that does not block, else when epoll says that it is ready |
//! | regular files: reading | at once what is in memory (`RWF_NOWAIT`), the rest on a thread |
//! | regular files: everything else; opening, closing, paths | on a thread |
//! | time | by the ring's own list of times |
//!
//! The descriptor of an operation is left as it is, blocking or not. Where a call has no way to ask for "do not block":
//! an accept on a blocking listener runs on a thread once the listener is ready; a connect borrows the flag of the
//! description for the length of one call.
//!
//! # Limits, and how it differs from a kernel's ring
//! - An operation on a thread cannot be cancelled once it runs: the cancellation gives `EALREADY`, the operation completes
//!   with its result, and its memory stays owned until then. That is true of a file on a hung disk, and of the blocking
//!   opening of a FIFO. At most 8 run at a time in a process, whatever the number of its rings.
//! - Messages between rings, futexes and commands of devices fail with `EOPNOTSUPP`; what no kernel knows with `EINVAL`.
//! - A zero-copy send copies, and says so in its notification if asked to (`IORING_SEND_ZC_REPORT_USAGE`).
//! - A series (multishot) that finds the completion queue full goes on when there is room: nothing overflows.
//! - Waits end up to a millisecond late before Linux 5.11.
//!
//! # Who owns what
//! The ring's thread owns everything in this module but the pool and its queue of results; see [`pool`], [`handover`] and
//! [`job`] for the protocol between them, [`requests`] for the states of a submission, [`lookout`] for who waits for
//! readiness.

mod attempt;
pub(super) mod blocking;
mod cancel;
mod clock;
mod drive;
#[allow(unreachable_pub)] // public for its model alone
pub(crate) mod handover;
mod job;
mod lookout;
#[cfg(all(test, not(any(loom, shuttle))))]
mod oracle;
#[allow(unreachable_pub)] // public for its model alone
pub(crate) mod pool;
mod requests;
mod tables;

use super::{Backend, LOT, Posthumous};
use crate::sys::abi::{Cqe, Sqe};
use crate::sys::ladder::{FEAT_EXT_ARG, FEAT_NODROP, Refusal, RingInfo, Wish};
use handover::Inbox;
use job::{Estate, EventFd, Finished, Home};
use lookout::{Lookout, Source};
use requests::Requests;
use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;
use sync_base::sync::Arc;
use tables::{BUFFER_SLOTS, Files, Groups, Range, duplicate};

/// A ring without a kernel's ring.
///
/// No field owns memory of an operation, so dropping it frees none: what runs on a thread then keeps its home alive, and
/// with it the tombstone that tells when it is over.
pub(crate) struct Fallback {
    info: RingInfo,
    queue: VecDeque<Sqe>,
    completions: VecDeque<Cqe>,
    requests: Requests,
    /// Requests whose turn came by the success of another.
    runnable: VecDeque<u32>,
    /// Series that wait for room among the completions.
    starved: VecDeque<u32>,
    lookout: Lookout,
    /// What the last wait brought, kept to be filled again.
    happened: Vec<(Source, u32)>,
    alarm: clock::Alarm,
    /// Somebody polls the ring's descriptor, so it has to tell the truth.
    polled: Cell<bool>,
    home: Arc<Home>,
    /// `None` once it was left to those who wait for the ring's last jobs.
    inbox: Option<Inbox<Finished, EventFd>>,
    bell: RawFd,
    files: Files,
    ranges: Vec<Range>,
    groups: Groups,
}

impl Fallback {
    /// Sets one up; `refusals` say why it is not a kernel's ring.
    pub(crate) fn new(wish: &Wish, files: u32, direct: u32, mut refusals: Vec<Refusal>) -> io::Result<Self> {
        if wish.sqpoll_idle_ms.is_some() {
            refusals.push(Refusal {
                asked: "SQPOLL".into(),
                errno: libc::EOPNOTSUPP,
            });
        }
        let (home, inbox) = Home::new(wish.cq_entries)?;
        let (lookout, alarm) = (Lookout::new()?, clock::Alarm::new()?);
        let reads = libc::EPOLLIN as u32;
        let bell = inbox.bell().as_raw_fd();
        lookout.register(bell, reads, false, Source::Bell)?;
        lookout.register(alarm.as_raw_fd(), reads, false, Source::Alarm)?;
        Ok(Self {
            info: RingInfo {
                backend: "fallback",
                rung: None,
                sq_entries: wish.sq_entries,
                cq_entries: wish.cq_entries,
                depth: 0,
                sqpoll: false,
                registered_ring_fd: false,
                features: FEAT_NODROP | FEAT_EXT_ARG,
                refusals,
            },
            queue: VecDeque::with_capacity(wish.sq_entries as usize),
            completions: VecDeque::with_capacity(wish.cq_entries as usize),
            requests: Requests::default(),
            runnable: VecDeque::new(),
            starved: VecDeque::new(),
            lookout,
            happened: Vec::new(),
            alarm,
            polled: Cell::new(false),
            home,
            inbox: Some(inbox),
            bell,
            files: Files::new(files, direct),
            ranges: Vec::new(),
            groups: Groups::default(),
        })
    }

    /// Whether a series may add a completion.
    fn has_room(&self) -> bool {
        self.completions.len() < self.info.cq_entries as usize
    }

    /// Makes the ring's descriptor readable at the next time that an `enter` has something to do which no event tells.
    fn set_alarm(&self) {
        if self.polled.get() {
            let at_once = !self.completions.is_empty() || !self.starved.is_empty();
            self.alarm.set(if at_once {
                Some(0)
            } else {
                self.requests.next_due()
            });
        }
    }
}

impl Backend for Fallback {
    fn info(&self) -> &RingInfo {
        &self.info
    }

    fn set_depth(&mut self, depth: u32) {
        self.info.depth = depth;
    }

    fn space(&mut self, _refresh: bool) -> u32 {
        self.info.sq_entries - self.queue.len() as u32
    }

    fn queued(&mut self) -> u32 {
        self.queue.len() as u32
    }

    fn push(&mut self, sqe: &Sqe) -> bool {
        if self.queue.len() >= self.info.sq_entries as usize {
            return false;
        }
        self.queue.push_back(*sqe);
        true
    }

    fn enter(&mut self, want: u32, timeout: Option<Duration>) -> io::Result<u32> {
        let deadline = timeout.map(|limit| {
            let limit_ns = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
            clock::now().saturating_add(limit_ns)
        });
        let submitted = self.take_queue();
        let mut looked = self.requests.len() == 0;
        while self.completions.len() < want as usize || !looked {
            let wanting = self.completions.len() < want as usize;
            let left = match deadline {
                _ if !wanting => Some(0),
                Some(deadline) => Some(deadline.saturating_sub(clock::now())),
                None => None,
            };
            match self.pump(left) {
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => break,
                done => done?,
            }
            if left == Some(0) {
                break;
            }
            looked = true;
        }
        self.set_alarm();
        Ok(submitted)
    }

    fn owes_enter(&self) -> bool {
        // Only an `enter` looks at descriptors, times and results.
        self.requests.len() > 0
    }

    fn overflowed(&self) -> bool {
        false
    }

    fn drain(&mut self, out: &mut [Cqe; LOT]) -> usize {
        let count = self.completions.len().min(LOT);
        for (to, from) in out.iter_mut().zip(self.completions.drain(..count)) {
            *to = from;
        }
        if self.completions.is_empty() && count > 0 {
            self.set_alarm();
        }
        count
    }

    fn poll_fd(&self) -> RawFd {
        self.polled.set(true);
        self.set_alarm();
        self.lookout.as_raw_fd()
    }

    fn buffer_slots(&mut self) -> u16 {
        BUFFER_SLOTS
    }

    unsafe fn set_buffer(&mut self, slot: u16, range: Option<libc::iovec>) -> io::Result<()> {
        self.ranges.resize(usize::from(BUFFER_SLOTS), (0, 0));
        let place = self.ranges.get_mut(usize::from(slot));
        let place = place.ok_or(io::Error::from_raw_os_error(libc::EINVAL))?;
        *place = range.map_or((0, 0), |range| (range.iov_base as u64, range.iov_len as u64));
        Ok(())
    }

    fn set_file(&mut self, slot: u32, fd: RawFd) -> io::Result<()> {
        let file = if fd < 0 { None } else { Some(duplicate(fd)?) };
        self.files.put(slot, file).map(drop)
    }

    fn file_slots(&self) -> io::Result<u32> {
        Ok(self.files.callers())
    }

    fn direct_slots(&self) -> io::Result<std::ops::Range<u32>> {
        Ok(self.files.handed_out())
    }

    unsafe fn register_buf_ring(
        &mut self,
        ring: u64,
        entries: u16,
        group: u16,
        flags: u16,
    ) -> io::Result<()> {
        // SAFETY: the caller's promise.
        unsafe { self.groups.add(ring, entries, group, flags) }
    }

    fn unregister_buf_ring(&mut self, group: u16) -> io::Result<()> {
        self.groups.remove(group)
    }

    fn tombstone(&mut self, fd: RawFd) -> io::Result<()> {
        self.home.keep(duplicate(fd)?);
        Ok(())
    }

    fn will(&mut self) -> Option<Box<dyn Posthumous>> {
        Some(Box::new(Estate(self.inbox.take()?)))
    }

    fn disown(self: Box<Self>) {
        let this = *self;
        let this = std::mem::ManuallyDrop::new(this);
        // The set of epoll is the parent's too: only this process's copies of the descriptors go. What has locks or
        // threads behind it is left alone, since whoever held a lock at the fork is not here to give it back.
        for fd in [this.lookout.as_raw_fd(), this.alarm.as_raw_fd(), this.bell] {
            // SAFETY: owned by this value, which is never dropped.
            unsafe { libc::close(fd) };
        }
    }
}

impl Drop for Fallback {
    fn drop(&mut self) {
        // What has not begun never will; what runs comes home by itself.
        self.home.withdraw_all();
    }
}
