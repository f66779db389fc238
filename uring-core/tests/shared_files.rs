//! Files that several rings know: one slot everywhere, and never a slot for a file that is closed.
#![cfg(not(any(loom, shuttle)))]

mod counted;

use counted::CountedRing;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;
use uring_core::file::Files;
use uring_core::op::{FixedFd, Read, Recv};
use uring_core::{Core, ErrorKind, LocalRing, Options};

const LONG: Duration = Duration::from_secs(10);

/// A ring whose end is checked.
fn ring() -> Option<CountedRing> {
    if let Some(errno) = uring_core::probe().refused {
        eprintln!("skipped: io_uring is refused here (error {errno})");
        return None;
    }
    Some(CountedRing::with(&Options::new().registered_files(4)))
}

fn open() -> std::os::fd::OwnedFd {
    File::open("/proc/self/exe").unwrap().into()
}

#[test]
fn e2_two_rings_know_a_file_under_one_slot() {
    let (Some(one), Some(other)) = (ring(), ring()) else {
        return;
    };
    one.keeps_files(1);
    other.keeps_files(1);
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
    one.keeps_files(1);
    other.keeps_files(1);
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
    ring.keeps_files(2);
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
    assert_eq!(
        next.number(),
        file.number(),
        "the handle's own number is used again"
    );
    let bound = ring.register_shared(&files, next).unwrap();
    assert_eq!((files.slot(next), files.slot(file)), (Some(bound.slot()), None));
    let (read, _) = ring
        .block_on(ring.run(Read::new(fixed, vec![0; 16]).at(0)))
        .unwrap();
    assert_eq!(
        read.unwrap_err().errno(),
        libc::EBADF,
        "the slot is empty, whatever the number is now"
    );
}

fn hangs_up(mut far: UnixStream) -> bool {
    far.set_read_timeout(Some(LONG)).unwrap();
    matches!(far.read(&mut [0; 1]), Ok(0))
}

fn read_by(ring: &LocalRing, file: FixedFd) -> Result<Vec<u8>, i32> {
    let (read, mut buf) = ring
        .block_on(ring.run(Read::new(file, vec![0; 8]).at(0)))
        .unwrap();
    buf.truncate(read.map_err(|error| error.errno())?);
    Ok(buf)
}

fn file_with(content: &str) -> std::os::fd::OwnedFd {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content.as_bytes()).unwrap();
    file.into()
}

#[test]
fn e16_file_is_registered_with_every_ring_or_with_none() {
    let (Some(one), Some(two), Some(full)) = (ring(), ring(), ring()) else {
        return;
    };
    one.keeps_files(1);
    two.keeps_files(1);
    full.keeps_files(1);
    let files = Files::new(8);
    let file = files.adopt(file_with("shared")).unwrap();
    let taken: Vec<_> = (0..4).map(|_| full.reserve_slot().unwrap()).collect();
    let refused = files.register_on(&[&one, &two, &full], file).unwrap_err();
    assert_eq!(refused.error.kind(), ErrorKind::WouldBlock);
    assert_eq!(
        (one.files_held(), two.files_held(), files.slot(file)),
        (0, 0, None)
    );
    // A slot that is free on both, whatever each has given out already.
    let spare = [one.reserve_slot().unwrap(), one.reserve_slot().unwrap()];
    let fixed = files.register_on(&[&one, &two], file).unwrap();
    let slot = fixed[0].slot();
    assert_eq!((fixed[1].slot(), files.slot(file)), (slot, Some(slot)));
    assert!(spare.iter().all(|spare| spare.slot() != slot));
    assert_eq!(read_by(&one, fixed[0]).unwrap(), b"shared");
    assert_eq!(read_by(&two, fixed[1]).unwrap(), b"shared");
    // A ring that comes later gets the same slot, or is refused with everything as before.
    drop(taken);
    let held: Vec<_> = (0..4).map(|_| full.reserve_slot().unwrap()).collect();
    let refused = files.register_on(&[&full], file).unwrap_err();
    assert_eq!((refused.ring, refused.error.kind()), (0, ErrorKind::InvalidInput));
    drop(held);
    assert_eq!(files.register_on(&[&full], file).unwrap()[0].slot(), slot);
    assert_eq!(files.fixed(file, &full).unwrap().slot(), slot);
    let again = files.register_on(&[&one], file).unwrap_err();
    assert_eq!(again.error.kind(), ErrorKind::InvalidInput, "it has it already");
    drop(spare);
}

/// The ring that refuses is past its limit on open files, which only the kernel knows: the slots before it are emptied.
#[test]
fn e16_refusal_of_the_kernel_itself_is_rolled_back() {
    let (Some(one), Some(closed)) = (ring(), ring()) else {
        return;
    };
    one.keeps_files(1);
    closed.keeps_files(1);
    let files = Files::new(8);
    let (near, far) = UnixStream::pair().unwrap();
    let file = files.adopt(near.into()).unwrap();
    let none = CountedRing::with(&Options::new().registered_files(0));
    let refused = files.register_on(&[&one, &none], file).unwrap_err();
    assert_eq!(refused.error.kind(), ErrorKind::WouldBlock, "{refused}");
    assert_eq!((one.files_held(), files.slot(file)), (0, None));
    let number = files.get(file).unwrap().as_fd().as_raw_fd();
    let fixed = files.register_on(&[&one, &closed], file).unwrap();
    // Closed behind the table's back, so that the kernel refuses the number: at the first ring already.
    let other = files.adopt(file_with("other")).unwrap();
    let slot = files.slot(file).unwrap();
    let bad = files.get(other).unwrap().as_fd().as_raw_fd();
    // SAFETY: the number is the table's; it is put back below before anybody uses it.
    let kept = unsafe { libc::fcntl(bad, libc::F_DUPFD_CLOEXEC, 100) };
    // SAFETY: as above.
    unsafe { libc::close(bad) };
    let refused = files.replace(&[&one, &closed], file, other).unwrap_err();
    // SAFETY: as above.
    unsafe { libc::dup2(kept, bad) };
    // SAFETY: made above.
    unsafe { libc::close(kept) };
    assert_eq!((refused.ring, refused.error.errno()), (0, libc::EBADF));
    assert_eq!((files.slot(file), files.slot(other)), (Some(slot), None));
    assert_eq!((fixed[0].slot(), number >= 0), (slot, true));
    let _ = files.close_on(&[&one, &closed], file).unwrap();
    assert!(hangs_up(far), "no ring keeps it open");
}

#[test]
fn e16_operation_in_flight_during_an_update_ends_on_the_old_file() {
    let (Some(one), Some(two)) = (ring(), ring()) else {
        return;
    };
    one.keeps_files(1);
    two.keeps_files(1);
    let files = Files::new(8);
    let (near, mut far) = UnixStream::pair().unwrap();
    let (old, new) = (
        files.adopt(near.into()).unwrap(),
        files.adopt(file_with("new")).unwrap(),
    );
    let rings: [&Core; 2] = [&one, &two];
    let fixed = files.register_on(&rings, old).unwrap();
    let flying = two.submit(Recv::new(fixed[1], vec![0; 8])).unwrap();
    two.flush().unwrap();
    // Queued and not passed on yet: it was meant for the old file too.
    let queued = one.submit(Recv::new(fixed[0], vec![0; 8])).unwrap();
    let subset = files.replace(&rings[..1], old, new).unwrap_err();
    assert_eq!(
        subset.error.kind(),
        ErrorKind::InvalidInput,
        "not every ring that knows it"
    );
    let moved = files.replace(&rings, old, new).unwrap();
    assert_eq!(
        (moved[0].slot(), files.slot(old), files.slot(new)),
        (fixed[0].slot(), None, Some(fixed[0].slot()))
    );
    for ring in [&one, &two] {
        assert_eq!(read_by(ring, files.fixed(new, ring).unwrap()).unwrap(), b"new");
        assert_eq!(files.fixed(old, ring).unwrap_err().kind(), ErrorKind::Closed);
    }
    far.write_all(b"old!").unwrap();
    let (first, first_buf) = two.finish(flying, LONG).unwrap();
    assert_eq!((first, &first_buf[..]), (Ok(4), &b"old!"[..]));
    far.write_all(b"old?").unwrap();
    let (second, second_buf) = one.finish(queued, LONG).unwrap();
    assert_eq!((second, &second_buf[..]), (Ok(4), &b"old?"[..]));
    let other = files.replace(&rings, old, new).unwrap_err();
    assert_eq!(
        (other.ring, other.error.kind()),
        (2, ErrorKind::InvalidInput),
        "no ring knows it any more"
    );
    let _ = files.close(old).unwrap();
    assert!(hangs_up(far));
}

#[test]
fn e2_file_updated_in_its_slot_is_the_new_one_and_an_unregistered_one_is_not_updated() {
    let Some(ring) = ring() else { return };
    ring.keeps_files(2);
    let (one, two) = (File::from(file_with("one")), File::from(file_with("two")));
    let fixed = ring.register_file(&one).unwrap();
    assert_eq!(read_by(&ring, fixed).unwrap(), b"one");
    ring.update_file(fixed, &two).unwrap();
    assert_eq!(read_by(&ring, fixed).unwrap(), b"two");
    ring.unregister_file(fixed).unwrap();
    assert_eq!(read_by(&ring, fixed).unwrap_err(), libc::EBADF);
    let next = ring.register_file(&one).unwrap();
    assert_ne!(next.slot(), fixed.slot());
    assert_eq!(
        ring.update_file(fixed, &two).unwrap_err().kind(),
        ErrorKind::Stale
    );
    assert_eq!(ring.unregister_file(fixed).unwrap_err().kind(), ErrorKind::Stale);
    assert_eq!(
        read_by(&ring, next).unwrap(),
        b"one",
        "the next file is untouched"
    );
}

#[test]
fn e16_closing_reaches_every_ring_that_knows_the_file() {
    let (Some(one), Some(two), Some(stranger)) = (ring(), ring(), ring()) else {
        return;
    };
    one.keeps_files(1);
    two.keeps_files(1);
    stranger.keeps_files(1);
    let files = Files::new(8);
    let (near, far) = UnixStream::pair().unwrap();
    let file = files.adopt(near.into()).unwrap();
    let fixed = files.register_on(&[&one, &two], file).unwrap();
    let mine = stranger.register_file(&File::from(file_with("mine"))).unwrap();
    let _ = files.close_on(&[&one, &two, &stranger], file).unwrap();
    assert!(hangs_up(far));
    for (ring, fixed) in [(&one, fixed[0]), (&two, fixed[1])] {
        assert_eq!(read_by(ring, fixed).unwrap_err(), libc::EBADF);
    }
    assert_eq!(
        read_by(&stranger, mine).unwrap(),
        b"mine",
        "a ring that never knew it keeps its own"
    );
    let gone = files.close_on(&[&one], file).unwrap_err();
    assert_eq!((gone.ring, gone.error.kind()), (1, ErrorKind::Closed));
}

/// A slot that one ring gave up by itself is not filled again by an update of all: a handle kept there stays stale.
#[test]
fn e2_update_of_all_fills_no_slot_that_a_ring_has_given_up() {
    let (Some(one), Some(two)) = (ring(), ring()) else {
        return;
    };
    one.keeps_files(1);
    two.keeps_files(1);
    let files = Files::new(8);
    let (old, new) = (
        files.adopt(file_with("old")).unwrap(),
        files.adopt(file_with("new")).unwrap(),
    );
    let fixed = files.register_on(&[&one, &two], old).unwrap();
    two.unregister_file(fixed[1]).unwrap();
    let refused = files.replace(&[&one, &two], old, new).unwrap_err();
    assert_eq!((refused.ring, refused.error.kind()), (1, ErrorKind::Stale));
    assert_eq!(files.fixed(old, &two).unwrap_err().kind(), ErrorKind::Stale);
    assert_eq!(read_by(&one, fixed[0]).unwrap(), b"old");
    assert_eq!(read_by(&two, fixed[1]).unwrap_err(), libc::EBADF);
}
