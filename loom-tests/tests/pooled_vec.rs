//! pooled-vec: batches change hands between threads, a pool dies under returns, slots and pages change owners.
#![cfg(loom)]

use loom_tests::{Bounds, check};
use pooled_vec::{AlignedOptions, CowMemory, ObjectPool, PinnedBuf, Pool, PoolConfig, PooledVec, Slab};
use sync_base::sync::{Arc, Mutex};
use sync_base::thread;

/// One block of a class in each half of a cache, so that every second drop spills.
const SMALL: PoolConfig = PoolConfig::new()
    .classes(&[64])
    .first_capacity(64)
    .per_thread(2)
    .idle_bytes_max(64 * 16)
    .shards(1);

/// For the models with more steps.
const LONG: Bounds = Bounds {
    threads: 3,
    quick: 2,
    deep: 3,
};

const THREE: Bounds = Bounds {
    threads: 3,
    quick: 3,
    deep: 4,
};

/// Writes a mark that the next user of the memory must not be able to disturb while it is held.
fn mark(buffer: &mut PooledVec, value: u8) {
    buffer.clear();
    buffer.extend_from_slice(&[value; 64]);
    thread::yield_now();
    assert!(buffer.iter().all(|&b| b == value), "two users of one buffer");
}

#[test]
fn e3_batches_handed_over_have_one_owner_and_the_bytes_add_up() {
    for (name, shards) in [
        ("pool.spill_refill.one_shard", 1),
        ("pool.spill_refill.two_shards", 2),
    ] {
        check(name, LONG, move || {
            let pool = Arc::new(Pool::new(SMALL.shards(shards)));
            let threads: Vec<_> = (1..3u8)
                .map(|value| {
                    let pool = Arc::clone(&pool);
                    thread::spawn(move || {
                        let mut held = [pool.get(), pool.get(), pool.get()];
                        held.iter_mut().for_each(|buffer| mark(buffer, value));
                        drop(held); // The third drop spills.
                        mark(&mut pool.get(), value);
                        pool.flush();
                    })
                })
                .collect();
            for thread in threads {
                thread.join().unwrap();
            }
            let stats = pool.stats();
            // Nothing is held: what is charged is what the shards have, one buffer an allocation.
            assert_eq!(stats.idle_bytes, 64 * stats.allocations as usize);
            pool.trim();
            assert_eq!(pool.stats().idle_bytes, 0);
        });
    }
}

#[test]
fn e3_a_buffer_dropped_on_another_thread_is_found_again() {
    check("pool.cross_thread_return", THREE, || {
        let pool = Arc::new(Pool::new(SMALL));
        let hand = Arc::new(Mutex::new(None));
        let (theirs, give) = (Arc::clone(&pool), Arc::clone(&hand));
        let getter = thread::spawn(move || {
            let mut buffer = theirs.get();
            mark(&mut buffer, 1);
            *give.lock().unwrap() = Some(buffer);
            mark(&mut theirs.get(), 2);
            theirs.flush();
        });
        let (theirs, take) = (Arc::clone(&pool), hand);
        let dropper = thread::spawn(move || {
            let taken = take.lock().unwrap().take();
            drop(taken);
            theirs.flush();
            mark(&mut theirs.get(), 3);
            theirs.flush();
        });
        getter.join().unwrap();
        dropper.join().unwrap();
    });
}

#[test]
fn e3_a_get_waits_for_whoever_holds_the_only_shard() {
    check("pool.get_waits_for_holder", THREE, || {
        let pool = Arc::new(Pool::new(SMALL));
        // Two batches of one lie in the shard, and each of two threads wants one: there is enough for both.
        drop([pool.get(), pool.get()]);
        pool.flush();
        let threads: Vec<_> = (1..3u8)
            .map(|value| {
                let pool = Arc::clone(&pool);
                thread::spawn(move || {
                    let mut buffer = pool.get();
                    mark(&mut buffer, value);
                    buffer
                })
            })
            .collect();
        let held: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        let stats = pool.stats();
        assert_eq!(
            (stats.allocations, stats.contended),
            (2, 0),
            "nobody went to the allocator"
        );
        drop(held);
    });
}

#[test]
fn e3_a_pools_death_and_late_returns_meet_without_harm() {
    check("pool.death_against_return", THREE, || {
        let pool = Pool::new(SMALL);
        let (a, b, c) = (pool.get(), pool.get(), pool.get());
        let returner = thread::spawn(move || {
            // Adopts, fills both halves, spills; the pool may die at any point of it.
            drop(a);
            drop(b);
            drop(c);
        });
        let killer = thread::spawn(move || drop(pool));
        returner.join().unwrap();
        killer.join().unwrap();
        // Whoever was last has emptied the depot: the next pool may live there, and finds nothing.
        let next = Pool::new(SMALL);
        drop(next.get());
        assert_eq!(next.stats().allocations, 1);
    });
}

#[test]
fn e3_a_pool_born_where_another_dies_gets_nothing_of_it() {
    check("pool.rebirth_against_return", THREE, || {
        let first = Pool::new(SMALL);
        let (a, b, c) = (first.get(), first.get(), first.get());
        let returner = thread::spawn(move || {
            drop(a);
            drop(b);
            drop(c);
        });
        let reborn = thread::spawn(move || {
            drop(first);
            let second = Pool::new(SMALL.classes(&[128]).first_capacity(128));
            let mut buffer = second.get();
            assert_eq!((buffer.capacity(), second.stats().allocations), (128, 1));
            mark(&mut buffer, 4);
            drop(buffer);
            second.flush();
            second.trim();
            assert_eq!(second.stats().idle_bytes, 0);
        });
        returner.join().unwrap();
        reborn.join().unwrap();
    });
}

#[test]
fn e3_a_depot_set_aside_comes_back_under_late_returns_unharmed() {
    check("pool.reshape_against_return", LONG, || {
        // The table of a model has three places.
        let others = [Pool::new(SMALL), Pool::new(SMALL)];
        let first = Pool::new(SMALL);
        let (a, b, c) = (first.get(), first.get(), first.get());
        let returner = thread::spawn(move || {
            drop(a);
            drop(b);
            drop(c);
        });
        let reborn = thread::spawn(move || {
            drop(first);
            // The returner may hold the dying shard still: then there is no place yet.
            let Ok(second) = Pool::try_new(SMALL.shards(2)) else {
                return;
            };
            assert_eq!((second.stats().shards, second.stats().idle_bytes), (2, 0));
            drop(second);
            let third = Pool::new(SMALL.classes(&[128]).first_capacity(128));
            let mut buffer = third.get();
            assert_eq!((buffer.capacity(), third.stats().allocations), (128, 1));
            mark(&mut buffer, 4);
            drop(buffer);
            third.trim();
            assert_eq!((third.stats().shards, third.stats().idle_bytes), (1, 0));
        });
        returner.join().unwrap();
        reborn.join().unwrap();
        drop(others);
    });
}

#[test]
fn idle_bytes_never_pass_their_bound() {
    check("pool.bounded_bytes", THREE, || {
        let pool = Arc::new(Pool::new(SMALL.idle_bytes_max(64 * 2)));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let pool = Arc::clone(&pool);
                thread::spawn(move || {
                    drop([pool.get(), pool.get()]);
                    assert!(pool.stats().idle_bytes <= 64 * 2);
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(pool.stats().idle_bytes <= 64 * 2);
    });
}

#[test]
fn a_slots_next_lessee_sees_the_turns_of_the_last() {
    check("slab.lease_hands_over", THREE, || {
        let slab = Slab::new(1, 64, AlignedOptions::new()).unwrap();
        let turns = Arc::new(Mutex::new(Vec::new()));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (slab, turns) = (slab.clone(), Arc::clone(&turns));
                thread::spawn(move || {
                    if let Some(slot) = slab.claim() {
                        let lent = PinnedBuf::from(slot).lend();
                        let turn = lent.generation();
                        // SAFETY: nothing was submitted.
                        drop(unsafe { lent.reclaim() });
                        turns.lock().unwrap().push(turn);
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        let mut turns = turns.lock().unwrap().clone();
        turns.sort_unstable();
        assert!(
            turns.iter().copied().eq(1..=turns.len() as u64),
            "turns {turns:?}"
        );
        assert_eq!(slab.available(), 1);
    });
}

#[test]
fn the_global_pool_is_made_once_and_seen_whole() {
    check("pool.global_made_once", THREE, || {
        let maker = thread::spawn(|| {
            let pool = Pool::global();
            mark(&mut pool.with_capacity(64), 1);
            pool.flush();
        });
        let other = thread::spawn(|| {
            // Knows the global pool's name without having been told that it is there.
            let mut buffer = PooledVec::default();
            mark(&mut buffer, 2);
            drop(buffer);
            Pool::global().flush();
        });
        maker.join().unwrap();
        other.join().unwrap();
        Pool::global().trim();
        assert_eq!(Pool::global().stats().idle_bytes, 0);
    });
}

/// Counts itself while it lives.
struct Live(std::sync::Arc<std::sync::atomic::AtomicIsize>);

impl Drop for Live {
    fn drop(&mut self) {
        self.0.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
    }
}

#[test]
fn e3_whatever_dies_with_its_pool_is_disposed_of_once() {
    check("pool.death_drops_all", THREE, || {
        let live = std::sync::Arc::new(std::sync::atomic::AtomicIsize::new(0));
        let pool = ObjectPool::try_with_limits(|| None::<Live>, |_| (), 2, 16).unwrap();
        let make = || {
            let mut object = pool.get();
            live.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            *object = Some(Live(std::sync::Arc::clone(&live)));
            object
        };
        let (a, b, c) = (make(), make(), make());
        let returner = thread::spawn(move || {
            drop(a);
            drop(b);
            drop(c); // The third spills.
            pooled_vec::flush_thread();
        });
        let killer = thread::spawn(move || drop(pool));
        returner.join().unwrap();
        killer.join().unwrap();
        assert_eq!(live.load(std::sync::atomic::Ordering::Relaxed), 0);
    });
}

#[test]
fn c15_a_page_is_written_by_its_sole_holder_after_every_other_ones_last_read() {
    check("cow.write_against_read_and_drop", THREE, || {
        let mut parent = CowMemory::new(64);
        parent.write(0, &[1; 64]).unwrap();
        let threads: Vec<_> = (2..4u8)
            .map(|value| {
                let mut image = parent.fork();
                thread::spawn(move || {
                    let mut seen = [0; 64];
                    image.read(0, &mut seen).unwrap();
                    assert_eq!(seen, [1; 64]);
                    image.write(0, &[value; 8]).unwrap();
                    image.read(0, &mut seen).unwrap();
                    assert!(seen[..8] == [value; 8] && seen[8..] == [1; 56]);
                })
            })
            .collect();
        drop(parent);
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn c15_forks_of_a_fork_count_to_zero() {
    check("cow.fork_against_write", THREE, || {
        let mut parent = CowMemory::new(64);
        parent.write(0, &[1; 64]).unwrap();
        let mut child = parent.fork();
        let parent = Arc::new(parent);
        let reader = Arc::clone(&parent);
        let forker = thread::spawn(move || {
            let mut grandchild = reader.fork();
            grandchild.write(0, &[3]).unwrap();
            assert_eq!(grandchild.pages().own, 1);
        });
        let writer = thread::spawn(move || {
            child.write(0, &[2]).unwrap();
            assert_eq!(
                (child.pages().own, child.pages().copied),
                (1, 1),
                "the parent holds the page too"
            );
        });
        forker.join().unwrap();
        writer.join().unwrap();
        assert_eq!(parent.pages().own, 1, "alone again");
        let mut seen = [0; 2];
        parent.read(0, &mut seen).unwrap();
        assert_eq!(seen, [1; 2]);
    });
}
