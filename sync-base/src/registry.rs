//! Records, each owned by one live thread, that outlive it and are reused by the next.
//!
//! # States
//! A record is *free* or *claimed*. `claim` moves free -> claimed, [`Claim`]'s drop moves claimed -> free. Records are
//! linked once, at the head, and are never unlinked or freed while the registry lives.
//!
//! # Invariants
//! - I1: at most one live `Claim` names a record: the move free -> claimed is a successful compare-exchange.
//! - I2: the list only grows, at its head, and `next` is written before the record is published: a walk that began
//!   from any head sees every record linked before it.
//! - I3: the number of records never exceeds the greatest number of claims alive at once, plus the claims that raced
//!   past a record being freed: memory is bounded by live threads and not by threads that ever lived.
//!
//! # Orderings
//! | access | order | pairs with |
//! |---|---|---|
//! | `claimed` compare-exchange | Acquire | the Release in `Claim::drop`: the next owner sees all the last one wrote |
//! | `claimed` store in drop | Release | the Acquire in `claim` |
//! | `head` compare-exchange | Release | the Acquire in `claim` and `iter`: the record's fields and `next` |

use crate::CachePadded;
use crate::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::ops::Deref;
use std::ptr;

/// A grow-only list of records of which each live thread may claim some.
///
/// A claim walks the records, so it costs O(records); it is meant to happen once in a thread's life.
///
/// ```
/// use sync_base::{Registry, atomic::{AtomicU64, Ordering}};
/// let registry: Registry<AtomicU64> = Registry::new();
/// // Relaxed: one thread only.
/// registry.claim().store(7, Ordering::Relaxed);
/// let again = registry.claim(); // the record was free again, and kept its value
/// // Relaxed: one thread only.
/// assert_eq!(again.load(Ordering::Relaxed), 7);
/// assert_eq!(registry.iter().count(), 1);
/// ```
#[derive(Debug)]
pub struct Registry<T> {
    head: AtomicPtr<Record<T>>,
}

#[derive(Debug)]
struct Record<T> {
    value: CachePadded<T>,
    claimed: AtomicBool,
    next: *const Record<T>,
}

// SAFETY: I1, I2: records are shared by reference alone, so the registry is as shareable as a `&T` sent between
// threads; dropping it drops the values, hence `T: Send`.
unsafe impl<T: Send + Sync> Sync for Registry<T> {}
// SAFETY: as for `Sync`; the registry owns its records.
unsafe impl<T: Send + Sync> Send for Registry<T> {}

impl<T> Registry<T> {
    /// Makes an empty registry.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self {
            head: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Makes an empty registry.
    #[cfg(loom)]
    pub fn new() -> Self {
        Self {
            head: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Visits every record ever linked, claimed or free, newest first. Never blocks.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.records().map(|record| &*record.value)
    }

    /// Visits every record and says whether it was claimed when it was visited.
    pub fn iter_claimed(&self) -> impl Iterator<Item = (&T, bool)> {
        // Acquire: pairs with the Release in `Claim::drop`; a record seen free shows all that its last owner wrote.
        self.records()
            .map(|record| (&*record.value, record.claimed.load(Ordering::Acquire)))
    }

    fn records(&self) -> impl Iterator<Item = &Record<T>> {
        // Acquire: pairs with the Release in `claim_with`; publishes the record and its `next`.
        let mut at: *const Record<T> = self.head.load(Ordering::Acquire);
        std::iter::from_fn(move || {
            // SAFETY: I2: a linked record lives as long as the registry, which `&self` borrows.
            let record = unsafe { at.as_ref() }?;
            at = record.next;
            Some(record)
        })
    }

    /// Claims a free record, or links a new one made by `make`. Lock-free; allocates only when none is free.
    pub fn claim_with(&self, make: impl FnOnce() -> T) -> Claim<'_, T> {
        for record in self.records() {
            // Relaxed: a glance before the compare-exchange, which decides.
            if record.claimed.load(Ordering::Relaxed) {
                continue;
            }
            // Acquire: pairs with the Release in `Claim::drop`; the new owner sees what the last one left. Relaxed
            // on failure: nothing is read.
            let won = record
                .claimed
                .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed);
            if won.is_ok() {
                return Claim { record };
            }
        }
        let fresh = Box::into_raw(Box::new(Record {
            value: CachePadded::new(make()),
            claimed: AtomicBool::new(true),
            next: ptr::null(),
        }));
        // Relaxed: the head is only carried over into `next`; whoever follows it acquires through `head`.
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            // SAFETY: not linked yet, so this thread alone reaches it.
            unsafe { (*fresh).next = head };
            // Release: pairs with the Acquire in `records`; publishes the record. Its predecessors' publication is
            // carried along, since a read-modify-write continues the release sequence of the store that it replaces.
            // Relaxed on failure: only the pointer is carried over.
            let linked = self
                .head
                .compare_exchange_weak(head, fresh, Ordering::Release, Ordering::Relaxed);
            match linked {
                Ok(_) => {
                    // SAFETY: I2: linked now, so it lives as long as the registry.
                    let record = unsafe { &*fresh };
                    return Claim { record };
                }
                Err(now) => head = now,
            }
        }
    }

    /// Claims a free record, or links a new default one.
    pub fn claim(&self) -> Claim<'_, T>
    where
        T: Default,
    {
        self.claim_with(T::default)
    }
}

impl<T> Default for Registry<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Drop for Registry<T> {
    fn drop(&mut self) {
        // Relaxed: `&mut self` means that every claim is over and this thread has synchronised with its end.
        let mut at = self.head.load(Ordering::Relaxed);
        while !at.is_null() {
            // SAFETY: made by `Box::into_raw`, linked once, and freed here once.
            let record = unsafe { Box::from_raw(at) };
            at = record.next.cast_mut();
        }
    }
}

/// The right to be the one writer of a record, given back on drop.
#[derive(Debug)]
pub struct Claim<'a, T> {
    record: &'a Record<T>,
}

// SAFETY: the claim is a reference to a record that may be shared, and `next` in it is never written again.
unsafe impl<T: Send + Sync> Send for Claim<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Claim<'_, T> {}

impl<'a, T> Claim<'a, T> {
    /// The record, for as long as the registry lives; being its writer lasts only as long as the claim.
    pub fn get(&self) -> &'a T {
        &self.record.value
    }
}

impl<T> Deref for Claim<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.record.value
    }
}

impl<T> Drop for Claim<'_, T> {
    fn drop(&mut self) {
        // Release: pairs with the Acquire in `Registry::claim_with`; hands what this owner wrote to the next.
        self.record.claimed.store(false, Ordering::Release);
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::atomic::AtomicU64;

    #[test]
    fn churned_threads_reuse_records_and_lose_nothing() {
        let registry: Registry<AtomicU64> = Registry::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        let mine = registry.claim();
                        // Relaxed: sole writer; the claim hands the value on.
                        mine.store(mine.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
                    }
                });
            }
        });
        // Relaxed: every writer was joined.
        let sum: u64 = registry.iter().map(|v| v.load(Ordering::Relaxed)).sum();
        assert_eq!(sum, 4_000);
        assert!(
            registry.iter().count() <= 8,
            "{} records for 4 live threads",
            registry.iter().count()
        );
    }
}
