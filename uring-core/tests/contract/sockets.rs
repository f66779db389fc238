//! Sockets: connections come and go, series end and begin anew, and nothing that arrives late is lost.

use super::kit::{Kit, LONG, done, finished, settle};
use std::future::Future;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;
use uring_core::ErrorKind;
use uring_core::op::{Accept, Connect, Read, Recv, RecvLeased, Send};

fn socket(domain: i32) -> Arc<OwnedFd> {
    // SAFETY: makes a descriptor or fails.
    let fd = unsafe { libc::socket(domain, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    assert!(fd >= 0);
    // SAFETY: just made.
    Arc::new(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A connection over loopback: both ends.
fn connection() -> (Arc<TcpStream>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (Arc::new(near), listener.accept().unwrap().0)
}

/// Whether the other end is closed: nobody holds its descriptor.
fn is_hung_up(mut client: TcpStream) -> bool {
    client.set_read_timeout(Some(LONG)).unwrap();
    !matches!(client.read(&mut [0; 1]), Err(e) if e.kind() == std::io::ErrorKind::WouldBlock)
}

/// Closes what waits to be accepted.
fn empty(listener: &TcpListener) {
    listener.set_nonblocking(true).unwrap();
    while listener.accept().is_ok() {}
    listener.set_nonblocking(false).unwrap();
}

semantics! {
    #[test]
    fn b9_connections_over_tcp_and_unix_whether_descriptors_block_or_not(kit: &Kit) {
        let ring = kit.ring(8);
        for blocks in [true, false] {
            let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
            tcp.set_nonblocking(!blocks).unwrap();
            let address = tcp.local_addr().unwrap();
            let dir = tempfile::tempdir().unwrap();
            let unix = UnixListener::bind(dir.path().join("s")).unwrap();
            unix.set_nonblocking(!blocks).unwrap();
            let (to_tcp, to_unix) = (socket(libc::AF_INET), socket(libc::AF_UNIX));
            let token = ring.submit(Connect::new(Arc::clone(&to_tcp), address)).unwrap();
            let over_tcp = done(&ring, Accept::new(tcp)).unwrap();
            ring.finish(token, LONG).unwrap().unwrap();
            let token = ring
                .submit(Connect::unix(Arc::clone(&to_unix), dir.path().join("s")).unwrap())
                .unwrap();
            let over_unix = done(&ring, Accept::new(unix)).unwrap();
            ring.finish(token, LONG).unwrap().unwrap();
            for (near, far) in [(to_tcp, over_tcp), (to_unix, over_unix)] {
                let (sent, buf) = done(&ring, Send::new(near, b"hello".to_vec()));
                assert_eq!((sent, buf.len()), (Ok(5), 5));
                let far = Arc::new(far);
                let (got, buf) = done(&ring, Recv::new(Arc::clone(&far), Vec::with_capacity(64)));
                assert_eq!((got, &buf[..]), (Ok(5), &b"hello"[..]));
                assert_eq!(done(&ring, Recv::new(far, vec![0; 8])).0, Ok(0), "the sender has left");
            }
        }
        settle(&ring);
    }

    #[test]
    fn c9_failures_of_sockets_keep_their_numbers_and_give_buffers_back(kit: &Kit) {
        let ring = kit.ring(4);
        let gone = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = gone.local_addr().unwrap();
        drop(gone);
        let refused = done(&ring, Connect::new(socket(libc::AF_INET), address)).unwrap_err();
        assert_eq!(refused.errno(), libc::ECONNREFUSED);
        let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
        drop(far);
        let (sent, buf) = done(&ring, Send::new(near, b"to nobody".to_vec()));
        assert_eq!((sent.unwrap_err().errno(), &buf[..]), (libc::EPIPE, &b"to nobody"[..]));
        let (got, buf) = done(&ring, Recv::new(socket(libc::AF_INET), vec![9; 4]));
        assert_eq!((got.unwrap_err().errno(), buf), (libc::ENOTCONN, vec![9; 4]));
        let not_listening = done(&ring, Accept::new(socket(libc::AF_INET))).unwrap_err();
        assert_eq!(not_listening.errno(), libc::EINVAL);
        let file = kit.file(&ring, b"no socket");
        let (got, _) = done(&ring, Recv::new(file, vec![0; 4]));
        assert_eq!(got.unwrap_err().errno(), libc::ENOTSOCK);
    }

    #[test]
    fn d7_cancelled_accept_takes_no_connection(kit: &Kit) {
        let ring = kit.ring(4);
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
        let token = ring.submit(Accept::new(Arc::clone(&listener))).unwrap();
        ring.flush().unwrap();
        ring.cancel(&token).unwrap();
        assert!(ring.finish(token, LONG).unwrap().unwrap_err().is_cancelled());
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        done(&ring, Accept::new(Arc::clone(&listener))).unwrap();
        assert_eq!(Arc::strong_count(&listener), 1);
    }

    /// tokio#7979, monoio#318.
    #[test]
    fn d7_connection_that_comes_late_is_closed(kit: &Kit) {
        let ring = kit.ring(4);
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
        for _ in 0..10 {
            let mut accept = Box::pin(ring.run(Accept::new(Arc::clone(&listener))));
            let mut cx = Context::from_waker(Waker::noop());
            assert!(accept.as_mut().poll(&mut cx).is_pending());
            ring.flush().unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            drop(accept);
            settle(&ring);
            empty(&listener);
            assert!(is_hung_up(client), "the connection was accepted and never closed");
        }
    }

    /// Several rings wait at one listener whose description blocks: each connection comes to one of them, and those that
    /// got none can still be cancelled.
    #[test]
    fn b9_rings_share_a_listener_and_none_gets_stuck_in_it(kit: &Kit) {
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
        let rings = [kit.ring(4), kit.ring(4), kit.ring(4)];
        for _ in 0..20 {
            let mut tokens: Vec<_> =
                rings.iter().map(|ring| Some(ring.submit(Accept::new(Arc::clone(&listener))).unwrap())).collect();
            for ring in &rings {
                ring.flush().unwrap();
            }
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let mut rounds = 0;
            let won = loop {
                rounds += 1;
                assert!(rounds < 2000, "nobody got the connection");
                for ring in &rings {
                    ring.wait(1, Duration::from_micros(200)).unwrap();
                }
                if let Some(won) = rings.iter().position(|ring| ring.ready() > 0) {
                    break won;
                }
            };
            let token = tokens[won].take().unwrap();
            drop(rings[won].finish(token, LONG).unwrap().unwrap());
            for (ring, token) in rings.iter().zip(tokens) {
                if let Some(token) = token {
                    ring.cancel(&token).unwrap();
                    let ended = ring.finish(token, LONG).unwrap();
                    assert!(ended.unwrap_err().is_cancelled());
                }
            }
            assert!(is_hung_up(client));
        }
        assert_eq!(Arc::strong_count(&listener), 1);
    }

    #[test]
    fn d7_zero_copy_send_gives_its_buffer_back_with_the_notification(kit: &Kit) {
        let ring = kit.ring(4);
        let (near, mut far) = connection();
        let payload: Vec<u8> = (0..32_768u32).map(|i| i as u8).collect();
        let token = ring.submit(Send::new(near, payload.clone()).zero_copy()).unwrap();
        ring.flush().unwrap();
        let mut got = vec![0; payload.len()];
        far.read_exact(&mut got).unwrap();
        let (sent, buf) = ring.finish(token, LONG).unwrap();
        assert_eq!(sent, Ok(payload.len()), "the result of the first completion");
        assert_eq!((got, buf), (payload.clone(), payload));
        assert_eq!(ring.stats().counts().stale, 0);
    }

    /// A socket that takes a part now has the rest written later: in order, each byte once.
    #[test]
    fn d7_slow_reader_gets_every_byte_in_order(kit: &Kit) {
        let ring = kit.ring(4);
        let (near, mut far) = connection();
        let content: Vec<u8> = (0..4 << 20).map(|i: u32| (i / 251) as u8 ^ i as u8).collect();
        let reader = std::thread::spawn(move || {
            let mut got = Vec::new();
            far.read_to_end(&mut got).unwrap();
            got
        });
        let mut at = 0;
        while at < content.len() {
            let (sent, _) = done(&ring, Send::new(Arc::clone(&near), content[at..].to_vec()));
            let sent = sent.unwrap();
            assert!(sent > 0);
            at += sent;
        }
        drop(near);
        assert_eq!(reader.join().unwrap(), content);
    }

    /// compio#746.
    #[test]
    fn d7_provided_buffers_come_back_from_leases_and_from_orphans(kit: &Kit) {
        let ring = kit.ring(8);
        let group = ring.provide_buffers(4, 256).unwrap();
        let (near, mut far) = kit.stream(&ring);
        for round in 0..20u8 {
            far.write(&[round; 100]);
            let lease = done(&ring, RecvLeased::new(near.clone(), &group)).unwrap().unwrap();
            assert_eq!((&lease[..], group.leased()), (&[round; 100][..], 1));
        }
        for _ in 0..20 {
            let mut receive = Box::pin(ring.run(RecvLeased::new(near.clone(), &group)));
            let mut cx = Context::from_waker(Waker::noop());
            assert!(receive.as_mut().poll(&mut cx).is_pending());
            ring.flush().unwrap();
            far.write(b"late");
            drop(receive);
            settle(&ring);
        }
        assert_eq!(group.leased(), 0, "what came late went back to the group");
    }

    #[test]
    fn d7_series_that_runs_out_of_buffers_ends_as_back_pressure_and_is_begun_anew(kit: &Kit) {
        let ring = kit.ring(8);
        let group = ring.provide_buffers(2, 16).unwrap();
        let (near, mut far) = kit.stream(&ring);
        far.write(&[1; 64]);
        let mut leases = vec![];
        let mut pieces = ring.stream(RecvLeased::new(near.clone(), &group).multishot());
        let error = finished(&ring, async {
            loop {
                match pieces.next().await.expect("an end is told before the stream ends") {
                    Ok(lease) => leases.push(lease.unwrap()),
                    Err(error) => return error,
                }
            }
        });
        assert_eq!((error.kind(), error.errno(), leases.len()), (ErrorKind::WouldBlock, libc::ENOBUFS, 2));
        drop(leases);
        drop(pieces);
        let mut anew = ring.stream(RecvLeased::new(near, &group).multishot());
        for _ in 0..2 {
            let lease = finished(&ring, async { anew.next().await.unwrap() }).unwrap().unwrap();
            assert_eq!(&lease[..], [1; 16]);
        }
        drop(far);
        let end = finished(&ring, async { anew.next().await.unwrap() }).unwrap();
        assert!(end.is_none(), "the end of the connection");
        assert!(finished(&ring, async { anew.next().await }).is_none());
        drop(anew);
        settle(&ring);
        assert_eq!(group.leased(), 0);
    }

    /// tokio-uring#102: dropping a ring with accepts outstanding returns, and gives everything back.
    #[test]
    fn d7_ring_dropped_with_accepts_reads_and_zero_copy_sends_gives_everything_back(kit: &Kit) {
        let ring = kit.uncounted(32);
        let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
        let (near, mut far) = connection();
        for _ in 0..8 {
            let _ = ring.submit(Accept::new(Arc::clone(&listener))).unwrap();
            let _ = ring.submit(Read::new(Arc::clone(&near), vec![0; 4096])).unwrap();
            let _ = ring.submit(Send::new(Arc::clone(&near), vec![5; 1000]).zero_copy()).unwrap();
        }
        ring.flush().unwrap();
        far.read_exact(&mut vec![0; 8000]).unwrap();
        far.write_all(b"as it goes").unwrap();
        drop(ring);
        assert_eq!((Arc::strong_count(&listener), Arc::strong_count(&near)), (1, 1));
    }
}
