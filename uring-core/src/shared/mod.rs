//! A ring for threads that own none.
//!
//! [`SharedRing`] is `Clone`, `Send` and `Sync`: any thread submits to it, and waits for what it submitted by blocking or by
//! awaiting. Submissions of threads that meet are combined: whoever has the lock passes all of them to the kernel in one
//! call. Nobody waits for others to come.
//!
//! ```
//! use uring_core::{SharedRing, op::Read};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let ring = SharedRing::new()?;
//! let file = std::sync::Arc::new(std::fs::File::open("/proc/self/exe")?);
//! std::thread::scope(|threads| {
//!     for block in 0..4 {
//!         let (ring, file) = (ring.clone(), file.clone());
//!         threads.spawn(move || {
//!             let read = Read::new(file, vec![0; 512]).at(block * 512);
//!             let (read, _buf) = ring.submit(read).unwrap().wait().unwrap();
//!             assert_eq!(read, Ok(512));
//!         });
//!     }
//! });
//! # Ok(())
//! # }
//! ```
//!
//! # Who does what
//! Submitting is a combiner's lot, which ends with one call. Collecting is done by whoever turns the ring, so an operation that
//! completes while it is submitted is over when [`SharedRing::submit`] returns. Who has to wait drives, one thread at a time,
//! asleep without the lock; the others park, and the lead is handed over, however the wait of the one that leads ends. No
//! thread of its own is needed, and none is started unless a task waits and nobody drives. The sources state the protocol:
//! `hub.rs` the two roles, `seat.rs` the end of one operation, `office.rs` who drives when all are tasks.
//!
//! # How it is set up
//! Without `COOP_TASKRUN`: under that flag the kernel finishes an operation when the thread that submitted it next enters the
//! kernel, and here that thread may be computing, with nobody to enter for it, while another waits. Without the flag it is
//! interrupted instead. When that thread exits the kernel cancels what it submitted; the ring submits it again (`berth.rs`).
//!
//! # When not to use it
//! A ring for each thread ([`LocalRing`](crate::LocalRing)) has no lock, no hand-over and no allocation (here one an operation):
//! it is better wherever a thread can own one. Operations with several completions, linked ones and limits of time linked to
//! one ([`Within`](crate::op::Within)) are not taken; a limit is [`Ticket::wait_timeout`] and [`Ticket::cancel`].
//! Where two cores are all there are, combining saves few calls: claim `comb.ring`.

mod berth;
mod drive;
#[allow(unreachable_pub)] // public for its model alone
pub(crate) mod hub;
mod late;
mod office;
mod port;
#[allow(unreachable_pub)] // public for its model alone
pub(crate) mod seat;
mod ticket;

pub use drive::Drive;
pub use ticket::Ticket;

use crate::error::{Rejected, SetupError};
use crate::ring::{Operation, Options, Ring, StatsHandle};
use crate::sys::ladder::{RingInfo, Rung};
use flat_combine::Tally;
use hub::Hub;
use office::Office;
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A ring that any thread submits to.
///
/// Cheap to clone; the ring goes with the last clone and the last ticket, and then does what a dropped [`Ring`] does.
///
/// ```
/// fn shared<T: Clone + Send + Sync>() {}
/// shared::<uring_core::SharedRing>();
/// ```
/// A ticket may go to another thread, and is waited for by one at a time:
/// ```
/// use uring_core::{SharedRing, op::Nop};
/// let ticket = SharedRing::new()?.submit(Nop::new())?;
/// std::thread::spawn(move || ticket.wait().unwrap()).join().unwrap()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
/// ```compile_fail,E0382
/// use uring_core::{SharedRing, op::Nop};
/// let ticket = SharedRing::new().unwrap().submit(Nop::new()).unwrap();
/// ticket.wait().unwrap();
/// ticket.wait().unwrap();
/// ```
#[derive(Clone)]
pub struct SharedRing {
    office: Arc<Office>,
    about: Arc<About>,
}

struct About {
    info: RingInfo,
    stats: StatsHandle,
}

impl fmt::Debug for SharedRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedRing")
            .field("info", &self.about.info)
            .finish_non_exhaustive()
    }
}

impl SharedRing {
    /// Makes one with the default options.
    ///
    /// # Errors
    /// When the kernel refuses; the message names the remedy.
    pub fn new() -> Result<Self, SetupError> {
        Self::with(&Options::new())
    }

    /// Makes one. The set-up ladder begins at [`Rung::SubmitAll`] or lower.
    ///
    /// # Errors
    /// As [`new`](Self::new), and for options that no ring can have.
    pub fn with(options: &Options) -> Result<Self, SetupError> {
        let begin = options
            .highest_rung
            .map_or(Rung::SubmitAll, |rung| rung.max(Rung::SubmitAll));
        let ring = Ring::with(&options.clone().highest_rung(begin))?;
        let about = Arc::new(About {
            info: ring.info(),
            stats: ring.stats(),
        });
        let (pier, bed) =
            port::moor(ring).map_err(|error| error.explain("making the counter of a shared ring"))?;
        Ok(Self {
            office: Office::new(Hub::new(pier, bed)),
            about,
        })
    }

    /// Submits an operation: passed to the kernel when this returns, by this thread or together with those of others.
    ///
    /// Blocking only on the lock, which is held for one system call at a time and never while anybody waits for a completion.
    /// One allocation. What completes at once is over when this returns.
    ///
    /// # Errors
    /// The operation comes back with the reason; [`ErrorKind::WouldBlock`](crate::ErrorKind::WouldBlock) when as many are in
    /// flight as [`Options::depth`] says.
    pub fn submit<O: Operation>(&self, op: O) -> Result<Ticket<O>, Rejected<O>> {
        if let Err(error) = self.office.check() {
            return Err(Rejected { op, error });
        }
        let (berth, bound) = berth::berth();
        self.office.hub.act(move |pier| pier.submit(op, bound))?;
        Ok(Ticket::new(berth, Arc::clone(&self.office)))
    }

    /// Submits an operation and waits for its output.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn run<O: Operation>(&self, op: O) -> Result<O::Output, Rejected<O>> {
        let ticket = self.submit(op)?;
        Ok(ticket.wait().expect("this process submitted it a moment ago"))
    }

    /// Takes nothing more, and cancels all that is in flight: every ticket comes to its end, as a rule with
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled).
    pub fn close(&self) {
        if self.office.is_ours() {
            self.office.hub.act(|pier| pier.close());
        }
    }

    /// Says what was set up, and why not more.
    pub fn info(&self) -> RingInfo {
        self.about.info.clone()
    }

    /// Hands out what the ring publishes, to be read from any thread.
    pub fn stats(&self) -> StatsHandle {
        self.about.stats.clone()
    }

    /// Counts the operations in flight. Waits its turn like a submission; 0 in a forked child.
    pub fn in_flight(&self) -> usize {
        if !self.office.is_ours() {
            return 0;
        }
        self.office.hub.act(|pier| pier.core().held())
    }

    /// How often submissions were combined. Waits its turn like a submission; not for a forked child, where it may never come.
    pub fn tally(&self) -> Tally {
        self.office.hub.tally()
    }

    /// Lends the descriptor that polls readable while completions wait.
    pub fn poll_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the ring owns the descriptor and lives as long as its handles.
        unsafe { BorrowedFd::borrow_raw(self.office.hub.sleeper().ring_fd()) }
    }

    /// Makes a future that drives the ring in an executor that knows how to wait for [`poll_fd`](Self::poll_fd): no thread is
    /// started for tasks while one exists. `readable` is what [`Driver`](crate::Driver) describes.
    pub fn drive<W>(&self, readable: W) -> Drive<W>
    where
        W: FnMut(&mut Context<'_>) -> Poll<io::Result<()>>,
    {
        Drive::new(&self.office, readable)
    }
}
