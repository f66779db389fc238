//! Messages to a core from any thread: bounded, and never left lying while the core sleeps.
//!
//! A bounded queue of many producers (`sync_base::queue::mpsc`), an alarm, and a list of those who found no room.
//!
//! - **M1** a message that was taken is seen: it is pushed before the alarm rings, and the core clears the alarm before it
//!   looks (A3 of [`Alarm`]).
//! - **M2** whoever waits for room is told: it leaves its waker under the lock and *then* tries again; the core pops and then
//!   takes the wakers under that lock. If the core's lock comes first, the try sees the pops; if it comes second, it finds the
//!   waker.
//! - **M3** each message is handed out exactly once, by `take` or by `close`, or comes back to its sender: closing and pushing
//!   exchange one word of the queue. After `close` there is nothing in it, and never will be.
//!
//! | access | order | pairs with |
//! |---|---|---|
//! | push, pop, close | those of the queue | each other |
//! | the alarm | that of `Alarm` | the core's look |
//! | `waiting` | a lock | itself |
//!
//! The linearization point of sending is the push; the loom models are those of `engine_mailbox`.

use crate::exec::alarm::{Alarm, Chime};
use std::task::Waker;
use sync_base::queue::{Overrun, PushError, mpsc};
use sync_base::sync::{Arc, Mutex, MutexGuard};

/// Those who found no room.
#[derive(Debug, Default)]
struct Waiting {
    wakers: Mutex<Vec<Waker>>,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.wakers.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn wake_all(&self) {
        let wakers = std::mem::take(&mut *self.lock());
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// The end for other threads.
#[derive(Debug)]
pub struct Mailbox<T> {
    sender: mpsc::Sender<T>,
    waiting: Arc<Waiting>,
}

/// The end for the core.
#[derive(Debug)]
pub struct Letters<T> {
    receiver: mpsc::Receiver<T>,
    waiting: Arc<Waiting>,
}

/// Makes both ends, for so many messages, rounded up to a power of two.
pub fn mailbox<T>(messages: usize) -> (Mailbox<T>, Letters<T>) {
    // The queue's own policy is not used: nothing but `try_push` is.
    let (sender, receiver) = mpsc::channel(messages, Overrun::DropNewest);
    let waiting = Arc::new(Waiting::default());
    let mailbox = Mailbox {
        sender,
        waiting: Arc::clone(&waiting),
    };
    (mailbox, Letters { receiver, waiting })
}

impl<T> Mailbox<T> {
    /// Leaves a message and sees that the core looks. Never waits.
    ///
    /// # Errors
    /// Hands it back when there is no room, or the core is gone.
    pub fn post<C: Chime>(&self, value: T, alarm: &Alarm<C>, afar: bool) -> Result<(), PushError<T>> {
        self.sender.try_push(value)?;
        alarm.ring(afar);
        Ok(())
    }

    /// Names whom to wake when there may be room, or the core is gone: try once more after that (M2).
    pub fn wait_for_room(&self, waker: &Waker) {
        let waker = waker.clone();
        let mut wakers = self.waiting.lock();
        if !wakers.iter().any(|other| other.will_wake(&waker)) {
            wakers.push(waker);
        }
    }

    /// Messages that wait.
    pub fn len(&self) -> usize {
        self.sender.len()
    }
}

impl<T> Letters<T> {
    /// Takes a batch of messages out, the oldest first, at most `max`; whether there may be more.
    pub fn take(&mut self, into: &mut Vec<T>, max: usize) -> bool {
        let taken = self.receiver.pop_batch(into, max);
        if taken > 0 {
            self.waiting.wake_all();
        }
        taken == max
    }

    /// Lets nothing more in and hands out what is there.
    pub fn close(&mut self, mut each: impl FnMut(T)) {
        self.receiver.close();
        // Whoever took a place before the end fills it: `try_pop` waits for that.
        while let Ok(value) = self.receiver.try_pop() {
            each(value);
        }
        self.waiting.wake_all();
    }
}
