//! What a ring got, and what it says of what it did not get.

use super::kit::{Kit, LONG, done};
use std::time::Duration;
use uring_core::op::Nop;

contract! {
    #[test]
    fn e5_ring_on_each_rung_says_what_it_got_and_why_not_more(kit: &Kit) {
        for info in [kit.ring(4).info(), kit.movable(4).info()] {
            if let (Some(forced), Some(got)) = (kit.forced(), info.rung) {
                assert!(got >= forced, "{info}");
                // Below what was asked for only with a reason for each rung between.
                assert!(got == forced || !info.refusals.is_empty() || forced == uring_core::Rung::Deferred, "{info}");
            }
            assert_eq!(info.rung.is_some(), info.backend == "io_uring");
            assert!(info.keeps_overflow(), "{info}");
            assert!(kit.idle().is_none() || info.sqpoll || !info.refusals.is_empty(), "{info}");
        }
    }

    /// The polling thread falls asleep between the operations; a flag says so, and the next submission wakes it.
    #[test]
    fn e8_ring_idle_for_longer_than_its_polling_thread_goes_on(kit: &Kit) {
        let ring = kit.ring(4);
        for _ in 0..3 {
            std::thread::sleep(kit.idle().map_or(Duration::ZERO, |idle| idle * 20));
            done(&ring, Nop::new()).unwrap();
            std::thread::sleep(kit.idle().map_or(Duration::ZERO, |idle| idle * 20));
            let token = ring.submit(Nop::new()).unwrap();
            // Without waiting: passing on alone has to wake it.
            ring.flush().unwrap();
            ring.finish(token, LONG).unwrap().unwrap();
        }
    }
}
