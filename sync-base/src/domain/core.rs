//! What a domain's handles, records and threads share.

use super::bag::Sealed;
use super::record::Record;
use super::word::{FENCED, STEP, Word};
use crate::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use crate::barrier::{Mode, mode};
use crate::{CachePadded, Registry, Tally};
use std::time::Duration;

/// The shared part of a domain.
#[derive(Debug)]
pub(super) struct Core {
    /// Shifted as in [`Word`]; moves at each seal.
    pub(super) epoch: CachePadded<AtomicU64>,
    /// Greatest epoch read before a heavy barrier that has ended.
    pub(super) done: CachePadded<AtomicU64>,
    /// Bytes in sealed batches not yet freed.
    pub(super) garbage: CachePadded<Tally>,
    pub(super) records: Registry<Record>,
    /// Records claimed now.
    pub(super) live: Tally,
    /// Batches whose owner is gone.
    pub(super) orphans: Sealed,
    /// Objects retired as scarce and not yet freed: while there are any, `tend` looks for them.
    pub(super) scarce: AtomicUsize,
    /// The reader that held back the last sweep of the whole domain, with its state then.
    pub(super) blocker: AtomicPtr<Record>,
    pub(super) blocker_word: AtomicU64,
    /// When an operation was refused that nobody's leaving has made room for yet; zero if none.
    pub(super) refused: AtomicU64,
    pub(super) settings: Settings,
    /// Which of a thread's short cuts this domain uses.
    pub(super) slot: usize,
    pub(super) counts: CachePadded<Counts>,
    /// Handles and readers: while there is one, guards can begin.
    pub(super) handles: AtomicUsize,
    /// One for all handles, one for each thread that keeps a record here.
    pub(super) holds: AtomicUsize,
    /// Set once the last handle is gone.
    pub(super) closed: AtomicBool,
}

/// What a domain was built with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) garbage_limit: usize,
    pub(super) stall_wait: Duration,
    pub(super) batch: usize,
    /// Counts no handles: lives as long as the process.
    pub(super) immortal: bool,
}

impl Settings {
    pub(super) const DEFAULT: Self = Self {
        garbage_limit: 64 << 20,
        stall_wait: Duration::from_millis(100),
        batch: 2048,
        immortal: false,
    };
}

/// Counts that only `stats` reads.
#[derive(Debug)]
pub(super) struct Counts {
    pub(super) sealed: Tally,
    pub(super) freed: Tally,
    pub(super) heavy: Tally,
    pub(super) exceeded: Tally,
    pub(super) refused: Tally,
}

macro_rules! core_new {
    ($($const:tt)?) => {
        pub(super) $($const)? fn new(settings: Settings, slot: usize) -> Self {
            Self {
                epoch: CachePadded::new(AtomicU64::new(STEP)),
                done: CachePadded::new(AtomicU64::new(0)),
                garbage: CachePadded::new(Tally::new(0)),
                records: Registry::new(),
                live: Tally::new(0),
                orphans: Sealed::new(),
                scarce: AtomicUsize::new(0),
                blocker: AtomicPtr::new(std::ptr::null_mut()),
                blocker_word: AtomicU64::new(0),
                refused: AtomicU64::new(0),
                settings,
                slot,
                counts: CachePadded::new(Counts {
                    sealed: Tally::new(0),
                    freed: Tally::new(0),
                    heavy: Tally::new(0),
                    exceeded: Tally::new(0),
                    refused: Tally::new(0),
                }),
                handles: AtomicUsize::new(1),
                holds: AtomicUsize::new(1),
                closed: AtomicBool::new(false),
            }
        }
    };
}

impl Core {
    #[cfg(not(loom))]
    core_new!(const);
    #[cfg(loom)]
    core_new!();

    /// The state of a record nobody is pinned on.
    pub(super) fn idle() -> Word {
        match mode() {
            Mode::Membarrier => Word(0),
            Mode::Fence => Word(FENCED),
        }
    }

    /// Ends the present epoch and returns it: whoever enters from now on enters at a greater one.
    pub(super) fn stamp(&self) -> u64 {
        // AcqRel: Release pairs with the Acquire in `Guard::enter` and `Core::horizon`: what was unlinked before this
        // stamp is not found by a reader that entered after it. Acquire pairs with earlier stamps' Release, so that
        // stamps of several threads carry one another's unlinks.
        // weaken-ok(AcqRel->Release): only read-modify-writes move it, so a release sequence carries earlier unlinks too.
        self.epoch.fetch_add(STEP, Ordering::AcqRel)
    }

    /// Objects in a bag before it is sealed: more where a scan visits more records.
    #[inline]
    pub(super) fn part(&self) -> usize {
        (self.settings.batch / super::collect::PARTS).max(self.live.get())
    }

    /// Whether a bag of `bytes` is sealed early: all open bags together stay within a sixteenth of the limit.
    #[inline]
    pub(super) fn is_heavy(&self, bytes: usize) -> bool {
        let live = self.live.get().max(4);
        bytes.saturating_mul(16 * live) >= self.settings.garbage_limit
    }

    pub(super) fn add_handle(&self) {
        if !self.settings.immortal {
            // Relaxed: made from a handle that lives, as `Arc` does.
            self.handles.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn add_hold(&self) {
        if !self.settings.immortal {
            // Relaxed: made while a handle lives, as `Arc` does.
            self.holds.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Gives back one handle; the last frees all garbage, since no guard can exist without a handle.
    ///
    /// # Safety
    /// `core` came from a handle that is not used again.
    pub(super) unsafe fn drop_handle(core: *const Core) {
        // SAFETY: the handle kept it alive until here.
        let this = unsafe { &*core };
        // AcqRel: Release pairs with the Acquire of whoever gives back the last handle, who then sees every bag as its
        // owner left it.
        if this.settings.immortal || this.handles.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        this.close();
        // Release: pairs with the Acquire in `local::register`; a thread that prunes sees the bags drained.
        // weaken-ok(Release->Relaxed): the bags are drained under `handing_over`, which orders the two by itself.
        this.closed.store(true, Ordering::Release);
        // SAFETY: the hold of the handles.
        unsafe { Self::drop_hold(core) };
    }

    /// Gives back one hold; the last frees the core.
    ///
    /// # Safety
    /// `core` came from a hold that is not used again.
    pub(super) unsafe fn drop_hold(core: *const Core) {
        // SAFETY: the hold kept it alive until here.
        let this = unsafe { &*core };
        // AcqRel: Release pairs with the Acquire of whoever gives back the last hold, who then frees the core.
        // weaken-ok(AcqRel->Acquire): loom does not watch atomics being freed, and the cell is ordered by `handing_over`.
        // weaken-ok(AcqRel->Release): as for Acquire: no model sees the freeing that this orders.
        if this.settings.immortal || this.holds.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        // SAFETY: made by `Box::into_raw` in `Builder::build`; the last hold is gone.
        drop(unsafe { Box::from_raw(core.cast_mut()) });
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.close();
        for record in self.records.iter() {
            // A forgotten guard leaves its record claimed; the claim lies inside what it claims.
            // SAFETY: the last hold is gone: nobody else touches a record.
            unsafe { record.with_owner(|owner| std::mem::forget(owner.claim.take())) };
        }
    }
}
