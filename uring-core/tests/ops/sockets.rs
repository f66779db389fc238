//! Sockets: made, bound, connected, ended; messages with addresses and files.

use super::drive::*;
use std::future::Future;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;
use uring_core::op::{
    Accept, Address, Bind, Connect, Control, Listen, Read, Recv, RecvMsg, Send, SendMsg, Shutdown, Socket,
    Write,
};
use uring_core::{Error, ErrorKind, Options};

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

fn errno<T: std::fmt::Debug>(result: Result<T, Error>) -> i32 {
    result.unwrap_err().errno()
}

#[test]
fn b9_socket_lives_its_whole_life_on_the_ring() {
    let ring = clean(&Options::new());
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let listener = Arc::new(done(&ring, Socket::tcp(&any)).unwrap());
    done(&ring, Bind::new(Arc::clone(&listener), any)).unwrap();
    done(&ring, Listen::new(Arc::clone(&listener), 4)).unwrap();
    let std_listener = TcpListener::from(listener.try_clone().unwrap());
    let address = std_listener.local_addr().unwrap();
    let near = Arc::new(done(&ring, Socket::tcp(&address)).unwrap());
    let connect = ring.submit(Connect::new(Arc::clone(&near), address)).unwrap();
    let far = Arc::new(done(&ring, Accept::new(Arc::clone(&listener))).unwrap());
    ring.finish(connect, LONG).unwrap().unwrap();
    done(&ring, Send::new(Arc::clone(&near), b"last".to_vec()))
        .0
        .unwrap();
    done(&ring, Shutdown::new(near, std::net::Shutdown::Write)).unwrap();
    let (count, buf) = done(&ring, Recv::new(Arc::clone(&far), Vec::with_capacity(64)).whole());
    assert_eq!(
        (count, &buf[..]),
        (Ok(4), &b"last"[..]),
        "the end came before the buffer was full"
    );
    assert_eq!(done(&ring, Recv::new(far, vec![0; 8])).0, Ok(0));
    // Its refusals are the kernel's own.
    let other = Arc::new(done(&ring, Socket::tcp(&any)).unwrap());
    assert_eq!(
        errno(done(&ring, Bind::new(Arc::clone(&other), address))),
        libc::EADDRINUSE
    );
    assert_eq!(
        errno(done(
            &ring,
            Shutdown::new(Arc::clone(&other), std::net::Shutdown::Both)
        )),
        libc::ENOTCONN
    );
    let datagrams = done(&ring, Socket::udp(&any)).unwrap();
    assert_eq!(errno(done(&ring, Listen::new(datagrams, 1))), libc::EOPNOTSUPP);
    assert_eq!(
        errno(done(&ring, Socket::new(-1, libc::SOCK_STREAM, 0))),
        libc::EAFNOSUPPORT
    );
    let dir = tempfile::tempdir().unwrap();
    let unix = Arc::new(done(&ring, Socket::new(libc::AF_UNIX, libc::SOCK_STREAM, 0)).unwrap());
    done(
        &ring,
        Bind::unix(Arc::clone(&unix), dir.path().join("s")).unwrap(),
    )
    .unwrap();
    done(&ring, Listen::new(Arc::clone(&unix), 1)).unwrap();
    assert!(UnixStream::connect(dir.path().join("s")).is_ok());
}

#[test]
fn b9_receive_that_comes_back_short_says_how_much_and_the_rest_follows() {
    let ring = clean(&Options::new());
    let (near, mut far) = UnixStream::pair().unwrap();
    let near = Arc::new(near);
    far.write_all(b"one").unwrap();
    let (count, buf) = done(&ring, Recv::new(Arc::clone(&near), Vec::with_capacity(64)));
    assert_eq!((count, &buf[..]), (Ok(3), &b"one"[..]));
    let whole = ring
        .submit(Recv::new(Arc::clone(&near), vec![0; 6]).whole())
        .unwrap();
    ring.flush().unwrap();
    far.write_all(b"two").unwrap();
    ring.poll().unwrap();
    far.write_all(b"six").unwrap();
    let (count, buf) = ring.finish(whole, LONG).unwrap();
    assert_eq!((count, &buf[..]), (Ok(6), &b"twosix"[..]));
}

/// What came before the interruption is neither lost nor counted twice.
#[test]
fn b9_receive_that_is_interrupted_gives_what_came_so_far() {
    let ring = clean(&Options::new());
    let (near, mut far) = UnixStream::pair().unwrap();
    let near = Arc::new(near);
    let whole = ring
        .submit(Recv::new(Arc::clone(&near), vec![0; 64]).whole())
        .unwrap();
    ring.flush().unwrap();
    far.write_all(b"some").unwrap();
    // Until the kernel has taken it out of the socket.
    let mut rounds = 0;
    let mut pending = 1;
    while pending > 0 {
        ring.poll().unwrap();
        // SAFETY: writes one number.
        unsafe {
            libc::ioctl(
                std::os::fd::AsRawFd::as_raw_fd(&*near),
                libc::FIONREAD,
                &mut pending,
            )
        };
        rounds += 1;
        assert!(rounds < 2000, "never taken");
        std::thread::sleep(Duration::from_millis(1));
    }
    ring.cancel(&whole).unwrap();
    let (count, buf) = ring.finish(whole, LONG).unwrap();
    assert_eq!((count, &buf[..4]), (Ok(4), &b"some"[..]));
}

/// A signal ends the wait and not the operation.
#[test]
fn b9_signal_during_a_wait_interrupts_no_transfer() {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: a handler that does nothing, with no flag to restart calls.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
        assert_eq!(libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()), 0);
    }
    let ring = clean(&Options::new());
    let (near, mut far) = UnixStream::pair().unwrap();
    let token = ring.submit(Recv::new(near, vec![0; 8])).unwrap();
    // SAFETY: names this thread.
    let me = unsafe { libc::pthread_self() };
    let signals = std::thread::spawn(move || {
        for _ in 0..50 {
            // SAFETY: the thread is joined with below, so it lives.
            unsafe { libc::pthread_kill(me, libc::SIGUSR1) };
            std::thread::sleep(Duration::from_millis(1));
        }
        far.write_all(b"whole").unwrap();
        far
    });
    let (count, buf) = ring.finish(token, LONG).unwrap();
    assert_eq!((count, &buf[..5]), (Ok(5), &b"whole"[..]));
    drop(signals.join().unwrap());
}

#[test]
fn b9_full_submission_queue_is_passed_on_and_loses_no_receive() {
    let ring = clean(&Options::new().depth(64).sq_entries(4));
    let pairs: Vec<_> = (0..64).map(|_| UnixStream::pair().unwrap()).collect();
    let mut tokens = Vec::new();
    let mut fars = Vec::new();
    for (near, far) in pairs {
        tokens.push(ring.submit(Recv::new(near, vec![0; 4])).unwrap());
        fars.push(far);
    }
    let spare = UnixStream::pair().unwrap();
    let refused = ring.submit(Recv::new(spare.0, vec![3; 4])).unwrap_err();
    assert_eq!(
        refused.error.kind(),
        ErrorKind::WouldBlock,
        "the table is full, and says so"
    );
    for (i, far) in fars.iter_mut().enumerate().rev() {
        far.write_all(&[i as u8; 2]).unwrap();
    }
    for (i, token) in tokens.into_iter().enumerate() {
        let (count, buf) = ring.finish(token, LONG).unwrap();
        assert_eq!((count, buf), (Ok(2), vec![i as u8, i as u8]));
    }
    assert!(ring.stats().counts().enters >= 16, "four entries at a time");
}

#[test]
fn b9_client_that_leaves_during_a_receive_ends_it_and_the_buffer_comes_back() {
    let ring = clean(&Options::new());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    let token = ring.submit(Recv::new(server, vec![1; 16])).unwrap();
    ring.flush().unwrap();
    drop(client);
    let (count, buf) = ring.finish(token, LONG).unwrap();
    assert_eq!((count, buf.len()), (Ok(0), 0));
}

#[test]
fn b9_messages_carry_the_addresses_of_their_senders() {
    let ring = clean(&Options::new());
    for host in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(here) = UdpSocket::bind(host) else { continue };
        let there = UdpSocket::bind(host).unwrap();
        let (from, to) = (here.local_addr().unwrap(), there.local_addr().unwrap());
        let parts = vec![b"ab".to_vec(), b"cd".to_vec()];
        let (sent, parts) = done(&ring, SendMsg::new(here, parts).to(to));
        assert_eq!((sent, parts.len()), (Ok(4), 2));
        let rooms = vec![Vec::with_capacity(3), Vec::with_capacity(3)];
        let (received, bufs) = done(&ring, RecvMsg::new(there, rooms).with_address());
        let received = received.unwrap();
        assert_eq!((received.bytes, received.from.unwrap().ip()), (4, Some(from)));
        assert_eq!(bufs, vec![b"abc".to_vec(), b"d".to_vec()]);
        assert!(!received.is_cut() && received.files.is_empty());
    }
    let dir = tempfile::tempdir().unwrap();
    let named = UnixDatagram::bind(dir.path().join("n")).unwrap();
    let (a, b) = (UnixDatagram::unbound().unwrap(), dir.path().join("n"));
    let address = Address::unix(&b).unwrap();
    let (sent, _) = done(&ring, SendMsg::new(a, vec![b"x".to_vec()]).to_address(address));
    assert_eq!(sent, Ok(1));
    let (received, _) = done(&ring, RecvMsg::new(named, vec![vec![0u8; 4]]).with_address());
    let sender = received.unwrap().from;
    assert!(sender.is_none_or(|sender| sender.path().is_none() && sender.ip().is_none()));
}

#[test]
fn b9_message_longer_than_the_room_for_it_is_told_to_be_cut() {
    let ring = clean(&Options::new());
    let (here, there) = UnixDatagram::pair().unwrap();
    let (here, there) = (Arc::new(here), Arc::new(there));
    for bytes in [&b"too long"[..], b""] {
        let (sent, _) = done(&ring, SendMsg::new(Arc::clone(&here), vec![bytes]));
        assert_eq!(sent, Ok(bytes.len()));
        let (received, bufs) = done(&ring, RecvMsg::new(Arc::clone(&there), vec![vec![0u8; 3]]));
        let received = received.unwrap();
        assert_eq!(
            (received.is_cut(), received.bytes),
            (bytes.len() > 3, bytes.len().min(3))
        );
        assert_eq!(bufs[0], bytes[..bytes.len().min(3)]);
    }
    let unconnected = UnixDatagram::unbound().unwrap();
    let (sent, back) = done(&ring, SendMsg::new(unconnected, vec![b"x".to_vec()]));
    assert_eq!((errno(sent), back.len()), (libc::ENOTCONN, 1));
}

#[test]
fn b9_files_pass_with_a_message_and_those_not_taken_are_closed() {
    let ring = clean(&Options::new());
    let (here, there) = UnixStream::pair().unwrap();
    let (here, there) = (Arc::new(here), Arc::new(there));
    let send = |count: usize| {
        let ends: Vec<_> = (0..count).map(|_| pipe()).collect();
        let writes = ends.iter().map(|(_, write)| Arc::clone(write));
        let message = SendMsg::new(Arc::clone(&here), vec![b"f".to_vec()]);
        assert_eq!(
            done(&ring, message.control(Control::new().files(writes))).0,
            Ok(1)
        );
        ends.into_iter().map(|(read, _)| read).collect::<Vec<_>>()
    };
    let receive = |room| RecvMsg::new(Arc::clone(&there), vec![vec![0u8; 4]]).with_control(room);
    let reads = send(2);
    let received = done(&ring, receive(64)).0.unwrap();
    assert_eq!((received.files.len(), received.is_control_cut()), (2, false));
    let Ok([first, second]) = <[OwnedFd; 2]>::try_from(received.files) else {
        panic!("two came")
    };
    done(&ring, Write::new(first, b"1".to_vec())).0.unwrap();
    drop(second);
    for (read, expected) in reads.into_iter().zip([&b"1"[..], b""]) {
        let (count, buf) = done(&ring, Read::new(Arc::clone(&read), vec![0; 4]));
        assert_eq!((count, &buf[..]), (Ok(expected.len()), expected));
        assert_eq!(
            done(&ring, Read::new(read, vec![0; 4])).0,
            Ok(0),
            "every copy is closed"
        );
    }
    // Room for one of two: the kernel closes the other.
    let reads = send(2);
    let received = done(&ring, receive(20)).0.unwrap();
    assert!(received.is_control_cut() && received.files.len() < 2);
    drop(received);
    // Let go of while the message is on its way.
    let mut late = Box::pin(ring.run(receive(64)));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(late.as_mut().poll(&mut cx).is_pending());
    ring.flush().unwrap();
    let orphans = send(1);
    drop(late);
    settle(&ring);
    drop((here, there));
    for read in reads.into_iter().chain(orphans) {
        assert_eq!(
            done(&ring, Read::new(read, vec![0; 4])).0,
            Ok(0),
            "nobody holds the other end"
        );
    }
}

#[test]
fn b9_control_records_of_other_kinds_come_as_they_were_sent() {
    let ring = clean(&Options::new());
    let there = UdpSocket::bind("127.0.0.1:0").unwrap();
    let here = UdpSocket::bind("127.0.0.1:0").unwrap();
    let on = 1i32;
    // SAFETY: reads one number.
    let asked = unsafe {
        let fd = std::os::fd::AsRawFd::as_raw_fd(&there);
        libc::setsockopt(fd, libc::IPPROTO_IP, libc::IP_RECVTOS, (&raw const on).cast(), 4)
    };
    assert_eq!(asked, 0);
    let to = there.local_addr().unwrap();
    let control = Control::new()
        .record(libc::IPPROTO_IP, libc::IP_TOS, &0x10i32.to_ne_bytes())
        .unwrap();
    assert_eq!(
        done(
            &ring,
            SendMsg::new(here, vec![b"x".to_vec()]).to(to).control(control)
        )
        .0,
        Ok(1)
    );
    let received = done(&ring, RecvMsg::new(there, vec![vec![0u8; 4]]).with_control(64))
        .0
        .unwrap();
    let (level, kind, data) = &received.records[0];
    assert_eq!((*level, *kind, data[0]), (libc::IPPROTO_IP, libc::IP_TOS, 0x10));
    let forged = Control::new().record(libc::SOL_SOCKET, libc::SCM_RIGHTS, &0i32.to_ne_bytes());
    assert_eq!(forged.unwrap_err().kind(), ErrorKind::InvalidInput);
}
