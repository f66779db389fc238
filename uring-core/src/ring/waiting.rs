//! Whom to tell that the ring wants turning, or that it has room again.
//!
//! - **N1** whoever drives the ring ([`Core::set_driver`]) is woken once for all that is queued until it turns the ring.
//! - **N2** whoever found no room is woken after each turn and each slot given back that could have made some. It may find
//!   none again, and says so again.
//!
//! A waker is code of the caller's: it is cloned, woken and dropped while nothing of the ring is borrowed.

use super::core::Core;
use std::cell::Cell;
use std::task::Waker;

#[derive(Default)]
pub(crate) struct Waiting {
    driver: Cell<Option<Waker>>,
    room: Cell<Vec<Waker>>,
    wants_room: Cell<bool>,
}

impl Core {
    /// Names whom to wake when something is queued; good for one wake-up.
    pub(crate) fn set_driver(&self, waker: &Waker) {
        let old = self.waiting.driver.replace(Some(waker.clone()));
        drop(old);
    }

    /// Something is queued: wakes whoever drives the ring, if somebody does and has not been told yet.
    #[inline]
    pub(crate) fn nudge(&self) {
        if let Some(driver) = self.waiting.driver.take() {
            driver.wake();
        }
    }

    /// Names whom to wake when there may be room again. Allocates for more at once than ever before.
    #[cold]
    pub(crate) fn wait_for_room(&self, waker: &Waker) {
        let waker = waker.clone();
        let mut room = self.waiting.room.take();
        let known = room.iter().any(|other| other.will_wake(&waker));
        if !known {
            room.push(waker);
        }
        self.waiting.room.set(room);
        self.waiting.wants_room.set(true);
        // What is queued takes room until the ring turns.
        self.nudge();
    }

    /// There may be room: wakes whoever waits for it.
    #[inline]
    pub(crate) fn offer_room(&self) {
        if self.waiting.wants_room.get() {
            self.wake_for_room();
        }
    }

    #[cold]
    fn wake_for_room(&self) {
        self.waiting.wants_room.set(false);
        let mut room = self.waiting.room.take();
        for waker in room.drain(..) {
            waker.wake();
        }
        // The list is kept, unless a waker that ran here made a new one.
        let newer = self.waiting.room.take();
        self.waiting.room.set(if newer.is_empty() { room } else { newer });
    }
}
