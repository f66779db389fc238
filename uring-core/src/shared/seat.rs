//! Where the end of one operation is left for whoever waits for it.
//!
//! Two ends of one seat: the [`Claim`], which a ticket has, and the [`Landing`], which the ring has and uses once.
//!
//! # States
//! `landed` false: under way. `landed` true: cargo is there, or was taken.
//!
//! Beside it, under a lock: nobody watches, somebody is to be woken, or the claim is gone.
//!
//! - **S1** cargo is written once, by the thread that lands it, before `landed` (landing uses the landing up); afterwards the owner of
//!   the claim alone touches it, and there is one claim.
//! - **S2** `landed` is set inside the lock, together with taking out whom to wake. So whoever puts a wake in finds out there
//!   that it is too late, or is woken: no wake-up is lost.
//! - **S3** whether the cargo of a claim that goes is dropped by its owner or by the lander is decided in the same lock, so it
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
    /// The claim is gone.
    Gone,
}

struct Seat<T, N> {
    landed: AtomicBool,
    cargo: UnsafeCell<Option<T>>,
    watch: Mutex<Watch>,
    note: N,
}

// SAFETY: S1: cargo is reached by one thread at a time, handed over by the Release of `landed`; so `T: Send` is enough. The note
// is shared.
unsafe impl<T: Send, N: Sync> Sync for Seat<T, N> {}
// SAFETY: as above.
unsafe impl<T: Send, N: Send> Send for Seat<T, N> {}

impl<T, N> Seat<T, N> {
    fn is_landed(&self) -> bool {
        // Acquire: pairs with the Release in `land`; the cargo.
        self.landed.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end of whoever waits; one a seat. Dropped, it leaves the cargo to be dropped by whoever lands it.
pub struct Claim<T, N = ()>(Arc<Seat<T, N>>);

/// The end of the ring.
pub struct Landing<T, N = ()>(Arc<Seat<T, N>>);

/// Makes both ends of a seat, with a note that both can read.
pub fn seat<T, N>(note: N) -> (Claim<T, N>, Landing<T, N>) {
    let seat = Arc::new(Seat {
        landed: AtomicBool::new(false),
        cargo: UnsafeCell::new(None),
        watch: Mutex::new(Watch::Nobody),
        note,
    });
    (Claim(Arc::clone(&seat)), Landing(seat))
}

impl<T, N> std::fmt::Debug for Claim<T, N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Claim").field(&self.is_landed()).finish()
    }
}

impl<T, N> std::fmt::Debug for Landing<T, N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Landing").finish_non_exhaustive()
    }
}

impl<T, N> Claim<T, N> {
    /// Whether the operation is over.
    #[inline]
    pub fn is_landed(&self) -> bool {
        self.0.is_landed()
    }

    /// What was noted when the seat was made.
    pub fn note(&self) -> &N {
        &self.0.note
    }

    /// Takes the cargo, if it landed.
    pub fn take(&mut self) -> Option<T> {
        if !self.is_landed() {
            return None;
        }
        // SAFETY: S1: landed, and this is the claim, borrowed exclusively.
        self.0.cargo.with_mut(|at| unsafe { (*at).take() })
    }

    /// Has `wake` woken when cargo lands; `false` when it has landed. What was to be woken before is not any more.
    #[must_use]
    pub fn watch(&self, wake: Wake) -> bool {
        self.leave(Watch::Somebody(wake))
    }

    fn leave(&self, watch: Watch) -> bool {
        let before = {
            let mut at = self.0.lock();
            // Relaxed: written inside this lock.
            if self.0.landed.load(Ordering::Relaxed) {
                return false;
            }
            std::mem::replace(&mut *at, watch)
        };
        // A waker is the caller's code.
        drop(before);
        true
    }

    /// Whether that task is the one to be woken.
    pub fn is_watched_by(&self, waker: &Waker) -> bool {
        matches!(&*self.0.lock(), Watch::Somebody(Wake::Task(known)) if known.will_wake(waker))
    }
}

impl<T, N> Drop for Claim<T, N> {
    fn drop(&mut self) {
        if !self.leave(Watch::Gone) {
            drop(self.take());
        }
    }
}

impl<T: Send + 'static, N> Landing<T, N> {
    /// What was noted when the seat was made.
    pub fn note(&self) -> &N {
        &self.0.note
    }

    /// Leaves the cargo and wakes whoever watches. By whoever holds the ring: what is the caller's code is left for when it has
    /// let go.
    pub fn land(self, cargo: T) {
        let seat = self.0;
        let watch = {
            // In the lock, so that the Release alone publishes the cargo, and a model can tell if it did not.
            let mut watch = seat.lock();
            // SAFETY: S1: not landed, and the one landing is used up.
            seat.cargo.with_mut(|at| unsafe { *at = Some(cargo) });
            // Release: pairs with the Acquire in `is_landed`; the cargo.
            seat.landed.store(true, Ordering::Release);
            std::mem::replace(&mut *watch, Watch::Nobody)
        };
        match watch {
            Watch::Nobody => {}
            Watch::Somebody(Wake::Thread(thread)) => thread.unpark(),
            Watch::Somebody(Wake::Leader(leader)) => leader.strike(),
            Watch::Somebody(Wake::Task(waker)) => late::leave(Late::Wake(waker)),
            Watch::Gone => {
                // SAFETY: S3: the claim is gone, so nobody else reaches it.
                let cargo = seat.cargo.with_mut(|at| unsafe { (*at).take() });
                late::leave(Late::Drop(Box::new(cargo)));
            }
        }
    }
}
