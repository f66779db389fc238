//! What is retired is freed once, whatever its reclaim function does.

use super::{Counted, Drops, eventually, retire, retire_scarce};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicPtr, Ordering};
use sync_base::Domain;

#[test]
fn what_is_retired_is_freed_once_and_not_before_the_guard_ends() {
    let (domain, drops) = (Domain::new(), Drops::default());
    let guard = domain.pin();
    for _ in 0..1_000 {
        retire(&domain, &drops);
    }
    domain.collect();
    assert_eq!(drops.count(), 0);
    drop(guard);
    domain.collect();
    assert_eq!(drops.count(), 1_000);
    assert_eq!(domain.stats().garbage, 0);
}

#[test]
fn dropping_the_last_handle_frees_everything() {
    let (domain, drops) = (Domain::new(), Drops::default());
    retire(&domain, &drops);
    std::thread::scope(|s| {
        s.spawn(|| retire(&domain, &drops));
    });
    drop(domain);
    assert!(eventually(|| drops.count() == 2));
}

#[test]
fn a_panicking_reclaim_function_loses_nothing_else() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("reclaim");
        }
    }
    let (domain, drops) = (Domain::new(), Drops::default());
    let mut panics = 0;
    for i in 0..100 {
        // The panic comes out of whatever call happens to free the bomb.
        let turn = catch_unwind(AssertUnwindSafe(|| {
            retire(&domain, &drops);
            if i % 30 == 7 {
                // SAFETY: linked nowhere, retired once.
                unsafe { domain.retire_box(Box::into_raw(Box::new((Bomb, 1u8)))) };
            }
        }));
        panics += usize::from(turn.is_err());
    }
    for _ in 0..10 {
        panics += usize::from(catch_unwind(AssertUnwindSafe(|| domain.collect())).is_err());
    }
    assert_eq!(panics, 4);
    assert_eq!(drops.count(), 100);
    assert_eq!(domain.stats().garbage, 0);
}

struct Link(Domain, Drops, usize);

impl Drop for Link {
    fn drop(&mut self) {
        self.1.0.fetch_add(1, Ordering::Relaxed);
        if self.2 > 0 {
            let next = Box::into_raw(Box::new(Link(self.0.clone(), self.1.clone(), self.2 - 1)));
            // SAFETY: linked nowhere, retired once.
            unsafe { self.0.retire_box(next) };
        }
    }
}

#[test]
fn a_destructor_may_itself_retire_without_deepening_the_stack() {
    let (domain, drops) = (Domain::builder().batch(1).build(), Drops::default());
    let length = 20_000;
    // SAFETY: linked nowhere, retired once.
    unsafe {
        domain.retire_box(Box::into_raw(Box::new(Link(
            domain.clone(),
            drops.clone(),
            length,
        ))))
    };
    while drops.count() <= length {
        domain.collect();
    }
    assert_eq!(drops.count(), length + 1);
}

#[test]
fn stress_every_object_is_freed_once_and_none_while_it_is_read() {
    let domain = Domain::builder().garbage_limit(1 << 20).build();
    let drops = Drops::default();
    let root = AtomicPtr::new(Box::into_raw(Box::new((42u64, Counted(drops.clone())))));
    let rounds = 20_000;
    std::thread::scope(|s| {
        for reader in 0..4 {
            let (domain, root) = (&domain, &root);
            s.spawn(move || {
                let own = domain.reader();
                for i in 0..rounds {
                    let mut guard = if reader % 2 == 0 { domain.pin() } else { own.pin() };
                    if i % 7 == 0 {
                        guard.repin();
                    }
                    // Acquire: pairs with the swap below.
                    let found = root.load(Ordering::Acquire);
                    // SAFETY: found under a guard.
                    assert_eq!(unsafe { (*found).0 }, 42);
                }
            });
        }
        for _ in 0..2 {
            s.spawn(|| {
                for i in 0..rounds {
                    domain.admit(size_of::<(u64, Counted)>());
                    let new = Box::into_raw(Box::new((42u64, Counted(drops.clone()))));
                    // AcqRel: pairs with the load above.
                    let old = root.swap(new, Ordering::AcqRel);
                    // SAFETY: unlinked, once.
                    unsafe { domain.retire_box(old) };
                    if i % 1_000 == 0 {
                        domain.collect();
                    }
                }
            });
        }
    });
    domain.collect();
    drop(domain);
    assert!(
        eventually(|| drops.count() == 2 * rounds),
        "{} of {}",
        drops.count(),
        2 * rounds
    );
    // SAFETY: every thread is gone.
    drop(unsafe { Box::from_raw(root.into_inner()) });
    assert_eq!(drops.count(), 2 * rounds + 1);
}

#[test]
fn what_is_scarce_goes_with_the_guard_however_little_it_is() {
    let (domain, drops) = (Domain::new(), Drops::default());
    for scarce in [false, true] {
        let guard = domain.pin();
        if scarce {
            retire_scarce(&domain, &drops);
        } else {
            retire(&domain, &drops);
        }
        drop(guard);
        // The first waits for its batch to fill, and goes with the second.
        assert_eq!(drops.count(), if scarce { 2 } else { 0 });
    }
    retire_scarce(&domain, &drops);
    std::thread::scope(|s| s.spawn(|| domain.tend()).join()).unwrap();
    assert_eq!(drops.count(), 3, "handed over, so any thread frees it");
}

/// Each is a batch of its own, of which a turn frees four.
#[test]
fn all_that_is_scarce_goes_with_the_guard() {
    let (domain, drops) = (Domain::new(), Drops::default());
    let guard = domain.pin();
    for _ in 0..100 {
        retire_scarce(&domain, &drops);
    }
    drop(guard);
    assert_eq!(drops.count(), 100);
}

#[test]
fn tending_looks_only_while_something_scarce_waits() {
    let (domain, drops) = (Domain::new(), Drops::default());
    retire(&domain, &drops);
    domain.flush();
    assert_eq!(
        (domain.tend(), domain.stats().heavy_barriers),
        (0, 0),
        "nothing scarce"
    );
    retire_scarce(&domain, &drops);
    assert_eq!((domain.tend(), drops.count()), (2, 2));
    let barriers = domain.stats().heavy_barriers;
    assert_eq!(
        (domain.tend(), domain.stats().heavy_barriers),
        (0, barriers),
        "uncounted again"
    );
}

#[test]
fn a_scarce_object_whose_end_panics_is_uncounted_all_the_same() {
    unsafe fn panics(_: *mut ()) {
        panic!("the object's own");
    }
    let domain = Domain::new();
    // SAFETY: the function reads nothing.
    unsafe { domain.retire_scarce(std::ptr::null_mut(), 8, panics) };
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| domain.tend())).is_err());
    domain.tend();
    let barriers = domain.stats().heavy_barriers;
    assert_eq!((domain.tend(), domain.stats().heavy_barriers), (0, barriers));
}
