//! Objects and arenas that are used again.
#![cfg(not(any(loom, shuttle)))]

use pooled_vec::{ObjectPool, Pooled};
use std::cell::Cell;
use std::sync::atomic::{AtomicIsize, Ordering};

/// A value whose live count must come back to zero.
static LIVE: AtomicIsize = AtomicIsize::new(0);

#[derive(Debug)]
struct Counted {
    used: u64,
    log: Vec<u64>,
}

impl Counted {
    fn new() -> Self {
        LIVE.fetch_add(1, Ordering::SeqCst);
        Self {
            used: 0,
            log: Vec::new(),
        }
    }

    fn reset(&mut self) {
        self.log.clear();
        self.used += 1;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Tests that count live values, one at a time.
static COUNTING: std::sync::Mutex<()> = std::sync::Mutex::new(());

#[test]
fn a9_objects_are_reset_reused_and_dropped_once() {
    let _alone = COUNTING.lock().unwrap();
    let pool = ObjectPool::new(Counted::new, Counted::reset);
    let mut held: Vec<_> = (0..100).map(|_| pool.get()).collect();
    held.iter_mut().for_each(|object| object.log.push(1));
    drop(held);
    let held: Vec<_> = (0..100).map(|_| pool.get()).collect();
    assert!(
        held.iter()
            .all(|object| object.log.is_empty() && object.used == 1)
    );
    assert_eq!(pool.stats().allocations, 100);
    drop(held);
    assert_eq!(LIVE.load(Ordering::SeqCst), 100);
    pool.trim();
    assert_eq!(LIVE.load(Ordering::SeqCst), 0);
    let late = pool.get();
    drop(pool);
    assert_eq!(LIVE.load(Ordering::SeqCst), 1, "an object outlives its pool");
    std::thread::spawn(move || drop(late)).join().unwrap();
    assert_eq!(LIVE.load(Ordering::SeqCst), 0);
}

#[test]
fn a9_objects_dropped_on_another_thread_come_back_into_use() {
    let _alone = COUNTING.lock().unwrap();
    let pool = ObjectPool::new(Counted::new, Counted::reset);
    for _ in 0..30 {
        let held: Vec<_> = (0..40).map(|_| pool.get()).collect();
        std::thread::scope(|s| s.spawn(move || drop(held)).join().unwrap());
    }
    assert_eq!(pool.stats().allocations, 40);
    drop(pool);
    assert_eq!(LIVE.load(Ordering::SeqCst), 0);
}

#[test]
fn a_hundred_thousand_short_lived_threads_lose_no_object() {
    let _alone = COUNTING.lock().unwrap();
    let pool = ObjectPool::new(Counted::new, Counted::reset);
    for _ in 0..100_000 / 10 {
        let threads: Vec<_> = (0..10)
            .map(|_| {
                let mut object = pool.get();
                std::thread::spawn(move || object.log.push(1))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
    let stats = pool.stats();
    assert!(stats.allocations - stats.contended <= 10, "{stats:?}");
    drop(pool);
    assert_eq!(LIVE.load(Ordering::SeqCst), 0);
}

#[test]
fn a_panic_in_make_or_reset_loses_nothing() {
    struct Fragile;
    thread_local! { static BREAK: Cell<bool> = const { Cell::new(false) }; static ALIVE: Cell<i32> = const { Cell::new(0) }; }
    impl Drop for Fragile {
        fn drop(&mut self) {
            ALIVE.set(ALIVE.get() - 1);
        }
    }
    let pool = ObjectPool::new(
        || {
            assert!(!BREAK.get(), "make");
            ALIVE.set(ALIVE.get() + 1);
            Fragile
        },
        |_| assert!(!BREAK.get(), "reset"),
    );
    let object = pool.get();
    BREAK.set(true);
    let caught = |f: &mut dyn FnMut()| std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).is_err();
    assert!(caught(&mut || drop(pool.get())), "make panics");
    let mut object = Some(object);
    assert!(caught(&mut || drop(object.take())), "reset panics");
    assert_eq!(ALIVE.get(), 0, "the object was dropped, not kept");
    BREAK.set(false);
    drop(pool.get());
    assert_eq!(ALIVE.get(), 1);
}

#[test]
fn a_panicking_destructor_does_not_keep_the_others_from_running() {
    static DROPPED: AtomicIsize = AtomicIsize::new(0);
    struct Bomb(bool);
    impl Drop for Bomb {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, Ordering::SeqCst);
            assert!(!self.0, "one destructor fails");
        }
    }
    let pool = ObjectPool::new(|| Bomb(false), |_| ());
    let mut held: Vec<_> = (0..50).map(|_| pool.get()).collect();
    held[25].0 = true;
    drop(held);
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(pool)));
    assert!(caught.is_err());
    assert_eq!(DROPPED.load(Ordering::SeqCst), 50);
}

#[test]
fn c4_a_destructor_that_uses_the_pool_finds_it_whole() {
    static INNER: std::sync::OnceLock<ObjectPool<Vec<u8>>> = std::sync::OnceLock::new();
    struct Reentrant(Option<Pooled<Vec<u8>>>);
    impl Drop for Reentrant {
        fn drop(&mut self) {
            // Gets and drops in the middle of the outer pool's own work.
            let pool = INNER.get().unwrap();
            let mut extra = pool.get();
            extra.push(1);
            self.0 = Some(pool.get());
        }
    }
    INNER.set(ObjectPool::new(Vec::new, Vec::clear)).unwrap();
    // More pools than cache slots, so that they drive each other out while destructors run.
    for _ in 0..3 {
        let pools: Vec<_> = (0..20)
            .map(|_| ObjectPool::new(|| Reentrant(None), |_| ()))
            .collect();
        for _ in 0..5 {
            for pool in &pools {
                drop((0..20).map(|_| pool.get()).collect::<Vec<_>>());
            }
        }
        for pool in pools {
            drop(pool.get());
            drop(pool);
        }
    }
    let pools: Vec<_> = (0..20)
        .map(|_| ObjectPool::new(|| Reentrant(None), |_| ()))
        .collect();
    let held: Vec<_> = pools
        .iter()
        .flat_map(|pool| (0..20).map(|_| pool.get()))
        .collect();
    std::thread::spawn(move || drop(held)).join().unwrap(); // Cached there,
    drop(pools); // and disposed of here.
}

#[test]
fn handles_are_one_pointer_and_honour_alignment() {
    #[repr(align(256))]
    struct Wide(u8);
    let pool = ObjectPool::new(|| Wide(7), |_| ());
    let object = pool.get();
    assert_eq!((&raw const *object) as usize % 256, 0);
    assert_eq!(object.0, 7);
    assert_eq!(size_of::<Pooled<Wide>>(), size_of::<usize>());
    assert_eq!(Pooled::into_inner(object).0, 7);
    let units = ObjectPool::new(|| (), |()| ());
    drop((0..40).map(|_| units.get()).collect::<Vec<_>>());
    fn sound<T: Send + Sync>() {}
    sound::<ObjectPool<Cell<u8>>>();
    sound::<Pooled<u8>>();
}

#[test]
fn e3_buffers_cached_by_thread_may_be_aligned_to_4096() {
    use pooled_vec::AlignedBuf;
    let pool = ObjectPool::new(|| AlignedBuf::new(8192).expect("8 KiB are to be had"), |_| ());
    for _ in 0..3 {
        let mut held: Vec<_> = (0..30).map(|_| pool.get()).collect();
        for buffer in &mut held {
            assert_eq!((buffer.as_ptr() as usize % 4096, buffer.len()), (0, 8192));
            buffer.fill(1);
        }
        std::thread::scope(|s| s.spawn(move || drop(held)).join().unwrap());
    }
    assert_eq!(
        pool.stats().allocations,
        30,
        "dropped on another thread, and found again"
    );
}

#[test]
fn limits_are_kept_and_checked() {
    let pool = ObjectPool::try_with_limits(|| 0u64, |_| (), 2, 3).unwrap();
    drop((0..10).map(|_| pool.get()).collect::<Vec<_>>());
    assert!(pool.stats().idle_bytes <= pool.stats().idle_bytes_max);
    assert!(pool.stats().refusals >= 7);
    assert!(std::panic::catch_unwind(|| ObjectPool::try_with_limits(|| 0u8, |_| (), 1, 3)).is_err());
}

#[cfg(feature = "arena")]
mod arena {
    use pooled_vec::{Arena, ArenaPool, BufferError};
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn c13_memory_is_reused_between_requests() {
        let arenas = ArenaPool::new();
        let mut first = 0;
        for request in 0..100u64 {
            let arena = arenas.get();
            let fields = arena.alloc_slice(&[request; 50]);
            if request == 0 {
                first = fields.as_ptr() as usize;
            }
            if request > 0 {
                assert_eq!(
                    fields.as_ptr() as usize,
                    first,
                    "the same chunk, from its beginning"
                );
            }
            assert_eq!(fields[49], request);
        }
        assert_eq!(arenas.stats().allocations, 1);
    }

    #[test]
    fn c13_a_large_request_does_not_hold_its_memory_for_ever() {
        let arenas = ArenaPool::new();
        let arena = arenas.get();
        arena.alloc_slice(&vec![0u8; 1 << 20]);
        assert!(arena.footprint_bytes() >= 1 << 20);
        drop(arena);
        assert_eq!(arenas.get().footprint_bytes(), 0);
    }

    #[test]
    fn c13_a_limited_arena_refuses_with_the_value() {
        let arena = Arena::limited(4096);
        assert_eq!(arena.try_alloc_slice(&[1u8; 100]).unwrap(), [1; 100]);
        let error = arena.try_alloc_slice(&[0u64; 10_000]).unwrap_err();
        assert!(error.to_string().contains("80000"), "{error}");
    }

    #[test]
    fn c13_a_limit_counts_to_the_byte_and_is_named() {
        let mut arena = Arena::limited(4096);
        for _ in 0..2 {
            for _ in 0..63 {
                arena.alloc_slice(&[7u8; 64]);
            }
            assert_eq!(arena.alloc_str("0123456789"), "0123456789");
            assert_eq!(*arena.alloc(5u64), 5);
            let error = arena.try_alloc_slice(&[0u16; 24]).unwrap_err();
            assert_eq!(
                error,
                BufferError::ArenaFull {
                    bytes: 48,
                    left: 46,
                    limit: 4096
                }
            );
            arena.alloc_slice(&[0u16; 23]);
            assert!(arena.try_alloc_slice(&[0u8; 1]).is_err() && arena.try_alloc_slice::<u8>(&[]).is_ok());
            arena.reset();
        }
        let message = catch_unwind(AssertUnwindSafe(|| arena.alloc_slice(&[0u8; 5000]).len())).unwrap_err();
        let message = message.downcast_ref::<String>().unwrap();
        assert!(
            message.contains("limit of 4096 bytes") && message.contains("5000"),
            "{message}"
        );
        assert!(arena.footprint_bytes() < 3 * 4096);
    }

    #[test]
    fn c13_plain_data_of_every_kind_goes_in() {
        let mut arena = Arena::new();
        let pair = arena.alloc((1u8, 2u64));
        pair.0 = 3;
        assert_eq!(*pair, (3, 2));
        assert_eq!(arena.alloc_str("naïve"), "naïve");
        arena.reset();
        assert!(format!("{arena:?}").contains("footprint"));
    }
}
