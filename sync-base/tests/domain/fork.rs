//! Forks: the child has one thread, and the memory of all.

use super::{Drops, eventually, retire, retire_scarce, sleeper};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use sync_base::Domain;

/// Runs `body` in a forked child; true if it returned true.
fn in_child(body: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child runs `body` and exits without unwinding or running exit handlers.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", std::io::Error::last_os_error()),
        0 => {
            // SAFETY: a child that hangs is ended by a signal, which is no exit.
            unsafe { libc::alarm(60) };
            let ok = catch_unwind(AssertUnwindSafe(body)).unwrap_or(false);
            // SAFETY: ends the child.
            unsafe { libc::_exit(i32::from(!ok)) }
        }
        child => {
            let mut status = 0;
            // SAFETY: waits for our child.
            let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
            waited == child && libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
        }
    }
}

#[test]
fn after_a_fork_the_guards_of_absent_threads_are_ghosts() {
    let (domain, drops) = (Domain::new(), Drops::default());
    let (wake, thread) = sleeper(&domain, "absent");
    retire(&domain, &drops);
    domain.flush();
    let child = || {
        // The sleeper is not here; this thread's own guards still count, through a second fork too.
        let mine = domain.pin();
        retire(&domain, &drops);
        domain.collect();
        let grandchild = || {
            domain.collect();
            let held = drops.count() == 1;
            drop(mine);
            domain.collect();
            held && drops.count() == 2
        };
        drops.count() == 1 && in_child(grandchild)
    };
    assert!(in_child(child));
    domain.collect();
    assert_eq!(drops.count(), 0, "the parent's sleeper still holds");
    drop(wake);
    thread.join().unwrap();
    domain.collect();
    assert_eq!(drops.count(), 1);
}

/// What held back the parent's last attempt is not in the child: no attempt there may be skipped for it.
#[test]
fn after_a_fork_no_absent_reader_stands_in_the_way_of_tending_admission_or_a_threads_own_turns() {
    let domain = Domain::builder().garbage_limit(64).batch(1).build();
    let drops = Drops::default();
    let (wake, thread) = sleeper(&domain, "absent");
    retire_scarce(&domain, &drops);
    assert_eq!(domain.tend(), 0);
    let accepted = (0..1_000).take_while(|_| {
        let admitted = domain.try_admit(8).is_ok();
        if admitted {
            retire(&domain, &drops);
        }
        admitted
    });
    assert!(accepted.count() < 1_000, "the limit is reached");
    let tends = || domain.tend() > 0 && drops.count() > 0;
    assert!(in_child(tends), "tend");
    let admits = || (0..100).all(|_| domain.try_admit(8).is_ok());
    assert!(in_child(admits), "try_admit");
    let turns = || {
        retire(&domain, &drops);
        drops.count() > 0
    };
    assert!(in_child(turns), "retire");
    assert_eq!(drops.count(), 0);
    drop(wake);
    thread.join().unwrap();
}

/// Forks while other threads retire, collect and end; each child does what `child` says with its copy of the domain.
fn forks_amid_retiring(child: impl Fn(&Domain) -> bool) {
    let domain = Domain::builder().batch(16).build();
    let drops = Drops::default();
    let stop = AtomicBool::new(false);
    std::thread::scope(|s| {
        for _ in 0..2 {
            s.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    for _ in 0..50 {
                        let _guard = domain.pin();
                        retire(&domain, &drops);
                    }
                    std::thread::scope(|s| _ = s.spawn(|| retire(&domain, &drops)));
                }
            });
        }
        let went_well = (0..100).filter(|_| in_child(|| child(&domain))).count();
        stop.store(true, Ordering::Relaxed);
        assert_eq!(went_well, 100);
    });
}

#[test]
fn a_fork_amid_retiring_threads_leaves_the_child_a_working_domain() {
    forks_amid_retiring(|domain| {
        let drops = Drops::default();
        let guard = domain.pin();
        (0..500).for_each(|_| retire(domain, &drops));
        domain.collect();
        let held = drops.count() == 0;
        drop(guard);
        domain.collect();
        held && drops.count() == 500
    });
}

/// What absent threads had in hand is left alone: it may have been torn in the middle of a push.
#[test]
fn a_child_may_drop_the_last_handle_of_a_domain_that_absent_threads_were_using() {
    forks_amid_retiring(|domain| {
        let drops = Drops::default();
        retire(domain, &drops);
        // SAFETY: the child has no other user of the handle, and ends without dropping it again.
        drop(unsafe { std::ptr::read(domain) });
        drops.count() == 1
    });
}

#[test]
fn what_an_absent_thread_had_in_hand_leaks_in_the_child_and_is_freed_in_the_parent() {
    let (domain, drops) = (Domain::new(), Drops::default());
    let (in_hand, is_in_hand) = mpsc::channel();
    let (wake, sleep) = mpsc::channel::<()>();
    std::thread::scope(|s| {
        let (theirs, count) = (&domain, drops.clone());
        s.spawn(move || {
            retire(theirs, &count);
            in_hand.send(()).unwrap();
            let _ = sleep.recv();
        });
        is_in_hand.recv().unwrap();
        let child = || {
            retire(&domain, &drops);
            // SAFETY: the child has no other user of the handle, and ends without dropping it again.
            drop(unsafe { std::ptr::read(&raw const domain) });
            drops.count() == 1
        };
        assert!(in_child(child));
        drop(wake);
    });
    drop(domain);
    assert!(eventually(|| drops.count() == 1));
}
