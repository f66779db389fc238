//! Where the end of one operation is left for whoever has its ticket.
//!
//! # States
//! `landed` false: under way. `landed` true: cargo is there, or was taken.
//!
//! Beside it, under a lock: nobody watches, somebody is to be woken, or the ticket is gone.
//!
//! - **S1** cargo is written once, by the thread that lands it, before `landed`; afterwards the owner of the ticket alone touches
//!   it, and before that the lander alone.
//! - **S2** `landed` is set inside the lock, together with taking out whom to wake. So whoever puts a wake in finds out there
//!   that it is too late, or is woken: no wake-up is lost.
//! - **S3** whether the cargo of a ticket that goes is dropped by its owner or by the lander is decided in the same lock, so it
//!   is dropped once, and never by a thread that holds the ring: the lander hands it to [`late`](super::late).
//!
//! # Orderings
//! | access | order | pairs with |
//! |---|---|---|
//! | `landed` set in `land` | Release | the Acquire in `is_landed`: the cargo |
//!
//! The linearization point of an operation's end is that store.

use super::late::{self, Late};
use std::sync::Arc;
use std::task::Waker;
use sync_base::atomic::{AtomicBool, Ordering};
use sync_base::cell::UnsafeCell;
use sync_base::sync::{Mutex, MutexGuard, PoisonError};
use sync_base::thread::Thread;

/// What ends the sleep of whoever leads: [`Sleep::sleep`](super::hub::Sleep::sleep), this one or the next.
pub trait Strike: Send + Sync {
    /// Ends it.
    fn strike(&self);
}

/// Whom to wake when cargo lands.
pub enum Wake {
    /// A thread that is parked.
    Thread(Thread),
    /// The leader, asleep where completions are announced.
    Leader(Arc<dyn Strike>),
    /// A task.
    Task(Waker),
}

impl std::fmt::Debug for Wake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Thread(_) => "Thread",
            Self::Leader(_) => "Leader",
            Self::Task(_) => "Task",
        })
    }
}

#[derive(Debug)]
enum Watch {
    Nobody,
    Somebody(Wake),
    /// The ticket is gone.
    Gone,
}

/// One seat, shared by the ticket and the ring.
pub struct Seat<T> {
    landed: AtomicBool,
    cargo: UnsafeCell<Option<T>>,
    watch: Mutex<Watch>,
}

// SAFETY: S1: cargo is reached by one thread at a time, handed over by the Release of `landed`; so `T: Send` is enough.
unsafe impl<T: Send> Sync for Seat<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Seat<T> {}

impl<T> std::fmt::Debug for Seat<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seat")
            .field("landed", &self.is_landed())
            .finish_non_exhaustive()
    }
}

impl<T> Default for Seat<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Seat<T> {
    /// Makes one whose operation is under way.
    pub fn new() -> Self {
        Self {
            landed: AtomicBool::new(false),
            cargo: UnsafeCell::new(None),
            watch: Mutex::new(Watch::Nobody),
        }
    }

    /// Whether the operation is over.
    #[inline]
    pub fn is_landed(&self) -> bool {
        // Acquire: pairs with the Release in `land`; the cargo.
        self.landed.load(Ordering::Acquire)
    }

    /// Takes the cargo, if it landed. For the owner of the ticket.
    ///
    /// # Safety
    /// Nobody else calls this, [`leave`](Self::leave) or [`watch`](Self::watch) meanwhile: the caller has the one ticket.
    pub unsafe fn take(&self) -> Option<T> {
        if !self.is_landed() {
            return None;
        }
        // SAFETY: S1: landed, and the caller has the ticket.
        self.cargo.with_mut(|at| unsafe { (*at).take() })
    }

    /// Has `wake` woken when cargo lands; `false` when it has landed. What was to be woken before is not any more.
    #[must_use]
    pub fn watch(&self, wake: Wake) -> bool {
        let before = {
            let mut watch = self.lock();
            // Relaxed: written inside this lock.
            if self.landed.load(Ordering::Relaxed) {
                return false;
            }
            std::mem::replace(&mut *watch, Watch::Somebody(wake))
        };
        // A waker is the caller's code.
        drop(before);
        true
    }

    /// Whether that task is the one to be woken.
    pub fn is_watched_by(&self, waker: &Waker) -> bool {
        matches!(&*self.lock(), Watch::Somebody(Wake::Task(known)) if known.will_wake(waker))
    }

    /// Says that the ticket goes: gives back the cargo that landed, or leaves it to the lander.
    ///
    /// # Safety
    /// As [`take`](Self::take).
    pub unsafe fn leave(&self) -> Option<T> {
        let before = {
            let mut watch = self.lock();
            // Relaxed: written inside this lock.
            if self.landed.load(Ordering::Relaxed) {
                drop(watch);
                // SAFETY: the caller's promise.
                return unsafe { self.take() };
            }
            std::mem::replace(&mut *watch, Watch::Gone)
        };
        drop(before);
        None
    }

    fn lock(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Send + 'static> Seat<T> {
    /// Leaves the cargo and wakes whoever watches. Called once, by whoever holds the ring: what is the caller's code is left
    /// to [`late`](super::late).
    pub fn land(&self, cargo: T) {
        // SAFETY: S1: not landed, and the ring lands it once.
        self.cargo.with_mut(|at| unsafe { *at = Some(cargo) });
        let watch = {
            let mut watch = self.lock();
            // Release: pairs with the Acquire in `is_landed`; the cargo.
            self.landed.store(true, Ordering::Release);
            std::mem::replace(&mut *watch, Watch::Nobody)
        };
        match watch {
            Watch::Nobody => {}
            Watch::Somebody(Wake::Thread(thread)) => thread.unpark(),
            Watch::Somebody(Wake::Leader(leader)) => leader.strike(),
            Watch::Somebody(Wake::Task(waker)) => late::leave(Late::Wake(waker)),
            Watch::Gone => {
                // SAFETY: S3: the ticket is gone, so nobody else reaches it.
                let cargo = self.cargo.with_mut(|at| unsafe { (*at).take() });
                late::leave(Late::Drop(Box::new(cargo)));
            }
        }
    }
}
