//! What a slot points to: a counted body, or an alias of one, behind one tagged word.
//!
//! A descriptor made by `insert` points straight at its body. One made by `dup` points at an alias, which names the
//! body and has a generation of its own: two descriptors share a value, never a generation.
//!
//! # States
//! A body is *live* (`refs` counts the slots, [`Shared`](crate::Shared) and [`Removed`](crate::Removed) that name it)
//! or *dead* (`DEAD` set). The only move is live -> dead, when the count is zero or is taken from one to none.
//!
//! # Invariants
//! - I1: exactly one thread moves a body to dead; it alone may free it, and only after a grace period that began after
//!   the move: until then a reader that saw a link may still look at the value.
//! - I2: dead is for ever: `acquire` on a dead body fails, whatever the low bits say.
//! - I3: a linked node is never freed while anybody who was pinned before it was unlinked is still pinned. So a
//!   compare-exchange of a link by a pinned thread has no ABA: the address cannot come back meanwhile.
//!
//! # Orderings
//! | access | order | pairs with |
//! |---|---|---|
//! | `release` fetch-sub | Release | the Acquire of the move to dead: every use comes before the value's drop |
//! | move to dead | AcqRel | the Releases above; the Acquire of a failed `acquire`, which then sees the slot unlinked |
//! | `acquire` fetch-add | Acquire | the Release of the move to dead |

use crate::flags::Flags;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use sync_base::atomic::{AtomicUsize, Ordering};

const DEAD: usize = 1 << (usize::BITS - 1);
/// A count that only a leak of references can reach.
const MOST: usize = DEAD >> 1;

/// A value with its count. `generation` comes first here and in [`Alias`], so that it is read without a branch.
#[repr(C, align(8))]
pub(crate) struct Body<T> {
    generation: u64,
    refs: AtomicUsize,
    pub(crate) value: T,
}

/// A second descriptor of a body.
#[repr(C, align(8))]
pub(crate) struct Alias<T> {
    generation: u64,
    body: NonNull<Body<T>>,
}

impl<T> Body<T> {
    /// Makes a live body with one reference.
    pub(crate) fn new(value: T) -> Self {
        Self {
            generation: 0,
            refs: AtomicUsize::new(1),
            value,
        }
    }

    /// Adds a reference unless the body is dead. Wait-free.
    pub(crate) fn acquire(&self) -> bool {
        // Acquire: pairs with the Release of the move to dead, in `release` and `kill_last`; after a failure the slot
        // is seen without this body.
        let before = self.refs.fetch_add(1, Ordering::Acquire);
        if before & DEAD != 0 {
            return false;
        }
        if before >= MOST {
            std::process::abort(); // As for `Arc`: the count would wrap into a use after free.
        }
        true
    }

    /// Gives up a reference; `true` if that killed the body. Wait-free.
    #[must_use]
    pub(crate) fn release(&self) -> bool {
        // The usual case in one step: nobody shares it, and whoever tries to from now on finds it dead.
        // Relaxed: a hint; the exchange decides.
        if self.refs.load(Ordering::Relaxed) == 1 && self.kill(1) {
            return true;
        }
        // Release: pairs with the Acquire in `kill`; this thread's use of the value comes before its drop.
        // weaken-ok(Release->Relaxed): the domain's heavy barrier, run after the move to dead, orders every thread's use
        // before the drop; crossbeam-epoch has no such barrier against a `Shared` outside a section, and loom lacks it.
        if self.refs.fetch_sub(1, Ordering::Release) != 1 {
            return false;
        }
        self.kill(0)
    }

    /// Moves a body whose one reference is the caller's to dead.
    #[must_use]
    pub(crate) fn kill_last(&self) -> bool {
        self.kill(1)
    }

    /// Says whether anybody else holds a reference. True or false only as long as nobody acquires or releases.
    pub(crate) fn is_shared(&self) -> bool {
        // Relaxed: an observation that gives access to nothing.
        self.refs.load(Ordering::Relaxed) & !DEAD > 1
    }

    fn kill(&self, count: usize) -> bool {
        // AcqRel: the Acquire pairs with the Release in `release`, whose uses come before the drop; the Release pairs
        // with the Acquire in `acquire`, and publishes that the slots are unlinked. Relaxed on failure: somebody
        // acquired meanwhile, and will release.
        // weaken-ok(AcqRel->Release): as in `release`: the domain's heavy barrier orders it too, crossbeam-epoch does not.
        // weaken-ok(AcqRel->Acquire): an `acquire` that fails looks at the slot again, and what a late look costs is a turn.
        self.refs
            .compare_exchange(count, DEAD, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }
}

/// A slot's word: `pointer | ALIAS | flags`. Zero is an empty slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link(pub(crate) *mut ());

impl Link {
    pub(crate) const EMPTY: Self = Self(ptr::null_mut());
    const ALIAS: usize = 0b100;
    const TAGS: usize = Self::ALIAS | Flags::ALL as usize;

    pub(crate) fn is_empty(self) -> bool {
        self.0.is_null()
    }

    pub(crate) fn flags(self) -> Flags {
        Flags::from_bits(self.0.addr() as u8)
    }

    pub(crate) fn with_flags(self, flags: Flags) -> Self {
        Self(
            self.0
                .map_addr(|a| (a & !(Flags::ALL as usize)) | flags.bits() as usize),
        )
    }

    fn is_alias(self) -> bool {
        self.0.addr() & Self::ALIAS != 0
    }

    fn node(self) -> *mut () {
        self.0.map_addr(|a| a & !Self::TAGS)
    }

    /// The generation of the descriptor.
    ///
    /// # Safety
    /// The link is not empty, and its node is owned by the caller or protected by I3.
    #[inline(always)]
    pub(crate) unsafe fn generation(self) -> u64 {
        // SAFETY: `repr(C)` puts the generation first in both kinds of node; the caller keeps the node alive.
        unsafe { *self.node().cast::<u64>() }
    }

    /// The body behind the link.
    ///
    /// # Safety
    /// The link is not empty, was made for this `T`, and its node is owned by the caller or protected by I3.
    #[inline(always)]
    pub(crate) unsafe fn body<T>(self) -> NonNull<Body<T>> {
        if self.is_alias() {
            // SAFETY: the tag says what the node is; the caller keeps it alive.
            return unsafe { (*self.node().cast::<Alias<T>>()).body };
        }
        // SAFETY: not empty, so not null.
        unsafe { NonNull::new_unchecked(self.node().cast()) }
    }

    /// The alias to free when this link is unlinked, if it is one.
    pub(crate) fn alias<T>(self) -> Option<NonNull<Alias<T>>> {
        NonNull::new(self.node().cast()).filter(|_| self.is_alias())
    }
}

/// A node that no slot has seen yet. Holds its memory by raw pointer, since readers will share it once it is linked;
/// every path either publishes it or takes it apart.
#[must_use]
pub(crate) struct Fresh<T> {
    link: Link,
    kind: PhantomData<Box<Body<T>>>,
}

impl<T> Fresh<T> {
    /// Makes a node with a value of its own.
    pub(crate) fn body(value: T) -> Self {
        let node = Box::into_raw(Box::new(Body::new(value)));
        Self {
            link: Link(node.cast()),
            kind: PhantomData,
        }
    }

    /// Makes a node that names a body to which the caller holds a reference, which goes with the node.
    pub(crate) fn alias(body: NonNull<Body<T>>) -> Self {
        let node = Box::into_raw(Box::new(Alias { generation: 0, body })).cast::<()>();
        Self {
            link: Link(node.map_addr(|a| a | Link::ALIAS)),
            kind: PhantomData,
        }
    }

    pub(crate) fn set_generation(&mut self, generation: u64) {
        // SAFETY: not published, so this thread alone reaches the node; the generation is its first field.
        unsafe { self.link.node().cast::<u64>().write(generation) };
    }

    /// The word to publish. The node is freed by whoever unlinks it.
    pub(crate) fn link(&self, flags: Flags) -> Link {
        self.link.with_flags(flags)
    }

    /// Takes the value back out of a node that was never published.
    pub(crate) fn into_value(self) -> T {
        assert!(!self.link.is_alias(), "an alias has no value of its own");
        // SAFETY: never published, so still the sole owner of what `Box::into_raw` gave.
        unsafe { Box::from_raw(self.link.node().cast::<Body<T>>()) }.value
    }

    /// Takes the reference back out of an alias that was never published.
    pub(crate) fn into_reference(self) -> NonNull<Body<T>> {
        assert!(self.link.is_alias(), "a body is no reference to another");
        // SAFETY: never published, so still the sole owner of what `Box::into_raw` gave.
        unsafe { Box::from_raw(self.link.node().cast::<Alias<T>>()) }.body
    }
}

/// Frees a dead body, dropping its value.
///
/// # Safety
/// A `Body<T>` from [`Fresh::body`], dead, a grace period ago; called once.
pub(crate) unsafe fn free_body<T>(body: *mut ()) {
    // SAFETY: I1, by the caller.
    drop(unsafe { Box::from_raw(body.cast::<Body<T>>()) });
}

/// Frees an unlinked alias.
///
/// # Safety
/// An `Alias<T>` from [`Fresh::alias`], unlinked a grace period ago; called once.
pub(crate) unsafe fn free_alias<T>(alias: *mut ()) {
    // SAFETY: I3, by the caller.
    drop(unsafe { Box::from_raw(alias.cast::<Alias<T>>()) });
}
