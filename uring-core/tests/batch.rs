//! What a batch costs on the kernel, and what is refused before anything is submitted. What it promises everywhere stands in
//! contract/batch.rs.
#![cfg(not(any(loom, shuttle)))]

mod counted;

use counted::CountedRing;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;
use uring_core::Options;
use uring_core::batch::{Batch, BatchError, Cause, Fate};
use uring_core::op::Nop;

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
