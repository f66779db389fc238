//! In steady state nothing here calls the allocator.
//!
//! Calls are counted for each thread by itself. A count of the whole process also has the calls of the test harness,
//! whose main thread goes on allocating beside the test.
#![cfg(not(any(loom, shuttle)))]

use pooled_vec::{ObjectPool, Pool, PoolConfig, PooledVec};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Barrier;
use std::sync::mpsc::sync_channel;

/// The smallest buffer of the tests: below it lies what a channel allocates when it first waits.
const BUFFER_BYTES: usize = 512;

struct Counting;

thread_local! {
    static CALLS: Cell<usize> = const { Cell::new(0) };
    static BUFFERS: Cell<usize> = const { Cell::new(0) };
}

/// Counts a call of this thread.
fn count(layout: Layout) {
    CALLS.set(CALLS.get() + 1);
    if layout.size() >= BUFFER_BYTES {
        BUFFERS.set(BUFFERS.get() + 1);
    }
}

// SAFETY: the system's allocator, counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout);
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(layout);
        // SAFETY: passed on.
        unsafe { System.dealloc(at, layout) }
    }
    // `alloc_zeroed` and `realloc` are the default ones, which come by here.
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Runs `work` until it is warm, then counts its calls of the allocator.
fn calls(mut work: impl FnMut()) -> usize {
    for _ in 0..3 {
        work();
    }
    let before = CALLS.get();
    for _ in 0..1000 {
        work();
    }
    CALLS.get() - before
}

#[test]
fn the_count_sees_what_is_there() {
    assert_eq!(calls(|| drop(std::hint::black_box(Box::new(1)))), 2000);
}

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
}

/// Buffers got here and dropped there: not one comes from the allocator, once there are as many as can be on the way.
///
/// On the way are at most 64 in the channel, one in each thread's hands, and 16 in the cache of the thread that drops.
/// Whatever else there is lies in the shards or in the cache of the thread that gets. A get may still go to the allocator
/// when the shard stays held while it waits, since its holder was interrupted: the pool counts that, and the two counts
/// must be equal.
#[test]
fn pool_allocs_buffers_that_cross_threads_come_from_the_pool() {
    const ROUNDS: usize = 500;
    for shards in [1, 2, 5] {
        let pool = Pool::new(PoolConfig::new().shards(shards));
        let there_are = 64 + 2 + 16 + 1;
        drop((0..there_are).map(|_| pool.get()).collect::<Vec<_>>());
        pool.flush();
        let before = pool.stats();
        let (send, receive) = sync_channel::<PooledVec>(64);
        let both_began = Barrier::new(2);
        let calls = std::thread::scope(|s| {
            let both_began = &both_began;
            let dropper = s.spawn(move || {
                both_began.wait();
                let before = BUFFERS.get();
                (0..ROUNDS * 20).for_each(|_| drop(receive.recv().unwrap()));
                BUFFERS.get() - before
            });
            both_began.wait();
            let before = BUFFERS.get();
            (0..ROUNDS * 20).for_each(|_| send.send(pool.get()).unwrap());
            BUFFERS.get() - before + dropper.join().unwrap()
        });
        let stats = pool.stats();
        assert_eq!(
            calls as u64,
            stats.contended - before.contended,
            "{shards} shards: {stats:?} after {before:?}"
        );
        assert_eq!(
            stats.allocations - before.allocations,
            stats.contended - before.contended
        );
        assert!(
            stats.refills + stats.steals > 100,
            "buffers really went round: {stats:?}"
        );
    }
}
