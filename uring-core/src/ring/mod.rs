//! A ring and all that it owns.
//!
//! [`Ring`] may move from thread to thread between calls, [`LocalRing`] stays on the one that made it and is faster for
//! it. Both have the same operations, those of [`Core`].

mod callback;
mod cancel;
mod chain;
pub(crate) mod core;
mod dispatch;
mod future;
mod kinds;
pub(crate) mod ledger;
pub(crate) mod matching;
mod observe;
pub(crate) mod operation;
mod options;
mod own;
#[allow(unreachable_pub)] // public for its model alone
pub(crate) mod reaper;
mod reference;
#[allow(unreachable_pub)] // public for its model alone
pub(crate) mod registry;
mod shut;
mod stats;
mod stream;
pub(crate) mod table;
mod token;
mod turn;
mod waiting;

pub use self::core::Core;
pub(crate) use future::Flight;
pub use future::Op;
pub use kinds::OpStats;
pub(crate) use observe::{Observer, Seen};
pub use operation::{Multishot, Operation, Outcome};
pub use options::{Carrier, Options};
pub use reference::RingRef;
pub use stats::{LATENCY_BUCKETS, RingStats, StatsHandle, Totals, totals};
pub use stream::Items;
pub use table::{CLOSURE_BYTES, OpId};
pub use token::{Done, Taken, Token};

use crate::backend::sim::Sim;
use crate::backend::{Backend, Fallback, Uring};
use crate::error::{Error, ErrorKind, Rejected, SetupError};
use crate::sys::ladder::{Refusal, Wish};
use crate::sys::limits::Limits;
use crate::sys::probe::refusal_advice;
use std::ops::Deref;

/// A ring that may move from thread to thread, used by one at a time.
///
/// `d5_ring_is_send_and_not_sync`: it may move, and may not be shared.
/// ```
/// fn sendable<T: Send>() {}
/// sendable::<uring_core::Ring>();
/// ```
/// ```compile_fail,E0277
/// fn shareable<T: Sync>() {}
/// shareable::<uring_core::Ring>();
/// ```
/// A future borrows its ring, so a ring with a future on it stays:
/// ```compile_fail,E0505
/// use uring_core::{Ring, op::Nop};
/// let ring = Ring::new().unwrap();
/// let future = ring.run(Nop::new());
/// std::thread::spawn(move || drop(ring));
/// drop(future);
/// ```
/// What it carries is `Send`, closures too:
/// ```compile_fail,E0277
/// use uring_core::{Ring, op::Nop};
/// let ring = Ring::new().unwrap();
/// let local = std::rc::Rc::new(1);
/// ring.submit_with(Nop::new(), move |_| drop(local)).unwrap();
/// ```
#[derive(Debug)]
pub struct Ring {
    core: Core,
}

// SAFETY: everything in a `Core` is `Send` except continuations: operations are by their trait, backends by theirs.
// `Ring` takes only closures that are `Send`, wakers are `Send`, and futures borrow the ring, so that none of them is
// polled while the ring moves. The carrier is set up without SINGLE_ISSUER, so any thread may enter it.
unsafe impl Send for Ring {}

/// A ring for the thread that made it: completions run when asked for, and system calls name it by a registered index.
///
/// Neither `Send` nor `Sync`; the kernel would refuse another thread with `EEXIST`.
/// ```compile_fail,E0277
/// fn sendable<T: Send>() {}
/// sendable::<uring_core::LocalRing>();
/// ```
/// Its closures may hold what is not `Send`:
/// ```
/// use uring_core::{LocalRing, op::Nop};
/// let ring = LocalRing::new()?;
/// let seen = std::rc::Rc::new(std::cell::Cell::new(false));
/// let mark = seen.clone();
/// ring.submit_with(Nop::new(), move |_| mark.set(true)).unwrap();
/// ring.wait(1, std::time::Duration::from_secs(1))?;
/// assert!(seen.get());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct LocalRing {
    core: Core,
}

impl Ring {
    /// Makes a ring with the default options.
    ///
    /// # Errors
    /// When the kernel refuses; the message names the remedy.
    pub fn new() -> Result<Self, SetupError> {
        Self::with(&Options::new())
    }

    /// Makes a ring.
    ///
    /// # Errors
    /// As [`new`](Self::new), and for options that no ring can have.
    pub fn with(options: &Options) -> Result<Self, SetupError> {
        Ok(Self {
            core: Core::new(carrier(options, true)?, options),
        })
    }

    /// Takes an operation in with the closure that gets its output, run by the wait that collects the completion.
    ///
    /// Allocates nothing for a closure of up to [`CLOSURE_BYTES`] bytes, once for a larger one (counted in
    /// [`RingStats::boxed`]).
    ///
    /// # Errors
    /// Operation and closure come back with the reason.
    #[inline]
    pub fn submit_with<O, F>(&self, op: O, then: F) -> Result<OpId, Rejected<(O, F)>>
    where
        O: Operation,
        F: FnOnce(O::Output) + Send + 'static,
    {
        self.core.submit_then(op, then)
    }

    /// Takes a multishot operation in with the closure that gets each item, and whether more will come.
    ///
    /// # Errors
    /// Operation and closure come back with the reason.
    pub fn submit_each<O, F>(&self, op: O, each: F) -> Result<OpId, Rejected<(O, F)>>
    where
        O: Multishot,
        F: FnMut(O::Item, bool) + Send + 'static,
    {
        self.core.submit_each(op, each)
    }
}

impl LocalRing {
    /// Makes a ring with the default options.
    ///
    /// # Errors
    /// When the kernel refuses; the message names the remedy.
    pub fn new() -> Result<Self, SetupError> {
        Self::with(&Options::new())
    }

    /// Makes a ring.
    ///
    /// # Errors
    /// As [`new`](Self::new), and for options that no ring can have.
    pub fn with(options: &Options) -> Result<Self, SetupError> {
        Ok(Self {
            core: Core::new(carrier(options, false)?, options),
        })
    }

    /// Takes an operation in with the closure that gets its output, run by the wait that collects the completion.
    ///
    /// Allocates nothing for a closure of up to [`CLOSURE_BYTES`] bytes, once for a larger one (counted in
    /// [`RingStats::boxed`]).
    ///
    /// # Errors
    /// Operation and closure come back with the reason.
    #[inline]
    pub fn submit_with<O, F>(&self, op: O, then: F) -> Result<OpId, Rejected<(O, F)>>
    where
        O: Operation,
        F: FnOnce(O::Output) + 'static,
    {
        self.core.submit_then(op, then)
    }

    /// Takes a multishot operation in with the closure that gets each item, and whether more will come.
    ///
    /// # Errors
    /// Operation and closure come back with the reason.
    pub fn submit_each<O, F>(&self, op: O, each: F) -> Result<OpId, Rejected<(O, F)>>
    where
        O: Multishot,
        F: FnMut(O::Item, bool) + 'static,
    {
        self.core.submit_each(op, each)
    }
}

macro_rules! shell {
    ($($ring:ty),*) => {$(
        impl Deref for $ring {
            type Target = Core;
            #[inline(always)]
            fn deref(&self) -> &Core {
                &self.core
            }
        }

        impl Drop for $ring {
            /// Takes nothing more, cancels what is in flight and waits for it up to the drain limit (one second unless
            /// said otherwise); what the kernel still holds then is freed by the reaper when it is done.
            fn drop(&mut self) {
                self.core.shut();
            }
        }
    )*};
}
shell!(Ring, LocalRing);

/// Slots that a kernel's table of registered files has, less the one that the ring keeps for itself.
const FILES_MAX: u32 = (1 << 20) - 1;

/// Sets the carrier up that the options ask for.
fn carrier(options: &Options, movable: bool) -> Result<Box<dyn Backend>, SetupError> {
    let depth = options.depth;
    if !(1..=16384).contains(&depth) {
        return Err(SetupError::new(
            ErrorKind::InvalidInput,
            format_args!("depth {depth}: choose 1 to 16384"),
        ));
    }
    if let Some(entries) = options
        .sq_entries
        .filter(|entries| !(1..=32768).contains(entries))
    {
        return Err(SetupError::new(
            ErrorKind::InvalidInput,
            format_args!("{entries} submission entries: choose 1 to 32768, or leave it to the depth"),
        ));
    }
    let (files, direct) = (options.registered_files, options.direct_files);
    if files.checked_add(direct).is_none_or(|all| all > FILES_MAX) {
        return Err(SetupError::new(
            ErrorKind::InvalidInput,
            format_args!(
                "{files} registered files and {direct} direct ones: choose {FILES_MAX} together at most"
            ),
        ));
    }
    let depth = depth + options.own;
    // One entry more than operations, so that a cancellation finds room beside as many as may be queued.
    let sq_entries = options.sq_entries.unwrap_or(depth + 1);
    let sq_entries = sq_entries.clamp(4, 32768).next_power_of_two();
    let wish = Wish {
        sq_entries,
        // A completion of its own for each operation, and one for its cancellation or its linked timeout.
        cq_entries: (depth * 2).max(sq_entries).next_power_of_two(),
        movable,
        sqpoll_idle_ms: options
            .sqpoll_idle
            .map(|idle| idle.as_millis().clamp(1, 60_000) as u32),
        highest: options.highest_rung,
    };
    let refused = match options.carrier {
        Carrier::Sim => {
            let simulation = options.simulation.clone().unwrap_or_default();
            return Ok(Box::new(Sim::new(
                &wish,
                options.registered_files,
                options.direct_files,
                &simulation,
            )));
        }
        Carrier::Fallback => return fallback(&wish, options, Vec::new()),
        Carrier::Auto | Carrier::Uring => {
            match Uring::new(&wish, options.registered_files, options.direct_files) {
                Ok(mut ring) => {
                    if let Some(limit) = options.busy_poll {
                        ring.busy_poll(limit);
                    }
                    return Ok(Box::new(ring));
                }
                Err(error) => error,
            }
        }
    };
    let errno = refused.raw_os_error().unwrap_or(0);
    if options.carrier == Carrier::Auto && matches!(errno, libc::EPERM | libc::EACCES | libc::ENOSYS) {
        let refusal = Refusal {
            asked: "io_uring".into(),
            errno,
        };
        return fallback(&wish, options, vec![refusal]);
    }
    let advice = refusal_advice(errno, &Limits::read());
    let told = SetupError::new(ErrorKind::Refused, format_args!("{refused}: {}", advice.remedy));
    Err(match inline_error::Errno::new(errno) {
        Some(errno) => told.with_errno(errno),
        None => told,
    })
}

fn fallback(wish: &Wish, options: &Options, refusals: Vec<Refusal>) -> Result<Box<dyn Backend>, SetupError> {
    match Fallback::new(wish, options.registered_files, options.direct_files, refusals) {
        Ok(ring) => Ok(Box::new(ring)),
        Err(error) => Err(Error::from(error).explain("setting up a ring without io_uring")),
    }
}
