//! What becomes of an operation that is let go of.

use super::drive::*;
use std::future::Future;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use uring_core::Options;
use uring_core::op::{Accept, Poll, Read};

#[test]
fn d7_poll_tells_readiness_once_and_again() {
    let ring = ring(4);
    let (a, mut b) = UnixStream::pair().unwrap();
    let a = Arc::new(a);
    b.write_all(b"x").unwrap();
    assert!(done(&ring, Poll::readable(Arc::clone(&a))).unwrap() & libc::POLLIN != 0);
    assert!(done(&ring, Poll::writable(Arc::clone(&a))).unwrap() & libc::POLLOUT != 0);
    let mut ready = ring.stream(Poll::readable(a).multishot());
    ring.block_on(async {
        for _ in 0..3 {
            assert!(ready.next().await.unwrap().unwrap() & libc::POLLIN != 0);
            b.write_all(b"y").unwrap();
        }
    })
    .unwrap();
    drop(ready);
    settle(&ring);
}

/// tokio#7979, monoio#318: a connection that arrives after its accept was let go of must be closed.
#[test]
fn d7_descriptor_that_arrives_late_is_closed() {
    let ring = ring(4);
    let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
    for _ in 0..20 {
        let mut accept = Box::pin(ring.run(Accept::new(Arc::clone(&listener))));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(accept.as_mut().poll(&mut cx).is_pending());
        ring.flush().unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        // Whether the connection came or not: nobody is there to take it.
        drop(accept);
        settle(&ring);
        empty(&listener);
        assert!(is_hung_up(client), "the connection was accepted and never closed");
    }
}

#[test]
fn d7_stream_of_connections_dropped_early_closes_those_not_taken() {
    let ring = ring(4);
    let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
    let address = listener.local_addr().unwrap();
    let mut connections = ring.stream(Accept::new(Arc::clone(&listener)).multishot());
    let clients: Vec<_> = ring
        .block_on(async {
            let clients: Vec<_> = {
                let mut first = pin!(connections.next());
                std::future::poll_fn(|cx| {
                    let _ = first.as_mut().poll(cx);
                    std::task::Poll::Ready(())
                })
                .await;
                (0..5).map(|_| TcpStream::connect(address).unwrap()).collect()
            };
            let taken: OwnedFd = connections.next().await.unwrap().unwrap();
            drop(taken);
            clients
        })
        .unwrap();
    ring.poll().unwrap();
    drop(connections);
    settle(&ring);
    empty(&listener);
    for client in clients {
        assert!(is_hung_up(client), "a connection that came was never closed");
    }
}

#[test]
fn d7_callback_that_abandons_its_own_multishot_is_safe() {
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;
    let ring = Rc::new(ring(4));
    let (a, mut b) = UnixStream::pair().unwrap();
    b.write_all(b"x").unwrap();
    let own: Rc<Cell<Option<uring_core::OpId>>> = Rc::default();
    let seen: Rc<RefCell<Vec<bool>>> = Rc::default();
    let (r, o, s) = (Rc::clone(&ring), Rc::clone(&own), Rc::clone(&seen));
    let id = ring
        .submit_each(Poll::readable(a).multishot(), move |item, more| {
            item.unwrap();
            s.borrow_mut().push(more);
            r.abandon(o.get().unwrap()).unwrap();
        })
        .unwrap();
    own.set(Some(id));
    settle(&ring);
    assert_eq!(*seen.borrow(), [true]);
    assert_eq!(Rc::strong_count(&ring), 1, "the closure was dropped");
}

/// tokio-uring#102: dropping a ring with an accept outstanding returns.
#[test]
fn d7_ring_drop_with_accepts_and_reads_outstanding_gives_everything_back() {
    let ring = uncounted(&Options::new().depth(32));
    let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
    let near = Arc::new(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
    for _ in 0..8 {
        let _ = ring.submit(Accept::new(Arc::clone(&listener))).unwrap();
        let _ = ring.submit(Read::new(Arc::clone(&near), vec![0; 4096])).unwrap();
    }
    ring.flush().unwrap();
    drop(ring);
    assert_eq!((Arc::strong_count(&listener), Arc::strong_count(&near)), (1, 1));
}
