//! No room is said by one kind of error, hands the operation back, and passes.

use super::kit::{Counted, Kit, LONG, done, insist, settle};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use uring_core::ErrorKind;
use uring_core::op::{Nop, Read};

contract! {
    #[test]
    fn e13_full_ring_hands_the_operation_back_and_nothing_latches(kit: &Kit) {
        let ring = kit.ring(2);
        let drops = Arc::new(AtomicUsize::new(0));
        let (near, _far) = kit.stream(&ring);
        let tokens: Vec<_> =
            (0..2).map(|_| ring.submit(Read::new(near.clone(), Counted::new(8, &drops))).unwrap()).collect();
        let rejected = ring.submit(Read::new(near.clone(), Counted::new(8, &drops))).unwrap_err();
        assert_eq!(rejected.error.kind(), ErrorKind::WouldBlock);
        assert_eq!(drops.load(Ordering::SeqCst), 0, "the buffer came back whole");
        drop(rejected);
        for token in tokens {
            ring.cancel(&token).unwrap();
            assert!(ring.finish(token, LONG).unwrap().0.is_err());
        }
        assert_eq!(drops.load(Ordering::SeqCst), 3);
        done(&ring, Nop::new()).unwrap();
    }

    #[test]
    fn e13_more_operations_than_queue_entries_are_passed_on_as_they_come(kit: &Kit) {
        let options = kit.options(256).sq_entries(4);
        let ring = uring_core::LocalRing::with(&options).unwrap();
        for _ in 0..8 {
            for _ in 0..256 {
                insist(&ring, Nop::new(), |ended| ended.unwrap());
            }
            settle(&ring);
        }
        let counts = ring.stats().counts();
        assert_eq!((counts.completed, counts.stale), (2048, 0));
    }
}
