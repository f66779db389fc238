//! The ring as what lies under the lock, and its descriptor as where the leader sleeps.

use super::berth::Bound;
use super::hub::{Port, Sleep};
use super::late;
use super::seat::Strike;
use crate::error::{Error, Rejected};
use crate::ring::{Core, OpId, Operation, Ring};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;
use sync_base::atomic::{AtomicBool, Ordering};

/// Turns in a row where each leaves something queued.
const TURNS: u32 = 3;
/// How long to leave a kernel alone that takes nothing.
const PAUSE: Duration = Duration::from_millis(1);

/// The ring, and what it tells whoever sleeps.
#[derive(Debug)]
pub(super) struct Pier {
    ring: Ring,
    stalled: Arc<AtomicBool>,
    /// Behind the ring: its end lands what it still had.
    _run_down: late::Run,
}

impl Pier {
    pub(super) fn core(&self) -> &Core {
        &self.ring
    }

    pub(super) fn submit<O: Operation>(&mut self, op: O, bound: Bound<O>) -> Result<(), Rejected<O>> {
        bound.submit(&self.ring, op)
    }

    pub(super) fn cancel(&mut self, id: OpId) -> Result<(), Error> {
        self.ring.cancel(id)
    }

    /// Takes nothing more, and cancels all that is in flight.
    pub(super) fn close(&mut self) {
        self.ring.state.borrow_mut().closing = true;
        // It fails in a forked child alone, which does not come here.
        let _ = self.ring.cancel_all();
    }

    fn turned(&mut self, turned: Result<usize, Error>) -> bool {
        let inner = &mut *self.ring.state.borrow_mut();
        let waits = inner.backend_mut().queued() > 0 && !inner.backend().info().sqpoll;
        turned.is_err() || waits
    }
}

impl Port for Pier {
    fn turn(&mut self) {
        // A landing may submit anew, and a kernel may stop behind an entry.
        let mut stalled = true;
        for _ in 0..TURNS {
            let turned = self.ring.poll();
            stalled = self.turned(turned);
            if !stalled {
                break;
            }
        }
        // Relaxed: a hint, beside a sleep that ends in any case.
        self.stalled.store(stalled, Ordering::Relaxed);
    }

    fn wait(&mut self, limit: Duration) {
        // Where nothing is to come, or nothing is taken, time passes for nobody.
        if !matches!(self.ring.wait(1, limit), Ok(1..)) {
            std::thread::sleep(PAUSE);
        }
    }
}

/// The ring's descriptor, and a counter beside it that ends a sleep on both.
#[derive(Debug)]
pub(super) struct Bed {
    ring: RawFd,
    bell: Arc<Bell>,
    stalled: Arc<AtomicBool>,
    under_lock: bool,
}

/// An eventfd. Its count stays until the leader that it wakes has read it.
#[derive(Debug)]
struct Bell(File);

impl Strike for Bell {
    fn strike(&self) {
        // It fails only when the counter is full, and then it was struck already.
        let _ = (&self.0).write(&1u64.to_ne_bytes());
    }
}

/// Makes both of a ring.
pub(super) fn moor(ring: Ring) -> Result<(Pier, Bed), Error> {
    // SAFETY: makes a descriptor or fails.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error().into());
    }
    // SAFETY: just made, owned by nobody else.
    let bell = Arc::new(Bell(unsafe { File::from_raw_fd(fd) }));
    let stalled = Arc::new(AtomicBool::new(false));
    let under_lock = ring.info().backend == "sim";
    let bed = Bed {
        ring: ring.poll_fd()?.as_raw_fd(),
        bell,
        stalled: Arc::clone(&stalled),
        under_lock,
    };
    let pier = Pier {
        ring,
        stalled,
        _run_down: late::Run::default(),
    };
    Ok((pier, bed))
}

impl Bed {
    /// The ring's descriptor, which polls readable while completions wait. It lives as long as the ring.
    pub(super) fn ring_fd(&self) -> RawFd {
        self.ring
    }

    /// Ends the sleep of whoever leads.
    pub(super) fn rouse(&self) {
        self.bell.strike();
    }
}

impl Sleep for Bed {
    fn sleep(&self, limit: Duration) {
        // Relaxed: a hint.
        let limit = if self.stalled.load(Ordering::Relaxed) {
            limit.min(PAUSE)
        } else {
            limit
        };
        let poll = |fd| libc::pollfd {
            fd,
            events: libc::POLLIN,
            revents: 0,
        };
        let mut either = [poll(self.ring), poll(self.bell.0.as_raw_fd())];
        let limit = libc::timespec {
            tv_sec: limit.as_secs() as libc::time_t,
            tv_nsec: libc::c_long::from(limit.subsec_nanos()),
        };
        // SAFETY: two valid entries and a time, no mask. A failure is a signal: the caller looks and comes again.
        unsafe { libc::ppoll(either.as_mut_ptr(), 2, &limit, std::ptr::null()) };
        if either[1].revents != 0 {
            // It fails when another leader read it meanwhile, who then looks again.
            let _ = (&self.bell.0).read(&mut [0; 8]);
        }
    }

    fn strike(&self) -> Arc<dyn Strike> {
        let bell: Arc<Bell> = Arc::clone(&self.bell);
        bell
    }

    fn is_under_lock(&self) -> bool {
        self.under_lock
    }
}
