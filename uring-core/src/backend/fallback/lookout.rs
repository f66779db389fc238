//! Who waits for which descriptor to become ready.
//!
//! One epoll instance a ring. Each descriptor that somebody waits for has a place with a queue for either direction and a
//! list of polls; the place is registered for the union of what they wait for, for one event at a time (`EPOLLONESHOT`),
//! so that a descriptor nobody waits for any more makes no noise.
//!
//! - **L1** who waits first is served first: a queue is served from its front, up to the first that has to wait on.
//! - **L2** an event is a hint and no more. Whoever is served tries again, so a stale event (of a number closed and
//!   reused behind our back) costs a vain attempt.
//! - **L3** a place with waiters is armed for them, or an event of it is being served.
//! - **L4** what epoll would tell again at once, to nobody's use, is told once: a socket with something in its error queue is
//!   `EPOLLERR` until its owner reads that, and no receive does. Such a place is told changes (`EPOLLET`) until nobody waits
//!   for it any more. Whoever waits has just met `EAGAIN`, so what comes after is a change.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// Events taken in at a time.
const EVENTS: usize = 64;

const READS: u32 = libc::EPOLLIN as u32;
const WRITES: u32 = libc::EPOLLOUT as u32;
/// Told to a poll whether asked for or not, as the kernel's ring does.
pub(super) const ALWAYS: u32 = (libc::EPOLLERR | libc::EPOLLHUP | libc::EPOLLRDHUP) as u32;

/// Told without end, whatever is waited for.
pub(super) const WITHOUT_END: u32 = (libc::EPOLLERR | libc::EPOLLHUP) as u32;

/// What an operation waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interest {
    /// Something to read, or to accept.
    Read,
    /// Room to write, or a connection made.
    Write,
    /// Any of these events of `poll(2)`, told as they are.
    Events(u32),
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A descriptor that operations wait for.
    Place(RawFd),
    /// A series of polls, by its key.
    Watch(u64),
    /// Results of the pool.
    Bell,
    /// The alarm clock.
    Alarm,
}

const WATCH_BIT: u64 = 1 << 63;
const BELL: u64 = 1 << 32;
const ALARM: u64 = 2 << 32;

impl Source {
    fn to_data(self) -> u64 {
        match self {
            Self::Place(fd) => u64::from(fd as u32),
            Self::Watch(key) => key | WATCH_BIT,
            Self::Bell => BELL,
            Self::Alarm => ALARM,
        }
    }

    fn from_data(data: u64) -> Self {
        match data {
            BELL => Self::Bell,
            ALARM => Self::Alarm,
            watch if watch & WATCH_BIT != 0 => Self::Watch(watch & !WATCH_BIT),
            fd => Self::Place(fd as i32),
        }
    }
}

/// The key of a series as its events carry it: without the topmost bit of its generation.
pub(super) fn watched(key: u64) -> u64 {
    key & !WATCH_BIT
}

#[derive(Debug, Default)]
struct Place {
    /// It was registered once, so it is changed and not added first.
    known: bool,
    armed: u32,
    /// Only changes are told, until nobody waits (L4).
    changes: bool,
    reads: VecDeque<u32>,
    writes: VecDeque<u32>,
    polls: Vec<(u32, u32)>,
}

impl Place {
    fn wanted(&self) -> u32 {
        let reads = if self.reads.is_empty() { 0 } else { READS };
        let writes = if self.writes.is_empty() { 0 } else { WRITES };
        self.polls
            .iter()
            .fold(reads | writes, |all, (_, events)| all | events)
    }

    fn is_empty(&self) -> bool {
        self.reads.is_empty() && self.writes.is_empty() && self.polls.is_empty()
    }
}

/// The epoll instance with its places: one a descriptor number that was ever waited for, so never more than the process
/// may open.
pub(super) struct Lookout {
    epoll: OwnedFd,
    places: HashMap<RawFd, Place>,
    events: Box<[libc::epoll_event; EVENTS]>,
    /// The kernel waits with a timeout in nanoseconds (Linux 5.11).
    knows_nanos: bool,
    /// Calls that brought events.
    #[cfg(all(test, not(any(loom, shuttle))))]
    pub(super) wakes: usize,
}

impl std::fmt::Debug for Lookout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lookout")
            .field("places", &self.places)
            .finish_non_exhaustive()
    }
}

impl Lookout {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: makes a descriptor or fails.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            // SAFETY: just made, owned by nobody else.
            epoll: unsafe { OwnedFd::from_raw_fd(fd) },
            places: HashMap::new(),
            events: Box::new([libc::epoll_event { events: 0, u64: 0 }; EVENTS]),
            knows_nanos: true,
            #[cfg(all(test, not(any(loom, shuttle))))]
            wakes: 0,
        })
    }

    pub(super) fn as_raw_fd(&self) -> RawFd {
        self.epoll.as_raw_fd()
    }

    fn control(&self, what: i32, fd: RawFd, events: u32, source: Source) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events,
            u64: source.to_data(),
        };
        // SAFETY: one valid event.
        if unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), what, fd, &mut event) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    /// Registers a descriptor of our own. With `edges` each change is told once.
    pub(super) fn register(&self, fd: RawFd, events: u32, edges: bool, source: Source) -> io::Result<()> {
        let edges = if edges { libc::EPOLLET as u32 } else { 0 };
        self.control(libc::EPOLL_CTL_ADD, fd, events | edges, source)
    }

    /// Takes back a descriptor of our own before it is closed: the registration belongs to the description, which others
    /// may keep open.
    pub(super) fn unregister(&self, fd: RawFd) {
        // It is registered, and a refusal would change nothing.
        let _ = self.control(libc::EPOLL_CTL_DEL, fd, 0, Source::Place(fd));
    }

    /// Whether others wait for the same already.
    pub(super) fn has_waiters(&self, fd: RawFd, interest: Interest) -> bool {
        self.places.get(&fd).is_some_and(|place| match interest {
            Interest::Read => !place.reads.is_empty(),
            Interest::Write => !place.writes.is_empty(),
            Interest::Events(_) => false,
        })
    }

    /// Puts a request in the queue of a descriptor.
    ///
    /// # Errors
    /// `EPERM` for what is always ready (files); the request is in no queue then.
    pub(super) fn wait_for(&mut self, fd: RawFd, interest: Interest, slot: u32) -> io::Result<()> {
        let place = self.places.entry(fd).or_default();
        match interest {
            Interest::Read => place.reads.push_back(slot),
            Interest::Write => place.writes.push_back(slot),
            Interest::Events(events) => place.polls.push((slot, events | ALWAYS)),
        }
        let armed = self.arm(fd);
        if armed.is_err() {
            self.leave(fd, slot);
        }
        armed
    }

    /// Registers a place for what is waited for (L3).
    pub(super) fn arm(&mut self, fd: RawFd) -> io::Result<()> {
        let Some(place) = self.places.get(&fd) else {
            return Ok(());
        };
        let (wanted, known) = (place.wanted(), place.known);
        if place.changes && place.is_empty() {
            self.forget(fd);
            return Ok(());
        }
        if wanted & !place.armed == 0 {
            return Ok(());
        }
        let how = if place.changes {
            libc::EPOLLET
        } else {
            libc::EPOLLONESHOT
        };
        let events = wanted | how as u32;
        let [first, second] = if known {
            [libc::EPOLL_CTL_MOD, libc::EPOLL_CTL_ADD]
        } else {
            [libc::EPOLL_CTL_ADD, libc::EPOLL_CTL_MOD]
        };
        // The number may have been closed and reused, or be registered from an earlier wait.
        match self.control(first, fd, events, Source::Place(fd)) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EEXIST)) => {
                self.control(second, fd, events, Source::Place(fd))?;
            }
            done => done?,
        }
        let place = self.places.get_mut(&fd).expect("looked up above");
        (place.known, place.armed) = (true, wanted);
        Ok(())
    }

    /// Takes a request out of the queues of a descriptor.
    pub(super) fn leave(&mut self, fd: RawFd, slot: u32) {
        let Some(place) = self.places.get_mut(&fd) else {
            return;
        };
        place.reads.retain(|&other| other != slot);
        place.writes.retain(|&other| other != slot);
        place.polls.retain(|&(other, _)| other != slot);
        if place.is_empty() && place.armed != 0 {
            self.forget(fd);
        }
    }

    /// Takes back the registration of a place that nobody waits for.
    fn forget(&mut self, fd: RawFd) {
        if let Some(place) = self.places.get_mut(&fd) {
            (place.known, place.armed, place.changes) = (false, 0, false);
        }
        // It may be gone with its descriptor, which is as well.
        let _ = self.control(libc::EPOLL_CTL_DEL, fd, 0, Source::Place(fd));
    }

    /// Says that an event of this descriptor came: it is not armed any more, unless it is told changes.
    pub(super) fn fired(&mut self, fd: RawFd) {
        if let Some(place) = self.places.get_mut(&fd).filter(|place| !place.changes) {
            place.armed = 0;
        }
    }

    /// Says that an event came that would come again at once, and that whoever waits can make nothing of it (L4).
    pub(super) fn tell_changes(&mut self, fd: RawFd) {
        if let Some(place) = self.places.get_mut(&fd).filter(|place| !place.changes) {
            (place.armed, place.changes) = (0, true);
        }
    }

    /// Takes the polls that these events end.
    pub(super) fn ended_polls(&mut self, fd: RawFd, events: u32) -> Vec<(u32, u32)> {
        let Some(place) = self.places.get_mut(&fd) else {
            return Vec::new();
        };
        let ended = place.polls.extract_if(.., |(_, wanted)| events & *wanted != 0);
        ended.map(|(slot, wanted)| (slot, events & wanted)).collect()
    }

    /// The request to be served first in a direction that these events concern.
    pub(super) fn first(&self, fd: RawFd, interest: Interest, events: u32) -> Option<u32> {
        let place = self.places.get(&fd)?;
        match interest {
            Interest::Read if events & (READS | ALWAYS) != 0 => place.reads.front().copied(),
            Interest::Write if events & (WRITES | ALWAYS) != 0 => place.writes.front().copied(),
            _ => None,
        }
    }

    /// Takes the first of a queue off it, if it is this one still.
    pub(super) fn pop(&mut self, fd: RawFd, interest: Interest, slot: u32) {
        let Some(place) = self.places.get_mut(&fd) else {
            return;
        };
        let queue = match interest {
            Interest::Read => &mut place.reads,
            _ => &mut place.writes,
        };
        if queue.front() == Some(&slot) {
            queue.pop_front();
        }
    }

    /// Waits for events, at most `limit` long, and adds what each is about.
    ///
    /// # Errors
    /// `EINTR` when a signal came.
    pub(super) fn watch(&mut self, limit: Option<Duration>, into: &mut Vec<(Source, u32)>) -> io::Result<()> {
        let count = self.poll(limit)?;
        #[cfg(all(test, not(any(loom, shuttle))))]
        {
            self.wakes += usize::from(count > 0);
        }
        let events = self.events[..count].iter();
        into.extend(events.map(|event| (Source::from_data(event.u64), event.events)));
        Ok(())
    }

    fn poll(&mut self, limit: Option<Duration>) -> io::Result<usize> {
        let (fd, at) = (self.epoll.as_raw_fd(), self.events.as_mut_ptr());
        let to_the_nano = limit.filter(|limit| !limit.subsec_nanos().is_multiple_of(1_000_000));
        if let Some(limit) = to_the_nano.filter(|_| self.knows_nanos) {
            let time = libc::timespec {
                tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(limit.subsec_nanos()),
            };
            // SAFETY: room for as many events as said; the time outlives the call.
            let count = unsafe {
                libc::syscall(
                    libc::SYS_epoll_pwait2,
                    fd,
                    at,
                    EVENTS as i32,
                    &time,
                    std::ptr::null::<libc::sigset_t>(),
                    0,
                )
            };
            if count >= 0 {
                return Ok(count as usize);
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::ENOSYS | libc::EPERM) => self.knows_nanos = false,
                _ => return Err(error),
            }
        }
        // Rounded up: a wait that ends before its time would be made again at once.
        let millis = limit.map_or(-1, |limit| {
            i32::try_from(limit.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
        });
        // SAFETY: room for as many events as said.
        let count = unsafe { libc::epoll_wait(fd, at, EVENTS as i32, millis) };
        if count < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(count as usize)
    }
}
