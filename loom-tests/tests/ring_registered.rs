//! uring-core's numbers of registered things: none belongs to two owners, none that was left is forgotten, and a slot that is
//! looked up is one whose rings were told.
#![cfg(loom)]

use loom_tests::{Bounds, check};
use std::sync::Mutex as Plain;
use sync_base::cell::UnsafeCell;
use sync_base::sync::Arc;
use sync_base::thread;
use uring_core::{Leaving, Registry, Words};

const BOUNDS: Bounds = Bounds {
    threads: 3,
    quick: 3,
    deep: 5,
};

/// What lies in each slot of the kernel's table: only the slot's owner touches it.
struct Slots([UnsafeCell<u32>; 2]);

// SAFETY: what is modelled is that each is touched by one owner at a time; loom tells if not.
unsafe impl Sync for Slots {}

impl Slots {
    fn new() -> Self {
        let slots = Self([UnsafeCell::new(0), UnsafeCell::new(0)]);
        for slot in &slots.0 {
            // SAFETY: nobody else has it yet.
            slot.with_mut(|at| unsafe { *at = 0 });
        }
        slots
    }

    /// Puts a file in, or takes it out: as the slot's owner.
    fn put(&self, slot: u32, file: u32) {
        // SAFETY: the caller owns the slot; loom tells if not.
        self.0[slot as usize].with_mut(|at| unsafe { *at = file });
    }
}

/// The ring's turn: closes what was left, if it is told that something was.
fn turn(registry: &Registry, slots: &Slots) {
    if !registry.is_waiting() {
        return;
    }
    while let Some(slot) = registry.next_closing() {
        slots.put(slot, 0);
    }
}

#[test]
fn registry_gives_a_slot_to_one_owner_and_forgets_none() {
    check(
        "ring.registry_gives_a_slot_to_one_owner_and_forgets_none",
        BOUNDS,
        || {
            let registry = Arc::new(Registry::new(2, 0));
            let slots = Arc::new(Slots::new());
            let held = [registry.take_file().unwrap(), registry.take_file().unwrap()];
            let dropper = {
                let (registry, slots) = (Arc::clone(&registry), Arc::clone(&slots));
                thread::spawn(move || {
                    for slot in held {
                        slots.put(slot, 1);
                        registry.leave_file(slot);
                    }
                })
            };
            let ring = {
                let (registry, slots) = (Arc::clone(&registry), Arc::clone(&slots));
                thread::spawn(move || {
                    let mut mine = Vec::new();
                    for _ in 0..2 {
                        turn(&registry, &slots);
                        if let Some(slot) = registry.take_file() {
                            slots.put(slot, 2);
                            mine.push(slot);
                        }
                    }
                    mine
                })
            };
            dropper.join().unwrap();
            let mine = ring.join().unwrap();
            assert!(
                mine.iter()
                    .all(|slot| mine.iter().filter(|other| *other == slot).count() == 1)
            );
            // N4: the dropper is past it, so what it left is seen.
            turn(&registry, &slots);
            assert_eq!(registry.files_held() as usize, mine.len(), "a slot was forgotten");
        },
    );
}

/// With one thing left, nothing that is left later says for it that something waits.
#[test]
fn registry_tells_of_the_only_thing_that_was_left() {
    check(
        "ring.registry_tells_of_the_only_thing_that_was_left",
        BOUNDS,
        || {
            let (files, buffers) = (Arc::new(Registry::new(1, 0)), Arc::new(Registry::new(0, 0)));
            let slots = Arc::new(Slots::new());
            let file = files.take_file().unwrap();
            let buffer = buffers.take_buffer(1, Box::new(())).unwrap();
            let dropper = {
                let (files, buffers) = (Arc::clone(&files), Arc::clone(&buffers));
                thread::spawn(move || {
                    files.leave_file(file);
                    buffers.leave(Leaving::Buffer(buffer));
                })
            };
            let take_back = || {
                turn(&files, &slots);
                if buffers.is_waiting()
                    && let Some(Leaving::Buffer(slot)) = buffers.next_leaving()
                {
                    drop(buffers.give_buffer_back(slot));
                }
            };
            take_back();
            dropper.join().unwrap();
            // N4: the dropper is past it.
            take_back();
            assert_eq!(
                (files.files_held(), buffers.buffers_held()),
                (0, 0),
                "something was forgotten"
            );
            assert!(
                !files.is_waiting() && !buffers.is_waiting(),
                "nothing is left, and the ring would look for ever"
            );
        },
    );
}

/// Memory that the kernel knows of: freed when the ring has taken it back, and not before.
struct Memory(std::sync::Arc<Plain<Vec<&'static str>>>);

impl Drop for Memory {
    fn drop(&mut self) {
        self.0.lock().unwrap().push("freed");
    }
}

#[test]
fn registry_keeps_memory_until_the_ring_has_taken_it_back() {
    check(
        "ring.registry_keeps_memory_until_the_ring_has_taken_it_back",
        BOUNDS,
        || {
            let said = std::sync::Arc::new(Plain::new(Vec::new()));
            let registry = Arc::new(Registry::new(0, 0));
            let memory = Box::new(Memory(std::sync::Arc::clone(&said)));
            let slot = registry.take_buffer(1, memory).unwrap();
            let group = registry.take_group().unwrap();
            let kept = Box::new(Memory(std::sync::Arc::clone(&said)));
            let droppers = [
                {
                    let registry = Arc::clone(&registry);
                    thread::spawn(move || registry.leave(Leaving::Buffer(slot)))
                },
                {
                    let registry = Arc::clone(&registry);
                    thread::spawn(move || registry.leave(Leaving::Group(group, kept)))
                },
            ];
            let take_back = || {
                while registry.is_waiting()
                    && let Some(leaving) = registry.next_leaving()
                {
                    said.lock().unwrap().push("told");
                    match leaving {
                        Leaving::Buffer(slot) => drop(registry.give_buffer_back(slot)),
                        Leaving::Group(group, kept) => {
                            drop(kept);
                            registry.give_group_back(group);
                        }
                    }
                }
            };
            take_back();
            for dropper in droppers {
                dropper.join().unwrap();
            }
            take_back();
            assert_eq!(
                (registry.buffers_held(), registry.groups_held()),
                (0, 0),
                "something was forgotten"
            );
            assert_eq!(*said.lock().unwrap(), ["told", "freed", "told", "freed"]);
        },
    );
}

#[test]
fn words_name_no_slot_that_rings_were_not_told_of() {
    check(
        "ring.words_name_no_slot_that_rings_were_not_told_of",
        BOUNDS,
        || {
            let (words, slots) = (Arc::new(Words::new(1)), Arc::new(Slots::new()));
            let binder = {
                let (words, slots) = (Arc::clone(&words), Arc::clone(&slots));
                thread::spawn(move || {
                    slots.put(0, 7);
                    words.set(0, 1, Some(0));
                })
            };
            let reader = {
                let (words, slots) = (Arc::clone(&words), Arc::clone(&slots));
                thread::spawn(move || {
                    let slot = words.get(0, 1)?;
                    // SAFETY: W3: it was filled before the word was written; loom tells if not.
                    Some(slots.0[slot as usize].with(|at| unsafe { *at }))
                })
            };
            binder.join().unwrap();
            assert!(matches!(reader.join().unwrap(), None | Some(7)));
            assert_eq!(words.get(0, 1), Some(0));
        },
    );
}

#[test]
fn words_give_a_handle_no_slot_of_the_file_that_comes_next() {
    check(
        "ring.words_give_a_handle_no_slot_of_the_file_that_comes_next",
        BOUNDS,
        || {
            let words = Arc::new(Words::new(1));
            words.set(0, 1, Some(0));
            let owner = {
                let words = Arc::clone(&words);
                thread::spawn(move || {
                    words.set(0, 1, None);
                    words.set(0, 2, Some(1));
                    // What closes the old file late takes nothing from the new one.
                    words.set(0, 1, None);
                })
            };
            let reader = {
                let words = Arc::clone(&words);
                thread::spawn(move || (words.get(0, 1), words.get(0, 2)))
            };
            owner.join().unwrap();
            let (old, new) = reader.join().unwrap();
            assert!(matches!(old, None | Some(0)), "{old:?}");
            assert!(matches!(new, None | Some(1)), "{new:?}");
            assert_eq!((words.get(0, 1), words.get(0, 2)), (None, Some(1)));
        },
    );
}
