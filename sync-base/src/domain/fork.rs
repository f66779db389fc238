//! After a fork the other threads are gone, yet their records are copied as they were.

#[cfg(not(any(loom, shuttle)))]
mod shipped {
    use super::super::record::Record;
    use super::super::thread_id;
    use std::sync::Once;
    // std: this module stands outside the models, in which nothing forks.
    use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

    /// Forks that lie between the first process and this one, each with the survivor's id before and after.
    const GENERATIONS: usize = 64;
    static FORKS: AtomicUsize = AtomicUsize::new(UNWATCHED);
    /// Forks are not counted yet.
    const UNWATCHED: usize = usize::MAX;
    static BEFORE: [AtomicU32; GENERATIONS] = [const { AtomicU32::new(0) }; GENERATIONS];
    static AFTER: [AtomicU32; GENERATIONS] = [const { AtomicU32::new(0) }; GENERATIONS];

    /// Sees to it that forks are noticed.
    pub(in super::super) fn watch() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            // SAFETY: the handler below only makes system calls and stores to atomics and a plain thread-local.
            let refused = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
            assert_eq!(refused, 0, "pthread_atfork: no memory");
            // Relaxed: whoever needs the count has called this, and the once orders it.
            FORKS.store(0, Ordering::Relaxed);
        });
    }

    extern "C" fn in_child() {
        let before = thread_id::current();
        thread_id::after_fork_in_child();
        crate::barrier::after_fork_in_child();
        // Relaxed, all: the child has one thread, and threads that it starts are ordered after this.
        let forks = FORKS.load(Ordering::Relaxed);
        if let (Some(b), Some(a)) = (BEFORE.get(forks), AFTER.get(forks)) {
            // Relaxed, both: as above.
            b.store(before, Ordering::Relaxed);
            a.store(thread_id::current(), Ordering::Relaxed);
        }
        // Relaxed: as above.
        FORKS.store(forks.wrapping_add(1), Ordering::Relaxed);
    }

    /// How often this process and its ancestors have forked since they are watched.
    #[inline]
    pub(in super::super) fn count() -> usize {
        // Relaxed: changes only while the process has one thread.
        match FORKS.load(Ordering::Relaxed) {
            UNWATCHED => begin(),
            forks => forks,
        }
    }

    #[cold]
    #[inline(never)]
    fn begin() -> usize {
        watch();
        // Relaxed: the once in `watch` orders the store of zero before this.
        FORKS.load(Ordering::Relaxed)
    }

    /// The present id of the thread that pins on a record.
    pub(in super::super) fn thread(record: &Record) -> u32 {
        // Acquire: pairs with the Release in `Record::belong`; the count is at least as new as the id.
        let mut id = record.thread.load(Ordering::Acquire);
        // Relaxed: as above.
        for fork in record.forks.load(Ordering::Relaxed)..count() {
            if let (Some(before), Some(after)) = (BEFORE.get(fork), AFTER.get(fork)) {
                // Relaxed, both: as in `in_child`.
                if before.load(Ordering::Relaxed) == id {
                    id = after.load(Ordering::Relaxed);
                }
            }
        }
        id
    }

    /// Whether a record's owner did not survive a fork.
    ///
    /// Follows the survivor's id through every fork since the claim. Past the table a record counts as alive, which
    /// only delays reclamation.
    pub(in super::super) fn is_ghost(record: &Record) -> bool {
        // Acquire: pairs with the Release in `Record::belong`; the count is at least as new as the id.
        let mut id = record.thread.load(Ordering::Acquire);
        // Relaxed: as above; both were written before the pin that the caller has acquired.
        let claimed = record.forks.load(Ordering::Relaxed);
        let now = count();
        for fork in claimed..now {
            let (Some(before), Some(after)) = (BEFORE.get(fork), AFTER.get(fork)) else {
                return false;
            };
            // Relaxed: as in `in_child`.
            if before.load(Ordering::Relaxed) != id {
                return true;
            }
            // Relaxed: as in `in_child`.
            id = after.load(Ordering::Relaxed);
        }
        false
    }
}

#[cfg(any(loom, shuttle))]
mod shipped {
    use super::super::record::Record;

    pub(in super::super) fn watch() {}

    pub(in super::super) fn count() -> usize {
        0
    }

    pub(in super::super) fn thread(record: &Record) -> u32 {
        // Relaxed: a number for a message.
        record.thread.load(crate::atomic::Ordering::Relaxed)
    }

    pub(in super::super) fn is_ghost(_record: &Record) -> bool {
        false
    }
}

pub(super) use shipped::*;

/// Counts the forks that lie between this process and the first call of this or the first read section; zero in a model.
///
/// One load. A structure with a lock compares it with the count at which the lock was last taken: a lock that is held since
/// before a fork may be held by a thread that the child does not have.
///
/// ```
/// let before = sync_base::forks();
/// assert_eq!(sync_base::forks(), before, "this process is still the one it was");
/// ```
#[inline]
pub fn forks() -> usize {
    count()
}
