//! Operations that hold a place, and whom to tell when they complete.
//!
//! - **O1** an operation holds a place if it was admitted between [`Core::begin_placing`] and [`Core::end_placing`]; it holds it
//!   until its *last* completion, whatever becomes of its future or token meanwhile: the device works on it that long.
//! - **O2** each is told of once, with the clock as the reap read it: an observer costs no reading of its own.
//! - **O3** the observer runs when nothing of the ring is borrowed, after a turn collected and before callbacks run, so that
//!   a callback finds the places free that its completion gave back.

use super::core::{Core, Inner};
use crate::error::Error;
use std::any::Any;

/// One completion of an operation that held a place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) slot: u32,
    pub(crate) failed: bool,
    /// When its batch was begun, and when it was reaped.
    pub(crate) started_ns: u64,
    pub(crate) now_ns: u64,
}

/// What a submission apart from its wait showed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Looked {
    pub(crate) submitted: u32,
    pub(crate) at_once: u32,
    /// Operations that completed, of whatever submission.
    pub(crate) all: u32,
}

/// Told of completions, oldest first.
pub(crate) trait Observer: Any {
    fn reaped(&self, seen: &[Seen]);
}

/// What a ring knows of places.
#[derive(Default)]
pub(crate) struct Places {
    /// Operations admitted since [`Core::begin_placing`]; `None` outside it.
    placing: Option<u32>,
    seen: Vec<Seen>,
}

impl Places {
    /// Whether an operation that is admitted now holds a place.
    #[inline(always)]
    pub(super) fn take(&mut self) -> bool {
        match &mut self.placing {
            None => false,
            Some(count) => {
                *count += 1;
                true
            }
        }
    }

    #[inline(never)]
    pub(super) fn note(&mut self, seen: Seen) {
        self.seen.push(seen);
    }
}

impl Core {
    /// Names whom to tell; a ring has one observer for good. Hands it back if there is one.
    pub(crate) fn observe(&self, observer: Box<dyn Observer + Send>) -> Result<(), Box<dyn Observer + Send>> {
        self.observer.set(observer)
    }

    /// The observer, if it is an `O`.
    #[inline]
    pub(crate) fn observer<O: Observer>(&self) -> Option<&O> {
        let observer: &dyn Any = &**self.observer.get()?;
        observer.downcast_ref()
    }

    /// From now on what is admitted holds a place. Gives what [`end_placing`](Self::end_placing) takes back.
    pub(crate) fn begin_placing(&self) -> Option<u32> {
        self.state.borrow_mut().places.placing.replace(0)
    }

    /// Ends that, also after a panic, and counts what was admitted meanwhile.
    pub(crate) fn end_placing(&self, before: Option<u32>) -> u32 {
        let mut inner = self.state.borrow_mut();
        std::mem::replace(&mut inner.places.placing, before).unwrap_or(0)
    }

    /// Passes on what is queued, and says how many entries that were, how many of their operations completed in it (at once,
    /// as reads of the page cache do; only those with a place are counted), and how many operations completed in all: those
    /// submitted earlier come in with the same call.
    pub(crate) fn flush_and_look(&self) -> Result<Looked, Error> {
        self.check()?;
        let mut inner = self.state.borrow_mut();
        let mut looked = Looked::default();
        let batch_ns = inner.batch_ns;
        looked.submitted = inner.backend_mut().queued();
        looked.all = inner.collect();
        if looked.submitted > 0 {
            inner.flush()?;
            let before = inner.places.seen.len();
            looked.all += inner.collect();
            let seen = &inner.places.seen[before..];
            looked.at_once = seen.iter().filter(|seen| seen.started_ns == batch_ns).count() as u32;
        }
        Ok(looked)
    }

    /// The last reading of the clock, whatever it was for; 0 before the first.
    pub(crate) fn clock_ns(&self) -> u64 {
        self.state.borrow().clock_ns
    }

    /// Tells the observer what the last turn collected.
    #[inline]
    pub(super) fn tell_observer(&self) {
        if let Some(observer) = self.observer.get() {
            self.tell(&**observer);
        }
    }

    fn tell(&self, observer: &dyn Observer) {
        let mut seen = std::mem::take(&mut self.state.borrow_mut().places.seen);
        if !seen.is_empty() {
            observer.reaped(&seen);
            seen.clear();
        }
        let mut inner = self.state.borrow_mut();
        // Unless the observer had the ring turned, and a later list is there.
        if inner.places.seen.is_empty() {
            inner.places.seen = seen;
        }
    }
}

impl Inner {
    /// Reads the clock, for a batch or for a reap.
    #[inline]
    pub(super) fn read_clock(&mut self) -> u64 {
        self.clock_ns = self.backend().now_ns();
        self.clock_ns
    }
}
