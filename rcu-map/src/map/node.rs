//! An entry of a map: hash bits, key and value in one allocation with a count of its owners.
//!
//! # States
//! *fresh* (one owner, reached by the thread that made it) -> *linked* (the map owns one count) -> *retired* (unlinked;
//! the map's count is given up once no reader can still arrive) -> *freed* when the count reaches zero.
//!
//! # Invariants
//! - N1: hash bits, key and value are written before the node is linked and never again while it is shared.
//! - N2: while the map's own count stands, a reader inside a read section may take another count: the reclamation domain
//!   gives the map's count up only after every such section is over.
//! - N3: whoever brings the count from one to zero frees the node, exactly once.
//!
//! # Orderings
//! | access | order | pairs with |
//! |---|---|---|
//! | `owners` increment | Relaxed | the caller already holds a count, or N2 holds it |
//! | `owners` decrement | Release | the Acquire fence, or the Acquire load, of whoever frees |

use super::hash::Hashed;
use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr::NonNull;
use sync_base::atomic::{AtomicU32, Ordering, fence};

#[derive(Debug)]
pub(crate) struct Node<K, V> {
    owners: AtomicU32,
    pub(crate) hashed: Hashed,
    pub(crate) key: K,
    pub(crate) value: V,
}

impl<K, V> Node<K, V> {
    /// What one node occupies, without what key and value own elsewhere.
    pub(crate) const BYTES: usize = size_of::<Self>();

    /// Takes another count.
    ///
    /// # Safety
    /// The node is alive and some count stands until this returns.
    #[inline]
    pub(crate) unsafe fn acquire(node: NonNull<Self>) {
        // SAFETY: the caller keeps the node alive.
        let owners = unsafe { &node.as_ref().owners };
        // Relaxed: the count that the caller relies on already orders this after the node's creation.
        let before = owners.fetch_add(1, Ordering::Relaxed);
        // As with `Arc`: a count that could wrap means handles leaked in a loop, and wrapping would free a live node.
        if before > i32::MAX as u32 {
            std::process::abort();
        }
    }

    /// Gives a count up and frees the node with the last one.
    ///
    /// # Safety
    /// The caller owns a count and does not use it again.
    #[inline]
    pub(crate) unsafe fn release(node: NonNull<Self>) {
        // SAFETY: the caller's count keeps the node alive.
        let owners = unsafe { &node.as_ref().owners };
        // Acquire: pairs with the Release decrement below; a count of one is this caller's, so nobody else is left, and
        // all that the others did comes before the free. It saves the read-modify-write of an unshared node.
        if owners.load(Ordering::Acquire) != 1 {
            // Release: pairs with the Acquire fence of whoever frees; our use of the node comes before.
            if owners.fetch_sub(1, Ordering::Release) != 1 {
                return;
            }
            // Acquire: pairs with the Release decrements of the other owners. Either interleaving of two last owners
            // leaves one of them reading 1 here, and it comes after the other's decrement.
            fence(Ordering::Acquire);
        }
        // SAFETY: N3: this was the last count; the node came from `Fresh::new`.
        drop(unsafe { Box::from_raw(node.as_ptr()) });
    }
}

/// A node that is not linked yet; dropping it frees the node.
#[derive(Debug)]
pub(crate) struct Fresh<K, V>(Box<Node<K, V>>);

impl<K, V> Fresh<K, V> {
    pub(crate) fn new(hashed: Hashed, key: K, value: V) -> Self {
        Self(Box::new(Node {
            owners: AtomicU32::new(1),
            hashed,
            key,
            value,
        }))
    }

    pub(crate) fn hashed(&self) -> Hashed {
        self.0.hashed
    }

    pub(crate) fn key(&self) -> &K {
        &self.0.key
    }

    /// Gives key and value back.
    pub(crate) fn into_parts(self) -> (K, V) {
        let node = *self.0;
        (node.key, node.value)
    }

    /// Lets go of the node, whose one count now belongs to whoever links it.
    pub(crate) fn link(self) -> NonNull<Node<K, V>> {
        NonNull::from(Box::leak(self.0))
    }
}

/// An owned handle to an entry: it outlives guards, removal and the map itself.
///
/// Dereferences to the value. Cloning and dropping it touch a shared count, so a handle to a hot entry contends between
/// threads where a borrow under a guard does not: take it to *keep* an entry, not to look at one.
///
/// ```
/// use rcu_map::RcuMap;
/// let map = RcuMap::new();
/// map.insert("pid", vec![1, 2, 3]);
/// let entry = map.get_entry("pid").unwrap();
/// map.remove("pid");
/// assert_eq!((*entry.key(), entry.len()), ("pid", 3));
/// ```
pub struct Entry<K, V> {
    node: NonNull<Node<K, V>>,
}

// SAFETY: N1: a shared node is only read, and the last handle, on any thread, drops key and value: what `Arc` needs.
unsafe impl<K: Send + Sync, V: Send + Sync> Send for Entry<K, V> {}
// SAFETY: as above; `&Entry` can be cloned into an `Entry`.
unsafe impl<K: Send + Sync, V: Send + Sync> Sync for Entry<K, V> {}

impl<K, V> Entry<K, V> {
    /// Takes a new count of a node.
    ///
    /// # Safety
    /// As [`Node::acquire`].
    #[inline]
    pub(crate) unsafe fn from_shared(node: NonNull<Node<K, V>>) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Node::acquire(node) };
        Self { node }
    }

    #[inline]
    fn inner(&self) -> &Node<K, V> {
        // SAFETY: our count keeps the node alive; N1: nobody writes it.
        unsafe { self.node.as_ref() }
    }

    /// The key this entry was stored under.
    pub fn key(&self) -> &K {
        &self.inner().key
    }

    /// The value, as `*entry` gives it.
    pub fn value(&self) -> &V {
        &self.inner().value
    }

    /// Says whether both handles name the same entry, not merely equal ones.
    pub fn same(&self, other: &Self) -> bool {
        self.node == other.node
    }

    /// Takes key and value out if this is the only handle and the map has let go; hands the handle back otherwise.
    ///
    /// A map lets go of a removed entry some time after the last reader that could see it has left.
    ///
    /// # Errors
    /// The handle itself, when the entry is still shared.
    pub fn try_into_parts(self) -> Result<(K, V), Self> {
        // Acquire: pairs with the Release decrement in `Node::release`; the other owners' reads come before the move.
        if self.inner().owners.load(Ordering::Acquire) != 1 {
            return Err(self);
        }
        let this = ManuallyDrop::new(self);
        // SAFETY: N3: ours is the last count, and `this` is never dropped.
        let node = unsafe { Box::from_raw(this.node.as_ptr()) };
        let node = *node;
        Ok((node.key, node.value))
    }
}

impl<K, V> Clone for Entry<K, V> {
    fn clone(&self) -> Self {
        // SAFETY: our own count stands.
        unsafe { Self::from_shared(self.node) }
    }
}

impl<K, V> Drop for Entry<K, V> {
    fn drop(&mut self) {
        // SAFETY: the count is ours, and this is its last use.
        unsafe { Node::release(self.node) };
    }
}

impl<K, V> Deref for Entry<K, V> {
    type Target = V;
    #[inline]
    fn deref(&self) -> &V {
        &self.inner().value
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Entry<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Entry")
            .field(self.key())
            .field(self.value())
            .finish()
    }
}
