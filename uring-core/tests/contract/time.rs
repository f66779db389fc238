//! Time passes, bounds others, and is called off.

use super::kit::{Kit, LONG, done, insist, settle};
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};
use uring_core::ErrorKind;
use uring_core::op::{Nop, Read, Timeout, Within};

contract! {
    #[test]
    fn d7_timeout_completes_when_its_time_has_passed_and_not_before(kit: &Kit) {
        let ring = kit.ring(4);
        let begun = Instant::now();
        done(&ring, Timeout::after(Duration::from_millis(5))).unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(5) || ring.info().backend == "sim");
        done(&ring, Timeout::after(Duration::ZERO)).unwrap();
    }

    #[test]
    fn d7_timeout_called_off_is_cancelled(kit: &Kit) {
        let ring = kit.ring(4);
        let token = ring.submit(Timeout::after(Duration::from_secs(3600))).unwrap();
        ring.flush().unwrap();
        ring.cancel(&token).unwrap();
        assert!(ring.finish(token, LONG).unwrap().unwrap_err().is_cancelled());
    }

    #[test]
    fn d7_operation_that_takes_too_long_is_cancelled_by_its_limit(kit: &Kit) {
        let ring = kit.ring(4);
        let (near, mut far) = kit.stream(&ring);
        let slow = Within::new(Duration::from_millis(5), Read::new(near.clone(), vec![0; 8]));
        let (read, buf) = done(&ring, slow);
        assert!(read.unwrap_err().is_cancelled());
        assert_eq!(buf.capacity(), 8, "the buffer is back");
        far.write(b"late");
        let (read, buf) = done(&ring, Within::new(LONG, Read::new(near, vec![0; 8])));
        assert_eq!((read, &buf[..]), (Ok(4), &b"late"[..]), "nothing was taken by the one that was cancelled");
        done(&ring, Within::new(LONG, Nop::new())).unwrap();
        settle(&ring);
    }

    #[test]
    fn e13_timeouts_beyond_the_queue_all_fire(kit: &Kit) {
        let options = kit.options(512).sq_entries(8);
        let ring = uring_core::LocalRing::with(&options).unwrap();
        let fired = Rc::new(Cell::new(0));
        for i in 0..500 {
            let fired = Rc::clone(&fired);
            insist(&ring, Timeout::after(Duration::from_micros(i % 50)), move |ended| {
                ended.unwrap();
                fired.set(fired.get() + 1);
            });
        }
        settle(&ring);
        assert_eq!(fired.get(), 500);
    }

    #[test]
    fn e13_wait_ends_when_its_time_is_up(kit: &Kit) {
        let ring = kit.ring(2);
        let (near, _far) = kit.stream(&ring);
        let token = ring.submit(Read::new(near, vec![0; 8])).unwrap();
        assert_eq!(ring.wait(1, Duration::from_millis(2)), Ok(0));
        let (token, error) = ring.finish(token, Duration::from_millis(2)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let token = token.expect("it goes on");
        ring.cancel(&token).unwrap();
        assert!(ring.finish(token, super::kit::LONG).unwrap().0.unwrap_err().is_cancelled());
    }
}
