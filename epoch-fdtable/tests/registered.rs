//! Registered files: our descriptor leads to the slot, and nothing else does.
#![cfg(not(any(loom, shuttle)))]

use epoch_fdtable::{Closed, FdError, RegisteredFiles, Target};
use std::collections::HashSet;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Mutex;

fn file() -> OwnedFd {
    File::open("/dev/null").unwrap().into()
}

#[test]
fn e2_a_number_closed_and_reused_never_reaches_the_old_slot() {
    let files = RegisteredFiles::new(64);
    let mut closed = Vec::new();
    for slot in 0..200 {
        let fd = files.adopt(file()).unwrap();
        files.bind(fd, slot).unwrap();
        assert_eq!(files.pin().slot(fd), Some(slot));
        let (bound, end) = files.close(fd).unwrap();
        assert_eq!(bound, Some(slot));
        assert!(matches!(end, Closed::Now | Closed::Severed));
        closed.push(fd);
        // The same numbers, ours and the kernel's, now mean the next file, which has no slot yet.
        let next = files.adopt(file()).unwrap();
        assert_eq!(next.number(), fd.number());
        assert_eq!(files.pin().slot(next), None);
        assert!(matches!(files.pin().target(next), Some(Target::Number(_))));
        assert!(
            closed
                .iter()
                .all(|old| files.pin().slot(*old).is_none() && files.pin().target(*old).is_none())
        );
        assert_eq!(files.close(next).unwrap().0, None);
    }
}

#[test]
fn e2_a_slot_comes_out_exactly_once() {
    let files = RegisteredFiles::new(64);
    let fd = files.adopt(file()).unwrap();
    files.bind(fd, 5).unwrap();
    assert_eq!(files.bind(fd, 6), Err(FdError::Taken { number: fd.number() }));
    assert_eq!((files.unbind(fd), files.unbind(fd)), (Some(5), None));
    files.bind(fd, 7).unwrap();
    assert_eq!(files.close(fd).unwrap().0, Some(7));
    assert_eq!(files.bind(fd, 8), Err(FdError::NotOpen { number: fd.number() }));
    assert!(files.close(fd).is_err() && files.unbind(fd).is_none());
    assert!(files.bind(files.adopt(file()).unwrap(), u32::MAX).is_err());
}

#[test]
fn e2_slots_survive_threads_that_bind_unbind_and_close() {
    let files = RegisteredFiles::new(64);
    let out = Mutex::new(HashSet::new());
    let bound = Mutex::new(HashSet::new());
    for round in 0..200u32 {
        let fd = files.adopt(file()).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for slot in round * 4..round * 4 + 3 {
                    if files.bind(fd, slot).is_ok() {
                        assert!(bound.lock().unwrap().insert(slot));
                    }
                }
            });
            scope.spawn(|| {
                files
                    .unbind(fd)
                    .map(|slot| assert!(out.lock().unwrap().insert(slot)))
            });
            scope.spawn(|| {
                files
                    .close(fd)
                    .unwrap()
                    .0
                    .map(|slot| assert!(out.lock().unwrap().insert(slot)))
            });
        });
    }
    assert_eq!(
        *out.lock().unwrap(),
        *bound.lock().unwrap(),
        "what went in came out, once"
    );
    assert!(files.is_empty());
}

#[test]
fn e2_a_file_in_use_by_number_outlives_its_descriptor() {
    let files = RegisteredFiles::new(4);
    let fd = files.adopt(file()).unwrap();
    let held = files.get_cloned(fd).unwrap();
    files.bind(fd, 3).unwrap();
    assert_eq!(files.close(fd).unwrap(), (Some(3), Closed::StillShared));
    assert_eq!(held.slot(), None, "the slot was given back with the descriptor");
    use std::os::fd::AsFd;
    // SAFETY: the number is open: asking for its flags changes nothing.
    let flags = unsafe { libc::fcntl(held.as_fd().as_raw_fd(), libc::F_GETFD) };
    assert_ne!(flags, -1);
    assert_ne!(held.close(), Closed::Deferred);
}

#[test]
fn e2_a_full_table_hands_the_file_back() {
    let files = RegisteredFiles::new(1);
    let first = files.adopt(file()).unwrap();
    let refused = files.adopt(file()).unwrap_err();
    assert_eq!(refused.error, FdError::Full { limit: 1 });
    assert_eq!(files.close(first).unwrap().0, None);
    files.adopt(refused.value).unwrap();
    assert_eq!(files.pin().iter().count(), 1);
}

#[test]
fn e2_an_index_that_means_no_slot_is_refused_as_such() {
    let files = RegisteredFiles::new(4);
    let file = files
        .adopt(std::fs::File::open("/dev/null").unwrap().into())
        .unwrap();
    for slot in [u32::MAX, u32::MAX - 1] {
        let refused = files.bind(file, slot).unwrap_err();
        assert_eq!(refused, epoch_fdtable::FdError::NoSlot { slot });
        assert!(refused.to_string().contains("means no slot"));
    }
    assert!(files.bind(file, u32::MAX - 2).is_ok());
}
