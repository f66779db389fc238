//! Timeouts, and bounds on other operations.

use super::drive::*;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;
use uring_core::op::{Read, Timeout, Within};
use uring_core::{Error, Options};

#[test]
fn d7_timeout_owns_its_timespec_until_it_completes() {
    let ring = ring(4);
    done(&ring, Timeout::after(Duration::from_millis(1))).unwrap();
    let long = ring.submit(Timeout::after(Duration::from_secs(3600))).unwrap();
    ring.flush().unwrap();
    ring.cancel(&long).unwrap();
    let ended = ring.finish(long, LONG).unwrap();
    assert!(ended.unwrap_err().is_cancelled());
}

#[test]
fn d7_linked_timeout_cancels_its_operation_and_gives_the_buffer_back() {
    let ring = ring(4);
    let (a, _b) = UnixStream::pair().unwrap();
    let op = Within::new(Duration::from_millis(2), Read::new(a, vec![7; 16]));
    let (read, buf) = done(&ring, op);
    assert!(read.unwrap_err().is_cancelled());
    assert_eq!(buf, [7; 16]);
    let (a, mut b) = UnixStream::pair().unwrap();
    b.write_all(b"in time").unwrap();
    let (read, _) = done(&ring, Within::new(LONG, Read::new(a, vec![0; 16])));
    assert_eq!(read, Ok(7));
    settle(&ring);
}

#[test]
fn e13_ten_thousand_timeouts_on_a_64_entry_queue_all_fire() {
    let ring = clean(&Options::new().depth(16384).sq_entries(64));
    assert_eq!(ring.info().sq_entries, 64);
    let fired = std::rc::Rc::new(std::cell::Cell::new(0));
    for i in 0..10_000u64 {
        let fired = std::rc::Rc::clone(&fired);
        ring.submit_with(Timeout::after(Duration::from_micros(i % 1000)), move |ended| {
            ended.unwrap();
            fired.set(fired.get() + 1);
        })
        .unwrap();
    }
    settle(&ring);
    assert_eq!(fired.get(), 10_000);
}

#[test]
fn e13_ten_thousand_cancellations_find_room_on_a_64_entry_queue() {
    let ring = clean(&Options::new().depth(16384).sq_entries(64));
    let tokens: Vec<_> = (0..10_000)
        .map(|_| ring.submit(Timeout::after(Duration::from_secs(3600))).unwrap())
        .collect();
    ring.flush().unwrap();
    assert_eq!(ring.cancel_all(), Ok(10_000));
    let mut cancelled = 0;
    for token in tokens {
        cancelled += u32::from(ring.finish(token, LONG).unwrap().is_err_and(Error::is_cancelled));
    }
    assert_eq!(cancelled, 10_000);
}
