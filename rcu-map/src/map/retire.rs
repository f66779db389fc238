//! What is unlinked on its way to the reclamation domain: lent to the caller first, if it is an entry.

use super::directory::Directory;
use super::node::Node;
use super::table::{Table, TableWord};
use super::{Entry, free_all};
use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;
use sync_base::Domain;

/// An entry that was removed or replaced: readers may still hold it, so it is lent, not given.
///
/// Dropping it hands it to the map's reclamation domain, which frees it once no reader can see it. Until then it is the
/// caller's to read. To keep it longer than the map, turn it into an [`Entry`].
///
/// ```
/// use rcu_map::RcuMap;
/// let map = RcuMap::new();
/// map.insert("k", String::from("old"));
/// let old = map.insert("k", String::from("new")).unwrap();
/// assert_eq!(*old, "old");
/// ```
pub struct Removed<'m, K, V>
where
    K: Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    node: NonNull<Node<K, V>>,
    domain: &'m Domain,
}

// SAFETY: it reads a shared node and may retire it from any thread: the type's own bounds allow both.
unsafe impl<K: Send + Sync, V: Send + Sync> Send for Removed<'_, K, V> {}
// SAFETY: as above.
unsafe impl<K: Send + Sync, V: Send + Sync> Sync for Removed<'_, K, V> {}

impl<'m, K, V> Removed<'m, K, V>
where
    K: Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// # Safety
    /// The node is unlinked, and the map's count of it is the caller's to give.
    pub(super) unsafe fn new(node: NonNull<Node<K, V>>, domain: &'m Domain) -> Self {
        Self { node, domain }
    }

    fn inner(&self) -> &Node<K, V> {
        // SAFETY: the map's count of the node is held here and not yet given up.
        unsafe { self.node.as_ref() }
    }

    /// The key it was stored under.
    pub fn key(&self) -> &K {
        &self.inner().key
    }

    /// The value, as `*removed` gives it.
    pub fn value(&self) -> &V {
        &self.inner().value
    }

    /// Takes an owned handle that outlives the map.
    pub fn into_entry(self) -> Entry<K, V> {
        // SAFETY: N2: the map's count stands until `self` is dropped, after this.
        unsafe { Entry::from_shared(self.node) }
    }
}

impl<K, V> Drop for Removed<'_, K, V>
where
    K: Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    fn drop(&mut self) {
        let ptr = self.node.as_ptr().cast::<()>();
        // SAFETY: M2: unlinked, retired here once; `K` and `V` may be dropped on any thread at any later time.
        unsafe { self.domain.retire(ptr, Node::<K, V>::BYTES, release_node::<K, V>) };
    }
}

impl<K, V> Deref for Removed<'_, K, V>
where
    K: Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    type Target = V;
    fn deref(&self) -> &V {
        self.value()
    }
}

impl<K, V> fmt::Debug for Removed<'_, K, V>
where
    K: fmt::Debug + Send + Sync + 'static,
    V: fmt::Debug + Send + Sync + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Removed")
            .field(self.key())
            .field(self.value())
            .finish()
    }
}

/// # Safety
/// `ptr` is a node, and the map's count of it is the caller's to give up.
unsafe fn release_node<K, V>(ptr: *mut ()) {
    // SAFETY: `Removed::drop` passed a node's address, never null.
    let node = unsafe { NonNull::new_unchecked(ptr.cast::<Node<K, V>>()) };
    // SAFETY: the caller's promise.
    unsafe { Node::release(node) };
}

/// # Safety
/// The table is unlinked, and its linked nodes are linked elsewhere.
pub(super) unsafe fn retire_table<K, V>(domain: &Domain, word: TableWord<Node<K, V>>) {
    /// # Safety
    /// `ptr` is a table's word that is freed once.
    unsafe fn free<K, V>(ptr: *mut ()) {
        // SAFETY: the caller's promise.
        unsafe { Table::<Node<K, V>>::free(ptr.cast()) };
    }
    // SAFETY: not freed before it is retired, two lines down.
    let bytes = unsafe { Table::borrow(word) }.bytes();
    // SAFETY: unlinked, retired once; a table owns no `K` and no `V`.
    unsafe { domain.retire(word.cast(), bytes, free::<K, V>) };
}

/// # Safety
/// The directory is unlinked, and its tables are linked elsewhere or retired.
pub(super) unsafe fn retire_directory<K, V>(domain: &Domain, directory: NonNull<Directory<Node<K, V>>>) {
    /// # Safety
    /// `ptr` is a directory that is freed once.
    unsafe fn free<K, V>(ptr: *mut ()) {
        // SAFETY: the caller's promise; a directory comes from a box, and frees no table.
        drop(unsafe { Box::from_raw(ptr.cast::<Directory<Node<K, V>>>()) });
    }
    // SAFETY: not freed before it is retired, two lines down.
    let bytes = unsafe { directory.as_ref() }.bytes();
    // SAFETY: unlinked, retired once; a directory owns no `K` and no `V`.
    unsafe { domain.retire(directory.as_ptr().cast(), bytes, free::<K, V>) };
}

/// # Safety
/// The directory is unlinked, and so are its tables and every node linked in them.
pub(super) unsafe fn retire_directory_and_nodes<K, V>(
    domain: &Domain,
    directory: NonNull<Directory<Node<K, V>>>,
) where
    K: Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    /// # Safety
    /// `ptr` is a directory that is freed once, with its tables and nodes.
    unsafe fn free<K, V>(ptr: *mut ()) {
        // SAFETY: the caller's promise; a directory comes from a box.
        let directory = unsafe { Box::from_raw(ptr.cast::<Directory<Node<K, V>>>()) };
        // SAFETY: the caller's promise.
        unsafe { free_all(directory.into_tables()) };
    }
    // SAFETY: not freed before it is retired, below.
    let linked = unsafe { directory.as_ref() };
    // SAFETY: as above, of the tables.
    let tables = unsafe { linked.tables() };
    let bytes = linked.bytes()
        + tables
            .map(|table| table.bytes() + table.live() * Node::<K, V>::BYTES)
            .sum::<usize>();
    // SAFETY: unlinked, retired once; `K` and `V` may be dropped on any thread at any later time.
    unsafe { domain.retire(directory.as_ptr().cast(), bytes, free::<K, V>) };
}
