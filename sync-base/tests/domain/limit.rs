//! Readers that stay: the garbage limit, who is named, graces.

use super::{Counted, Drops, retire, retire_scarce, sleeper};
use std::sync::{Barrier, mpsc};
use std::time::Duration;
use sync_base::Domain;

#[test]
fn garbage_past_the_limit_is_bounded_visible_and_freed_when_the_sleeper_wakes() {
    let limit = 1 << 16;
    let domain = Domain::builder()
        .garbage_limit(limit)
        .stall_wait(Duration::from_millis(1))
        .build();
    let drops = Drops::default();
    let (wake, thread) = sleeper(&domain, "asleep");
    let mut accepted = 0;
    let stalled = loop {
        match domain.try_admit(size_of::<Counted>()) {
            Ok(()) => retire(&domain, &drops),
            Err(stalled) => break stalled,
        }
        accepted += 1;
        assert!(
            accepted * size_of::<Counted>() <= 2 * limit,
            "the limit was never enforced"
        );
    };
    assert_eq!(stalled.name.as_deref(), Some("asleep"));
    assert!(stalled.garbage <= limit && stalled.limit == limit);
    assert!(stalled.to_string().contains("asleep"));
    assert_eq!(
        domain.stats().oldest_reader.map(|r| r.thread),
        Some(stalled.thread)
    );
    // A refusal costs no barrier while the sleeper has not moved.
    let barriers = domain.stats().heavy_barriers;
    for _ in 0..100 {
        assert!(domain.try_admit(size_of::<Counted>()).is_err());
    }
    assert_eq!(domain.stats().heavy_barriers, barriers);
    assert_eq!(domain.stats().limit_refused, 101);
    // An ordinary writer waits the stated time, then exceeds the limit, counted.
    domain.admit(size_of::<Counted>());
    retire(&domain, &drops);
    assert_eq!(domain.stats().limit_exceeded, 1);
    assert_eq!(drops.count(), 0);
    drop(wake);
    thread.join().unwrap();
    assert!(domain.try_admit(size_of::<Counted>()).is_ok());
    domain.collect();
    assert_eq!(drops.count(), accepted + 1);
}

/// Nesting inside the section that holds garbage back is no reason to look again.
#[test]
fn a_refusal_costs_no_barrier_though_the_reader_nests() {
    let domain = Domain::builder().garbage_limit(1).build();
    let drops = Drops::default();
    let (step, stepped) = (Barrier::new(2), Barrier::new(2));
    std::thread::scope(|s| {
        s.spawn(|| {
            let _outer = domain.pin();
            for _ in 0..10 {
                step.wait();
                let inner = domain.pin();
                stepped.wait();
                step.wait();
                drop(inner);
                stepped.wait();
            }
        });
        let mut barriers = None;
        for _ in 0..20 {
            step.wait();
            if barriers.is_none() {
                retire(&domain, &drops);
            }
            assert!(domain.try_admit(1).is_err());
            let now = domain.stats().heavy_barriers;
            assert_eq!(*barriers.get_or_insert(now), now);
            stepped.wait();
        }
    });
    domain.collect();
    assert_eq!(drops.count(), 1);
}

#[test]
fn a_writer_inside_its_own_guard_never_waits_for_itself() {
    let domain = Domain::builder()
        .garbage_limit(1)
        .stall_wait(Duration::from_secs(3_600))
        .build();
    let drops = Drops::default();
    let _guard = domain.pin();
    retire(&domain, &drops);
    domain.admit(1); // Returns: waiting an hour would not help.
    assert_eq!(domain.stats().limit_exceeded, 1);
    assert!(domain.synchronize(Duration::from_secs(3_600)).is_err());
}

#[test]
fn a_grace_passes_when_the_readers_of_its_moment_have_left() {
    let domain = Domain::new();
    let (wake, thread) = sleeper(&domain, "graceful");
    let grace = domain.grace();
    assert!(!domain.has_passed(grace));
    let stalled = domain.wait(grace, Duration::from_millis(2)).unwrap_err();
    assert_eq!(stalled.name.as_deref(), Some("graceful"));
    drop(wake);
    thread.join().unwrap();
    let _newer = domain.pin();
    assert!(
        domain.has_passed(grace),
        "a newer reader holds back nothing older"
    );
}

#[test]
#[should_panic(expected = "a grace passes in the domain it was taken in")]
fn a_grace_of_another_domain_is_refused() {
    let _ = Domain::new().has_passed(Domain::new().grace());
}

#[test]
fn tending_beside_the_same_section_costs_no_barrier_and_resumes_when_it_ends() {
    let (domain, drops) = (Domain::new(), Drops::default());
    let (wake, thread) = sleeper(&domain, "asleep");
    retire_scarce(&domain, &drops);
    assert_eq!(domain.tend(), 0);
    let barriers = domain.stats().heavy_barriers;
    for _ in 0..100 {
        retire_scarce(&domain, &drops);
        assert_eq!(domain.tend(), 0);
    }
    assert_eq!(domain.stats().heavy_barriers, barriers);
    wake.send(()).unwrap();
    thread.join().unwrap();
    assert_eq!((domain.tend(), drops.count()), (101, 101));
}

#[test]
fn room_is_what_is_left_below_the_limit() {
    let domain = Domain::builder().garbage_limit(1000).build();
    assert!(domain.has_room(1000) && !domain.has_room(1001));
    assert_eq!(domain.stats().limit_refused, 0);
}

#[test]
fn a_stall_by_ones_own_guard_says_so_and_another_thread_is_named() {
    let domain = Domain::new();
    let guard = domain.pin();
    let own = domain.synchronize(Duration::ZERO).unwrap_err().to_string();
    assert!(
        own.contains("this very thread") && own.contains("own guard"),
        "{own}"
    );
    drop(guard);
    let (wake, thread) = sleeper(&domain, "asleep");
    let other = domain.synchronize(Duration::ZERO).unwrap_err().to_string();
    assert!(other.starts_with("a reader on thread"), "{other}");
    wake.send(()).unwrap();
    thread.join().unwrap();
}

#[test]
fn a_refusal_says_what_was_asked_and_what_helps_if_the_limit_is_too_small_for_it() {
    let domain = Domain::builder().garbage_limit(100).build();
    let (wake, thread) = sleeper(&domain, "asleep");
    let stalled = domain.try_admit(200).unwrap_err();
    assert_eq!((stalled.garbage, stalled.asked, stalled.limit), (0, 200, 100));
    let text = stalled.to_string();
    assert!(
        text.contains("and 200 more") && text.contains("fits in"),
        "{text}"
    );
    retire(&domain, &Drops::default());
    domain.flush();
    let text = domain.try_admit(100).unwrap_err().to_string();
    assert!(
        text.contains("and 100 more") && !text.contains("fits in"),
        "{text}"
    );
    assert_eq!(domain.stats().oldest_reader.map(|reader| reader.asked), Some(0));
    wake.send(()).unwrap();
    thread.join().unwrap();
}

/// Nothing is retired between the sections, so that nothing but the refusals themselves can tell them apart.
#[test]
fn what_is_greater_than_the_limit_is_refused_for_a_section_and_admitted_after_it_though_the_next_has_begun() {
    let domain = Domain::builder().garbage_limit(10).build();
    std::thread::scope(|s| {
        let ((step, steps), (done, is_done)) = (mpsc::channel(), mpsc::channel());
        let readers = &domain;
        s.spawn(move || {
            let mut section = None;
            // Ends the section there is, and begins another if told so.
            for begins in steps {
                drop(section.take());
                section = bool::then(begins, || readers.pin());
                done.send(()).unwrap();
            }
        });
        // Owns its end, so that a failed assertion lets the reader go.
        let next = move |begins| {
            step.send(begins).unwrap();
            is_done.recv().unwrap();
        };
        for _ in 0..10 {
            next(true);
            for _ in 0..3 {
                let stalled = domain.try_admit(11).unwrap_err();
                assert_eq!(stalled.garbage, 0);
                let text = stalled.to_string();
                assert!(
                    text.contains("has not left") && !text.contains(" 0 bytes"),
                    "{text}"
                );
            }
            next(true);
            assert_eq!(domain.try_admit(11), Ok(()));
            assert!(
                domain.try_admit(11).is_err(),
                "once: this section is in the way of the next"
            );
            next(false);
            assert_eq!(domain.try_admit(11), Ok(()), "nobody reads");
        }
    });
}
