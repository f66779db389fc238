//! How results come back from the threads of the pool to the ring's thread.
//!
//! A result goes into a bounded queue (`sync_base::queue::mpsc`, modelled there), then a bell is rung, unless it was rung
//! already and the ring's thread has not looked since. The bell is an eventfd in the ring's epoll set, so it ends a sleep
//! of the ring, and of any executor that polls the ring's descriptor.
//!
//! # States of `rung`
//! `false`: the bell is silent, or somebody is between silencing it and looking. `true`: it rings, or is about to.
//!
//! - **H1** delivering is: push, then set `rung`; whoever set it from `false` rings the bell.
//! - **H2** collecting is: silence the bell, *then* clear `rung`, then pop until nothing is left.
//! - **H3** nothing delivered is left with the bell silent. A delivery that finds `rung` set lies before the clearing in
//!   the order of that word, so the clearing reads it or what follows it and its push is seen by the pops after it. A
//!   delivery that finds it clear rings, and the bell was silenced before the clearing, so the ring is not lost.
//! - **H4** the queue is never full: it holds as many as the ring has credits, and each result belongs to a submission
//!   that holds one.
//!
//! # Orderings
//! | access | order | pairs with |
//! |---|---|---|
//! | `rung.swap(true)` in `deliver` | Release | the Acquire in `begin`; publishes the push |
//! | `rung.swap(false)` in `begin` | Acquire | the Release in `deliver` |
//!
//! The linearization point of a delivery is the push; that of a collection each pop.

use sync_base::atomic::{AtomicBool, Ordering};
use sync_base::queue::{Overrun, PushError, mpsc};
use sync_base::sync::Arc;

/// Wakes the ring's thread.
pub trait Bell: Send + Sync + 'static {
    /// Rings until silenced.
    fn ring(&self);
    /// Ends the ringing.
    fn silence(&self);
}

#[derive(Debug)]
struct Line<B> {
    rung: AtomicBool,
    bell: B,
}

/// The end of the threads.
#[derive(Debug)]
pub struct Outbox<T, B> {
    sender: mpsc::Sender<T>,
    line: Arc<Line<B>>,
}

/// The end of the ring.
#[derive(Debug)]
pub struct Inbox<T, B> {
    receiver: mpsc::Receiver<T>,
    line: Arc<Line<B>>,
}

/// Makes both ends, for at most `capacity` results at a time.
pub fn handover<T, B: Bell>(capacity: usize, bell: B) -> (Outbox<T, B>, Inbox<T, B>) {
    let (sender, receiver) = mpsc::channel(capacity, Overrun::DropNewest);
    let line = Arc::new(Line {
        rung: AtomicBool::new(false),
        bell,
    });
    let outbox = Outbox {
        sender,
        line: Arc::clone(&line),
    };
    (outbox, Inbox { receiver, line })
}

impl<T, B> Clone for Outbox<T, B> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            line: Arc::clone(&self.line),
        }
    }
}

impl<T, B: Bell> Outbox<T, B> {
    /// Delivers a result and wakes the ring's thread.
    ///
    /// # Errors
    /// The result comes back when the ring is gone.
    pub fn deliver(&self, result: T) -> Result<(), T> {
        match self.sender.try_push(result) {
            Ok(()) => {}
            Err(PushError::Closed(result)) => return Err(result),
            Err(PushError::Full(_)) => unreachable!("H4: no more results than credits"),
        }
        // Release: pairs with the Acquire in `Inbox::begin`; publishes the push.
        if !self.line.rung.swap(true, Ordering::Release) {
            self.line.bell.ring();
        }
        Ok(())
    }
}

impl<T, B: Bell> Inbox<T, B> {
    /// Silences the bell; what was delivered until now is found by [`take`](Self::take).
    pub fn begin(&mut self) {
        self.line.bell.silence();
        // Acquire: pairs with the Release in `Outbox::deliver`; what was pushed before it is seen by `take`.
        self.line.rung.swap(false, Ordering::Acquire);
    }

    /// Takes the oldest result.
    pub fn take(&mut self) -> Option<T> {
        self.receiver.try_pop().ok()
    }

    /// The bell.
    pub fn bell(&self) -> &B {
        &self.line.bell
    }
}
