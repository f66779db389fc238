//! Registered memory: addressed by slot and offset, unregistered when nothing is in flight on it, on all rings or none.

use super::drive::*;
use pooled_vec::{AlignedOptions, Slab};
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use uring_core::buffer::Slice;
use uring_core::op::{Nop, Read, Write};
use uring_core::{Core, ErrorKind, Options};

fn slab() -> Slab {
    Slab::new(4, 4096, AlignedOptions::new()).unwrap()
}

#[test]
fn e1_part_of_a_registered_buffer_is_checked_and_refused_with_the_buffer() {
    let ring = clean(&Options::new());
    let registered = ring.register_slab(slab()).unwrap();
    let buf = registered.lease().unwrap();
    let index = buf.index();
    let cases = [
        (4097, 0),
        (4096, 1),
        (0, 4097),
        (1, 4096),
        (1, usize::MAX),
        (usize::MAX, 1),
        (usize::MAX, usize::MAX),
    ];
    let mut buf = buf;
    for (offset, len) in cases {
        let (back, error) = buf.part(offset, len).unwrap_err();
        assert_eq!(
            (error.kind(), back.index()),
            (ErrorKind::InvalidInput, index),
            "{offset}+{len}"
        );
        buf = back;
    }
    assert!(std::panic::catch_unwind(|| Slice::new(vec![0u8; 4], 0..=usize::MAX)).is_err());
    let file = scratch();
    buf[100..105].copy_from_slice(b"parts");
    let part = buf.part(100, 5).unwrap();
    let (written, part) = done(&ring, Write::new(Arc::clone(&file), part).at(3));
    assert_eq!((written, part.range()), (Ok(5), 100..105));
    let end = part.into_inner().part(4093, 3).unwrap();
    let (read, end) = done(&ring, Read::new(Arc::clone(&file), end).at(3));
    assert_eq!(read, Ok(3));
    let buf = end.into_inner();
    assert_eq!(
        (&buf[4093..], &buf[..3]),
        (&b"par"[..], &[0; 3][..]),
        "nothing outside the part was written"
    );
    // Beside plain ones.
    assert_eq!(done(&ring, Read::new(file, vec![0u8; 8]).at(3)).1, b"parts");
}

#[test]
fn e1_slab_unregistered_while_in_flight_stays_until_the_operation_is_over() {
    let ring = clean(&Options::new());
    let registered = ring.register_slab(slab()).unwrap();
    let clone = registered.clone();
    let (near, mut far) = UnixStream::pair().unwrap();
    let token = ring.submit(Read::new(near, registered.lease().unwrap())).unwrap();
    ring.flush().unwrap();
    assert_eq!(ring.unregister_slab(registered), Ok(false), "put off");
    assert!(clone.lease().is_none(), "no new lease");
    drop(clone);
    assert_eq!(ring.slabs_held(), 1);
    far.write_all(b"late").unwrap();
    let (read, buf) = ring.finish(token, LONG).unwrap();
    assert_eq!((read, &buf[..4]), (Ok(4), &b"late"[..]));
    assert_eq!(ring.slabs_held(), 1, "the lease keeps it");
    std::thread::spawn(move || drop(buf)).join().unwrap();
    assert_eq!(ring.slabs_held(), 0, "and no longer");
    let idle = ring.register_slab(slab()).unwrap();
    assert_eq!(
        ring.unregister_slab(idle),
        Ok(true),
        "at once when nothing is in flight"
    );
}

#[test]
fn e1_several_slabs_are_registered_at_once_and_their_slots_used_again() {
    let ring = clean(&Options::new());
    let file = scratch();
    for _ in 0..3 {
        let slabs: Vec<_> = (0..64).map(|_| ring.register_slab(slab()).unwrap()).collect();
        let full = ring.register_slab(slab()).unwrap_err();
        assert_eq!(full.kind(), ErrorKind::WouldBlock);
        for (i, registered) in slabs.iter().enumerate() {
            let mut buf = registered.lease().unwrap();
            buf.fill(i as u8);
            let (written, _) = done(&ring, Write::new(Arc::clone(&file), buf).at(0));
            assert_eq!(written, Ok(4096));
            let (read, buf) = done(
                &ring,
                Read::new(Arc::clone(&file), registered.lease().unwrap()).at(0),
            );
            assert_eq!(read, Ok(4096));
            assert!(buf.iter().all(|&byte| byte == i as u8));
        }
        assert_eq!(ring.slabs_held(), 64);
        drop(slabs);
        assert_eq!(ring.slabs_held(), 0);
    }
}

#[test]
fn e1_slab_of_another_ring_is_refused_and_a_lease_outlives_its_ring() {
    let (one, other) = (clean(&Options::new()), clean(&Options::new()));
    let registered = one.register_slab(slab()).unwrap();
    let refused = other
        .submit(Read::new(scratch(), registered.lease().unwrap()))
        .unwrap_err();
    assert_eq!(refused.error.kind(), ErrorKind::InvalidInput);
    drop(refused);
    assert_eq!(
        other.unregister_slab(registered).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    let gone = uncounted(&Options::new());
    let mut buf = gone.register_slab(slab()).unwrap().lease().unwrap();
    drop(gone);
    buf.fill(3);
    assert_eq!(buf[4095], 3);
}

#[test]
fn e16_slab_is_registered_with_every_ring_or_with_none() {
    let (one, two, full) = (
        clean(&Options::new()),
        clean(&Options::new()),
        clean(&Options::new()),
    );
    let taken: Vec<_> = (0..64).map(|_| full.register_slab(slab()).unwrap()).collect();
    let shared = slab();
    let rings: [&Core; 3] = [&one, &two, &full];
    let refused = Core::register_slab_on(&rings, &shared).unwrap_err();
    assert_eq!((refused.ring, refused.error.kind()), (2, ErrorKind::WouldBlock));
    assert!(refused.to_string().contains("ring 2"), "{refused}");
    assert_eq!((one.slabs_held(), two.slabs_held()), (0, 0), "rolled back");
    let handles = Core::register_slab_on(&rings[..2], &shared).unwrap();
    let file = scratch();
    let mut buf = handles[0].lease().unwrap();
    buf.fill(5);
    done(&one, Write::new(Arc::clone(&file), buf).at(0)).0.unwrap();
    let (read, buf) = done(&two, Read::new(file, handles[1].lease().unwrap()).at(0));
    assert_eq!((read, buf[4095]), (Ok(4096), 5));
    assert_eq!(shared.available(), 3, "one slab behind both");
    drop((taken, handles));
}

/// neon#6667, glommio#305: without the privilege and with a limit that is too small.
#[test]
fn e1_limit_on_locked_memory_is_named_and_plain_buffers_go_on() {
    const CASE: &str = "URING_MEMLOCK_CASE";
    if std::env::var(CASE).is_err() {
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "slabs::e1_limit_on_locked_memory_is_named_and_plain_buffers_go_on",
                "--exact",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(CASE, "1")
            .output()
            .unwrap();
        let said =
            String::from_utf8_lossy(&child.stdout).into_owned() + &String::from_utf8_lossy(&child.stderr);
        assert!(child.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let limit = libc::rlimit {
        rlim_cur: 128 << 10,
        rlim_max: 128 << 10,
    };
    // A file of before, since nobody may make one.
    let file = scratch();
    // SAFETY: reads one limit; plain numbers. Whoever is root gives it up, since root is held to no limit.
    unsafe {
        assert_eq!(libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit), 0);
        if libc::geteuid() == 0 {
            assert_eq!(libc::setresuid(65534, 65534, 65534), 0);
        }
    }
    let ring = clean(&Options::new());
    let large = || Slab::new(4, 64 << 10, AlignedOptions::new()).unwrap();
    let (registered, refused) = ring.register_slab_or_plain(large()).unwrap();
    let told = refused.expect("256 KiB do not fit 128").to_string();
    assert!(
        told.contains("RLIMIT_MEMLOCK is 131072 bytes") && told.contains("262144 bytes"),
        "{told}"
    );
    assert!(told.contains("ulimit -l") && told.contains("plain"), "{told}");
    assert!(!registered.is_registered());
    let mut buf = registered.lease().unwrap();
    buf.fill(4);
    assert_eq!(
        done(&ring, Write::new(Arc::clone(&file), buf).at(0)).0,
        Ok(64 << 10)
    );
    let (read, buf) = done(&ring, Read::new(file, registered.lease().unwrap()).at(0));
    assert_eq!((read, buf[65535]), (Ok(64 << 10), 4));
    assert_eq!(
        ring.register_slab(large())
            .unwrap_err()
            .errno()
            .map(|e| e.number()),
        Some(libc::ENOMEM)
    );
    done(&ring, Nop::new()).unwrap();
    drop(buf);
    assert_eq!(ring.slabs_held(), 0);
}
