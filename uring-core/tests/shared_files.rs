//! Files that several rings know: one slot everywhere, and never a slot for a file that is closed.
#![cfg(not(any(loom, shuttle)))]

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use uring_core::file::Files;
use uring_core::op::Read;
use uring_core::{ErrorKind, LocalRing, Options};

fn ring() -> Option<LocalRing> {
    if let Some(errno) = uring_core::probe().refused {
        eprintln!("skipped: io_uring is refused here (error {errno})");
        return None;
    }
    Some(LocalRing::with(&Options::new().registered_files(4)).unwrap())
}

fn open() -> std::os::fd::OwnedFd {
    File::open("/proc/self/exe").unwrap().into()
}

#[test]
fn e2_two_rings_know_a_file_under_one_slot() {
    let (Some(one), Some(other)) = (ring(), ring()) else {
        return;
    };
    let files = Files::new(4);
    let file = files.adopt(open()).unwrap();
    let (a, b) = (
        one.register_shared(&files, file).unwrap(),
        other.register_shared(&files, file).unwrap(),
    );
    assert_eq!((a.slot(), files.slot(file)), (b.slot(), Some(a.slot())));
}

#[test]
fn e2_a_ring_that_would_need_another_slot_is_refused_and_keeps_none() {
    let (Some(one), Some(other)) = (ring(), ring()) else {
        return;
    };
    let files = Files::new(4);
    let (first, second) = (files.adopt(open()).unwrap(), files.adopt(open()).unwrap());
    one.register_shared(&files, first).unwrap();
    other.register_shared(&files, second).unwrap();
    let refused = other.register_shared(&files, first).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert_eq!(files.slot(first), Some(0), "what the first ring bound stands");
}

#[test]
fn e2_a_number_closed_and_reused_never_reaches_the_old_slot() {
    let Some(ring) = ring() else { return };
    let files = Files::new(4);
    let file = files.adopt(open()).unwrap();
    let number = files.get(file).unwrap().as_fd().as_raw_fd();
    let fixed = ring.register_shared(&files, file).unwrap();
    let (slot, _) = files.close(file).unwrap();
    assert_eq!((slot, files.slot(file)), (Some(fixed.slot()), None));
    assert_eq!(
        ring.register_shared(&files, file).unwrap_err().kind(),
        ErrorKind::Closed
    );
    ring.unregister_file(fixed).unwrap();
    // The number may be given to the next file; its handle is another, and the old slot answers no more.
    let next = files.adopt(File::open("/dev/null").unwrap().into()).unwrap();
    let reused = files.get(next).unwrap().as_fd().as_raw_fd();
    println!("number {number} closed, next file got {reused}");
    assert_eq!((files.slot(next), files.get(file).is_none()), (None, true));
    let (read, _) = ring
        .block_on(ring.run(Read::new(fixed, vec![0; 16]).at(0)))
        .unwrap();
    assert_eq!(
        read.unwrap_err().errno(),
        libc::EBADF,
        "the slot is empty, whatever the number is now"
    );
}
