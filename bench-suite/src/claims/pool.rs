//! Claims about pools.

use crate::machine::wall_ns;
use crate::{Claim, Contest, Curve, Invalid, Row, Task, Worker, allocations_on_this_thread};
use pooled_vec::{ObjectPool, Pool, PooledVec};
use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::{Condvar, Mutex, PoisonError};

pub(super) const CLAIMS: &[Claim] = &[
    Claim {
        id: "pool.4k.1t",
        krate: "pooled-vec",
        what: "get 4 KiB, touch one byte, drop",
        unit: "CPU ns",
        cores: 1,
        run: |task| own_thread(task, 1),
    },
    Claim {
        id: "pool.4k.2t",
        krate: "pooled-vec",
        what: "the same on two threads at once",
        unit: "CPU ns",
        cores: 2,
        run: |task| own_thread(task, 2),
    },
    Claim {
        id: "pool.cross",
        krate: "pooled-vec",
        what: "get 4 KiB here, drop it there, two threads to each other in batches of 128; get, touch and drop alone are timed",
        unit: "ns",
        cores: 2,
        run: cross,
    },
    Claim {
        id: "pool.allocs",
        krate: "pooled-vec",
        what: "allocator calls per get in steady state: buffers of each class, bursts of 100, objects, arenas",
        unit: "calls",
        cores: 1,
        run: allocations,
    },
];

pub(super) const CURVES: &[Curve] = &[Curve {
    claim: Claim {
        id: "pool.4k",
        krate: "pooled-vec",
        what: "get 4 KiB, touch one byte, drop",
        unit: "ns",
        cores: 1,
        run: |task| own_thread(task, 1),
    },
    run: own_thread,
}];

const BYTES: usize = 4096;

/// Memory of 4 KiB straight from an allocator.
struct Raw<A: GlobalAlloc + 'static>(*mut u8, &'static A);

// SAFETY: the block is the value's own, and the allocators are those of whole processes.
unsafe impl<A: GlobalAlloc + Sync> Send for Raw<A> {}

fn layout() -> Layout {
    Layout::new::<[u8; BYTES]>()
}

impl<A: GlobalAlloc> Raw<A> {
    #[inline(always)]
    fn get(from: &'static A) -> Self {
        // SAFETY: the layout is not empty.
        Self(unsafe { from.alloc(layout()) }, from)
    }

    #[inline(always)]
    fn touch(&mut self) {
        // SAFETY: 4096 bytes of our own.
        unsafe { self.0.write(1) };
    }
}

impl<A: GlobalAlloc> Drop for Raw<A> {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, by this allocator.
        unsafe { self.1.dealloc(self.0, layout()) };
    }
}

#[cfg(feature = "peers")]
struct Vectors;

#[cfg(feature = "peers")]
impl opool::PoolAllocator<Vec<u8>> for Vectors {
    #[inline]
    fn reset(&self, buffer: &mut Vec<u8>) {
        buffer.clear();
    }

    #[inline]
    fn allocate(&self) -> Vec<u8> {
        Vec::with_capacity(BYTES)
    }
}

/// Repeats get, touch, drop.
fn repeat<T>(worker: &mut Worker<'_>, get: impl Fn() -> T, touch: impl Fn(&mut T)) -> Result<(), Invalid> {
    worker.measure(|n| {
        for _ in 0..n {
            let mut buffer = get();
            touch(&mut buffer);
            black_box(&mut buffer);
        }
    });
    Ok(())
}

fn own_thread(task: &Task<'_>, threads: usize) -> Result<Row, Invalid> {
    #[cfg(feature = "peers")]
    let vectors = opool::Pool::new_prefilled(64, Vectors);
    let mut contest = Contest::new(task);
    contest.ours("PooledVec", threads, |worker| {
        if PooledVec::new().capacity() < BYTES {
            return Err(Invalid("less than was asked for".into()));
        }
        repeat(worker, PooledVec::new, |buffer| buffer.push(1))
    });
    contest.floor("one buffer, kept", threads, |worker| {
        let mut buffer = Vec::with_capacity(BYTES);
        worker.measure(|n| {
            for _ in 0..n {
                buffer.clear();
                buffer.push(1);
                black_box(&mut buffer);
            }
        });
        Ok(())
    });
    contest.peer("glibc", threads, |worker| {
        repeat(worker, || Raw::get(&System), Raw::touch)
    });
    #[cfg(feature = "peers")]
    {
        contest.peer("jemalloc", threads, |worker| {
            repeat(worker, || Raw::get(&tikv_jemallocator::Jemalloc), Raw::touch)
        });
        contest.peer("mimalloc", threads, |worker| {
            repeat(worker, || Raw::get(&mimalloc::MiMalloc), Raw::touch)
        });
        contest.peer("opool", threads, |worker| {
            repeat(worker, || vectors.get(), |buffer| buffer.push(1))
        });
    }
    contest.faster_than(1.8, "jemalloc");
    contest.faster_than(8.0, "glibc");
    contest.note("allocators called directly; a PooledVec is a Vec besides");
    contest.run()
}

/// Buffers that move together, as they do in a queue that is drained.
const BATCH: usize = 128;
/// Batches that may wait for the other side.
const WAITING: usize = 8;

/// Where each of two threads puts what the other is to drop. Waiting sleeps: it is not what is measured.
struct Mail<T>([(Mutex<VecDeque<Vec<T>>>, Condvar); 2]);

impl<T> Mail<T> {
    fn new() -> Self {
        Self([const { (Mutex::new(VecDeque::new()), Condvar::new()) }; 2])
    }

    fn send(&self, to: usize, batch: Vec<T>) {
        let (queue, arrived) = &self.0[to % 2];
        queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_back(batch);
        arrived.notify_one();
    }

    fn receive(&self, at: usize) -> Option<Vec<T>> {
        let (queue, arrived) = &self.0[at % 2];
        let queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
        let mut queue = arrived
            .wait_while(queue, |queue| queue.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        queue.pop_front()
    }
}

/// Both threads get batches for the other and drop the other's, up to `WAITING` behind; the vectors that carry them go
/// round as well. What is timed is the getting, touching and dropping: the hand-over is the same for all, and what it
/// costs depends on how often a thread must be woken, which is chance.
fn exchange<T>(
    worker: &mut Worker<'_>,
    mail: &Mail<T>,
    get: impl Fn() -> T,
    touch: impl Fn(&mut T),
) -> Result<(), Invalid> {
    let me = worker.index;
    let (busy_ns, buffers) = worker.measure(|n| {
        let batches = n.div_ceil(BATCH as u64);
        let mut carriers: Vec<Vec<T>> = Vec::new();
        let mut busy_ns = 0;
        for sent in 0..batches + WAITING as u64 {
            if sent < batches {
                let mut batch = carriers.pop().unwrap_or_else(|| Vec::with_capacity(BATCH));
                let start = wall_ns();
                batch.extend((0..BATCH).map(|_| {
                    let mut buffer = get();
                    touch(&mut buffer);
                    buffer
                }));
                busy_ns += wall_ns() - start;
                mail.send(me + 1, batch);
            }
            // As many are received as were sent, `WAITING` later.
            if sent >= WAITING as u64
                && let Some(mut batch) = mail.receive(me)
            {
                let start = wall_ns();
                batch.clear();
                busy_ns += wall_ns() - start;
                carriers.push(batch);
            }
        }
        (busy_ns, batches * BATCH as u64)
    });
    worker.report(busy_ns as f64 / buffers as f64);
    Ok(())
}

fn cross(task: &Task<'_>) -> Result<Row, Invalid> {
    let pool = Pool::default();
    let mail = (Mail::new(), Mail::new());
    #[cfg(feature = "peers")]
    let vectors = opool::Pool::new_prefilled(2 * (WAITING + 2) * BATCH, Vectors);
    #[cfg(feature = "peers")]
    let mails = (Mail::new(), Mail::new(), Mail::new());
    let mut contest = Contest::new(task);
    contest.ours("PooledVec", 2, |worker| {
        exchange(worker, &mail.0, || pool.get(), |buffer| buffer.push(1))
    });
    contest.peer("glibc", 2, |worker| {
        exchange(worker, &mail.1, || Raw::get(&System), Raw::touch)
    });
    #[cfg(feature = "peers")]
    {
        contest.peer("jemalloc", 2, |worker| {
            exchange(
                worker,
                &mails.0,
                || Raw::get(&tikv_jemallocator::Jemalloc),
                Raw::touch,
            )
        });
        contest.peer("mimalloc", 2, |worker| {
            exchange(worker, &mails.1, || Raw::get(&mimalloc::MiMalloc), Raw::touch)
        });
        contest.peer("opool", 2, |worker| {
            exchange(worker, &mails.2, || vectors.get(), |buffer| buffer.push(1))
        });
    }
    for peer in ["jemalloc", "mimalloc", "opool"] {
        contest.faster_than(1.0, peer);
    }
    contest.note("opool is as large as all that can be on the way");
    let row = contest.run()?;
    let stats = pool.stats();
    if stats.idle_bytes > stats.idle_bytes_max {
        return Err(Invalid(format!("the pool outgrew its bound: {stats:?}")));
    }
    Ok(row)
}

fn allocations(task: &Task<'_>) -> Result<Row, Invalid> {
    let pool = Pool::default();
    let objects = ObjectPool::new(|| [0u64; 16], |_| ());
    let arenas = pooled_vec::ArenaPool::new();
    let mut held = Vec::with_capacity(100);
    let mut round = |gets: &mut u64| {
        for bytes in [512, BYTES, 65536] {
            drop(black_box(pool.with_capacity(bytes)));
        }
        drop(black_box(PooledVec::new()));
        held.extend((0..100).map(|_| pool.get()));
        held.clear();
        drop(black_box(objects.get()));
        black_box(arenas.get().alloc(7u64));
        *gets += 106;
    };
    let mut gets = 0;
    (0..10).for_each(|_| round(&mut gets));
    gets = 0;
    let before = allocations_on_this_thread();
    (0..10_000).for_each(|_| round(&mut gets));
    let calls = allocations_on_this_thread() - before;
    if before == 0 {
        return Err(Invalid(
            "nothing counts: the counting allocator is not in place".into(),
        ));
    }
    let note = format!("{calls} calls in {gets} gets");
    Ok(Row::absolute(task.claim, calls as f64 / gets as f64, 0.0, note))
}
