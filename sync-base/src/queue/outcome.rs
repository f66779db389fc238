//! What a push or a pop came to.

use std::error::Error;
use std::fmt;

/// What a push does when the queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overrun {
    /// Wait for room: spin a little, yield a little, then sleep.
    Block,
    /// Keep what is queued; the new value goes back to the caller and is counted.
    DropNewest,
    /// Make room by taking out the oldest value, which goes to the caller and is counted.
    DropOldest,
}

/// What became of a value that was pushed into an open queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a dropped value comes back here"]
pub enum Pushed<T> {
    /// It is in the queue; nothing was dropped.
    Stored,
    /// It is in the queue; this oldest one made room and was counted.
    DroppedOldest(T),
    /// It is not in the queue; here it is again, counted.
    DroppedNewest(T),
}

impl<T> Pushed<T> {
    /// The value that was dropped, if one was: `None` is what `Block` always comes to.
    ///
    /// ```
    /// use sync_base::queue::{Overrun, mpmc::Queue};
    /// let queue = Queue::new(1, Overrun::DropOldest);
    /// assert_eq!(queue.push(1).unwrap().dropped(), None);
    /// assert_eq!(queue.push(2).unwrap().dropped(), Some(1));
    /// ```
    pub fn dropped(self) -> Option<T> {
        match self {
            Self::Stored => None,
            Self::DroppedOldest(value) | Self::DroppedNewest(value) => Some(value),
        }
    }
}

/// The queue is closed; here is the value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Closed<T>(pub T);

/// Why a push that neither waits nor drops failed; the value comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PushError<T> {
    /// There is no room.
    Full(T),
    /// The queue is closed.
    Closed(T),
}

impl<T> PushError<T> {
    /// Takes the value back.
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(value) | Self::Closed(value) => value,
        }
    }
}

/// Why there was nothing to pop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PopError {
    /// Nothing is queued now.
    Empty,
    /// Nothing is queued and nothing ever will be.
    Closed,
}

/// How many values an overrun policy dropped since the queue was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// New values turned away.
    pub newest: u64,
    /// Old values that made room.
    pub oldest: u64,
}

impl Drops {
    /// Both together.
    pub fn total(self) -> u64 {
        self.newest + self.oldest
    }
}

impl<T> fmt::Debug for Closed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Closed(..)")
    }
}

impl<T> fmt::Display for Closed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the queue is closed: by a call, or its other side is gone; here is the value again")
    }
}

impl<T> Error for Closed<T> {}

impl<T> fmt::Debug for PushError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::Closed(_) => "Closed(..)",
        })
    }
}

impl<T> fmt::Display for PushError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the queue is full: pop first, or push by its overrun policy",
            Self::Closed(_) => {
                "the queue is closed: by a call, or its other side is gone; here is the value again"
            }
        })
    }
}

impl<T> Error for PushError<T> {}

impl fmt::Display for PopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the queue is empty for now",
            Self::Closed => "the queue is closed and drained",
        })
    }
}

impl Error for PopError {}
