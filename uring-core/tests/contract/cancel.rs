//! A cancellation wins or loses; either way there is one completion.

use super::kit::{Kit, LONG, done, settle};
use std::time::Duration;
use uring_core::op::{Nop, Read, Timeout};
use uring_core::{Error, ErrorKind};

contract! {
    #[test]
    fn d7_cancellation_won_gives_the_buffer_back_and_takes_no_byte(kit: &Kit) {
        let ring = kit.ring(4);
        let (near, mut far) = kit.stream(&ring);
        let token = ring.submit(Read::new(near.clone(), vec![7; 8])).unwrap();
        ring.flush().unwrap();
        ring.cancel(&token).unwrap();
        let (read, buf) = ring.finish(token, LONG).unwrap();
        assert!(read.unwrap_err().is_cancelled());
        assert_eq!(buf, [7; 8]);
        far.write(b"kept");
        assert_eq!(done(&ring, Read::new(near, vec![0; 8])).0, Ok(4));
        assert_eq!(ring.stats().counts().cancels, 1);
    }

    #[test]
    fn d7_cancellation_won_or_lost_loses_no_byte(kit: &Kit) {
        let ring = kit.ring(4);
        for _ in 0..20 {
            let (near, mut far) = kit.stream(&ring);
            let token = ring.submit(Read::new(near.clone(), vec![0; 8])).unwrap();
            ring.flush().unwrap();
            far.write(b"there");
            match ring.cancel(&token) {
                Ok(()) => {}
                Err(error) => assert_eq!(error.kind(), ErrorKind::Stale),
            }
            let (read, buf) = ring.finish(token, LONG).unwrap();
            let (read, buf) = match read {
                Ok(count) => (Ok(count), buf),
                Err(error) => {
                    assert!(error.is_cancelled(), "{error}");
                    done(&ring, Read::new(near, vec![0; 8]))
                }
            };
            assert_eq!((read, &buf[..5]), (Ok(5), &b"there"[..]));
        }
        done(&ring, Nop::new()).unwrap();
    }

    #[test]
    fn d7_cancellation_of_what_has_completed_is_stale(kit: &Kit) {
        let ring = kit.ring(4);
        let token = ring.submit(Nop::new()).unwrap();
        let id = token.id();
        ring.finish(token, LONG).unwrap().unwrap();
        assert_eq!(ring.cancel(id).unwrap_err().kind(), ErrorKind::Stale);
    }

    #[test]
    fn d7_everything_in_flight_is_cancelled_at_once(kit: &Kit) {
        let ring = kit.ring(64);
        let (near, _far) = kit.stream(&ring);
        let reads: Vec<_> = (0..16).map(|_| ring.submit(Read::new(near.clone(), vec![0; 8])).unwrap()).collect();
        let waits: Vec<_> =
            (0..16).map(|_| ring.submit(Timeout::after(Duration::from_secs(3600))).unwrap()).collect();
        ring.flush().unwrap();
        assert_eq!(ring.cancel_all(), Ok(32));
        for token in reads {
            assert!(ring.finish(token, LONG).unwrap().0.unwrap_err().is_cancelled());
        }
        for token in waits {
            assert!(ring.finish(token, LONG).unwrap().is_err_and(Error::is_cancelled));
        }
        settle(&ring);
        assert_eq!(near.owners(), 1);
    }
}
