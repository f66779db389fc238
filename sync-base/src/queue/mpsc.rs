//! A bounded queue between any number of producers and one consumer.
//!
//! It is the queue of [`mpmc`](super::mpmc) with ends: the last sender to go closes the queue, and so does the receiver.
//! A lone consumer could pop by a store where several need a compare-exchange. That was built, and cost more (claim
//! `queue.mpsc`): a consumer that is faster than its producers keeps catching up, and takes the line that they are writing.

use super::mpmc::Queue;
use super::observed::observed;
use super::ring::drop_all;
use super::{Closed, Drops, Overrun, PopError, PushError, Pushed};
use crate::atomic::{AtomicUsize, Ordering};
use crate::sync::Arc;
use std::collections::VecDeque;
use std::fmt;

struct Shared<T> {
    queue: Queue<T>,
    senders: AtomicUsize,
}

/// Makes a queue for `capacity` values, rounded up to a power of two. Allocates once.
///
/// ```
/// use sync_base::queue::{Overrun, mpsc};
/// let (sender, mut receiver) = mpsc::channel(8, Overrun::Block);
/// for i in 0..3 {
///     let sender = sender.clone();
///     std::thread::spawn(move || sender.push(i).unwrap());
/// }
/// drop(sender);
/// let mut got: Vec<i32> = std::iter::from_fn(|| receiver.pop()).collect();
/// got.sort();
/// assert_eq!(got, [0, 1, 2]);
/// ```
///
/// There is one receiver:
/// ```compile_fail,E0599
/// let (_, receiver) = sync_base::queue::mpsc::channel::<u8>(1, sync_base::queue::Overrun::Block);
/// let second = receiver.clone();
/// ```
///
/// # Panics
/// If `capacity` is 0.
pub fn channel<T>(capacity: usize, overrun: Overrun) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        queue: Queue::new(capacity, overrun),
        senders: AtomicUsize::new(1),
    });
    let sender = Sender {
        shared: Arc::clone(&shared),
    };
    (sender, Receiver { shared })
}

/// An end that pushes; clone it for more.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Sender<T> {
    /// Pushes if there is room; never sleeps, drops nothing, counts nothing.
    ///
    /// # Errors
    /// Hands the value back if the queue is full or the receiver gone.
    #[inline]
    pub fn try_push(&self, value: T) -> Result<(), PushError<T>> {
        self.shared.queue.try_push(value)
    }

    /// Pushes, and does what the queue's [`Overrun`] says where there is no room. Sleeps only under `Block`.
    ///
    /// # Errors
    /// Hands the value back if the receiver is gone.
    #[inline]
    pub fn push(&self, value: T) -> Result<Pushed<T>, Closed<T>> {
        self.shared.queue.push(value)
    }

    /// Pushes from the front of `values` as many as there is room for, in neighbouring positions; the rest stays.
    /// Applies no overrun policy: never sleeps, drops nothing.
    ///
    /// # Errors
    /// If the receiver is gone; all values stay.
    pub fn push_batch(&self, values: &mut VecDeque<T>) -> Result<usize, Closed<()>> {
        self.shared.queue.push_batch(values)
    }

    /// Whether the receiver is gone.
    pub fn is_closed(&self) -> bool {
        self.shared.queue.is_closed()
    }

    observed!(shared.queue);
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        // Relaxed: this sender keeps the count above 0 meanwhile.
        self.shared.senders.fetch_add(1, Ordering::Relaxed);
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        // AcqRel: pairs with itself in the other senders; the last one closes after all their pushes.
        // weaken-ok(AcqRel->Acquire): pushes and the close exchange one word, and in loom an exchange reads the newest value.
        // weaken-ok(AcqRel->Release): pushes and the close exchange one word, and in loom an exchange reads the newest value.
        if self.shared.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.queue.close();
        }
    }
}

/// The end that pops.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Receiver<T> {
    /// Pops the oldest value if there is one; never sleeps.
    ///
    /// # Errors
    /// `Empty` if nothing is queued, `Closed` if in addition every sender is gone.
    #[inline]
    pub fn try_pop(&mut self) -> Result<T, PopError> {
        self.shared.queue.try_pop()
    }

    /// Pops the oldest value, waiting for one: spins a little, yields a little, then sleeps. `None` once every sender is
    /// gone and the queue is drained.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        match self.try_pop() {
            Ok(value) => Some(value),
            Err(PopError::Closed) => None,
            Err(PopError::Empty) => self.shared.queue.pop(),
        }
    }

    /// Moves up to `max` of the oldest values into `into` and says how many; never sleeps. Allocates only what `into`
    /// lacks.
    pub fn pop_batch(&mut self, into: &mut Vec<T>, max: usize) -> usize {
        self.shared.queue.pop_batch(into, max)
    }

    /// Lets nothing more in; what is queued can still be popped.
    pub fn close(&mut self) {
        self.shared.queue.close();
    }

    /// Whether every sender is gone, or the queue was closed; values may still be queued.
    pub fn is_closed(&self) -> bool {
        self.shared.queue.is_closed()
    }

    observed!(shared.queue);
}

impl<T> Drop for Receiver<T> {
    /// Closes the queue and drops what is queued: nobody else would before the last sender goes.
    fn drop(&mut self) {
        self.shared.queue.close();
        drop_all(|| self.try_pop());
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sender").field(&self.shared.queue).finish()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receiver").field(&self.shared.queue).finish()
    }
}
