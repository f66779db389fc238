//! What the kernel knows of a ring by number: slots of files, slots of buffers, groups of provided buffers.
//!
//! Handles to them are dropped on any thread, while only the ring's own thread may tell the kernel. So a handle that is
//! the last of its kind leaves its number here, and the ring passes it on at its next turn.
//!
//! # States of a number
//! ```text
//!   free ──take──► held ──leave──► leaving ──the ring told the kernel──► free
//! ```
//! - **N1** a number is held by one owner, and free again only after the kernel was told: what is opened under it later
//!   is queued behind the closing of what was there before, and the kernel takes entries in order.
//! - **N2** a number leaves when its last handle is dropped, and an operation in flight holds one: so nothing that is
//!   queued or in flight names a number that was given to another since.
//! - **N3** memory that the kernel knows of lives in its slot here until the kernel was told.
//!
//! All under one lock, at the release of which each move takes place. `waiting` beside it only spares the ring the lock when
//! there is nothing to do:
//!
//! - **N4** `waiting` is written under the lock, as long as the lists are then; so once whoever left something is known to be
//!   past it, the ring reads that something waits, until it has taken the last.
//!
//! Models: `ring_registered.rs` of loom-tests.

use std::any::Any;
use sync_base::atomic::{AtomicU32, Ordering};
use sync_base::sync::Mutex;

/// Memory that the kernel knows of, whatever it is.
pub type Kept = Box<dyn Any + Send>;

/// The numbers of one ring; shared with the handles that name one.
pub struct Registry {
    state: Mutex<State>,
    /// How many numbers are leaving.
    waiting: AtomicU32,
}

struct State {
    files: Numbers,
    /// The kernel's own slots end here; they are closed like ours, and it keeps their account itself.
    file_slots: u32,
    closing: Vec<u32>,
    /// Slots whose file was unregistered and whose handles are copies: never used again.
    retired: Vec<u32>,
    buffers: Numbers,
    groups: Numbers,
    kept: Vec<Option<Kept>>,
    leaving: Vec<Leaving>,
}

/// Something that the ring has to take back from the kernel by a system call.
pub enum Leaving {
    /// A slot of the registered buffers.
    Buffer(u16),
    /// A group of provided buffers, with the memory that the kernel picks from.
    Group(u16, Kept),
}

/// Which of the numbers below a limit are free.
struct Numbers {
    fresh: u32,
    limit: u32,
    free: Vec<u32>,
}

impl Numbers {
    const fn new(limit: u32) -> Self {
        Self {
            fresh: 0,
            limit,
            free: Vec::new(),
        }
    }

    fn take(&mut self) -> Option<u32> {
        if let Some(number) = self.free.pop() {
            return Some(number);
        }
        (self.fresh < self.limit).then(|| {
            self.fresh += 1;
            self.fresh - 1
        })
    }

    fn is_free(&self, number: u32) -> bool {
        number < self.limit && (number >= self.fresh || self.free.contains(&number))
    }

    /// Takes this very number; `false` when it is not free.
    fn take_this(&mut self, number: u32) -> bool {
        if !self.is_free(number) {
            return false;
        }
        while self.fresh <= number {
            self.free.push(self.fresh);
            self.fresh += 1;
        }
        self.free.retain(|&other| other != number);
        true
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}

impl Registry {
    /// Starts with everything free: `files` slots of our own, `direct` more that the kernel hands out.
    pub fn new(files: u32, direct: u32) -> Self {
        Self {
            state: Mutex::new(State {
                files: Numbers::new(files),
                file_slots: files.saturating_add(direct),
                closing: Vec::new(),
                retired: Vec::new(),
                buffers: Numbers::new(0),
                groups: Numbers::new(1 << 16),
                kept: Vec::new(),
                leaving: Vec::new(),
            }),
            waiting: AtomicU32::new(0),
        }
    }

    fn lock(&self) -> sync_base::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn changed(&self, state: &State) {
        let waiting = (state.closing.len() + state.leaving.len()) as u32;
        // Relaxed: the lists are read under the lock; this only says that a look is worth it, now or a turn later.
        self.waiting.store(waiting, Ordering::Relaxed);
    }

    /// Whether something is leaving. One load.
    #[inline]
    pub fn is_waiting(&self) -> bool {
        // Relaxed: as in `changed`.
        self.waiting.load(Ordering::Relaxed) != 0
    }

    /// Takes a free slot for a file.
    pub fn take_file(&self) -> Option<u32> {
        self.lock().files.take()
    }

    /// Takes the lowest slot for a file that is free on each of several rings, of whichever thread.
    pub fn take_common_file(registries: &[&Registry]) -> Option<u32> {
        let limit = registries.iter().map(|r| r.lock().files.limit).min()?;
        let mut candidates = 0..limit;
        candidates.find(|&slot| {
            let taken = registries
                .iter()
                .take_while(|r| r.lock().files.take_this(slot))
                .count();
            if taken < registries.len() {
                for registry in &registries[..taken] {
                    registry.give_file_back(slot);
                }
            }
            taken == registries.len()
        })
    }

    /// Whether a slot for a file is free.
    pub fn has_file(&self) -> bool {
        let files = &self.lock().files;
        files.fresh < files.limit || !files.free.is_empty()
    }

    /// Takes this very slot for a file; `false` when it is not free.
    pub fn take_this_file(&self, slot: u32) -> bool {
        self.lock().files.take_this(slot)
    }

    /// Gives a slot back in which there is nothing; the kernel keeps the account of its own.
    pub fn give_file_back(&self, slot: u32) {
        let mut state = self.lock();
        if slot < state.files.limit {
            state.files.free.push(slot);
        }
    }

    /// Notes that a slot was emptied whose handles are copies.
    pub fn retire_file(&self, slot: u32) {
        self.lock().retired.push(slot);
    }

    /// Whether it was.
    pub fn is_retired(&self, slot: u32) -> bool {
        self.lock().retired.contains(&slot)
    }

    /// Counts the slots for files that are held by somebody, or leaving.
    pub fn files_held(&self) -> u32 {
        let state = self.lock();
        state.files.fresh - state.files.free.len() as u32
    }

    /// Leaves a slot whose file is to be closed.
    pub fn leave_file(&self, slot: u32) {
        let mut state = self.lock();
        debug_assert!(slot < state.file_slots && !state.closing.contains(&slot));
        state.closing.push(slot);
        self.changed(&state);
    }

    /// Takes the next slot to be closed: the caller queues that at once, and from there on the slot is free (N1).
    pub fn next_closing(&self) -> Option<u32> {
        let mut state = self.lock();
        let slot = state.closing.pop()?;
        if slot < state.files.limit {
            state.files.free.push(slot);
        }
        self.changed(&state);
        Some(slot)
    }

    /// Takes a free slot for a buffer of a table of so many, and keeps the memory there.
    pub fn take_buffer(&self, slots: u16, memory: Kept) -> Option<u16> {
        let mut state = self.lock();
        state.buffers.limit = u32::from(slots);
        let number = state.buffers.take()?;
        let at = number as usize;
        if state.kept.len() <= at {
            state.kept.resize_with(at + 1, || None);
        }
        state.kept[at] = Some(memory);
        Some(number as u16)
    }

    /// Gives a slot back of which the kernel knows nothing (any more), with what was kept there.
    pub fn give_buffer_back(&self, slot: u16) -> Option<Kept> {
        let mut state = self.lock();
        state.buffers.free.push(u32::from(slot));
        state.kept[usize::from(slot)].take()
    }

    /// Whether memory is kept in a slot for buffers.
    pub fn keeps_buffer(&self, slot: u16) -> bool {
        self.lock().kept[usize::from(slot)].is_some()
    }

    /// Counts the slots for buffers that are held by somebody, or leaving.
    pub fn buffers_held(&self) -> usize {
        self.lock().kept.iter().flatten().count()
    }

    /// Takes a free number for a group of provided buffers.
    pub fn take_group(&self) -> Option<u16> {
        self.lock().groups.take().map(|number| number as u16)
    }

    /// Gives a group's number back of which the kernel knows nothing (any more).
    pub fn give_group_back(&self, group: u16) {
        self.lock().groups.free.push(u32::from(group));
    }

    /// Counts the groups of provided buffers that are held by somebody, or leaving.
    pub fn groups_held(&self) -> u32 {
        let state = self.lock();
        state.groups.fresh - state.groups.free.len() as u32
    }

    /// Leaves something that the ring has to take back from the kernel.
    pub fn leave(&self, what: Leaving) {
        let mut state = self.lock();
        state.leaving.push(what);
        self.changed(&state);
    }

    /// Takes the next such thing.
    pub fn next_leaving(&self) -> Option<Leaving> {
        let mut state = self.lock();
        let next = state.leaving.pop();
        self.changed(&state);
        next
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn e2_a_slot_is_free_again_only_after_it_was_closed() {
        let registry = Registry::new(2, 1);
        let (a, b) = (registry.take_file().unwrap(), registry.take_file().unwrap());
        assert_ne!(a, b);
        assert_eq!(registry.take_file(), None);
        registry.leave_file(a);
        assert_eq!((registry.take_file(), registry.files_held()), (None, 2));
        assert!(registry.is_waiting());
        assert_eq!(registry.next_closing(), Some(a));
        assert!(!registry.is_waiting());
        assert_eq!(registry.take_file(), Some(a));
    }

    #[test]
    fn e2_a_slot_that_the_kernel_hands_out_is_never_handed_out_by_us() {
        let registry = Registry::new(1, 1);
        registry.leave_file(1);
        assert_eq!(registry.next_closing(), Some(1));
        assert_eq!((registry.take_file(), registry.take_file()), (Some(0), None));
    }

    #[test]
    fn e16_a_slot_common_to_several_rings_is_free_on_each_and_none_is_lost() {
        let (one, other) = (Registry::new(4, 0), Registry::new(3, 0));
        assert_eq!(one.take_file(), Some(0));
        assert!(other.take_this_file(1) && !other.take_this_file(1));
        assert_eq!(Registry::take_common_file(&[&one, &other]), Some(2));
        assert_eq!(Registry::take_common_file(&[&one, &other]), None);
        assert_eq!((one.files_held(), other.files_held()), (2, 2));
        assert!(!other.take_this_file(3), "past the end");
    }

    #[test]
    fn e1_memory_is_kept_until_its_slot_is_given_back() {
        let registry = Registry::new(1, 0);
        let slot = registry.take_buffer(1, Box::new(7u32)).unwrap();
        assert!(registry.take_buffer(1, Box::new(8u32)).is_none());
        registry.leave(Leaving::Buffer(slot));
        assert_eq!(registry.buffers_held(), 1);
        assert!(matches!(registry.next_leaving(), Some(Leaving::Buffer(0))));
        assert!(
            registry
                .give_buffer_back(slot)
                .is_some_and(|kept| kept.is::<u32>())
        );
        assert_eq!(registry.buffers_held(), 0);
    }
}
