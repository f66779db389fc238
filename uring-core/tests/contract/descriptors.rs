//! What only real descriptors show.

use super::kit::{Kit, done, settle};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;
use uring_core::op::{Nop, Poll, Read, Timeout, Write};
use uring_core::{Core, ErrorKind, Operation};

/// Whether the ring's descriptor is readable, within so many milliseconds.
fn is_readable(ring: &Core, limit_ms: i32) -> bool {
    let mut poll = libc::pollfd {
        fd: ring.poll_fd().unwrap().as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one valid pollfd.
    unsafe { libc::poll(&mut poll, 1, limit_ms) == 1 }
}

/// Runs an operation as a foreign executor would: sleep on the descriptor, look, sleep.
fn driven<O: Operation>(ring: &Core, op: O) -> O::Output {
    let mut token = ring.submit(op).unwrap();
    ring.flush().unwrap();
    for _ in 0..1000 {
        assert!(is_readable(ring, 20_000), "the descriptor never tells");
        ring.poll().unwrap();
        token = match ring.take(token) {
            uring_core::Taken::Done(output) => return output,
            uring_core::Taken::Pending(token) => token,
            uring_core::Taken::Gone => panic!("gone"),
        };
    }
    panic!("the descriptor is readable all the time, and nothing is there");
}

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

    #[test]
    fn e14_descriptor_of_the_ring_tells_whoever_polls_it_and_is_silent_after(kit: &Kit) {
        let ring = kit.ring(4);
        let file = kit.file(&ring, b"by another executor");
        let (near, mut far) = kit.stream(&ring);
        for _ in 0..3 {
            driven(&ring, Nop::new()).unwrap();
            assert_eq!(driven(&ring, Write::new(file.clone(), b"BY".to_vec()).at(0)).0, Ok(2));
            driven(&ring, Timeout::after(Duration::from_millis(3))).unwrap();
            far.write(b"ping");
            assert_eq!(driven(&ring, Read::new(near.clone(), vec![0; 8])).0, Ok(4));
            assert!(!is_readable(&ring, 0), "nothing waits any more");
        }
        let waits = ring.submit(Read::new(near, vec![0; 8])).unwrap();
        ring.flush().unwrap();
        ring.poll().unwrap();
        assert!(!is_readable(&ring, 5), "nothing has come");
        far.write(b"now");
        assert!(is_readable(&ring, 20_000));
        assert_eq!(ring.finish(waits, super::kit::LONG).unwrap().0, Ok(3));
    }

    #[test]
    fn d7_forked_child_finds_the_ring_inert_and_the_parent_goes_on(kit: &Kit) {
        let ring = kit.uncounted(4);
        let (near, mut far) = kit.stream(&ring);
        let file = kit.file(&ring, b"the parent's");
        let token = ring.submit(Read::new(near, vec![0; 8])).unwrap();
        ring.flush().unwrap();
        // SAFETY: the child touches the ring, which is what is tested, and ends without running the harness.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let forked = |error: uring_core::Error| error.kind() == ErrorKind::Forked;
            let inert = ring.poll().is_err_and(forked) && ring.submit(Nop::new()).is_err_and(|r| forked(r.error));
            drop(ring);
            // A ring of its own works, threads and all.
            let own = kit.ring(4);
            let works = done(&own, Read::new(file.clone(), vec![0; 3]).at(0)).0 == Ok(3)
                && done(&own, Write::new(file, b"THE".to_vec()).at(0)).0 == Ok(3);
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(i32::from(!inert) | i32::from(!works) << 1) };
        }
        let mut status = 0;
        // SAFETY: waits for the child made above.
        unsafe { libc::waitpid(pid, &mut status, 0) };
        assert!(libc::WIFEXITED(status));
        assert_eq!(libc::WEXITSTATUS(status), 0, "1: not inert, 2: its own ring does not work");
        far.write(b"parent");
        let (read, buf) = ring.finish(token, super::kit::LONG).unwrap();
        assert_eq!((read, &buf[..]), (Ok(6), &b"parent"[..]));
        assert_eq!(done(&ring, Read::new(file, vec![0; 3]).at(0)), (Ok(3), b"THE".to_vec()));
    }

    #[test]
    fn d7_series_of_polls_tells_each_change(kit: &Kit) {
        let ring = kit.ring(4);
        let (near, mut far) = kit.stream(&ring);
        // One series after another: none is disturbed by what an earlier one left behind.
        for _ in 0..3 {
            let mut ready = ring.stream(Poll::readable(near.clone()).multishot());
            for round in 0..3 {
                far.write(&[round]);
                let events = super::kit::finished(&ring, async { ready.next().await.unwrap() }).unwrap();
                assert!(events & libc::POLLIN != 0);
            }
            drop(ready);
            settle(&ring);
        }
        settle(&ring);
    }
}
