//! One reader's place in a domain: its state word and the garbage it has not handed over.

use super::bag::{Batch, Chain, Sealed, Waiting};
use super::core::Core;
use super::word::Word;
use crate::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use crate::cell::UnsafeCell;
use crate::{Claim, Tally};

/// A record; owned by one thread or one [`Reader`](super::Reader) at a time, read by every collector.
#[derive(Debug)]
pub(super) struct Record {
    /// Written by the owner alone.
    pub(super) state: AtomicU64,
    /// The domain, which outlives its records.
    pub(super) core: *const Core,
    /// Kernel id of the thread that pins here.
    pub(super) thread: AtomicU32,
    /// How often the process had forked when the record was claimed.
    pub(super) forks: AtomicUsize,
    /// Bytes in the open bag; written by the owner alone, read by `stats`.
    pub(super) open_bytes: Tally,
    /// Batches stamped and waiting; taken by any collector.
    pub(super) sealed: Sealed,
    /// Held by an exiting owner or a closing domain while it takes over what the owner had: one more than the forks
    /// before it, so that a child tells a holder that it does not have. Zero if nobody holds it.
    pub(super) handing_over: AtomicUsize,
    /// Touched by the owner alone.
    pub(super) owner: UnsafeCell<Owner>,
}

#[derive(Debug)]
pub(super) struct Owner {
    /// What was retired since the last seal.
    pub(super) bag: Option<Box<Batch>>,
    /// Emptied batches, kept for the next bags.
    pub(super) spare: Chain,
    /// What lies in `sealed`, as far as the owner knows.
    pub(super) waiting: Waiting,
    /// Guards beyond what the state word can count.
    pub(super) deeper: u64,
    /// A collection is under way on this record: a reclaim function that retires must not start another.
    pub(super) collecting: bool,
    /// The record that held back the last collection, with its state then.
    pub(super) blocker: Option<(*const Record, Word)>,
    /// The right to the record itself, dropped to give it back.
    pub(super) claim: Option<Claim<'static, Record>>,
}

// SAFETY: every field but `owner` is atomic or constant; `owner` is touched by the record's owner alone, and ownership
// is handed on through the registry's claim (Release to Acquire) or through `handing_over`.
unsafe impl Sync for Record {}
// SAFETY: as above; retired pointers were declared sendable by the caller of `retire`.
unsafe impl Send for Record {}

impl Record {
    pub(super) fn new(core: *const Core, idle: Word) -> Self {
        Self {
            state: AtomicU64::new(idle.0),
            core,
            thread: AtomicU32::new(0),
            forks: AtomicUsize::new(0),
            open_bytes: Tally::new(0),
            sealed: Sealed::new(),
            handing_over: AtomicUsize::new(0),
            owner: UnsafeCell::new(Owner {
                bag: None,
                spare: Chain::empty(),
                waiting: Waiting::NOTHING,
                deeper: 0,
                collecting: false,
                blocker: None,
                claim: None,
            }),
        }
    }

    /// Notes that the calling thread pins here from now on.
    pub(super) fn belong(&self) {
        // Relaxed: published by the Release below.
        self.forks.store(super::fork::count(), Ordering::Relaxed);
        // Release: pairs with the Acquire in `fork::is_ghost`; who sees the id sees the count that goes with it.
        // weaken-ok(Release->Relaxed): its pair stands outside the models, in which nothing forks.
        self.thread.store(super::thread_id::current(), Ordering::Release);
    }

    /// The owner's own view of its state.
    #[inline(always)]
    pub(super) fn word(&self) -> Word {
        // Relaxed: the owner reads what it wrote itself.
        Word(self.state.load(Ordering::Relaxed))
    }

    /// Runs `f` on what the owner alone may touch.
    ///
    /// # Safety
    /// The caller owns the record, and `f` neither runs foreign code nor comes back here.
    pub(super) unsafe fn with_owner<R>(&self, f: impl FnOnce(&mut Owner) -> R) -> R {
        // SAFETY: the caller is the owner and `f` does not re-enter: the reference is unique.
        self.owner.with_mut(|owner| f(unsafe { &mut *owner }))
    }

    /// Runs `f` on the owner's part at the end of its ownership, or when the domain has no handle left: the two that can
    /// meet. A thread's end is not ordered before whoever joined it, if the thread was scoped.
    pub(super) fn while_handing_over<R>(&self, f: impl FnOnce(&mut Owner) -> R) -> R {
        let mine = 1 + super::fork::count();
        let mut free = 0;
        // Acquire: pairs with the Release below. Relaxed on failure: nothing is read but the number.
        while let Err(holder) =
            self.handing_over
                .compare_exchange(free, mine, Ordering::Acquire, Ordering::Relaxed)
        {
            if holder == mine {
                free = 0;
                crate::thread::yield_now();
            } else {
                // Released meanwhile, or held by a thread that a fork left behind.
                free = holder;
            }
        }
        // SAFETY: no owner retires any more; the flag keeps the two of them apart; `f` runs no foreign code.
        let result = unsafe { self.with_owner(f) };
        // Release: pairs with the Acquire above; the owner's part as `f` left it.
        self.handing_over.store(0, Ordering::Release);
        result
    }

    pub(super) fn core(&self) -> &Core {
        // SAFETY: a record belongs to its core's registry, which lives as long as the core.
        unsafe { &*self.core }
    }
}
