//! The pool as its users meet it: sizes, reuse, threads, death.
#![cfg(not(any(loom, shuttle)))]

use pooled_vec::{Pool, PoolConfig, PooledVec};
use std::io::Write;

const ONE_SHARD: PoolConfig = PoolConfig::new().shards(1);

fn tiny() -> Pool {
    Pool::new(
        PoolConfig::new()
            .classes(&[64, 256, 1024])
            .first_capacity(256)
            .kept_bytes_max(4096)
            .per_thread(4),
    )
}

#[test]
fn c4_the_first_capacity_is_4_kib_and_tunable() {
    assert_eq!(PooledVec::new().capacity(), 4096);
    assert_eq!(tiny().get().capacity(), 256);
}

#[test]
fn c4_capacity_is_never_below_what_was_asked() {
    let pool = tiny();
    for round in 0..3 {
        for bytes in [
            0, 1, 63, 64, 65, 255, 256, 257, 1023, 1024, 1025, 4096, 4097, 100_000,
        ] {
            let buffer = pool.with_capacity(bytes);
            assert!(buffer.capacity() >= bytes, "round {round}: {bytes}");
            assert!(buffer.is_empty());
            let tried = pool.try_with_capacity(bytes).unwrap();
            assert!(tried.capacity() >= bytes && tried.is_empty());
        }
    }
}

#[test]
fn c4_a_buffer_shrunk_below_its_class_never_serves_that_class() {
    let pool = tiny();
    for _ in 0..20 {
        let mut buffer = pool.with_capacity(1000);
        assert!(buffer.capacity() >= 1000);
        buffer.extend_from_slice(b"short");
        buffer.shrink_to_fit();
    }
}

#[test]
fn b6_sizes_at_and_over_every_boundary_get_the_class_that_holds_them() {
    let pool = Pool::default();
    for (asked, got) in [
        (1, 512),
        (512, 512),
        (513, 4096),
        (4096, 4096),
        (4097, 65536),
        (65536, 65536),
    ] {
        assert_eq!(pool.with_capacity(asked).capacity(), got, "asked for {asked}");
    }
}

#[test]
fn b6_eight_classes_are_kept_apart_whichever_is_the_first() {
    let sizes = [64, 128, 256, 512, 1024, 2048, 4096, 8192];
    for first in sizes {
        let config = PoolConfig::new().classes(&sizes).first_capacity(first);
        let pool = Pool::new(config.shards(1));
        for _ in 0..3 {
            let held = sizes.map(|size| [0; 20].map(|_| pool.with_capacity(size)));
            for (size, held) in sizes.iter().zip(&held) {
                assert!(held.iter().all(|buffer| buffer.capacity() == *size));
            }
            assert_eq!(pool.get().capacity(), first);
            drop(held);
            // By way of the shards too.
            pool.flush();
        }
        assert_eq!(
            pool.stats().allocations,
            8 * 20 + 1,
            "each found again, first {first}"
        );
    }
}

#[test]
fn b6_oversize_is_served_and_not_kept() {
    let pool = Pool::default();
    drop(pool.with_capacity(65537));
    let before = pool.stats();
    assert_eq!(before.allocations, 1);
    assert_eq!(before.idle_bytes, 0);
    drop(pool.with_capacity(65537));
    assert_eq!(pool.stats().allocations, 2);
}

#[test]
fn b6_absurd_sizes_are_errors_with_the_value() {
    let pool = Pool::default();
    let error = pool.try_with_capacity(usize::MAX).unwrap_err();
    assert!(error.to_string().contains(&usize::MAX.to_string()), "{error}");
    let error = pool.try_with_capacity(isize::MAX as usize).unwrap_err();
    assert!(error.to_string().contains("could not allocate"), "{error}");
    assert!(error.is_retryable());
}

#[test]
fn c4_at_most_64_kib_is_kept_and_tunable() {
    let pool = Pool::default();
    drop(pool.adopt(Vec::with_capacity(65536)));
    assert_ne!(pool.stats().idle_bytes, 0, "64 KiB is kept");
    let pool = Pool::default();
    drop(pool.adopt(Vec::with_capacity(65537)));
    assert_eq!(pool.stats().idle_bytes, 0, "one byte more is not");
    let pool = tiny();
    drop(pool.adopt(Vec::with_capacity(4097)));
    assert_eq!(pool.stats().idle_bytes, 0);
}

#[test]
fn c4_at_most_16_are_kept_by_a_thread_and_tunable() {
    for kept in [16, 4, 2] {
        let pool = Pool::new(ONE_SHARD.per_thread(kept));
        let held: Vec<_> = (0..100).map(|_| pool.get()).collect();
        drop(held);
        // What the thread does not keep it has handed to the shards, where another thread finds it.
        let found = std::thread::scope(|s| {
            s.spawn(|| {
                let before = pool.stats().allocations;
                let held: Vec<_> = (0..100).map(|_| pool.get()).collect();
                let allocated = (pool.stats().allocations - before) as usize;
                drop(held);
                100 - allocated
            })
            .join()
            .unwrap()
        });
        assert!(
            (100 - kept..100).contains(&found),
            "{found} found with {kept} kept"
        );
    }
}

#[test]
fn e3_memory_dropped_on_another_thread_comes_back_into_use() {
    let pool = Pool::default();
    for _ in 0..50 {
        let held: Vec<_> = (0..40).map(|_| pool.get()).collect();
        std::thread::scope(|s| s.spawn(move || drop(held)).join().unwrap());
    }
    assert_eq!(
        pool.stats().allocations,
        40,
        "one allocation a buffer, however often it crossed"
    );
}

#[test]
fn c4_a_buffer_dropped_on_another_thread_is_found_there() {
    let pool = Pool::new(ONE_SHARD);
    let buffer = pool.get();
    let address = buffer.as_ptr() as usize;
    std::thread::scope(|s| {
        s.spawn(|| {
            drop(buffer);
            assert_eq!(pool.get().as_ptr() as usize, address);
        });
    });
}

#[test]
fn b6_a_buffer_of_each_tier_dropped_elsewhere_comes_back() {
    for bytes in [512, 4096, 65536] {
        let pool = Pool::new(ONE_SHARD);
        let held: Vec<_> = (0..40).map(|_| pool.with_capacity(bytes)).collect();
        std::thread::scope(|s| s.spawn(move || drop(held)).join().unwrap());
        drop((0..40).map(|_| pool.with_capacity(bytes)).collect::<Vec<_>>());
        assert_eq!(pool.stats().allocations, 40, "{bytes} bytes");
    }
}

#[test]
fn charges_and_holdings_agree_after_any_traffic() {
    let pool = Pool::new(ONE_SHARD);
    for round in 1..60 {
        drop((0..round).map(|_| pool.get()).collect::<Vec<_>>());
        let held: Vec<_> = (0..round).map(|_| pool.get()).collect();
        std::thread::scope(|s| s.spawn(move || drop(held)).join().unwrap());
        pool.flush();
        let stats = pool.stats();
        assert_eq!(
            stats.idle_bytes,
            4096 * stats.allocations as usize,
            "round {round}"
        );
    }
    pool.trim();
    assert_eq!(pool.stats().idle_bytes, 0);
}

#[test]
fn a9_a_producer_and_a_consumer_reuse_nine_buffers_in_ten() {
    let pool = Pool::default();
    let (send, receive) = std::sync::mpsc::sync_channel::<PooledVec>(32);
    std::thread::scope(|s| {
        s.spawn(|| {
            for buffer in receive {
                assert_eq!(*buffer, [7; 10]);
            }
        });
        for _ in 0..20_000 {
            let mut buffer = pool.get();
            buffer.extend_from_slice(&[7; 10]);
            send.send(buffer).unwrap();
        }
        drop(send);
    });
    // As many as can be on the way: 32 in the channel, one in each thread's hands, 16 that the consumer keeps, and the one
    // that is wanted. A get goes to the allocator besides when a shard stays held while it waits.
    let stats = pool.stats();
    assert!(
        stats.allocations - stats.contended <= 32 + 2 + 16 + 1,
        "{stats:?}"
    );
}

#[test]
fn e3_thread_exit_returns_its_cache() {
    let pool = std::sync::Arc::new(Pool::default());
    let theirs = std::sync::Arc::clone(&pool);
    // Joining a thread waits for the destructors of its thread-locals too.
    std::thread::spawn(move || drop((0..10).map(|_| theirs.get()).collect::<Vec<_>>()))
        .join()
        .unwrap();
    let stats = pool.stats();
    assert_eq!(
        (stats.allocations, stats.idle_bytes),
        (10, 10 * 4096),
        "no more is charged than lies there"
    );
    drop((0..10).map(|_| pool.get()).collect::<Vec<_>>());
    assert_eq!(pool.stats().allocations, 10, "all ten were found");
}

#[test]
fn idle_bytes_stay_within_their_bound() {
    let pool = Pool::new(PoolConfig::new().idle_bytes_max(10 * 4096).per_thread(4));
    std::thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| {
                for _ in 0..200 {
                    let held: Vec<_> = (0..20).map(|_| pool.get()).collect();
                    drop(held);
                    assert!(pool.stats().idle_bytes <= 10 * 4096);
                }
            });
        }
    });
    pool.trim();
    assert!(pool.stats().refusals > 0, "the bound was reached");
    assert!(pool.stats().idle_bytes <= 10 * 4096);
}

#[test]
fn a_bound_of_zero_keeps_nothing() {
    let pool = Pool::new(PoolConfig::new().idle_bytes_max(0));
    for _ in 0..10 {
        drop(pool.get());
    }
    assert_eq!(pool.stats().allocations, 10);
    assert_eq!(pool.stats().idle_bytes, 0);
}

#[test]
fn trim_frees_all_that_is_idle() {
    let pool = Pool::new(ONE_SHARD);
    drop((0..100).map(|_| pool.get()).collect::<Vec<_>>());
    assert!(pool.stats().idle_bytes >= 100 * 4096);
    pool.trim();
    assert_eq!(pool.stats().idle_bytes, 0);
    drop(pool.get());
    assert_eq!(pool.stats().allocations, 101);
}

#[test]
fn e3_buffers_outlive_their_pool() {
    let pool = tiny();
    let mut late = pool.get();
    let other = pool.with_capacity(64);
    drop(pool);
    late.extend_from_slice(b"still mine");
    std::thread::spawn(move || drop(other)).join().unwrap();
    assert_eq!(*late, b"still mine");
}

#[test]
fn e3_a_pool_at_the_address_of_a_dead_one_gets_nothing_of_it() {
    // As many pools one after the other as there are places: each reuses the depot of the last.
    let mut late = Vec::new();
    for round in 0..200 {
        let size = 64 << (round % 5);
        let pool = Pool::new(
            PoolConfig::new()
                .classes(&[size])
                .first_capacity(size)
                .per_thread(2)
                .shards(3),
        );
        let mine = pool.get();
        let held: Vec<_> = (0..5).map(|_| pool.get()).collect();
        assert_eq!(
            pool.stats().allocations,
            6,
            "round {round}: nothing of an earlier pool is found"
        );
        assert!(held.iter().all(|buffer| buffer.capacity() == size));
        if round % 3 == 0 {
            late.clear(); // Buffers of dead pools come back while this one lives.
        }
        assert_eq!(
            pool.stats().idle_bytes,
            0,
            "round {round}: and none of their bytes are counted"
        );
        late.push(mine);
        drop(held);
    }
}

#[test]
fn more_pools_than_cache_slots_work_on_one_thread() {
    let pools: Vec<_> = (0..40).map(|_| tiny()).collect();
    for _ in 0..20 {
        for pool in &pools {
            drop(pool.get());
        }
    }
    for pool in &pools {
        assert_eq!(
            pool.stats().allocations,
            1,
            "driven out of the cache, found in the shards"
        );
    }
}

#[test]
fn io_write_appends() {
    let mut buffer = PooledVec::new();
    write!(buffer, "{}-{}", 1, 2).unwrap();
    buffer.write_all(b"!").unwrap();
    buffer.flush().unwrap();
    assert_eq!(*buffer, b"1-2!");
}

#[test]
fn c4_mem_take_of_the_buffer_and_of_its_vector_are_sound() {
    let pool = tiny();
    let mut buffer = pool.get();
    buffer.push(1);
    let taken = std::mem::take(&mut buffer);
    assert_eq!((*taken).as_slice(), [1]);
    assert_eq!(buffer.capacity(), 0);
    buffer.push(2); // The empty one grows as any vector does.
    drop(buffer);
    let mut taken = taken;
    let vec = std::mem::take(&mut *taken);
    assert_eq!(vec, [1]);
    drop(taken); // Nothing is left to return.
    let mut other = pool.get();
    *other = vec; // A vector from elsewhere comes into the pool's care.
    drop(other);
}

#[test]
fn c4_mem_forget_leaks_and_breaks_nothing() {
    let pool = tiny();
    std::mem::forget(pool.get());
    drop(pool.get());
    assert_eq!(pool.stats().allocations, 2);
}

#[test]
fn into_vec_takes_the_memory_along() {
    let pool = tiny();
    let mut buffer = pool.get();
    buffer.push(9);
    let address = buffer.as_ptr();
    let vec = buffer.into_vec();
    assert_eq!(vec.as_ptr(), address);
    drop(pool);
    assert_eq!(vec, [9]);
}

#[test]
fn c4_a_drop_in_a_panic_returns_the_buffer() {
    let pool = tiny();
    let address = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let buffer = pool.get();
        std::panic::panic_any(buffer.as_ptr() as usize);
    }))
    .unwrap_err()
    .downcast::<usize>()
    .unwrap();
    assert_eq!(pool.get().as_ptr() as usize, *address);
}

#[test]
fn c4_drops_during_thread_local_teardown_reach_the_pool() {
    thread_local! {
        static BEFORE: std::cell::RefCell<Vec<PooledVec>> = const { std::cell::RefCell::new(Vec::new()) };
        static AFTER: std::cell::RefCell<Vec<PooledVec>> = const { std::cell::RefCell::new(Vec::new()) };
    }
    let pool = std::sync::Arc::new(Pool::new(ONE_SHARD));
    let theirs = std::sync::Arc::clone(&pool);
    std::thread::spawn(move || {
        BEFORE.with(|b| b.borrow_mut().reserve(20)); // Registered before the cache's own destructor,
        let all: Vec<_> = (0..40).map(|_| theirs.get()).collect();
        drop(theirs.get());
        AFTER.with(|a| a.borrow_mut().reserve(20)); // and after it: one of the two runs when the cache is closed.
        for (i, buffer) in all.into_iter().enumerate() {
            if i % 2 == 0 {
                BEFORE.with(|b| b.borrow_mut().push(buffer));
            } else {
                AFTER.with(|a| a.borrow_mut().push(buffer));
            }
        }
    })
    .join()
    .unwrap();
    let before = pool.stats();
    assert_eq!(before.allocations, 41);
    let held: Vec<_> = (0..41).map(|_| pool.get()).collect();
    assert_eq!(pool.stats().allocations, 41, "every buffer came back");
    drop(held);
}

#[test]
fn a_get_during_thread_local_teardown_works() {
    struct Late(std::sync::Arc<Pool>);
    impl Drop for Late {
        fn drop(&mut self) {
            for _ in 0..20 {
                let mut buffer = self.0.get();
                buffer.push(1);
                assert!(buffer.capacity() >= 4096);
            }
        }
    }
    thread_local! { static LATE: std::cell::RefCell<Option<Late>> = const { std::cell::RefCell::new(None) }; }
    let pool = std::sync::Arc::new(Pool::new(ONE_SHARD));
    let theirs = std::sync::Arc::clone(&pool);
    std::thread::spawn(move || {
        LATE.with(|late| *late.borrow_mut() = Some(Late(std::sync::Arc::clone(&theirs))));
        drop(theirs.get());
    })
    .join()
    .unwrap();
    assert!(pool.stats().allocations <= 2, "{:?}", pool.stats());
}

#[test]
fn e3_a_hundred_thousand_threads_leave_no_more_buffers_than_were_out_at_once() {
    let pool = std::sync::Arc::new(Pool::new(ONE_SHARD));
    for _ in 0..100_000 / 20 {
        let threads: Vec<_> = (0..20)
            .map(|_| {
                let pool = std::sync::Arc::clone(&pool);
                std::thread::spawn(move || drop(pool.get()))
            })
            .collect();
        // Waits for the destructors of their thread-locals too.
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
    let stats = pool.stats();
    assert!(stats.allocations - stats.contended <= 20, "{stats:?}");
    assert_eq!(stats.idle_bytes, 4096 * stats.allocations as usize);
}

#[test]
fn e3_a_pool_of_256_shards_finds_what_lies_in_any_of_them() {
    let pool = Pool::new(PoolConfig::new().shards(256).per_thread(2));
    for _ in 0..3 {
        let held: Vec<_> = (0..600).map(|_| pool.get()).collect();
        std::thread::scope(|s| {
            let mut held = held.into_iter();
            // Each on whatever CPU it runs, and so in whatever shard.
            let threads: Vec<_> = (0..6)
                .map(|_| held.by_ref().take(100).collect::<Vec<_>>())
                .map(|part| s.spawn(move || drop(part)))
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
    }
    let stats = pool.stats();
    assert_eq!(
        (stats.allocations - stats.contended, stats.shards),
        (600, 256),
        "{stats:?}"
    );
}

#[test]
fn handles_cross_threads() {
    fn sound<T: Send + Sync + 'static>() {}
    sound::<Pool>();
    sound::<PooledVec>();
}
