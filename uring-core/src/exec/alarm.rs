//! How a waker on any thread ends the sleep of the thread that runs futures.
//!
//! # States of `word`
//! Two bits. `RUNG`: there is something to look at. `ASLEEP`: the home thread sleeps, or is about to.
//!
//! ```text
//!            ring               take                doze                     wake
//! Awake ───────────► Rung ───────────► Awake ───────────────► Asleep ───────────────► Awake
//!                     ▲                                          │ ring: strikes the chime
//!                     └────────────── wake ── Asleep, Rung ◄─────┘
//! ```
//!
//! - **A1** ringing is: set `RUNG`; whoever sets it first in a sleep, and is not the home thread itself, then strikes the
//!   chime. The chime stays struck until the home thread's sleep consumes it.
//! - **A2** the home thread clears `RUNG` *before* it looks, and falls asleep only from a word without it.
//! - **A3** no wake-up is lost. One that comes before the clearing is seen by the look behind it: setting is a
//!   read-modify-write, so that one of several that set in a row hides none of them from the clearing. One that comes
//!   later is found by `doze`, which then refuses, or finds `ASLEEP` and strikes the chime, which ends that sleep or
//!   keeps it from beginning. One that finds both bits set need not strike: the chime was struck for that sleep.
//! - **A4** nobody strikes while the home thread is awake: a wake-up of a busy thread costs no system call.
//!
//! # Orderings
//! | access | order | pairs with |
//! |---|---|---|
//! | `word.fetch_or(RUNG)` in `ring` | Release | the Acquire in `take`; publishes what the waker did before |
//! | `word.fetch_and(!RUNG)` in `take` | Acquire | the Release in `ring` |
//! | `doze`, `wake` | Relaxed | nothing: they publish nothing, and as read-modify-writes they break no chain of releases |
//!
//! The linearization point of a wake-up is its `fetch_or`, that of falling asleep the exchange in `doze`; the loom models are
//! `ring.*wake_up*_from_afar_*` and those of `engine_mailbox`.

use sync_base::atomic::{AtomicU32, Ordering};

const RUNG: u32 = 1;
const ASLEEP: u32 = 2;

/// What ends the sleep of the home thread.
pub trait Chime {
    /// Ends this sleep, or the next one if there is none.
    fn strike(&self);
}

impl<C: Chime> Chime for std::sync::Arc<C> {
    fn strike(&self) {
        (**self).strike();
    }
}

/// A word and a chime.
#[derive(Debug)]
pub struct Alarm<C> {
    word: AtomicU32,
    chime: C,
}

impl<C: Chime> Alarm<C> {
    /// Makes one that rings: the home thread has not looked yet.
    pub fn new(chime: C) -> Self {
        Self {
            word: AtomicU32::new(RUNG),
            chime,
        }
    }

    /// Asks for another look; `afar` says that it is not the home thread that asks.
    #[inline]
    pub fn ring(&self, afar: bool) {
        // Release: pairs with the Acquire in `take`; what the waker did before is seen by the next look.
        let before = self.word.fetch_or(RUNG, Ordering::Release);
        if afar && before == ASLEEP {
            self.chime.strike();
        }
    }

    /// Whether to look: on the home thread.
    #[inline]
    pub fn take(&self) -> bool {
        // Acquire: pairs with the Release in `ring`.
        self.word.fetch_and(!RUNG, Ordering::Acquire) & RUNG != 0
    }

    /// Falls asleep, on the home thread, unless there is something to look at: then `false`.
    #[inline]
    pub fn doze(&self) -> bool {
        // Relaxed: A2 needs the one word alone; what a ringer published is acquired by `take`.
        let slept = self
            .word
            .compare_exchange(0, ASLEEP, Ordering::Relaxed, Ordering::Relaxed);
        slept.is_ok()
    }

    /// Is awake again, on the home thread.
    #[inline]
    pub fn wake(&self) {
        // Relaxed: as in `doze`.
        self.word.fetch_and(!ASLEEP, Ordering::Relaxed);
    }

    /// The chime.
    pub fn chime(&self) -> &C {
        &self.chime
    }
}
