//! More completions than the queue holds.

use super::drive::*;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;
use uring_core::Options;
use uring_core::op::{Read, RecvLeased};

/// io-uring#302, firewood#1522: completions that find the queue full are flushed, none is lost. The kernel may end the
/// series there; what is left in the socket comes with the next.
#[test]
fn e13_multishot_overflow_is_flushed_and_nothing_is_lost() {
    let ring = ring(2);
    let (a, mut b) = UnixStream::pair().unwrap();
    let a = Arc::new(a);
    let seen = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let group = ring.provide_buffers(512, 1).unwrap();
    let content: Vec<u8> = (0..300u32).map(|i| i as u8).collect();
    b.write_all(&content).unwrap();
    let mut rounds = 0;
    while seen.borrow().len() < 300 {
        rounds += 1;
        assert!(rounds < 1000);
        if ring.held() == 0 {
            let sink = std::rc::Rc::clone(&seen);
            ring.submit_each(
                RecvLeased::new(Arc::clone(&a), &group).multishot(),
                move |item, _| {
                    if let Ok(Some(lease)) = item {
                        sink.borrow_mut().extend_from_slice(&lease);
                    }
                },
            )
            .unwrap();
        }
        ring.wait(1, Duration::from_millis(20)).unwrap();
    }
    assert_eq!(*seen.borrow(), content, "in order, each once");
    ring.cancel_all().unwrap();
    settle(&ring);
    assert_eq!(group.leased(), 0);
    assert_eq!(ring.stats().counts().stale, 0);
}

/// A thread that only looks, and never waits, still gets what completed meanwhile: the flag that says that completions
/// wait to be run is honoured.
#[test]
fn e13_completions_that_wait_to_be_run_are_found_by_polling_alone() {
    let ring = ring(4);
    let (a, mut b) = UnixStream::pair().unwrap();
    let token = ring.submit(Read::new(a, vec![0; 8])).unwrap();
    ring.flush().unwrap();
    assert_eq!(ring.poll(), Ok(0));
    b.write_all(b"x").unwrap();
    let mut rounds = 0;
    while ring.ready() == 0 {
        rounds += 1;
        assert!(rounds < 2000, "the completion was never run");
        ring.poll().unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(ring.finish(token, LONG).unwrap().0, Ok(1));
}

/// As above, for completions that found the queue full, on a ring whose waits would bring them in by themselves.
#[test]
fn e13_overflowed_completions_are_found_by_polling_alone() {
    let options = Options::new()
        .depth(2)
        .sq_entries(4)
        .highest_rung(uring_core::Rung::Plain);
    let ring = clean(&options);
    let (a, mut b) = UnixStream::pair().unwrap();
    let group = ring.provide_buffers(64, 1).unwrap();
    let seen = std::rc::Rc::new(std::cell::Cell::new((0, false)));
    let sink = std::rc::Rc::clone(&seen);
    ring.submit_each(RecvLeased::new(a, &group).multishot(), move |item, more| {
        let (count, _) = sink.get();
        sink.set((count + u32::from(item.is_ok()), !more));
    })
    .unwrap();
    ring.flush().unwrap();
    b.write_all(&[0; 60]).unwrap();
    let mut rounds = 0;
    // The kernel ends the series when the queue is full; that last completion is the one that overflowed.
    while !seen.get().1 {
        rounds += 1;
        assert!(
            rounds < 2000,
            "the series neither goes on nor ends after {} items",
            seen.get().0
        );
        if seen.get().0 >= 60 {
            return;
        }
        ring.poll().unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(ring.stats().counts().overflows > 0);
}
