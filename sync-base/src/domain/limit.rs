//! The garbage limit: what happens when a reader that does not leave holds back too much.

use super::core::Core;
use super::record::Record;
use super::word::Word;
use crate::atomic::Ordering;
use crate::{Backoff, Step, thread};
use std::fmt;
use std::time::{Duration, Instant};

/// More garbage is held back than the domain allows, by a reader that has not left its section.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stalled {
    /// Kernel id of the reader's thread; under a model a number that means nothing outside.
    pub thread: u32,
    /// The name of that thread as the kernel has it (15 bytes at most); none if it has ended with its guard forgotten.
    pub name: Option<String>,
    /// Bytes held back.
    pub garbage: usize,
    /// Bytes that the refused operation would have added; zero where none was refused.
    pub asked: usize,
    /// Bytes the domain allows.
    pub limit: usize,
}

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            thread,
            name,
            garbage,
            asked,
            limit,
        } = self;
        let name = name.as_deref().unwrap_or("ended, its guard forgotten");
        let is_own = *thread == super::thread_id::current();
        if is_own {
            write!(f, "this very thread ({thread}, {name}), by its own guard,")?;
        } else {
            write!(f, "a reader on thread {thread} ({name})")?;
        }
        if *garbage > 0 {
            write!(f, " holds back {garbage} bytes of garbage (limit {limit})")?;
        } else {
            write!(f, " has not left its section (limit of garbage {limit} bytes)")?;
        }
        if *asked > 0 {
            write!(f, ", and {asked} more would pass the limit")?;
        }
        f.write_str(if is_own {
            ": drop or repin the guard before the call"
        } else {
            ": let it drop or repin its guard"
        })?;
        if *asked > *limit {
            f.write_str(", or give the domain a limit that this one operation fits in")?;
        }
        Ok(())
    }
}

impl std::error::Error for Stalled {}

/// The blocking reader of a refused operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocker(pub(super) *const Record, pub(super) Word);

impl Blocker {
    /// Whether the calling thread would wait for itself.
    pub(super) fn is_self(self) -> bool {
        // SAFETY: records live as long as their core, which the caller's handle keeps alive.
        super::fork::thread(unsafe { &*self.0 }) == super::thread_id::current()
    }

    fn still_holds(self) -> bool {
        // SAFETY: as above.
        let record = unsafe { &*self.0 };
        // Relaxed: a hint; a sweep decides. What a fork left behind never moves, and holds nothing.
        Word(record.state.load(Ordering::Relaxed)).holds_as(self.1) && !super::fork::is_ghost(record)
    }

    /// Names the reader, to whose thread `asked` bytes were refused.
    pub(super) fn report(self, core: &Core, asked: usize) -> Stalled {
        // SAFETY: as above.
        let thread = super::fork::thread(unsafe { &*self.0 });
        Stalled {
            thread,
            name: super::thread_id::name(thread),
            garbage: core.garbage.get(),
            asked,
            limit: core.settings.garbage_limit,
        }
    }
}

impl Core {
    #[inline]
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.garbage.get().saturating_add(bytes) <= self.settings.garbage_limit
    }

    /// Makes room for `bytes` of garbage, or names the reader that prevents it.
    #[cold]
    pub(super) fn make_room(&self, bytes: usize) -> Result<(), Blocker> {
        if let Some(blocker) = self.same_blocker() {
            return Err(blocker);
        }
        super::local::seal_own(self);
        let (_, blocker) = self.sweep();
        if self.has_room(bytes) {
            return Ok(());
        }
        // Without a reader to blame, what is left is being freed by others or newer than the sweep.
        let Some((record, word)) = blocker else {
            // Relaxed: a hint for `have_made_way`: nobody is in the way.
            self.refused.store(0, Ordering::Relaxed);
            return Ok(());
        };
        if self.garbage.get() == 0 && self.have_made_way(word) {
            return Ok(());
        }
        let stamp = self.remember_blocker(record, word);
        // Relaxed: a hint for `have_made_way`.
        if self.refused.load(Ordering::Relaxed) == 0 {
            // Relaxed: as above.
            self.refused.store(stamp, Ordering::Relaxed);
        }
        Err(Blocker(record, word))
    }

    /// Whether an operation that is greater by itself than the limit is to be let through, though the oldest reader is in a
    /// section: for the readers that were in the way when one was refused have all left, and some reader always is.
    fn have_made_way(&self, oldest: Word) -> bool {
        // Relaxed: a hint; what a race decides is which of two operations goes first.
        let stamp = self.refused.load(Ordering::Relaxed);
        let made_way = stamp != 0 && oldest.epoch() > stamp;
        if made_way {
            // Relaxed: as above.
            self.refused.store(0, Ordering::Relaxed);
        }
        made_way
    }

    /// Sweeps for what is scarce, unless the reader that held back the last sweep holds back this one too: what was
    /// retired since then waits for the same section.
    #[cold]
    pub(super) fn tend(&self) -> usize {
        if self.same_blocker().is_some() {
            return 0;
        }
        super::local::seal_own(self);
        let (freed, blocker) = self.sweep();
        if let Some((record, word)) = blocker {
            self.remember_blocker(record, word);
        }
        freed
    }

    /// Has the next attempt look again, whoever held back the last one.
    pub(super) fn forget_blocker(&self) {
        // Relaxed: a hint, as in `remember_blocker`.
        self.blocker.store(std::ptr::null_mut(), Ordering::Relaxed);
    }

    /// Ends the present epoch, which it returns: so that the reader's next section looks other than this one, though
    /// nothing is retired between.
    fn remember_blocker(&self, record: *const Record, word: Word) -> u64 {
        let stamp = self.stamp();
        // Relaxed, both: a hint, checked against the record itself; records live as long as the core.
        self.blocker_word.store(word.0, Ordering::Relaxed);
        self.blocker.store(record.cast_mut(), Ordering::Relaxed);
        stamp
    }

    /// The reader that held back the last sweep, if it has not moved.
    fn same_blocker(&self) -> Option<Blocker> {
        // Relaxed, both: as in `make_room`. A pair torn by two sweeps names a record only if it is pinned at that
        // word's epoch, and that epoch did hold back a sweep.
        let record = self.blocker.load(Ordering::Relaxed);
        let word = Word(self.blocker_word.load(Ordering::Relaxed));
        let blocker = Blocker(record, word);
        (!record.is_null() && word.is_pinned() && blocker.still_holds()).then_some(blocker)
    }

    /// Makes room, waiting for readers up to the domain's stated time; then goes past the limit, counted,
    /// and says false.
    #[cold]
    pub(super) fn wait_for_room(&self, bytes: usize) -> bool {
        let mut wait = Wait::new(self.settings.stall_wait);
        while let Err(blocker) = self.make_room(bytes) {
            if blocker.is_self() || !wait.step() {
                self.counts.exceeded.add(1);
                return false;
            }
        }
        true
    }
}

/// A wait that ends: backs off, then sleeps in growing steps, until its time is over.
#[derive(Debug)]
pub(super) struct Wait {
    deadline: Option<Instant>,
    backoff: Backoff,
    nap: Duration,
}

const NAP_MAX: Duration = Duration::from_millis(1);

impl Wait {
    /// A wait of at most `limit`; of one backoff under a model, which has no clock.
    pub(super) fn new(limit: Duration) -> Self {
        let clock = !cfg!(any(loom, shuttle));
        Self {
            deadline: clock.then(|| Instant::now().checked_add(limit)).flatten(),
            backoff: Backoff::new(),
            nap: Duration::from_micros(20),
        }
    }

    /// Waits a little; says whether there is time left.
    pub(super) fn step(&mut self) -> bool {
        if self.backoff.step() != Step::Park {
            return true;
        }
        if cfg!(any(loom, shuttle)) {
            return false;
        }
        let left = match self.deadline {
            Some(deadline) => deadline.saturating_duration_since(Instant::now()),
            None => Duration::MAX,
        };
        if left.is_zero() {
            return false;
        }
        sleep(self.nap.min(left));
        self.nap = (self.nap * 2).min(NAP_MAX);
        true
    }
}

#[cfg(not(any(loom, shuttle)))]
fn sleep(nap: Duration) {
    thread::sleep(nap);
}

#[cfg(any(loom, shuttle))]
fn sleep(_nap: Duration) {
    thread::yield_now();
}
