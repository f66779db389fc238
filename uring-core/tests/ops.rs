//! Each operation against the system calls that it stands for, and what becomes of it when it is let go of.
#![cfg(not(any(loom, shuttle)))]

use std::future::Future;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;
use uring_core::op::{
    Accept, Close, Connect, Fsync, Open, Poll, Read, Recv, RecvLeased, Send, Timeout, Within, Write,
};
use uring_core::{Error, ErrorKind, LocalRing, Operation, Options};

const LONG: Duration = Duration::from_secs(10);

fn ring(depth: u32) -> LocalRing {
    LocalRing::with(&Options::new().depth(depth)).unwrap()
}

fn done<O: Operation>(ring: &LocalRing, op: O) -> O::Output {
    ring.block_on(ring.run(op)).unwrap()
}

fn settle(ring: &LocalRing) {
    while ring.held() > 0 {
        ring.wait(1, LONG).unwrap();
    }
}

/// Whether the other end of a connection is closed: nobody holds its descriptor.
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

#[test]
fn b9_file_is_opened_written_flushed_read_and_closed() {
    let (ring, dir) = (ring(4), tempfile::tempdir().unwrap());
    let path = dir.path().join("file");
    let file = Arc::new(done(&ring, Open::new(&path, libc::O_RDWR | libc::O_CREAT).unwrap()).unwrap());
    assert_eq!(
        done(&ring, Write::new(Arc::clone(&file), b"content".to_vec()).at(0)).0,
        Ok(7)
    );
    done(&ring, Fsync::new(Arc::clone(&file))).unwrap();
    done(&ring, Fsync::data(Arc::clone(&file))).unwrap();
    let (read, buf) = done(&ring, Read::new(Arc::clone(&file), Vec::with_capacity(64)).at(3));
    assert_eq!((read, &buf[..]), (Ok(4), &b"tent"[..]));
    done(&ring, Close::new(Arc::into_inner(file).unwrap())).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), b"content");
}

#[test]
fn c9_missing_file_is_the_errors_own_number() {
    let ring = ring(2);
    let error = done(&ring, Open::new("/no/such/file", libc::O_RDONLY).unwrap()).unwrap_err();
    assert_eq!(error.errno(), libc::ENOENT);
    assert_eq!(
        Open::new("nul\0in it", 0).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
}

#[test]
fn b9_accept_connect_send_and_receive_over_tcp_and_unix() {
    let ring = ring(8);
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let unix = UnixListener::bind(dir.path().join("s")).unwrap();
    let socket = |domain| -> OwnedFd {
        use std::os::fd::FromRawFd;
        // SAFETY: makes a descriptor that the value below owns.
        let fd = unsafe { libc::socket(domain, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
        assert!(fd >= 0);
        // SAFETY: just made.
        unsafe { OwnedFd::from_raw_fd(fd) }
    };
    let to_tcp = Arc::new(socket(libc::AF_INET));
    let to_unix = Arc::new(socket(libc::AF_UNIX));
    let pairs: Vec<(Arc<OwnedFd>, OwnedFd)> = vec![
        {
            let token = ring.submit(Connect::new(Arc::clone(&to_tcp), address)).unwrap();
            let accepted = done(&ring, Accept::new(tcp)).unwrap();
            ring.finish(token, LONG).unwrap().unwrap();
            (to_tcp, accepted)
        },
        {
            let connect = Connect::unix(Arc::clone(&to_unix), dir.path().join("s")).unwrap();
            let token = ring.submit(connect).unwrap();
            let accepted = done(&ring, Accept::new(unix)).unwrap();
            ring.finish(token, LONG).unwrap().unwrap();
            (to_unix, accepted)
        },
    ];
    for (near, far) in pairs {
        let (sent, buf) = done(&ring, Send::new(near, b"hello".to_vec()));
        assert_eq!((sent, buf.len()), (Ok(5), 5));
        let (received, buf) = done(&ring, Recv::new(far, Vec::with_capacity(64)));
        assert_eq!((received, &buf[..]), (Ok(5), &b"hello"[..]));
    }
}

#[test]
fn d7_zero_copy_send_gives_its_buffer_back_with_the_notification_and_not_before() {
    let ring = ring(4);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut far, _) = listener.accept().unwrap();
    let payload: Vec<u8> = (0..32_768u32).map(|i| i as u8).collect();
    let token = ring.submit(Send::new(near, payload.clone()).zero_copy()).unwrap();
    ring.flush().unwrap();
    let mut got = vec![0; payload.len()];
    far.read_exact(&mut got).unwrap();
    let (sent, buf) = ring.finish(token, LONG).unwrap();
    assert_eq!(
        sent,
        Ok(payload.len()),
        "the result is the first completion's, not the notification's"
    );
    assert_eq!((got, buf), (payload.clone(), payload));
    assert_eq!(ring.stats().counts().stale, 0);
}

#[test]
fn d7_timeout_owns_its_timespec_until_it_completes() {
    let ring = ring(4);
    done(&ring, Timeout::after(Duration::from_millis(1))).unwrap();
    let long = ring.submit(Timeout::after(Duration::from_secs(3600))).unwrap();
    ring.flush().unwrap();
    ring.cancel(&long).unwrap();
    let ended = ring.finish(long, LONG).unwrap();
    assert!(ended.unwrap_err().is_cancelled());
}

#[test]
fn d7_linked_timeout_cancels_its_operation_and_gives_the_buffer_back() {
    let ring = ring(4);
    let (a, _b) = UnixStream::pair().unwrap();
    let op = Within::new(Duration::from_millis(2), Read::new(a, vec![7; 16]));
    let (read, buf) = done(&ring, op);
    assert!(read.unwrap_err().is_cancelled());
    assert_eq!(buf, [7; 16]);
    let (a, mut b) = UnixStream::pair().unwrap();
    b.write_all(b"in time").unwrap();
    let (read, _) = done(&ring, Within::new(LONG, Read::new(a, vec![0; 16])));
    assert_eq!(read, Ok(7));
    settle(&ring);
}

#[test]
fn e13_ten_thousand_timeouts_on_a_64_entry_queue_all_fire() {
    let ring = LocalRing::with(&Options::new().depth(16384).sq_entries(64)).unwrap();
    assert_eq!(ring.info().sq_entries, 64);
    let fired = std::rc::Rc::new(std::cell::Cell::new(0));
    for i in 0..10_000u64 {
        let fired = std::rc::Rc::clone(&fired);
        ring.submit_with(Timeout::after(Duration::from_micros(i % 1000)), move |ended| {
            ended.unwrap();
            fired.set(fired.get() + 1);
        })
        .unwrap();
    }
    settle(&ring);
    assert_eq!(fired.get(), 10_000);
}

#[test]
fn e13_ten_thousand_cancellations_find_room_on_a_64_entry_queue() {
    let ring = LocalRing::with(&Options::new().depth(16384).sq_entries(64)).unwrap();
    let tokens: Vec<_> = (0..10_000)
        .map(|_| ring.submit(Timeout::after(Duration::from_secs(3600))).unwrap())
        .collect();
    ring.flush().unwrap();
    assert_eq!(ring.cancel_all(), Ok(10_000));
    let mut cancelled = 0;
    for token in tokens {
        cancelled += u32::from(ring.finish(token, LONG).unwrap().is_err_and(Error::is_cancelled));
    }
    assert_eq!(cancelled, 10_000);
}

#[test]
fn d7_cancel_by_descriptor_reaches_all_on_it_and_nothing_else() {
    let ring = ring(8);
    let (a, _keep_a) = UnixStream::pair().unwrap();
    let (b, mut wake_b) = UnixStream::pair().unwrap();
    let a = Arc::new(a);
    let on_a: Vec<_> = (0..3)
        .map(|_| ring.submit(Read::new(Arc::clone(&a), vec![0; 8])).unwrap())
        .collect();
    let on_b = ring.submit(Read::new(b, vec![0; 8])).unwrap();
    ring.flush().unwrap();
    assert_eq!(ring.cancel_fd(a.as_fd()), Ok(3));
    for token in on_a {
        assert!(ring.finish(token, LONG).unwrap().0.unwrap_err().is_cancelled());
    }
    wake_b.write_all(b"!").unwrap();
    assert_eq!(ring.finish(on_b, LONG).unwrap().0, Ok(1));
}

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

/// compio#746: a cancelled receive gives its provided buffer back.
#[test]
fn d7_provided_buffers_come_back_from_leases_and_from_orphans() {
    let ring = ring(8);
    let group = ring.provide_buffers(4, 256).unwrap();
    let (a, mut b) = UnixStream::pair().unwrap();
    let a = Arc::new(a);
    for round in 0..40u8 {
        b.write_all(&[round; 100]).unwrap();
        let lease = done(&ring, RecvLeased::new(Arc::clone(&a), &group))
            .unwrap()
            .unwrap();
        assert_eq!(&lease[..], &[round; 100]);
        assert_eq!(group.leased(), 1);
    }
    assert_eq!(group.leased(), 0);
    for _ in 0..20 {
        let mut receive = Box::pin(ring.run(RecvLeased::new(Arc::clone(&a), &group)));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(receive.as_mut().poll(&mut cx).is_pending());
        ring.flush().unwrap();
        b.write_all(b"late").unwrap();
        drop(receive);
        settle(&ring);
    }
    assert_eq!(group.leased(), 0, "what arrived late went back to the group");
}

#[test]
fn d7_group_that_runs_out_is_back_pressure_and_recovers() {
    let ring = ring(8);
    let group = ring.provide_buffers(2, 16).unwrap();
    let (a, mut b) = UnixStream::pair().unwrap();
    let a = Arc::new(a);
    b.write_all(&[1; 64]).unwrap();
    let mut leases = vec![];
    let mut pieces = ring.stream(RecvLeased::new(Arc::clone(&a), &group).multishot());
    let error = ring
        .block_on(async {
            loop {
                match pieces
                    .next()
                    .await
                    .expect("an end is told before the stream ends")
                {
                    Ok(lease) => leases.push(lease.unwrap()),
                    Err(error) => return error,
                }
            }
        })
        .unwrap();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    assert_eq!(leases.len(), 2);
    drop(leases);
    let lease = done(&ring, RecvLeased::new(a, &group)).unwrap().unwrap();
    assert_eq!(lease.len(), 16);
}

#[test]
fn d7_lease_outlives_its_ring() {
    let ring = ring(2);
    let group = ring.provide_buffers(2, 64).unwrap();
    let (a, mut b) = UnixStream::pair().unwrap();
    b.write_all(b"kept").unwrap();
    let lease = done(&ring, RecvLeased::new(a, &group)).unwrap().unwrap();
    drop(ring);
    let lease = std::thread::spawn(move || {
        assert_eq!(&lease[..], b"kept");
        lease
    })
    .join()
    .unwrap();
    drop(lease);
    assert_eq!(group.leased(), 0);
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
    let ring = ring(32);
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

/// The count of what was abandoned is the process's: the tests that read it run one at a time.
static ABANDONING: std::sync::Mutex<()> = std::sync::Mutex::new(());

fn wait_for_the_reaper() {
    let mut rounds = 0;
    while uring_core::totals().abandoned.sum() != 0 {
        rounds += 1;
        assert!(
            rounds < 1000,
            "{} never freed",
            uring_core::totals().abandoned.sum()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Zero-copy sends to a peer that does not read: the network holds the buffers for as long as the socket lives. The ring
/// gives up at its deadline, the reaper waits on, and frees when the socket is closed.
#[test]
fn d7_what_a_dropped_ring_cannot_get_back_is_freed_by_the_reaper_and_not_before() {
    let _alone = ABANDONING.lock().unwrap_or_else(|e| e.into_inner());
    use std::sync::atomic::{AtomicUsize, Ordering};
    struct Counted(Box<[u8]>, Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.1.fetch_add(1, Ordering::SeqCst);
        }
    }
    // SAFETY: the box's block stays where it is.
    unsafe impl uring_core::buffer::IoBuf for Counted {
        fn stable_ptr(&self) -> *const u8 {
            self.0.as_ptr()
        }
        fn bytes_init(&self) -> usize {
            self.0.len()
        }
    }
    let options = Options::new().depth(32).drain_limit(Duration::from_millis(50));
    let ring = LocalRing::with(&options).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = Arc::new(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
    let (far, _) = listener.accept().unwrap();
    let drops = Arc::new(AtomicUsize::new(0));
    for _ in 0..16 {
        let buf = Counted(vec![1; 1 << 20].into(), Arc::clone(&drops));
        let _ = ring
            .submit(Send::new(Arc::clone(&near), buf).zero_copy())
            .unwrap();
    }
    ring.flush().unwrap();
    drop(ring);
    let held = 16 - drops.load(Ordering::SeqCst);
    assert_eq!(uring_core::totals().abandoned.sum(), held as i64);
    assert!(held > 0, "a peer that does not read leaves sends unfinished");
    drop((near, far));
    let mut rounds = 0;
    while drops.load(Ordering::SeqCst) < 16 {
        rounds += 1;
        assert!(rounds < 1000, "{} of 16 freed", drops.load(Ordering::SeqCst));
        std::thread::sleep(Duration::from_millis(10));
    }
    wait_for_the_reaper();
}

/// io-uring#302, firewood#1522: completions that find the queue full are flushed, none is lost. The kernel may end the
/// series there; what is left in the socket comes with the next.
#[test]
fn e13_multishot_overflow_is_flushed_and_nothing_is_lost() {
    let ring = ring(2);
    let (a, mut b) = UnixStream::pair().unwrap();
    let a = Arc::new(a);
    let seen = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let group = ring.provide_buffers(512, 1).unwrap();
    let content: Vec<u8> = (0..300u32).map(|i| i as u8).collect();
    b.write_all(&content).unwrap();
    let mut rounds = 0;
    while seen.borrow().len() < 300 {
        rounds += 1;
        assert!(rounds < 1000);
        if ring.held() == 0 {
            let sink = std::rc::Rc::clone(&seen);
            ring.submit_each(
                RecvLeased::new(Arc::clone(&a), &group).multishot(),
                move |item, _| {
                    if let Ok(Some(lease)) = item {
                        sink.borrow_mut().extend_from_slice(&lease);
                    }
                },
            )
            .unwrap();
        }
        ring.wait(1, Duration::from_millis(20)).unwrap();
    }
    assert_eq!(*seen.borrow(), content, "in order, each once");
    ring.cancel_all().unwrap();
    settle(&ring);
    assert_eq!(group.leased(), 0);
    assert_eq!(ring.stats().counts().stale, 0);
}

/// A thread that only looks, and never waits, still gets what completed meanwhile: the flag that says that completions
/// wait to be run is honoured.
#[test]
fn e13_completions_that_wait_to_be_run_are_found_by_polling_alone() {
    let ring = ring(4);
    let (a, mut b) = UnixStream::pair().unwrap();
    let token = ring.submit(Read::new(a, vec![0; 8])).unwrap();
    ring.flush().unwrap();
    assert_eq!(ring.poll(), Ok(0));
    b.write_all(b"x").unwrap();
    let mut rounds = 0;
    while ring.ready() == 0 {
        rounds += 1;
        assert!(rounds < 2000, "the completion was never run");
        ring.poll().unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(ring.finish(token, LONG).unwrap().0, Ok(1));
}

/// As above, for completions that found the queue full, on a ring whose waits would bring them in by themselves.
#[test]
fn e13_overflowed_completions_are_found_by_polling_alone() {
    let options = Options::new()
        .depth(2)
        .sq_entries(4)
        .highest_rung(uring_core::Rung::Plain);
    let ring = LocalRing::with(&options).unwrap();
    let (a, mut b) = UnixStream::pair().unwrap();
    let group = ring.provide_buffers(64, 1).unwrap();
    let seen = std::rc::Rc::new(std::cell::Cell::new((0, false)));
    let sink = std::rc::Rc::clone(&seen);
    ring.submit_each(RecvLeased::new(a, &group).multishot(), move |item, more| {
        let (count, _) = sink.get();
        sink.set((count + u32::from(item.is_ok()), !more));
    })
    .unwrap();
    ring.flush().unwrap();
    b.write_all(&[0; 60]).unwrap();
    let mut rounds = 0;
    // The kernel ends the series when the queue is full; that last completion is the one that overflowed.
    while !seen.get().1 {
        rounds += 1;
        assert!(
            rounds < 2000,
            "the series neither goes on nor ends after {} items",
            seen.get().0
        );
        if seen.get().0 >= 60 {
            return;
        }
        ring.poll().unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(ring.stats().counts().overflows > 0);
}

/// The operation must not hold open the very socket whose end releases its buffer.
#[test]
fn d7_unfinished_zero_copy_send_lets_go_of_its_socket() {
    let _alone = ABANDONING.lock().unwrap_or_else(|e| e.into_inner());
    let options = Options::new().depth(32).drain_limit(Duration::from_millis(50));
    let ring = LocalRing::with(&options).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = Arc::new(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
    let (far, _) = listener.accept().unwrap();
    for _ in 0..16 {
        let _ = ring
            .submit(Send::new(Arc::clone(&near), vec![1; 1 << 20]).zero_copy())
            .unwrap();
    }
    ring.flush().unwrap();
    drop(ring);
    let left = Arc::strong_count(&near);
    assert_eq!(left, 1, "what is left are buffers, not descriptors");
    drop((near, far));
    wait_for_the_reaper();
}
