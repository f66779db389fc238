//! `traffic`: pooled memory on its way between threads, for the thread sanitizer.
//!
//! That sanitizer knows nothing of fences, nor of what the standard library's locks and channels order, since the library
//! is not built with it. So what runs here meets by atomic accesses and by threads' beginnings and ends alone, and pools
//! are made by the main thread only.

use pooled_vec::{AlignedOptions, CowMemory, ObjectPool, PinnedBuf, Pool, PoolConfig, PooledVec, Slab};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

const THREADS: u64 = 4;
const STEPS: u64 = 20_000;
const SIZES: [usize; 4] = [64, 512, 4096, 5000];

/// Where threads leave buffers for each other.
struct Exchange([AtomicPtr<PooledVec>; 16]);

impl Exchange {
    const fn new() -> Self {
        Self([const { AtomicPtr::new(ptr::null_mut()) }; 16])
    }

    /// Leaves one buffer and takes what lay there.
    fn swap(&self, at: u64, buffer: PooledVec) -> Option<PooledVec> {
        let ours = Box::into_raw(Box::new(buffer));
        // AcqRel: pairs with itself; the buffer's bytes, both ways.
        let theirs = self.0[at as usize % 16].swap(ours, Ordering::AcqRel);
        // SAFETY: null, or left by another swap and taken by this one alone.
        (!theirs.is_null()).then(|| *unsafe { Box::from_raw(theirs) })
    }

    fn empty(&self) {
        for slot in &self.0 {
            let left = slot.swap(ptr::null_mut(), Ordering::AcqRel);
            if !left.is_null() {
                // SAFETY: left by a swap, and taken by this one alone.
                drop(unsafe { Box::from_raw(left) });
            }
        }
    }
}

/// The next of a sequence that looks random.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    *state >> 33
}

/// Writes a mark into a buffer, first and last byte and one in the middle.
fn mark(buffer: &mut PooledVec, bytes: usize, value: u8) {
    buffer.clear();
    buffer.resize(bytes, value);
}

/// Whether a buffer has one mark all over.
fn is_whole(buffer: &PooledVec) -> bool {
    buffer.iter().all(|&byte| byte == buffer[0])
}

fn buffers(pool: &'static Pool) {
    static EXCHANGE: Exchange = Exchange::new();
    // Threads that end give their caches back while others work; three generations of them.
    for generation in 0..3 {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                std::thread::spawn(move || {
                    let mut random = generation * 100 + thread;
                    for step in 0..STEPS {
                        let bytes = SIZES[next(&mut random) as usize % SIZES.len()];
                        let mut buffer = pool.with_capacity(bytes);
                        mark(&mut buffer, bytes, thread as u8);
                        if let Some(other) = EXCHANGE.swap(next(&mut random), buffer) {
                            assert!(is_whole(&other), "two users of one buffer");
                        }
                        match step % 5_000 {
                            0 => pool.flush(),
                            1 => pool.trim(),
                            2 => drop(pool.stats()),
                            _ => {}
                        }
                    }
                })
            })
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().expect("no thread panics"));
    }
    EXCHANGE.empty();
    pool.trim();
    assert_eq!(pool.stats().idle_bytes, 0, "{:?}", pool.stats());
}

/// Pools die while their buffers come back on other threads, and others are born where they were.
fn deaths() {
    for round in 0..300 {
        let pool = Pool::new(PoolConfig::new().per_thread(4));
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let held: Vec<_> = (0..20).map(|_| pool.get()).collect();
                std::thread::spawn(move || drop(held))
            })
            .collect();
        drop(pool);
        let next = Pool::new(PoolConfig::new().per_thread(4));
        drop(next.get());
        assert_eq!(next.stats().allocations, 1, "round {round}");
        threads
            .into_iter()
            .for_each(|thread| thread.join().expect("no thread panics"));
    }
}

fn objects() {
    let pool: &'static ObjectPool<Vec<u64>> = Box::leak(Box::new(ObjectPool::new(Vec::new, Vec::clear)));
    for _ in 0..100 {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let mut mine: Vec<_> = (0..30).map(|_| pool.get()).collect();
                std::thread::spawn(move || mine.iter_mut().for_each(|object| object.push(1)))
            })
            .collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().expect("no thread panics"));
    }
    pool.trim();
}

fn slots() {
    let slab = Slab::new(3, 4096, AlignedOptions::new()).expect("12 KiB are to be had");
    let slab: &'static Slab = Box::leak(Box::new(slab));
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            std::thread::spawn(move || {
                for _ in 0..STEPS {
                    let Some(mut slot) = slab.claim() else { continue };
                    slot[0] = thread as u8;
                    slot[4095] = thread as u8;
                    // SAFETY: nothing was submitted.
                    let slot = unsafe { PinnedBuf::from(slot).lend().reclaim() };
                    assert_eq!((slot[0], slot[4095]), (thread as u8, thread as u8));
                }
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().expect("no thread panics"));
    assert_eq!(slab.available(), 3);
}

fn images() {
    for _ in 0..50 {
        let mut parent = CowMemory::new(1 << 20);
        parent.write(0, &[1; 1 << 16]).expect("within the image");
        let threads: Vec<_> = (2..2 + THREADS as u8)
            .map(|value| {
                let mut image = parent.fork();
                std::thread::spawn(move || {
                    for at in (0..1 << 16).step_by(3000) {
                        let mut seen = [0; 2];
                        image.write(at, &[value]).expect("within the image");
                        image.read(at, &mut seen).expect("within the image");
                        assert_eq!(seen[0], value);
                    }
                })
            })
            .collect();
        parent.write(100, &[9; 9000]).expect("within the image");
        drop(parent);
        threads
            .into_iter()
            .for_each(|thread| thread.join().expect("no thread panics"));
    }
}

fn main() {
    let small = PoolConfig::new()
        .classes(&[64, 512, 4096])
        .per_thread(5)
        .shards(2);
    buffers(Box::leak(Box::new(Pool::new(small))));
    deaths();
    objects();
    slots();
    images();
    println!("traffic: nothing was lost");
}
