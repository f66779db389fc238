//! More completions than the queue holds.

use super::kit::{Kit, settle};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use uring_core::op::RecvLeased;

semantics! {
    /// io-uring#302, firewood#1522: a series of more items than the completion queue holds. Nothing is lost, whether the
    /// ring waits or only looks; where the series ends there, the rest comes with the next.
    #[test]
    fn e13_series_that_overflows_the_queue_loses_nothing(kit: &Kit) {
        for waits in [true, false] {
            let options = kit.options(2).sq_entries(4);
            let ring = uring_core::LocalRing::with(&options).unwrap();
            let (near, mut far) = kit.stream(&ring);
            let group = ring.provide_buffers(512, 1).unwrap();
            let content: Vec<u8> = (0..300u32).map(|i| i as u8).collect();
            let seen = Rc::new(RefCell::new(Vec::new()));
            let mut rounds = 0;
            while seen.borrow().len() < content.len() {
                rounds += 1;
                assert!(rounds < 3000, "{} of {}", seen.borrow().len(), content.len());
                if ring.held() == 0 {
                    let sink = Rc::clone(&seen);
                    let series = RecvLeased::new(near.clone(), &group).multishot();
                    ring.submit_each(series, move |item, _| {
                        if let Ok(Some(lease)) = item {
                            sink.borrow_mut().extend_from_slice(&lease);
                        }
                    })
                    .unwrap();
                    ring.flush().unwrap();
                }
                if rounds == 1 {
                    far.write(&content);
                }
                if waits {
                    ring.wait(1, Duration::from_millis(20)).unwrap();
                } else {
                    ring.poll().unwrap();
                    std::thread::yield_now();
                }
            }
            assert_eq!(*seen.borrow(), content, "in order, each once");
            ring.cancel_all().unwrap();
            settle(&ring);
            assert_eq!((group.leased(), ring.stats().counts().stale), (0, 0));
        }
    }
}
