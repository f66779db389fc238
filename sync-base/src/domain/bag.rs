//! What was unlinked and waits to be freed, gathered into batches that share one stamp.

use crate::atomic::{AtomicPtr, Ordering};
use crate::cell::UnsafeCell;
use std::ptr;

/// One unlinked object.
#[derive(Debug)]
pub(super) struct Retired {
    pub(super) ptr: *mut (),
    pub(super) bytes: usize,
    pub(super) reclaim: unsafe fn(*mut ()),
}

/// Objects all unlinked before the epoch went past `stamp`.
#[derive(Debug)]
pub(super) struct Batch {
    /// Written when sealed, by the sealer; a cell, so that a model sees a hand-over that is not ordered.
    stamp: UnsafeCell<u64>,
    pub(super) bytes: usize,
    /// Objects of the batch that the domain counts as scarce.
    pub(super) scarce: usize,
    pub(super) items: Vec<Retired>,
    pub(super) next: *mut Batch,
}

impl Batch {
    pub(super) fn new() -> Box<Self> {
        Box::new(Self {
            stamp: UnsafeCell::new(0),
            bytes: 0,
            scarce: 0,
            items: Vec::new(),
            next: ptr::null_mut(),
        })
    }

    pub(super) fn push(&mut self, item: Retired) {
        self.bytes += item.bytes;
        self.items.push(item);
    }

    pub(super) fn push_scarce(&mut self, item: Retired) {
        self.scarce += 1;
        self.push(item);
    }

    pub(super) fn seal(&mut self, stamp: u64) {
        // SAFETY: `&mut self`: the batch is not shared yet.
        self.stamp.with_mut(|s| unsafe { *s = stamp });
    }

    pub(super) fn stamp(&self) -> u64 {
        // SAFETY: written once, before the batch was pushed.
        self.stamp.with(|s| unsafe { *s })
    }
}

/// What an owner believes to lie sealed on its record. Only ever a hint: any collector may have taken it meanwhile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) objects: usize,
    pub(super) bytes: usize,
    /// The oldest stamp; above every stamp if nothing waits.
    pub(super) oldest: u64,
}

impl Waiting {
    pub(super) const NOTHING: Self = Self {
        objects: 0,
        bytes: 0,
        oldest: u64::MAX,
    };

    pub(super) fn add(&mut self, batch: &Batch) {
        self.objects += batch.items.len();
        self.bytes += batch.bytes;
        self.oldest = self.oldest.min(batch.stamp());
    }
}

/// Batches that whoever swaps the list out owns: a stack of which all is taken at once.
///
/// There is no pop of a single batch, hence no ABA; there is no lock, hence a fork at any instant leaves it whole.
#[derive(Debug)]
pub(super) struct Sealed(AtomicPtr<Batch>);

impl Sealed {
    #[cfg(not(loom))]
    pub(super) const fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    #[cfg(loom)]
    pub(super) fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    pub(super) fn is_empty(&self) -> bool {
        // Relaxed: a glance; `take` decides.
        self.0.load(Ordering::Relaxed).is_null()
    }

    pub(super) fn push(&self, batch: Box<Batch>) {
        let batch = Box::into_raw(batch);
        self.push_chain(batch, batch);
    }

    fn push_chain(&self, first: *mut Batch, last: *mut Batch) {
        // Relaxed: only carried over into `next`; whoever follows it acquires through the head.
        let mut head = self.0.load(Ordering::Relaxed);
        loop {
            // SAFETY: the chain is this thread's until the exchange below succeeds.
            unsafe { (*last).next = head };
            // Release: pairs with the Acquire in `take`; publishes the batches. What the replaced head published is
            // carried along, since a read-modify-write continues its release sequence. Relaxed on failure: as above.
            match self
                .0
                .compare_exchange_weak(head, first, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// Takes every batch.
    pub(super) fn take(&self) -> Chain {
        // Acquire: pairs with the Release in `push_chain`; the batches' contents.
        Chain(self.0.swap(ptr::null_mut(), Ordering::Acquire))
    }

    pub(super) fn put_back(&self, mut chain: Chain) {
        let first = std::mem::replace(&mut chain.0, ptr::null_mut());
        if first.is_null() {
            return;
        }
        let mut last = first;
        // SAFETY: the chain is owned; every `next` in it is a batch of the chain or null.
        while let Some(next) = unsafe { (*last).next.as_mut() } {
            last = next;
        }
        self.push_chain(first, last);
    }
}

/// Batches owned by one thread, linked.
#[derive(Debug)]
pub(super) struct Chain(*mut Batch);

impl Chain {
    pub(super) const fn empty() -> Self {
        Self(ptr::null_mut())
    }

    pub(super) fn push(&mut self, mut batch: Box<Batch>) {
        batch.next = self.0;
        self.0 = Box::into_raw(batch);
    }

    pub(super) fn pop(&mut self) -> Option<Box<Batch>> {
        if self.0.is_null() {
            return None;
        }
        // SAFETY: made by `Box::into_raw` and owned by this chain alone.
        let mut batch = unsafe { Box::from_raw(self.0) };
        self.0 = std::mem::replace(&mut batch.next, ptr::null_mut());
        Some(batch)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_null()
    }

    /// What all batches hold together.
    pub(super) fn sum(&self) -> Waiting {
        let mut at = self.0.cast_const();
        let mut sum = Waiting::NOTHING;
        // SAFETY: the chain is owned; every `next` in it is a batch of the chain or null.
        while let Some(batch) = unsafe { at.as_ref() } {
            sum.add(batch);
            at = batch.next;
        }
        sum
    }

    pub(super) fn append(&mut self, mut other: Chain) {
        while let Some(batch) = other.pop() {
            self.push(batch);
        }
    }

    /// Keeps the first `keep` batches and splits off the rest.
    pub(super) fn split_after(&mut self, keep: usize) -> Chain {
        let mut kept = Chain::empty();
        for _ in 0..keep {
            let Some(batch) = self.pop() else { break };
            kept.push(batch);
        }
        std::mem::replace(self, kept)
    }

    /// Splits off what is stamped before `bound`.
    pub(super) fn split_ripe(&mut self, bound: u64) -> Chain {
        let mut ripe = Chain::empty();
        let mut unripe = Chain::empty();
        while let Some(batch) = self.pop() {
            if batch.stamp() < bound {
                ripe.push(batch);
            } else {
                unripe.push(batch);
            }
        }
        *self = unripe;
        ripe
    }
}

impl Drop for Chain {
    /// Frees the batches and no object: what a chain still holds when it is dropped are emptied ones.
    fn drop(&mut self) {
        while let Some(batch) = self.pop() {
            debug_assert!(batch.items.is_empty(), "I6: a batch was lost");
        }
    }
}
