//! sync-base's reclamation domain, one ordering at a time: the smallest meetings of readers and writers in which a
//! single edge between threads is all that keeps a payload from being freed under its reader.
//!
//! Threads hand their handles back, so that no drop of a handle orders them or adds to what is explored.
#![cfg(loom)]

use loom_tests::check;
use loom_tests::watched::{Payload, Root, bounds, free, linked};
use sync_base::interrupt::{Model, place, under};
use sync_base::{Domain, Reader, thread};

/// Unlinks the payload and frees it if its grace has passed; else hands it back, for who has joined everybody.
fn replaced(root: &Root, domain: &Domain) -> Option<*mut Payload> {
    let old = root.unlink(8);
    let grace = domain.grace();
    // Here an interrupt may fall that another writer asked for.
    place();
    if domain.has_passed(grace) {
        free(old);
        return None;
    }
    Some(old)
}

/// Runs a reader beside a writer that replaces the payload.
fn beside_a_writer(domain: Domain, read: impl Fn(&Root, &Reader) + 'static) {
    let (root, reader) = (Root::new(7), domain.reader());
    let theirs = root.clone();
    let reading = thread::spawn(move || {
        read(&theirs, &reader);
        (theirs, reader)
    });
    let theirs = root.clone();
    let writing = thread::spawn(move || (replaced(&theirs, &domain), theirs, domain));
    let read = reading.join().unwrap();
    let (left, ..) = writing.join().unwrap();
    left.into_iter().for_each(free);
    drop(read);
}

/// A section that begins at an epoch after the stamp: only the epoch itself keeps it from finding what was unlinked.
#[test]
fn a_pin_at_a_newer_epoch_does_not_find_what_was_unlinked_before() {
    check("domain.newer_epoch", bounds(3, 3), || {
        beside_a_writer(Domain::new(), |root, reader| {
            root.read(&reader.pin());
        });
    });
}

/// The same for the epoch that `repin` reads.
#[test]
fn a_repin_at_a_newer_epoch_does_not_find_what_was_unlinked_before() {
    check("domain.repin_newer_epoch", bounds(3, 3), || {
        beside_a_writer(Domain::new(), |root, reader| {
            let mut guard = reader.pin();
            assert!(guard.repin());
            root.read(&guard);
        });
    });
}

/// What a scan reads of a later, nested section orders the reads of the sections before it.
fn nested_after_a_section() {
    beside_a_writer(Domain::new(), |root, reader| {
        root.read(&reader.pin());
        let outer = reader.pin();
        drop(reader.pin());
        drop(outer);
    });
}

#[test]
fn a_nested_pin_hides_no_section_before_it() {
    check(
        "domain.nested_hides_nothing",
        bounds(3, 3),
        nested_after_a_section,
    );
}

#[test]
fn a_nested_pin_hides_no_section_before_it_fenced() {
    under(Model::Fence, || {
        check(
            "domain.nested_hides_nothing.fenced",
            bounds(3, 3),
            nested_after_a_section,
        )
    });
}

/// The store that notes an owed collection hides no section before it.
#[test]
fn a_retire_inside_a_guard_hides_no_section_before_it() {
    check("domain.need_hides_nothing", bounds(3, 2), || {
        let domain = Domain::builder().batch(1).build();
        let root = Root::new(7);
        let (r, d) = (root.clone(), domain.clone());
        let reading = thread::spawn(move || {
            r.read(&d.pin());
            let _guard = d.pin();
            // SAFETY: linked nowhere, retired once.
            unsafe { d.retire_box(linked(1)) };
        });
        let writing = thread::spawn(move || (replaced(&root, &domain), root, domain));
        reading.join().unwrap();
        let (left, ..) = writing.join().unwrap();
        left.into_iter().for_each(free);
    });
}

/// One writer's barrier, begun after the other's stamp, serves the other: what it learnt of the reader reaches that writer.
#[test]
fn a_barrier_of_another_writer_tells_of_the_readers_it_met() {
    check("domain.served_by_another", bounds(4, 3), || {
        let domain = Domain::new();
        let (root, reader) = (Root::new(7), domain.reader());
        let early = domain.grace();
        let (theirs, d) = (root.clone(), domain.clone());
        let reading = thread::spawn(move || {
            theirs.read(&reader.pin());
            (theirs, reader)
        });
        let serving = thread::spawn(move || (d.has_passed(early), d));
        let writing = thread::spawn(move || (replaced(&root, &domain), root, domain));
        let read = reading.join().unwrap();
        let (left, ..) = writing.join().unwrap();
        let served = serving.join().unwrap();
        left.into_iter().for_each(free);
        drop((read, served));
    });
}
