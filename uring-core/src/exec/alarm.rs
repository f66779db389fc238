//! How a waker on any thread ends the sleep of the thread that runs a future.
//!
//! # States of `rung`
//! `true`: the future has to be polled. `false`: it was polled, or is being polled, since the last wake-up.
//!
//! - **A1** ringing is: set `rung`; whoever sets it from `false`, and is not the home thread itself, then strikes the
//!   chime. The chime is a count that stays until the home thread's sleep consumes it.
//! - **A2** the home thread clears `rung` *before* it polls, and sleeps only after it found it clear.
//! - **A3** no wake-up is lost. One that comes before the clearing is seen by the poll behind it: setting is a
//!   read-modify-write, so that one of several that set in a row hides none of them from the clearing. One that comes
//!   later sets `rung` again, and is found before the next sleep, or strikes the chime, which ends that sleep or keeps it
//!   from beginning. One that finds `rung` set need not strike: the home thread has yet to look, or was struck.
//!
//! # Orderings
//! | access | order | pairs with |
//! |---|---|---|
//! | `rung.swap(true)` in `ring` | Release | the Acquire in `take`; publishes what the waker did before |
//! | `rung.swap(false)` in `take` | Acquire | the Release in `ring` |
//!
//! The linearization point of a wake-up is that swap; the loom models are `ring.*wake_up*_from_afar_*`.

use sync_base::atomic::{AtomicBool, Ordering};

/// What ends the sleep of the home thread.
pub trait Chime {
    /// Ends this sleep, or the next one if there is none.
    fn strike(&self);
}

/// A flag and a chime.
#[derive(Debug)]
pub struct Alarm<C> {
    rung: AtomicBool,
    chime: C,
}

impl<C: Chime> Alarm<C> {
    /// Makes one that rings: the future has not been polled yet.
    pub fn new(chime: C) -> Self {
        Self {
            rung: AtomicBool::new(true),
            chime,
        }
    }

    /// Asks for another poll; `afar` says that it is not the home thread that asks.
    pub fn ring(&self, afar: bool) {
        // Release: pairs with the Acquire in `take`; what the waker did before is seen by the next poll.
        let had = self.rung.swap(true, Ordering::Release);
        if afar && !had {
            self.chime.strike();
        }
    }

    /// Whether to poll: on the home thread, before it sleeps.
    pub fn take(&self) -> bool {
        // Acquire: pairs with the Release in `ring`.
        self.rung.swap(false, Ordering::Acquire)
    }

    /// The chime.
    pub fn chime(&self) -> &C {
        &self.chime
    }
}
