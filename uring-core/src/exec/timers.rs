//! What a core's tasks wait for by the clock.
//!
//! A tree ordered by moment: a timer is set, taken back and fired in O(log n), and the next one is its first entry. The
//! core's sleep ends with that one (the wait of the ring carries the limit), so that no timer costs a wake-up of its own and
//! an idle core has none.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::task::Waker;

/// Names a timer: its moment on the ring's clock, and which of those with the same.
pub(crate) type Key = (u64, u64);

/// All timers of one core.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    set: RefCell<BTreeMap<Key, Waker>>,
    drawn: Cell<u64>,
}

impl Timers {
    /// Sets a timer.
    pub(crate) fn set(&self, at: u64, waker: &Waker) -> Key {
        self.drawn.set(self.drawn.get() + 1);
        let key = (at, self.drawn.get());
        let fresh = waker.clone();
        self.set.borrow_mut().insert(key, fresh);
        key
    }

    /// Whether a timer has yet to fire; then it wakes this one.
    pub(crate) fn is_set(&self, key: Key, waker: &Waker) -> bool {
        // A waker is code of the caller's: cloned and dropped when nothing is borrowed.
        let mut fresh = waker.clone();
        match self.set.borrow_mut().get_mut(&key) {
            Some(waker) => std::mem::swap(waker, &mut fresh),
            None => return false,
        }
        true
    }

    /// Takes a timer back; nothing where it fired.
    pub(crate) fn take_back(&self, key: Key) {
        let old = self.set.borrow_mut().remove(&key);
        drop(old);
    }

    /// The moment of the next one.
    #[inline]
    pub(crate) fn next(&self) -> Option<u64> {
        self.set.borrow().first_key_value().map(|(key, _)| key.0)
    }

    /// Wakes everybody whose moment has come, the earliest first.
    pub(crate) fn fire(&self, now: u64) {
        loop {
            let due = {
                let mut set = self.set.borrow_mut();
                match set.first_entry() {
                    Some(entry) if entry.key().0 <= now => entry.remove(),
                    _ => return,
                }
            };
            due.wake();
        }
    }

    /// Forgets them all.
    pub(crate) fn clear(&self) {
        let all = self.set.take();
        drop(all);
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            // Relaxed: one thread.
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn timers_fire_in_order_and_once_and_not_when_taken_back() {
        let timers = Timers::default();
        let counts: Vec<_> = (0..4).map(|_| Arc::new(Count(AtomicUsize::new(0)))).collect();
        let wakers: Vec<Waker> = counts.iter().map(|c| Arc::clone(c).into()).collect();
        // Relaxed: one thread.
        let fired = || -> Vec<usize> { counts.iter().map(|c| c.0.load(Ordering::Relaxed)).collect() };
        timers.set(30, &wakers[0]);
        let second = timers.set(10, &wakers[1]);
        timers.set(10, &wakers[2]);
        let taken = timers.set(20, &wakers[3]);
        assert_eq!(timers.next(), Some(10));
        timers.take_back(taken);
        timers.fire(9);
        assert_eq!(fired(), [0, 0, 0, 0]);
        timers.fire(10);
        assert_eq!(fired(), [0, 1, 1, 0]);
        timers.take_back(second);
        assert_eq!(timers.next(), Some(30));
        timers.fire(u64::MAX);
        assert_eq!(fired(), [1, 1, 1, 0]);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn a_timer_polled_by_another_task_wakes_that_one() {
        let timers = Timers::default();
        let counts: Vec<_> = (0..2).map(|_| Arc::new(Count(AtomicUsize::new(0)))).collect();
        let key = timers.set(5, &Arc::clone(&counts[0]).into());
        assert!(timers.is_set(key, &Arc::clone(&counts[1]).into()));
        timers.fire(5);
        // Relaxed: one thread.
        let fired: Vec<_> = counts.iter().map(|c| c.0.load(Ordering::Relaxed)).collect();
        assert_eq!(fired, [0, 1]);
        assert!(!timers.is_set(key, &Arc::clone(&counts[1]).into()));
    }
}
