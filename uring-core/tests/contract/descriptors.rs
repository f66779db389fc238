//! What only real descriptors show.

use super::kit::{Kit, done, settle};
use std::os::fd::AsFd;
use uring_core::op::{Poll, Read};

semantics! {
    #[test]
    fn d7_cancel_by_descriptor_reaches_all_on_it_and_nothing_else(kit: &Kit) {
        let ring = kit.ring(8);
        let (a, _keep_a) = kit.stream(&ring);
        let (b, mut wake_b) = kit.stream(&ring);
        let on_a: Vec<_> = (0..3).map(|_| ring.submit(Read::new(a.clone(), vec![0; 8])).unwrap()).collect();
        let on_b = ring.submit(Read::new(b, vec![0; 8])).unwrap();
        ring.flush().unwrap();
        assert_eq!(ring.cancel_fd(a.as_fd()), Ok(3));
        for token in on_a {
            assert!(ring.finish(token, super::kit::LONG).unwrap().0.unwrap_err().is_cancelled());
        }
        wake_b.write(b"!");
        assert_eq!(ring.finish(on_b, super::kit::LONG).unwrap().0, Ok(1));
    }

    #[test]
    fn d7_poll_tells_readiness(kit: &Kit) {
        let ring = kit.ring(4);
        let (near, mut far) = kit.stream(&ring);
        let waits = ring.submit(Poll::readable(near.clone())).unwrap();
        ring.flush().unwrap();
        far.write(b"x");
        assert!(ring.finish(waits, super::kit::LONG).unwrap().unwrap() & libc::POLLIN != 0);
        assert!(done(&ring, Poll::writable(near)).unwrap() & libc::POLLOUT != 0);
        settle(&ring);
    }
}
