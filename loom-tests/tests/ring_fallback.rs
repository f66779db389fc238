//! uring-core's fallback: work handed to the pool is run or withdrawn, once; results handed back are never left with the
//! bell silent.
#![cfg(loom)]

use loom_tests::{Bounds, check};
use std::time::Duration;
use sync_base::atomic::{AtomicUsize, Ordering};
use sync_base::cell::UnsafeCell;
use sync_base::sync::{Arc, Condvar, Mutex};
use sync_base::thread;
use uring_core::{Bell, Pool, Work, handover};

/// Counts its runs.
struct Counted {
    name: usize,
    ran: Arc<AtomicUsize>,
}

impl Work for Counted {
    fn run(self) {
        // Relaxed: read after every thread was joined.
        self.ran.fetch_add(1, Ordering::Relaxed);
    }
}

/// Adds one piece of work; whoever has to start a thread becomes it, which saves the model one.
fn add(pool: &Pool<Counted>, name: usize, ran: &Arc<AtomicUsize>) {
    let ran = Arc::clone(ran);
    if pool.add(Counted { name, ran }) {
        pool.serve(Duration::ZERO);
    }
}

#[test]
fn pool_runs_each_piece_of_work_once() {
    for limit in [1, 2] {
        check(
            &format!("ring.pool_runs_each_piece_of_work_once.{limit}"),
            Bounds {
                threads: 3,
                quick: 3,
                deep: 5,
            },
            move || {
                let pool = Arc::new(Pool::new(limit));
                let ran = Arc::new(AtomicUsize::new(0));
                let threads: Vec<_> = (0..2)
                    .map(|name| {
                        let (pool, ran) = (Arc::clone(&pool), Arc::clone(&ran));
                        thread::spawn(move || {
                            add(&pool, name, &ran);
                            add(&pool, name + 2, &ran);
                        })
                    })
                    .collect();
                for thread in threads {
                    thread.join().unwrap();
                }
                // Relaxed: every thread was joined.
                assert_eq!(ran.load(Ordering::Relaxed), 4, "work was left behind");
                assert!(pool.withdraw(|_| true).is_none(), "work is still queued");
            },
        );
    }
}

#[test]
fn pool_runs_work_or_gives_it_back_and_never_both() {
    check(
        "ring.pool_runs_work_or_gives_it_back_and_never_both",
        Bounds {
            threads: 3,
            quick: 3,
            deep: 5,
        },
        || {
            let pool = Arc::new(Pool::new(1));
            let ran = Arc::new(AtomicUsize::new(0));
            let adding = {
                let (pool, ran) = (Arc::clone(&pool), Arc::clone(&ran));
                thread::spawn(move || {
                    add(&pool, 7, &ran);
                    add(&pool, 8, &ran);
                })
            };
            let withdrawing = {
                let pool = Arc::clone(&pool);
                thread::spawn(move || usize::from(pool.withdraw(|work: &Counted| work.name == 8).is_some()))
            };
            adding.join().unwrap();
            let withdrawn = withdrawing.join().unwrap();
            // Relaxed: every thread was joined.
            assert_eq!(ran.load(Ordering::Relaxed) + withdrawn, 2);
        },
    );
}

/// The thread that was asked for could not be started: the work comes back, unless somebody else is there to do it.
#[test]
fn pool_without_a_thread_gives_its_work_back() {
    for limit in [1, 2] {
        check(
            &format!("ring.pool_without_a_thread_gives_its_work_back.{limit}"),
            Bounds {
                threads: 3,
                quick: 3,
                deep: 5,
            },
            move || {
                let pool = Arc::new(Pool::new(limit));
                let ran = Arc::new(AtomicUsize::new(0));
                let failing = {
                    let (pool, ran) = (Arc::clone(&pool), Arc::clone(&ran));
                    thread::spawn(move || {
                        let short = pool.add(Counted { name: 0, ran });
                        if short { pool.thread_failed().len() } else { 0 }
                    })
                };
                let serving = {
                    let (pool, ran) = (Arc::clone(&pool), Arc::clone(&ran));
                    thread::spawn(move || add(&pool, 1, &ran))
                };
                let back = failing.join().unwrap();
                serving.join().unwrap();
                // Relaxed: every thread was joined.
                assert_eq!(ran.load(Ordering::Relaxed) + back, 2);
            },
        );
    }
}

/// An eventfd and the sleep on it.
#[derive(Default)]
struct Gong {
    rings: Mutex<bool>,
    heard: Condvar,
}

impl Gong {
    fn sleep(&self) {
        let mut rings = self.rings.lock().unwrap();
        while !*rings {
            rings = self.heard.wait(rings).unwrap();
        }
    }
}

/// The end of it that both sides hold.
#[derive(Clone, Default)]
struct Shared(Arc<Gong>);

impl Bell for Shared {
    fn ring(&self) {
        *self.0.rings.lock().unwrap() = true;
        self.0.heard.notify_all();
    }

    fn silence(&self) {
        *self.0.rings.lock().unwrap() = false;
    }
}

/// What a job wrote into the memory of its operation, seen by whoever collects its result.
struct Written(Arc<UnsafeCell<u32>>);

// SAFETY: handed from the thread that wrote to the one that reads: that is what is being checked.
unsafe impl Send for Written {}

/// Workers that deliver so many results each, and a ring that sleeps until it has them all.
fn deliver(workers: usize, each: usize) {
    let gong = Shared::default();
    let (outbox, mut inbox) = handover::<Written, _>(workers * each, gong);
    let workers: Vec<_> = (0..workers)
        .map(|_| {
            let outbox = outbox.clone();
            thread::spawn(move || {
                for _ in 0..each {
                    let memory = Arc::new(UnsafeCell::new(0));
                    // SAFETY: nobody else has it yet.
                    memory.with_mut(|at| unsafe { *at = 1 });
                    assert!(outbox.deliver(Written(memory)).is_ok());
                }
            })
        })
        .collect();
    let all = workers.len() * each;
    let ring = thread::spawn(move || {
        let mut collected = 0;
        while collected < all {
            // A result left behind with the bell silent is a deadlock here.
            inbox.bell().0.sleep();
            inbox.begin();
            while let Some(Written(memory)) = inbox.take() {
                // SAFETY: the worker is done with it.
                assert_eq!(memory.with(|at| unsafe { *at }), 1);
                collected += 1;
            }
        }
    });
    for worker in workers {
        worker.join().unwrap();
    }
    ring.join().unwrap();
}

#[test]
fn results_are_never_left_with_the_bell_silent() {
    check(
        "ring.results_are_never_left_with_the_bell_silent",
        Bounds {
            threads: 4,
            quick: 2,
            deep: 3,
        },
        || deliver(2, 1),
    );
}

/// The bell may be silenced between two deliveries of the same worker.
#[test]
fn results_one_after_another_ring_anew() {
    check(
        "ring.results_one_after_another_ring_anew",
        Bounds {
            threads: 3,
            quick: 3,
            deep: 4,
        },
        || deliver(1, 3),
    );
}
