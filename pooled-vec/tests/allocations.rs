//! In steady state nothing here calls the allocator. Alone in its process: the count is the process's.
#![cfg(not(any(loom, shuttle)))]

use pooled_vec::{ObjectPool, Pool, PooledVec};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;

struct Counting;
static CALLS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator, counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        CALLS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Runs `work` until it is warm, then counts its calls of the allocator.
fn calls(mut work: impl FnMut()) -> usize {
    for _ in 0..3 {
        work();
    }
    let before = CALLS.load(Ordering::SeqCst);
    for _ in 0..1000 {
        work();
    }
    CALLS.load(Ordering::SeqCst) - before
}

/// Buffers got here and dropped there, in steady state on both sides.
fn calls_across_threads(pool: &Pool) -> usize {
    const ROUNDS: usize = 500;
    let (send, receive) = sync_channel::<PooledVec>(64);
    let (warm, done) = (Barrier::new(2), Barrier::new(2));
    std::thread::scope(|s| {
        let (warm, done) = (&warm, &done);
        s.spawn(move || {
            for round in 0..ROUNDS + 50 {
                if round == 50 {
                    warm.wait();
                }
                (0..20).for_each(|_| drop(receive.recv().unwrap()));
            }
            done.wait();
        });
        let mut before = 0;
        for round in 0..ROUNDS + 50 {
            if round == 50 {
                warm.wait();
                before = CALLS.load(Ordering::SeqCst);
            }
            (0..20).for_each(|_| send.send(pool.get()).unwrap());
        }
        done.wait();
        CALLS.load(Ordering::SeqCst) - before
    })
}

/// One test: another one beside it would be counted too.
#[test]
fn pool_allocs_steady_state_never_calls_the_allocator() {
    assert_eq!(calls(|| drop(PooledVec::new())), 0, "global, 4 KiB");
    let pool = Pool::default();
    for bytes in [1, 512, 4096, 65536] {
        assert_eq!(calls(|| drop(pool.with_capacity(bytes))), 0, "{bytes} bytes");
    }
    let mut held = Vec::with_capacity(100);
    let burst = calls(|| {
        held.extend((0..100).map(|_| pool.get()));
        held.clear();
    });
    assert_eq!(burst, 0, "more at once than the thread keeps");
    let objects = ObjectPool::new(|| [0u64; 16], |_| ());
    assert_eq!(calls(|| drop(objects.get())), 0, "objects");
    #[cfg(feature = "arena")]
    {
        let arenas = pooled_vec::ArenaPool::new();
        let request = || {
            let arena = arenas.get();
            (0..50u64).for_each(|n| assert_eq!(*arena.alloc(n), n));
        };
        assert_eq!(calls(request), 0, "arenas");
    }
    let slab = pooled_vec::Slab::new(4, 4096, pooled_vec::AlignedOptions::new()).unwrap();
    assert_eq!(calls(|| drop(slab.claim())), 0, "slots");
    // A get that finds the shard held goes to the allocator instead of waiting: some, not 10,000.
    let across = calls_across_threads(&pool);
    assert!(across <= 1_000, "{across} calls for 10000 buffers across threads");
}
