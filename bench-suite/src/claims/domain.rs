//! Claims about the reclamation domain.

use crate::contest::Worker;
use crate::{Claim, Contest, Invalid, Row, Task};
use std::hint::black_box;
use std::sync::atomic::{AtomicPtr, Ordering};
use sync_base::Domain;

pub(super) const CLAIMS: &[Claim] = &[
    Claim {
        id: "dom.pin",
        krate: "sync-base",
        what: "pin, load a pointer, unpin; one thread, the shared domain",
        unit: "ns",
        cores: 1,
        run: |task| pin(task, 1),
    },
    Claim {
        id: "dom.pin.2t",
        krate: "sync-base",
        what: "pin, load a pointer, unpin; two threads, the shared domain",
        unit: "ns",
        cores: 2,
        run: |task| pin(task, 2),
    },
    Claim {
        id: "dom.retire.2t",
        krate: "sync-base",
        what: "allocate 64 bytes, pin, retire, unpin; two threads",
        unit: "ns",
        cores: 2,
        run: retire,
    },
];

/// What is loaded under the guard.
fn read(root: &AtomicPtr<u64>) -> u64 {
    // Acquire: what a structure's look-up does; nothing here is published.
    let found = root.load(Ordering::Acquire);
    // SAFETY: never freed while the contest runs.
    unsafe { *found }
}

fn pin(task: &Task<'_>, threads: usize) -> Result<Row, Invalid> {
    let mut value = 7u64;
    let root = AtomicPtr::new(&raw mut value);
    let root = &root;
    let sums = |n: u64, sum: u64| match sum == 7 * n {
        true => Ok(()),
        false => Err(Invalid(format!("read {sum} in {n} sections"))),
    };
    let check = |w: &mut Worker<'_>, body: &dyn Fn(u64) -> u64| {
        let (n, sum) = w.measure(|n| (n, body(n)));
        sums(n, sum)
    };
    let mut contest = Contest::new(task);
    contest.ours("sync-base", threads, move |w| {
        check(w, &|n| {
            (0..n).fold(0, |sum, _| {
                let _guard = Domain::global().pin();
                sum + read(black_box(root))
            })
        })
    });
    contest.ours("sync-base, domain in a field", threads, move |w| {
        check(w, &|n| {
            let domain = black_box(Domain::global());
            (0..n).fold(0, |sum, _| {
                let _guard = domain.pin();
                sum + read(black_box(root))
            })
        })
    });
    contest.ours("sync-base, own reader", threads, move |w| {
        let reader = Domain::global().reader();
        check(w, &|n| {
            (0..n).fold(0, |sum, _| {
                let _guard = black_box(&reader).pin();
                sum + read(black_box(root))
            })
        })
    });
    contest.floor("a plain load", threads, move |w| {
        check(w, &|n| (0..n).fold(0, |sum, _| sum + read(black_box(root))))
    });
    #[cfg(feature = "peers")]
    {
        contest.peer("crossbeam-epoch", threads, move |w| {
            check(w, &|n| {
                (0..n).fold(0, |sum, _| {
                    let _guard = crossbeam_epoch::pin();
                    sum + read(black_box(root))
                })
            })
        });
        let collector = seize::Collector::new();
        contest.peer("seize", threads, move |w| {
            check(w, &|n| {
                (0..n).fold(0, |sum, _| {
                    use seize::Guard as _;
                    let guard = collector.enter();
                    let found = guard.protect(black_box(root), Ordering::Acquire);
                    // SAFETY: never freed while the contest runs.
                    sum + unsafe { *found }
                })
            })
        });
    }
    contest
        .at_most(2.0, "a plain load")
        .faster_than(5.0, "crossbeam-epoch")
        .faster_than(5.0, "seize")
        .run()
}

/// Objects that wait for a barrier in the lane that shows what sharing one saves.
const EAGER: usize = 128;

/// What is allocated and retired.
type Object = [u64; 8];

fn retire(task: &Task<'_>) -> Result<Row, Invalid> {
    let domain = Domain::new();
    let eager = Domain::builder().batch(EAGER).build();
    let mut contest = Contest::new(task);
    for (name, ours) in [
        ("sync-base", domain.clone()),
        ("sync-base, a barrier each 128", eager.clone()),
    ] {
        contest.ours(name, 2, move |w| {
            w.measure(|n| {
                for i in 0..n {
                    let object = Box::into_raw(Box::new(black_box::<Object>([i; 8])));
                    let _guard = ours.pin();
                    // SAFETY: linked nowhere, retired once.
                    unsafe { ours.retire_box(object) };
                }
            });
            Ok(())
        });
    }
    contest.floor("allocate and free", 2, |w| {
        w.measure(|n| {
            for i in 0..n {
                drop(black_box(Box::new(black_box::<Object>([i; 8]))));
            }
        });
        Ok(())
    });
    #[cfg(feature = "peers")]
    {
        contest.peer("crossbeam-epoch", 2, |w| {
            w.measure(|n| {
                for i in 0..n {
                    let object = crossbeam_epoch::Owned::new(black_box::<Object>([i; 8]));
                    let guard = crossbeam_epoch::pin();
                    let object = object.into_shared(&guard);
                    // SAFETY: linked nowhere, retired once.
                    unsafe { guard.defer_destroy(object) };
                }
            });
            Ok(())
        });
        let collector = seize::Collector::new();
        contest.peer("seize", 2, move |w| {
            w.measure(|n| {
                for i in 0..n {
                    use seize::Guard as _;
                    let object = Box::into_raw(Box::new(black_box::<Object>([i; 8])));
                    let guard = collector.enter();
                    // SAFETY: linked nowhere, retired once, made by `Box`.
                    unsafe { guard.defer_retire(object, seize::reclaim::boxed) };
                }
            });
            Ok(())
        });
    }
    let row = contest
        .faster_than(2.5, "crossbeam-epoch")
        .faster_than(2.5, "seize")
        .run()?;
    domain.collect();
    eager.collect();
    match domain.stats().garbage + eager.stats().garbage {
        0 => Ok(row),
        left => Err(Invalid(format!("{left} bytes were never freed"))),
    }
}
