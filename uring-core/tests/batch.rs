//! What a batch costs on the kernel, and what is refused before anything is submitted. What it promises everywhere stands in
//! contract/batch.rs.
#![cfg(not(any(loom, shuttle)))]

mod counted;

use counted::CountedRing;
use std::future::Future;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;
use uring_core::Options;
use uring_core::batch::{Batch, BatchError, Cause, Fate};
use uring_core::op::{Nop, Read};

const LONG: Duration = Duration::from_secs(30);

/// A ring whose end is checked.
fn ring(depth: u32) -> CountedRing {
    CountedRing::with(&Options::new().depth(depth))
}

/// Does nothing, one after another.
fn chain(length: usize) -> Batch {
    let mut batch = Batch::new();
    let nodes: Vec<_> = (0..length).map(|_| batch.add(Nop::new()).unwrap()).collect();
    for pair in nodes.windows(2) {
        batch.needs(pair[1], pair[0]).unwrap();
    }
    batch
}

#[test]
fn d2_a_chain_of_three_is_one_system_call() {
    let ring = ring(8);
    let mut future = ring.run_batch(chain(3)).unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut future).poll(&mut cx).is_pending());
    assert_eq!(ring.held(), 3, "all three are the kernel's to run");
    ring.wait(3, LONG).unwrap();
    assert!(Pin::new(&mut future).poll(&mut cx).is_ready());
    assert_eq!(ring.stats().counts().enters, 1);
}

/// However often it is polled while the kernel has not ended them.
#[test]
fn d2_a_batch_that_stops_asks_for_the_cancellation_of_each_operation_once() {
    const HANGING: u64 = 6;
    for cancelled in [false, true] {
        let ring = ring(16);
        let (silent, _far) = UnixStream::pair().unwrap();
        let silent = Arc::new(silent);
        let mut batch = Batch::new();
        batch.fail_fast();
        if !cancelled {
            let write_only = std::io::pipe().unwrap().1;
            batch
                .add(Read::new(
                    Arc::new(std::os::fd::OwnedFd::from(write_only)),
                    vec![0; 8],
                ))
                .unwrap();
        }
        for _ in 0..HANGING {
            batch.add(Read::new(Arc::clone(&silent), vec![0; 8])).unwrap();
        }
        let mut run = ring.run_batch(batch).unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut run).poll(&mut cx).is_pending());
        ring.wait(usize::from(!cancelled), LONG).unwrap();
        assert_eq!(ring.held() as u64, HANGING, "they hang, and nothing else does");
        if cancelled {
            run.cancel();
        }
        // The ring collects nothing between the polls, so that all are in flight at each.
        for _ in 0..5 {
            assert!(Pin::new(&mut run).poll(&mut cx).is_pending());
            ring.flush().unwrap();
            assert_eq!(ring.held() as u64, HANGING);
        }
        while Pin::new(&mut run).poll(&mut cx).is_pending() {
            ring.wait(1, LONG).unwrap();
        }
        assert_eq!(ring.stats().counts().cancels, HANGING);
    }
}

#[test]
fn d2_none_cycles_and_strangers_are_errors_and_the_batch_comes_back() {
    let ring = ring(8);
    let refused = ring.run_batch(Batch::new()).unwrap_err();
    assert_eq!(refused.error, BatchError::Empty);

    let mut batch = Batch::new();
    let [a, b, c] = [(); 3].map(|()| batch.add(Nop::new()).unwrap());
    assert_eq!(batch.needs(a, a), Err(BatchError::Cycle(0)));
    batch.needs(b, a).unwrap();
    batch.follows(c, b).unwrap();
    batch.needs(a, c).unwrap();
    let mut other = Batch::new();
    let stranger = other.add(Nop::new()).unwrap();
    assert_eq!(batch.needs(stranger, a), Err(BatchError::Stranger));
    let refused = ring.run_batch(batch).unwrap_err();
    assert!(matches!(refused.error, BatchError::Cycle(0..3)));
    let mut results = refused.value.into_results();
    assert_eq!(results.fates()[2], Fate::Skipped(Cause::Cancelled));
    assert!(results.take(stranger).is_none());
    assert!(results.take(c).is_some());
}
