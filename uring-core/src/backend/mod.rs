//! What carries operations: one contract of submission and completion entries, several carriers.
//!
//! The contract, which every backend keeps and the contract tests check:
//!
//! - **B1** an entry that `push` took is submitted by a later `enter`, in order, exactly once;
//! - **B2** each submitted entry gets exactly one completion without [`CQE_MORE`](crate::sys::abi::CQE_MORE), after any
//!   number with it, all with its `user_data`;
//! - **B3** memory named by an entry may be touched until that last completion, never after;
//! - **B4** completions are never lost: what does not fit the queue waits, and an `enter` brings it in;
//! - **B5** `enter` returns when enough completions are there, when the time is up, or when a signal came; never later;
//! - **B6** entries tied by [`SQE_IO_LINK`](crate::sys::abi::SQE_IO_LINK) run one after another, each only when the one
//!   before it did all that it was asked to; else it is cancelled, with what follows it.

use crate::sys::abi::{Cqe, Sqe};
use crate::sys::clock;
use crate::sys::ladder::RingInfo;
use std::io;
use std::ops::Range;
use std::os::fd::RawFd;
use std::time::Duration;

#[allow(unreachable_pub)] // public for its models alone
pub(crate) mod fallback;
mod relics;
pub mod sim;
mod uring;

pub(crate) use fallback::Fallback;
pub(crate) use uring::Uring;

/// Completions moved out of the queue in one go.
pub(crate) const LOT: usize = 32;

/// A carrier of operations.
pub(crate) trait Backend: Send {
    /// What was set up.
    fn info(&self) -> &RingInfo;

    /// Notes how many operations the ring above has in flight at most.
    fn set_depth(&mut self, depth: u32);

    /// Free submission entries, as last seen; `refresh` looks again at what was consumed.
    fn space(&mut self, refresh: bool) -> u32;

    /// Entries pushed that no `enter` has passed on yet.
    fn queued(&mut self) -> u32;

    /// Takes one entry; `false` when there is no room.
    fn push(&mut self, sqe: &Sqe) -> bool;

    /// Passes on every queued entry and waits for `want` completions, at most `timeout` long.
    ///
    /// Returns how many entries were passed on. Time being up and a signal are no errors.
    fn enter(&mut self, want: u32, timeout: Option<Duration>) -> io::Result<u32>;

    /// Whether completions wait behind an `enter`: work to be run, or an overflowed queue.
    fn owes_enter(&self) -> bool;

    /// Whether completions wait in the kernel because the queue was full.
    fn overflowed(&self) -> bool;

    /// Moves completions out, oldest first.
    fn drain(&mut self, out: &mut [Cqe; LOT]) -> usize;

    /// A descriptor that polls readable while completions wait.
    fn poll_fd(&self) -> RawFd;

    /// The descriptor for somebody who sleeps on it instead of in `enter`. Not the ring's own where that keeps silent about
    /// completions until the ring's thread asks for them.
    fn announce(&mut self) -> io::Result<RawFd> {
        Ok(self.poll_fd())
    }

    /// Takes what was announced so far as heard.
    fn hush(&mut self) {}

    /// Slots that `set_buffer` accepts: 1 where there is no table of several.
    fn buffer_slots(&mut self) -> u16;

    /// Puts memory in a slot of the registered buffers, or empties the slot, which no operation in flight names.
    ///
    /// # Safety
    /// The range stays valid and unmoved until the slot is emptied or the carrier is entirely gone
    /// ([`Backend::tombstone`]).
    unsafe fn set_buffer(&mut self, slot: u16, range: Option<libc::iovec>) -> io::Result<()>;

    /// Puts a descriptor in a slot of the registered files, or clears the slot with -1.
    fn set_file(&mut self, slot: u32, fd: RawFd) -> io::Result<()>;

    /// Slots that `set_file` accepts; what the kernel said where it refused the table.
    fn file_slots(&self) -> io::Result<u32>;

    /// Slots behind those that the carrier hands out itself, to entries with `FILE_INDEX_ALLOC`.
    fn direct_slots(&self) -> io::Result<Range<u32>>;

    /// Tells the carrier about a ring of provided buffers; `flags` may hold
    /// [`BUF_RING_INCREMENTAL`](crate::sys::abi::BUF_RING_INCREMENTAL).
    ///
    /// # Safety
    /// `ring` names `entries` entries that stay valid until the group is unregistered or the carrier is entirely gone.
    unsafe fn register_buf_ring(&mut self, ring: u64, entries: u16, group: u16, flags: u16)
    -> io::Result<()>;

    /// Takes a ring of provided buffers back, from which no operation in flight picks.
    fn unregister_buf_ring(&mut self, group: u16) -> io::Result<()>;

    /// Leaves a descriptor with the carrier that it closes when it is entirely gone: no memory is touched afterwards.
    fn tombstone(&mut self, fd: RawFd) -> io::Result<()>;

    /// Leaves behind what will know of the completions that come when the carrier is dropped, once it is entirely gone;
    /// `None` where nobody can know.
    fn will(&mut self) -> Option<Box<dyn Posthumous>> {
        None
    }

    /// Monotonic nanoseconds, never 0: by the machine's clock, or by a simulated one.
    fn now_ns(&self) -> u64 {
        clock::now_ns()
    }

    /// Lets time pass without a call.
    fn pause(&mut self, limit: Duration) {
        std::thread::sleep(limit);
    }

    /// Lets go of the carrier in a forked child without touching what belongs to the parent.
    fn disown(self: Box<Self>);
}

/// What knows of completions that came when the carrier was gone.
pub(crate) trait Posthumous: Send {
    /// Gives those completions, oldest first. Called once, when the carrier is entirely gone.
    fn completions(&mut self) -> Vec<Cqe>;
}
