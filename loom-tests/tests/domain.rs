//! sync-base's reclamation domain: nothing is freed while a reader that may have found it is in its section.
//!
//! Every model runs as shipped where membarrier works (light side free, heavy side interrupting); those named
//! `*_fenced` run what ships where it is refused. `LOOM_BARRIER=fence` runs all of them so.
#![cfg(loom)]

use loom_tests::check;
use loom_tests::watched::{Root, bounds, linked, reads, run};
use sync_base::atomic::{AtomicUsize, Ordering};
use sync_base::interrupt::{Model, under};
use sync_base::sync::Arc;
use sync_base::{Domain, heavy_barrier, light_barrier};

// ---- the two barriers -------------------------------------------------------------------------------------------

/// Store buffering: each side stores, passes its barrier, and reads the other's word.
fn store_buffering(light: fn(), heavy: fn()) {
    let words = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let seen = Arc::new((AtomicUsize::new(9), AtomicUsize::new(9)));
    let (w, s) = (Arc::clone(&words), Arc::clone(&seen));
    let often = move || {
        // Relaxed, all: the barrier alone is being checked.
        w.0.store(1, Ordering::Relaxed);
        light();
        s.0.store(w.1.load(Ordering::Relaxed), Ordering::Relaxed);
    };
    let (w, s) = (Arc::clone(&words), Arc::clone(&seen));
    let seldom = move || {
        w.1.store(1, Ordering::Relaxed);
        heavy();
        s.1.store(w.0.load(Ordering::Relaxed), Ordering::Relaxed);
    };
    run(vec![Box::new(often), Box::new(seldom)]);
    let saw = (seen.0.load(Ordering::Relaxed), seen.1.load(Ordering::Relaxed));
    assert_ne!(saw, (0, 0), "neither side saw the other");
}

#[test]
fn light_and_heavy_order_as_two_fences_do() {
    check("domain.light_heavy", bounds(3, 3), || {
        store_buffering(light_barrier, heavy_barrier)
    });
}

#[test]
fn light_and_heavy_order_as_two_fences_do_fenced() {
    under(Model::Fence, || {
        check("domain.light_heavy.fenced", bounds(3, 3), || {
            store_buffering(light_barrier, heavy_barrier)
        })
    });
}

#[test]
#[should_panic(expected = "neither side saw the other")]
fn without_the_heavy_side_the_model_goes_red() {
    check("domain.light_alone", bounds(3, 3), || {
        store_buffering(light_barrier, || ())
    });
}

#[test]
#[should_panic(expected = "neither side saw the other")]
fn two_light_sides_go_red() {
    // Where both sides fence they would order, whichever two they are.
    under(Model::Interrupt, || {
        check("domain.light_light", bounds(3, 3), || {
            store_buffering(light_barrier, light_barrier)
        })
    });
}

// ---- pins against a grace: the core of the protocol -------------------------------------------------------------

/// Two sections against one unlink. The second section's pin may be what the scan reads.
fn grace_waits_for_sections() {
    let domain = Domain::builder().batch(1).build();
    let root = Root::new(7);
    let reader = reads(&root, domain.reader(), 2);
    let (d, r) = (domain.clone(), root.clone());
    let writer = move || {
        r.replace(8, &d);
    };
    run(vec![reader, Box::new(writer)]);
}

#[test]
fn grace_passes_only_when_readers_have_left() {
    check("domain.grace_waits", bounds(3, 3), grace_waits_for_sections);
}

#[test]
fn grace_passes_only_when_readers_have_left_fenced() {
    under(Model::Fence, || {
        check(
            "domain.grace_waits.fenced",
            bounds(3, 3),
            grace_waits_for_sections,
        )
    });
}

/// A barrier run by one writer serves the other.
#[test]
fn one_barrier_serves_both_writers() {
    check("domain.shared_barrier", bounds(4, 2), || {
        let domain = Domain::builder().batch(1).build();
        let roots = [Root::new(7), Root::new(9)];
        let reader = domain.reader();
        let both = roots.clone();
        let mut bodies: Vec<Box<dyn FnOnce()>> = vec![Box::new(move || {
            let guard = reader.pin();
            both[0].read(&guard);
            both[1].read(&guard);
        })];
        for root in &roots {
            let (d, r) = (domain.clone(), root.clone());
            bodies.push(Box::new(move || {
                r.replace(8, &d);
            }));
        }
        run(bodies);
    });
}

/// `repin` lets go of what was read and protects what is read next.
#[test]
fn repin_is_a_new_section() {
    check("domain.repin", bounds(3, 3), || {
        let domain = Domain::builder().batch(1).build();
        let root = Root::new(7);
        let (reader, r) = (domain.reader(), root.clone());
        let reads = move || {
            let mut guard = reader.pin();
            r.read(&guard);
            assert!(guard.repin());
            r.read(&guard);
        };
        let (d, r) = (domain.clone(), root.clone());
        let writer = move || {
            r.replace(8, &d);
        };
        run(vec![Box::new(reads), Box::new(writer)]);
    });
}

/// A nested section protects what its outer one found, and leaves it protected when it ends.
#[test]
fn nested_sections_keep_the_outer_one() {
    check("domain.nested", bounds(3, 2), || {
        let domain = Domain::builder().batch(1).build();
        let root = Root::new(7);
        let (reader, r) = (domain.reader(), root.clone());
        let reads = move || {
            let outer = reader.pin();
            r.read(&outer);
            drop(reader.pin());
            r.read(&outer);
        };
        let (d, r) = (domain.clone(), root.clone());
        let writer = move || {
            for next in [8, 9] {
                r.replace(next, &d);
            }
        };
        run(vec![Box::new(reads), Box::new(writer)]);
    });
}

// ---- retire, batches, collectors ---------------------------------------------------------------------------------

/// The whole way: thread-locals, bag, batch, collection by the writer itself, exit of both threads.
fn retire_waits_for_pin() {
    let domain = Domain::builder().batch(1).build();
    let root = Root::new(7);
    let (d, r) = (domain.clone(), root.clone());
    let reader = move || {
        r.read(&d.pin());
    };
    let (d, r) = (domain.clone(), root.clone());
    let writer = move || {
        // SAFETY: unlinked, once.
        unsafe { d.retire_box(r.unlink(8)) };
    };
    run(vec![Box::new(reader), Box::new(writer)]);
}

#[test]
fn retired_is_freed_after_the_pin() {
    check("domain.retire_waits_for_pin", bounds(3, 2), retire_waits_for_pin);
}

#[test]
fn retired_is_freed_after_the_pin_fenced() {
    under(Model::Fence, || {
        check(
            "domain.retire_waits_for_pin.fenced",
            bounds(3, 2),
            retire_waits_for_pin,
        )
    });
}

/// Another thread's sweep frees what this one retired: the batch is handed over whole, and its stamp covers it.
#[test]
fn a_sweep_frees_what_others_retired() {
    check("domain.sweep_frees_others", bounds(4, 2), || {
        // The writer only seals; the sweeper frees.
        let domain = Domain::builder().batch(2).build();
        let root = Root::new(7);
        let reader = reads(&root, domain.reader(), 1);
        let (d, r) = (domain.clone(), root.clone());
        let writer = move || {
            // SAFETY: unlinked, once.
            unsafe { d.retire_box(r.unlink(8)) };
            d.flush();
        };
        let sweeper = move || {
            domain.collect();
        };
        run(vec![reader, Box::new(writer), Box::new(sweeper)]);
    });
}

/// A retirer inside its own guard collects after it, and frees nothing that the guard holds.
#[test]
fn retiring_inside_a_guard_collects_after_it() {
    check("domain.retire_inside_guard", bounds(3, 2), || {
        let domain = Domain::builder().batch(1).build();
        let root = Root::new(7);
        let reader = reads(&root, domain.reader(), 1);
        let (d, r) = (domain.clone(), root.clone());
        let writer = move || {
            let guard = d.pin();
            // SAFETY: unlinked, once.
            unsafe { d.retire_box(r.unlink(8)) };
            r.read(&guard);
        };
        run(vec![reader, Box::new(writer)]);
    });
}

/// A batch waits, and is freed at the next seal because another thread's barrier has come after its stamp.
fn a_barrier_of_another_frees_what_waits() {
    // In parts of one object; three wait before the writer would call a barrier of its own.
    let domain = Domain::builder().batch(3).build();
    let root = Root::new(7);
    let reader = reads(&root, domain.reader(), 1);
    let (d, r) = (domain.clone(), root.clone());
    let writer = move || {
        // SAFETY: unlinked, once.
        unsafe { d.retire_box(r.unlink(8)) };
        // SAFETY: linked nowhere, retired once: its seal is where the other's barrier is noticed.
        unsafe { d.retire_box(linked(1)) };
    };
    let other = move || _ = domain.has_passed(domain.grace());
    run(vec![reader, Box::new(writer), Box::new(other)]);
}

#[test]
fn what_waits_is_freed_on_anothers_barrier() {
    check(
        "domain.waits_for_another",
        bounds(4, 2),
        a_barrier_of_another_frees_what_waits,
    );
}

#[test]
fn what_waits_is_freed_on_anothers_barrier_fenced() {
    under(Model::Fence, || {
        check(
            "domain.waits_for_another.fenced",
            bounds(4, 1),
            a_barrier_of_another_frees_what_waits,
        )
    });
}

// ---- records and threads that come and go -------------------------------------------------------------------------

/// A thread ends with a full bag: what it retired outlives its record's reuse and is freed by whoever comes.
#[test]
fn an_exiting_thread_hands_over_its_bag() {
    check("domain.exit_hands_over", bounds(4, 2), || {
        let domain = Domain::builder().batch(100).build();
        let root = Root::new(7);
        let reader = reads(&root, domain.reader(), 1);
        let (d, r) = (domain.clone(), root.clone());
        let writer = move || {
            // SAFETY: unlinked, once; too few for a batch, so the exit hands them over.
            unsafe { d.retire_box(r.unlink(8)) };
        };
        let sweeper = move || {
            domain.collect();
        };
        run(vec![reader, Box::new(writer), Box::new(sweeper)]);
    });
}

/// A record given back by one thread and claimed by the next keeps the sections of both apart.
#[test]
fn a_reused_record_protects_its_new_owner() {
    check("domain.record_reuse", bounds(4, 2), || {
        let domain = Domain::builder().batch(1).build();
        let root = Root::new(7);
        let mut bodies: Vec<Box<dyn FnOnce()>> = Vec::new();
        for _ in 0..2 {
            let (d, r) = (domain.clone(), root.clone());
            bodies.push(Box::new(move || {
                r.read(&d.reader().pin());
            }));
        }
        let (d, r) = (domain.clone(), root.clone());
        bodies.push(Box::new(move || {
            r.replace(8, &d);
        }));
        run(bodies);
    });
}

/// The last handle goes while another thread that retired is still ending: each object is freed once.
#[test]
fn closing_meets_an_exit() {
    check("domain.close_meets_exit", bounds(3, 2), || {
        let domain = Domain::builder().batch(100).build();
        let theirs = domain.clone();
        let exiting = move || {
            // SAFETY: linked nowhere, retired once.
            unsafe { theirs.retire_box(linked(1)) };
        };
        let closing = move || {
            // SAFETY: linked nowhere, retired once.
            unsafe { domain.retire_box(linked(2)) };
        };
        run(vec![Box::new(exiting), Box::new(closing)]);
    });
}

struct PinsWhenDropped(std::cell::RefCell<Option<(Domain, Root)>>);

impl Drop for PinsWhenDropped {
    fn drop(&mut self) {
        if let Some((domain, root)) = self.0.take() {
            root.read(&domain.pin());
        }
    }
}

sync_base::thread_local! {
    static LATE: PinsWhenDropped = const { PinsWhenDropped(std::cell::RefCell::new(None)) };
}

/// A thread-local destructor pins after the thread's records are gone: a record for that section alone.
#[test]
fn a_late_destructor_pins_safely() {
    check("domain.late_pin", bounds(3, 2), || {
        let domain = Domain::builder().batch(1).build();
        let root = Root::new(7);
        let (d, r) = (domain.clone(), root.clone());
        let late = move || LATE.with(|slot| *slot.0.borrow_mut() = Some((d, r)));
        let (d, r) = (domain.clone(), root.clone());
        let writer = move || {
            r.replace(8, &d);
        };
        run(vec![Box::new(late), Box::new(writer)]);
    });
}
