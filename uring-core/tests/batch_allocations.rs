//! A batch is sized before it begins.
#![cfg(not(any(loom, shuttle)))]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use uring_core::batch::Batch;
use uring_core::op::Nop;
use uring_core::{LocalRing, Options};

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) };
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn d1_a_batch_allocates_nothing_while_it_completes() {
    let ring = LocalRing::with(&Options::new().depth(16)).unwrap();
    // What a thread's first turn of a ring makes for itself is no batch's.
    ring.block_on(ring.run(Nop::new())).unwrap().unwrap();
    for needs in [true, false] {
        let mut batch = Batch::new();
        let nodes: Vec<_> = (0..200).map(|_| batch.add(Nop::new()).unwrap()).collect();
        for (at, pair) in nodes.windows(2).enumerate() {
            if at % 9 > 0 {
                let tied = if needs {
                    batch.needs(pair[1], pair[0])
                } else {
                    batch.follows(pair[1], pair[0])
                };
                tied.unwrap();
            }
        }
        let mut run = ring.run_batch(batch).unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut run).poll(&mut cx).is_pending());
        let before = CALLS.get();
        let results = loop {
            ring.wait(1, Duration::from_secs(10)).unwrap();
            if let Poll::Ready(results) = Pin::new(&mut run).poll(&mut cx) {
                break results;
            }
        };
        assert_eq!(CALLS.get() - before, 0);
        assert!(results.is_success());
        drop(Box::new(1u8));
        assert_eq!(CALLS.get() - before, 1, "the allocator counts");
    }
}
