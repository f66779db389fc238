//! Whoever lets go of what, the memory lives until the carrier is done with it, and is freed once.

use super::kit::{Counted, Kit, settle};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};
use uring_core::op::Read;

contract! {
    #[test]
    fn d7_dropped_future_keeps_its_buffer_until_it_is_cancelled(kit: &Kit) {
        let ring = kit.ring(4);
        let drops = Arc::new(AtomicUsize::new(0));
        let (near, mut far) = kit.stream(&ring);
        {
            let mut future = std::pin::pin!(ring.run(Read::new(near, Counted::new(64, &drops))));
            let mut cx = Context::from_waker(Waker::noop());
            assert!(future.as_mut().poll(&mut cx).is_pending());
            ring.flush().unwrap();
        }
        assert_eq!(drops.load(Ordering::SeqCst), 0, "it may still be written");
        far.write(b"late");
        settle(&ring);
        assert_eq!(drops.load(Ordering::SeqCst), 1);
        assert_eq!(ring.stats().counts().orphaned, 1);
    }

    #[test]
    fn d7_forgotten_future_is_given_back_when_the_ring_is_dropped(kit: &Kit) {
        let drops = Arc::new(AtomicUsize::new(0));
        let ring = kit.uncounted(4);
        let (near, _far) = kit.stream(&ring);
        let mut future = Box::pin(ring.run(Read::new(near, Counted::new(64, &drops))));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(future.as_mut().poll(&mut cx).is_pending());
        std::mem::forget(future);
        ring.flush().unwrap();
        drop(ring);
        assert_eq!(drops.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn d7_ring_dropped_with_reads_in_flight_frees_each_buffer_once(kit: &Kit) {
        let drops = Arc::new(AtomicUsize::new(0));
        let ring = kit.uncounted(32);
        let (near, _far) = kit.stream(&ring);
        for _ in 0..32 {
            let _ = ring.submit(Read::new(near.clone(), Counted::new(4096, &drops))).unwrap();
        }
        ring.flush().unwrap();
        assert_eq!(drops.load(Ordering::SeqCst), 0);
        drop(ring);
        assert_eq!((drops.load(Ordering::SeqCst), near.owners()), (32, 1));
    }
}
