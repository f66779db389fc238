//! How a core is woken from another thread: by a message of that thread's ring, else by an event counter.
//!
//! A thread that has a ring queues one entry more, which goes along with whatever that ring passes on next: no system call
//! of its own. Everybody else writes the counter, which the sleeping core is reading. Both stay until the core's sleep
//! consumes them; a message that the kernel does not deliver is followed by a stroke of the counter.

use super::alarm::{Alarm, Chime};
use super::event::Event;
use super::home::Home;
use super::task::Node;
use super::wakes::Wakes;
use crate::error::Error;
use crate::op::{Mailbox, Message};
use std::sync::{Arc, OnceLock};
use sync_base::Tally;

/// Both ways to wake one core, and how often each was used.
#[derive(Debug)]
pub(crate) struct Bell {
    pub(crate) event: Arc<Event>,
    /// Where rings send to; unset where messages are missing or not wanted.
    pub(crate) address: OnceLock<Mailbox>,
    pub(crate) by_message: Tally,
    pub(crate) by_event: Tally,
}

impl Bell {
    /// Sends a message from the ring of the calling thread; `false` where there is none, or no room in it.
    fn send(&self) -> bool {
        let Some(address) = self.address.get() else {
            return false;
        };
        let Some(home) = Home::current() else { return false };
        let Ok(message) = Message::new(address, 0) else {
            return false;
        };
        let event = Arc::clone(&self.event);
        let sent = home.ring.submit_own(|core| {
            core.submit_then(message, move |sent| {
                if sent.is_err() {
                    event.strike();
                }
            })
        });
        sent.is_ok()
    }
}

impl Chime for Bell {
    fn strike(&self) {
        if self.send() {
            self.by_message.add(1);
        } else {
            self.by_event.add(1);
            self.event.strike();
        }
    }
}

/// What other threads see of a core's executor.
#[derive(Debug)]
pub(crate) struct Far {
    pub(crate) alarm: Alarm<Bell>,
    /// Tasks that other threads woke.
    pub(crate) wakes: Wakes<Node>,
}

impl Far {
    pub(crate) fn new() -> Result<Arc<Self>, Error> {
        let bell = Bell {
            event: Event::new()?,
            address: OnceLock::new(),
            by_message: Tally::new(0),
            by_event: Tally::new(0),
        };
        Ok(Arc::new(Self {
            alarm: Alarm::new(bell),
            wakes: Wakes::new(),
        }))
    }

    /// Has the core look, from whatever thread.
    pub(crate) fn ring(&self) {
        self.alarm.ring(!Home::is_here(self));
    }
}

/// Rings when there may be room in the ring again.
impl std::task::Wake for Far {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}
