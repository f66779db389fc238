//! Aligned memory goes back with the layout that it came with. Alone in its process: the allocator is watched.
#![cfg(not(any(loom, shuttle)))]

use pooled_vec::{AlignedBuf, PinnedBuf};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;

/// Remembers the layouts of what is aligned to 64 or more: nothing of the test harness is.
struct Watched;
static LIVE: Mutex<[Option<(usize, Layout)>; 64]> = Mutex::new([None; 64]);

fn note(at: *mut u8, layout: Layout) {
    let mut live = LIVE.lock().unwrap();
    let free = live
        .iter_mut()
        .find(|entry| entry.is_none())
        .expect("few are live at once");
    *free = Some((at as usize, layout));
}

// SAFETY: the system's allocator, watched.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: passed on.
        let at = unsafe { System.alloc(layout) };
        if layout.align() >= 64 && !at.is_null() {
            note(at, layout);
        }
        at
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: passed on.
        let at = unsafe { System.alloc_zeroed(layout) };
        if layout.align() >= 64 && !at.is_null() {
            note(at, layout);
        }
        at
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        if layout.align() >= 64 {
            let mut live = LIVE.lock().unwrap();
            let entry = live
                .iter_mut()
                .find(|entry| **entry == Some((at as usize, layout)));
            if let Some(entry) = entry {
                *entry = None;
            } else {
                std::process::abort(); // A panic in an allocator is worse.
            }
        }
        // SAFETY: passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static WATCHED: Watched = Watched;

#[test]
fn d3_aligned_memory_is_freed_with_the_layout_it_was_allocated_with() {
    let live = || LIVE.lock().unwrap().iter().flatten().count();
    let before = live();
    for align in [64, 512, 4096, 1 << 20] {
        for bytes in [0, 1, 100, 4096, 100_000] {
            let buffer = AlignedBuf::with_align(bytes, align).unwrap();
            assert_eq!(live(), before + 1);
            // SAFETY: nothing was submitted.
            drop(unsafe { PinnedBuf::from(buffer).lend().reclaim() });
            assert_eq!(live(), before, "{bytes} bytes at {align}");
        }
    }
}
