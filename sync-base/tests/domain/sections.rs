//! Sections: nested, moved, forgotten, begun anew, ended by a panic.

use super::{Drops, retire};
use std::panic::catch_unwind;
use sync_base::domain::Guard;
use sync_base::{Domain, Reader};

#[test]
fn nested_guards_protect_until_the_outermost_ends() {
    let (domain, drops) = (Domain::new(), Drops::default());
    let outer = domain.pin();
    let inner = domain.pin();
    retire(&domain, &drops);
    drop(outer);
    domain.collect();
    assert_eq!(drops.count(), 0);
    drop(inner);
    domain.collect();
    assert_eq!(drops.count(), 1);
}

#[test]
fn ten_thousand_guards_at_once_are_counted() {
    let (domain, drops) = (Domain::new(), Drops::default());
    let mut guards: Vec<Guard<'_>> = (0..10_000).map(|_| domain.pin()).collect();
    retire(&domain, &drops);
    while guards.len() > 1 {
        drop(guards.swap_remove(guards.len() / 2));
    }
    domain.collect();
    assert_eq!(drops.count(), 0);
    drop(guards);
    domain.collect();
    assert_eq!(drops.count(), 1);
}

#[test]
fn repin_lets_go_of_what_was_read() {
    let (domain, drops) = (Domain::new(), Drops::default());
    let mut guard = domain.pin();
    retire(&domain, &drops);
    domain.flush();
    assert!(guard.repin());
    domain.collect();
    assert_eq!(drops.count(), 1);
}

#[test]
fn a_guard_knows_its_domain() {
    let (one, other) = (Domain::new(), Domain::new());
    let guard = one.pin();
    assert!(guard.protects(&one) && guard.protects(&one.clone()) && !guard.protects(&other));
}

#[test]
fn more_domains_than_short_cuts_are_kept_apart() {
    let domains: Vec<Domain> = (0..40).map(|_| Domain::new()).collect();
    let drops = Drops::default();
    let guards: Vec<Guard<'_>> = domains.iter().map(Domain::pin).collect();
    domains.iter().for_each(|domain| retire(domain, &drops));
    for (domain, guard) in domains.iter().zip(&guards) {
        assert!(guard.protects(domain));
        domain.collect();
    }
    assert_eq!(drops.count(), 0);
    drop(guards);
    for domain in &domains {
        domain.collect();
    }
    assert_eq!(drops.count(), 40);
}

#[test]
fn a_reader_moves_between_threads_and_pins_on_each() {
    let (domain, drops) = (Domain::new(), Drops::default());
    let mut reader: Reader = domain.reader();
    for _ in 0..10 {
        let (d, n) = (domain.clone(), drops.clone());
        reader = std::thread::spawn(move || {
            let guard = reader.pin();
            retire(&d, &n);
            drop(guard);
            reader
        })
        .join()
        .unwrap();
    }
    domain.collect();
    assert_eq!(drops.count(), 10);
    assert_eq!(domain.stats().oldest_reader, None);
}

#[test]
fn a_forgotten_guard_of_a_reader_ends_with_the_reader() {
    let (domain, drops) = (Domain::new(), Drops::default());
    let reader = domain.reader();
    std::mem::forget(reader.pin());
    retire(&domain, &drops);
    domain.collect();
    assert_eq!(drops.count(), 0);
    drop(reader);
    domain.collect();
    assert_eq!(drops.count(), 1);
}

#[test]
fn a_panic_inside_a_guard_ends_its_section() {
    let (domain, drops) = (Domain::new(), Drops::default());
    let result = catch_unwind(|| {
        let _outer = domain.pin();
        let _inner = domain.pin();
        retire(&domain, &drops);
        panic!("inside");
    });
    assert!(result.is_err());
    domain.collect();
    assert_eq!(drops.count(), 1);
    assert_eq!(domain.stats().oldest_reader, None);
}
