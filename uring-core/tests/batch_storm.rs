//! Batches on simulated rings under every fault, against what a dependency promises.
//!
//! `URING_SIM_BATCHES=100000` sets how many (400 unless said otherwise); a failure names its seed, and
//! `URING_SIM_SEED=N` runs that one alone.
#![cfg(not(any(loom, shuttle)))]

mod counted;

use counted::{CountedRing, settle};
use std::future::Future;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use uring_core::Options;
use uring_core::batch::{Batch, Results, Run};
use uring_core::op::{Nop, Read};
use uring_core::sim::{Fault, Faults, Simulation};

/// Turns the ring until a batch is over, within bounds.
fn finished(ring: &CountedRing, run: &mut Run<'_>) -> Option<Results> {
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..2000 {
        if let Poll::Ready(results) = Pin::new(&mut *run).poll(&mut cx) {
            return Some(results);
        }
        ring.wait(1, Duration::from_millis(50)).unwrap();
    }
    None
}

/// A chain is cancelled in the moment between the end of one link and the beginning of the next, however long that is:
/// a cancellation finds nothing then, and one that is not repeated would leave the next link in flight for ever.
#[test]
fn d2_cancelled_between_two_links_ends_what_had_not_begun() {
    for seed in 0..200 {
        let simulation = Simulation::new(seed).faults(Faults::none().one_in(Fault::Late, 2));
        let ring = CountedRing::with(&Options::new().depth(8).simulated(&simulation));
        let (near, far) = UnixStream::pair().unwrap();
        let mut batch = Batch::new();
        let first = batch.add(Nop::new()).unwrap();
        let hangs = batch.add(Read::new(near, vec![0; 8])).unwrap();
        batch.needs(hangs, first).unwrap();
        let mut run = ring.run_batch(batch).unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut run).poll(&mut cx).is_pending());
        ring.wait(1, Duration::from_secs(1)).unwrap();
        assert_eq!(ring.held(), 1, "the first is over");
        if seed % 2 == 0 {
            drop(run);
            settle(&ring);
        } else {
            run.cancel();
            let results = finished(&ring, &mut run).unwrap_or_else(|| panic!("seed {seed} never ends"));
            assert!(!results.is_success());
        }
        drop(far);
    }
}
