//! Reclamation by crossbeam-epoch's default collector.

use super::{Backend, Reclaim};
use std::time::{Duration, Instant};
use sync_base::atomic::{AtomicBool, AtomicUsize, Ordering};
use sync_base::sync::Arc;
use sync_base::{Backoff, Step, thread};

sync_base::global! {
    /// Nodes retired as scarce that wait, in whatever table: the collector is one.
    static SCARCE: AtomicUsize = AtomicUsize::new(0);
}

/// Rounds in which an idle collector certainly advances twice and reaches our mark.
const ROUNDS: u64 = 16;

/// Reclaims through the default collector of `crossbeam-epoch`: a read section costs a full fence, and every table and
/// every other user in the process share one queue of garbage. For comparison, and for programs that already live there.
#[derive(Clone, Copy, Debug, Default)]
pub struct CrossbeamEpoch;

impl Reclaim for CrossbeamEpoch {}

// SAFETY: crossbeam-epoch runs a deferred function only after every guard that was live when it was deferred is gone.
unsafe impl Backend for CrossbeamEpoch {
    type Guard<'a> = crossbeam_epoch::Guard;
    type Grace = Arc<AtomicBool>;

    #[inline]
    fn pin(&self) -> crossbeam_epoch::Guard {
        crossbeam_epoch::pin()
    }

    unsafe fn retire(&self, node: *mut (), _bytes: usize, free: unsafe fn(*mut ())) {
        let guard = crossbeam_epoch::pin();
        // SAFETY: the caller vouches that `free` may run once, on any thread.
        unsafe { guard.defer_unchecked(move || free(node)) };
    }

    unsafe fn retire_scarce(&self, node: *mut (), _bytes: usize, free: unsafe fn(*mut ())) {
        // Relaxed: a hint, as is the load in `tend`.
        SCARCE.fetch_add(1, Ordering::Relaxed);
        let guard = crossbeam_epoch::pin();
        let end = move || {
            // Relaxed: as above.
            SCARCE.fetch_sub(1, Ordering::Relaxed);
            // SAFETY: the caller vouches that `free` may run once, on any thread.
            unsafe { free(node) };
        };
        // SAFETY: as above, of the closure.
        unsafe { guard.defer_unchecked(end) };
        guard.flush();
    }

    #[inline]
    fn tend(&self) {
        // Relaxed: who misses a node leaves it to the next call.
        if SCARCE.load(Ordering::Relaxed) != 0 {
            Backend::collect(self);
        }
    }

    fn grace(&self) -> Arc<AtomicBool> {
        let passed = Arc::new(AtomicBool::new(false));
        let mark = Arc::clone(&passed);
        // weaken-ok(Release->Relaxed): this backend is not built under loom; stress and the shared suite run it.
        // Release: pairs with the Acquire in `wait`; what the sections that were open did comes before what we free.
        crossbeam_epoch::pin().defer(move || mark.store(true, Ordering::Release));
        passed
    }

    fn wait(&self, grace: &Arc<AtomicBool>, timeout: Duration) -> bool {
        let start = Instant::now();
        let mut backoff = Backoff::new();
        for round in 0u64.. {
            crossbeam_epoch::pin().flush();
            // Acquire: pairs with the Release in `grace`.
            // weaken-ok(Acquire->Relaxed): this backend is not built under loom; stress and the shared suite run it.
            if grace.load(Ordering::Acquire) {
                return true;
            }
            if round >= ROUNDS && start.elapsed() >= timeout {
                return false;
            }
            if round >= ROUNDS && backoff.step() == Step::Park {
                thread::yield_now();
            }
        }
        false
    }

    fn try_admit(&self, _bytes: usize) -> Result<(), u32> {
        Ok(()) // The default collector has no limit.
    }

    fn has_room(&self, _bytes: usize) -> bool {
        true
    }

    fn admit(&self, _bytes: usize) {}

    fn collect(&self) {
        for _ in 0..ROUNDS {
            crossbeam_epoch::pin().flush();
        }
    }
}
