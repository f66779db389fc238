//! Who holds a lock, in one word: a number that no other thread has or had, and how often the process had forked.
//!
//! The number survives a fork with its thread; the count tells a lock that was taken before the fork from one taken since.

use std::cell::Cell;
use sync_base::atomic::{AtomicU64, Ordering};

/// `given up << 63 | forks << 40 | thread`; zero is nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holder(pub(super) u64);

const FORKS_AT: u32 = 40;
const THREAD: u64 = (1 << FORKS_AT) - 1;
const GIVEN_UP: u64 = 1 << 63;

sync_base::thread_local! {
    static THREAD_NUMBER: Cell<u64> = const { Cell::new(0) };
    /// Locks that this thread holds.
    static HELD: Cell<usize> = const { Cell::new(0) };
}
sync_base::global! { static NUMBERS: AtomicU64 = AtomicU64::new(1); }

/// The calling thread's number. An address would be used again by a later thread.
#[inline(always)]
fn number() -> u64 {
    let number = THREAD_NUMBER.with(Cell::get);
    if number == 0 { draw() } else { number }
}

#[cold]
#[inline(never)]
fn draw() -> u64 {
    // Asked here, once: until somebody asks, `light_barrier` is a full fence.
    sync_base::barrier::mode();
    // Relaxed: a number given out once; publishes nothing.
    let number = NUMBERS.fetch_add(1, Ordering::Relaxed) & THREAD;
    THREAD_NUMBER.with(|mine| mine.set(number));
    number
}

/// The forks so far, as a word holds them.
#[inline(always)]
fn forks() -> u64 {
    (sync_base::forks() as u64) << FORKS_AT & !GIVEN_UP
}

impl Holder {
    pub(super) const NOBODY: Self = Self(0);

    /// The calling thread.
    #[inline(always)]
    pub(super) fn me() -> Self {
        Self(number() | forks())
    }

    pub(super) fn is_me(self) -> bool {
        self.0 & THREAD == number()
    }

    /// Whether both name one thread, at whatever fork.
    pub(super) fn is(self, other: Self) -> bool {
        self.0 & THREAD == other.0 & THREAD
    }

    /// Whether it took the lock before a fork, so that this process may not have it.
    pub(super) fn is_older(self) -> bool {
        self != Self::NOBODY && self.0 & !(THREAD | GIVEN_UP) != forks()
    }

    /// Whether a waiter has waited long enough for it.
    pub(super) fn is_given_up(self) -> bool {
        self.0 & GIVEN_UP != 0
    }

    pub(super) fn given_up(self) -> Self {
        Self(self.0 | GIVEN_UP)
    }
}

/// Whether the calling thread holds a lock of any map: it runs user code under it, or takes several.
#[inline(always)]
pub(crate) fn holds_any() -> bool {
    HELD.with(Cell::get) != 0
}

/// Counts a lock taken.
#[inline(always)]
pub(super) fn took() {
    HELD.with(|held| held.set(held.get() + 1));
}

/// Counts a lock released.
#[inline(always)]
pub(super) fn released() {
    HELD.with(|held| held.set(held.get() - 1));
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_known_by_its_thread_at_whatever_fork() {
        let me = Holder::me();
        let before = Holder(me.0 ^ 1 << FORKS_AT);
        assert!(me.is_me() && before.is_me() && before.is(me));
        assert!(before.is_older() && !me.is_older() && !Holder::NOBODY.is_older());
        assert!(!me.is_given_up() && me.given_up().is_given_up());
        assert!(me.given_up().is_me() && before.given_up().is_older() && !me.given_up().is_older());
        let other = std::thread::spawn(Holder::me).join().unwrap();
        assert!(!other.is_me() && !other.is(me));
        assert!(!Holder::NOBODY.is_me());
    }

    #[test]
    fn held_locks_are_counted() {
        assert!(!holds_any());
        took();
        took();
        released();
        assert!(holds_any());
        released();
        assert!(!holds_any());
    }
}
