//! Tasks that other threads woke: a list that any thread pushes to and the home thread empties.
//!
//! # States of `head`
//! null: empty. `CLOSED`: nothing more is taken. Else the newest node, linked to older ones.
//!
//! - **W1** a node is in the list at most once: its owner pushes it only if it was not queued.
//! - **W2** nodes leave all at once, so that none is popped while it may be pushed again: no ABA.
//! - **W3** each push is handed out exactly once, by `take` or `close`, or comes back to its pusher: closing exchanges the
//!   word that pushing exchanges, so each push lies before it or after it.
//!
//! # Orderings
//! | access | order | pairs with |
//! |---|---|---|
//! | `head` exchange in `push` | Release | the Acquire in `take_all`; publishes the node's link, and what the waker did |
//! | `head.swap` in `take_all` | Acquire | that Release; a chain of pushes is one release sequence |
//! | `link`, `head` load in `push` | Relaxed | nothing: published by the exchange, which also checks the load |
//!
//! The loom models are those of `engine_wakes`.

use std::ptr;
use std::sync::Arc;
use sync_base::atomic::{AtomicPtr, Ordering};

/// Something with room for a link.
pub trait Linked: Sized {
    /// The link, which the list alone uses while the node is in it.
    fn link(&self) -> &AtomicPtr<Self>;
}

/// The list.
#[derive(Debug)]
pub struct Wakes<T: Linked> {
    head: AtomicPtr<T>,
}

// SAFETY: the list owns a count of each node and hands it from thread to thread, which needs what `Arc` needs.
unsafe impl<T: Linked + Send + Sync> Send for Wakes<T> {}
// SAFETY: as above.
unsafe impl<T: Linked + Send + Sync> Sync for Wakes<T> {}

/// No node's address: a node holds a pointer, so it is aligned to more than one byte.
fn closed<T>() -> *mut T {
    const { assert!(align_of::<T>() > 1) };
    ptr::without_provenance_mut(1)
}

impl<T: Linked> Wakes<T> {
    /// Makes an empty list.
    pub fn new() -> Self {
        Self {
            head: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Pushes a node that is in no list. Lock-free.
    ///
    /// # Errors
    /// Hands it back once the list is closed.
    pub fn push(&self, node: Arc<T>) -> Result<(), Arc<T>> {
        // Relaxed: a guess, which the exchange checks.
        let mut head = self.head.load(Ordering::Relaxed);
        let node = Arc::into_raw(node).cast_mut();
        loop {
            if head == closed() {
                // SAFETY: made by `into_raw` above, and given to nobody.
                return Err(unsafe { Arc::from_raw(node) });
            }
            // SAFETY: the count that is being pushed keeps the node.
            let link = unsafe { &*node }.link();
            // Relaxed: published by the exchange below.
            link.store(head, Ordering::Relaxed);
            // Release: pairs with the Acquire in `take_all`; publishes the link and what the waker did before.
            // Relaxed: on failure only another guess.
            match self
                .head
                .compare_exchange_weak(head, node, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => return Ok(()),
                Err(newer) => head = newer,
            }
        }
    }

    /// Takes everything out, and calls `each` with the oldest first.
    pub fn take(&self, each: impl FnMut(Arc<T>)) {
        // Relaxed: an empty list is left alone; what is pushed later rings later.
        if self.head.load(Ordering::Relaxed).is_null() {
            return;
        }
        self.take_all(ptr::null_mut(), each);
    }

    /// Takes everything out and lets nothing more in.
    pub fn close(&self, each: impl FnMut(Arc<T>)) {
        self.take_all(closed(), each);
    }

    fn take_all(&self, rest: *mut T, mut each: impl FnMut(Arc<T>)) {
        // Acquire: pairs with the Release in `push`.
        let mut newest = self.head.swap(rest, Ordering::Acquire);
        if newest == closed() {
            return;
        }
        let mut oldest = ptr::null_mut();
        while !newest.is_null() {
            // SAFETY: W2: the list's count of each node keeps it, and the list is ours alone since the swap.
            let link = unsafe { &*newest }.link();
            // Relaxed: published by the push, acquired by the swap.
            let older = link.load(Ordering::Relaxed);
            // Relaxed: nobody else reads the link before the node is pushed again.
            link.store(oldest, Ordering::Relaxed);
            oldest = newest;
            newest = older;
        }
        while !oldest.is_null() {
            // SAFETY: as above.
            let link = unsafe { &*oldest }.link();
            // Relaxed: written above.
            let newer = link.load(Ordering::Relaxed);
            // SAFETY: the count that `push` gave to the list; given out once.
            each(unsafe { Arc::from_raw(oldest) });
            oldest = newer;
        }
    }
}

impl<T: Linked> Default for Wakes<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Linked> Drop for Wakes<T> {
    fn drop(&mut self) {
        self.close(drop);
    }
}
