//! Sockets, pipes and event counters.

use super::*;

#[test]
fn b9_descriptors_that_do_not_block_wait_all_the_same() {
    agree(|rig| {
        let (from, to) = pipe();
        // SAFETY: no memory.
        unsafe { libc::fcntl(from.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
        let mut buf = [0u8; 4];
        rig.send(&[read(from.as_raw_fd(), &mut buf, 0, 1)]);
        rig.nothing();
        let wrote = rig.all(&[write(to.as_raw_fd(), b"data", 0, 2)], 2);
        // SAFETY: makes a descriptor.
        let event = unsafe { OwnedFd::from_raw_fd(libc::eventfd(0, libc::EFD_CLOEXEC)) };
        let mut count = [0u8; 8];
        rig.send(&[read(event.as_raw_fd(), &mut count, 0, 3)]);
        rig.nothing();
        let rung = rig.all(&[write(event.as_raw_fd(), &7u64.to_ne_bytes(), 0, 4)], 2);
        (wrote, rung, buf, count)
    });
}

#[test]
fn d7_full_pipe_takes_a_part_and_waits_with_the_rest() {
    agree(|rig| {
        let (mut from, to) = {
            let (from, to) = pipe();
            (File::from(from), to)
        };
        let large = vec![7u8; 100_000];
        let part = rig.all(&[write(to.as_raw_fd(), &large, 0, 1)], 1);
        rig.send(&[write(to.as_raw_fd(), b"next", 0, 2)]);
        rig.nothing();
        from.read_exact(&mut vec![0; 65_536]).unwrap();
        let next = rig.collect(1);
        drop(from);
        let broken = rig.all(&[write(to.as_raw_fd(), b"gone", 0, 3)], 1);
        (part, next, broken)
    });
}

#[test]
fn d7_zero_copy_send_has_a_result_and_a_notification() {
    agree(|rig| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        let payload = b"zero copy".to_vec();
        let send = |opcode, user_data| Sqe {
            addr: payload.as_ptr() as u64,
            len: payload.len() as u32,
            op_flags: libc::MSG_NOSIGNAL as u32,
            ..entry(opcode, near.as_raw_fd(), user_data)
        };
        rig.send(&[send(code::SEND_ZC, 1)]);
        let mut got = [0u8; 9];
        far.read_exact(&mut got).unwrap();
        let zero_copy = rig.collect(2);
        let plain = rig.all(&[send(code::SEND, 2)], 1);
        (zero_copy, plain, got)
    });
}

#[test]
fn b9_waiting_for_all_of_it_takes_pieces_as_they_come() {
    agree(|rig| {
        let (near, mut far) = UnixStream::pair().unwrap();
        let mut buf = [0u8; 8];
        let receive = Sqe {
            addr: buf.as_mut_ptr() as u64,
            len: 8,
            op_flags: libc::MSG_WAITALL as u32,
            ..entry(code::RECV, near.as_raw_fd(), 1)
        };
        rig.send(&[receive]);
        far.write_all(b"first").unwrap();
        rig.nothing();
        far.write_all(b"end").unwrap();
        let whole = rig.collect(1);
        rig.send(&[receive]);
        far.write_all(b"part").unwrap();
        rig.nothing();
        drop(far);
        let part = rig.collect(1);
        let no_wait = Sqe {
            op_flags: libc::MSG_DONTWAIT as u32,
            ..receive
        };
        let (idle, _kept) = UnixStream::pair().unwrap();
        let again = rig.all(
            &[Sqe {
                fd: idle.as_raw_fd(),
                ..no_wait
            }],
            1,
        );
        (whole, part, again, buf)
    });
}

#[test]
fn b9_sockets_are_made_bound_connected_and_shut_down() {
    agree(|rig| {
        let made = |rig: &mut Rig| {
            let socket = Sqe {
                off: (libc::SOCK_STREAM | libc::SOCK_CLOEXEC) as u64,
                ..entry(opcode::Socket::CODE, libc::AF_INET, 1)
            };
            let told = rig.all(&[socket], 1);
            // SAFETY: the operation just brought it.
            unsafe { OwnedFd::from_raw_fd(told[0].1) }
        };
        let (server, client) = (made(rig), made(rig));
        // SAFETY: plain numbers.
        let mut address: libc::sockaddr_in = unsafe { std::mem::zeroed() };
        address.sin_family = libc::AF_INET as u16;
        address.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
        let mut len = size_of_val(&address) as libc::socklen_t;
        let bind = Sqe {
            addr: (&raw const address) as u64,
            off: u64::from(len),
            ..entry(opcode::Bind::CODE, server.as_raw_fd(), 2)
        };
        let listen = Sqe {
            len: 4,
            ..entry(opcode::Listen::CODE, server.as_raw_fd(), 3)
        };
        let told = (rig.all(&[bind], 1), rig.all(&[listen], 1));
        // SAFETY: room for one address, whose size is told.
        unsafe { libc::getsockname(server.as_raw_fd(), (&raw mut address).cast(), &mut len) };
        let connect = Sqe {
            addr: (&raw const address) as u64,
            off: u64::from(len),
            ..entry(code::CONNECT, client.as_raw_fd(), 4)
        };
        let connected = rig.all(&[connect], 1);
        let twice = rig.all(&[connect], 1);
        let accepted = rig.all(&[entry(code::ACCEPT, server.as_raw_fd(), 5)], 1);
        // SAFETY: the operation just brought it.
        let peer = unsafe { OwnedFd::from_raw_fd(accepted[0].1) };
        let shut = Sqe {
            len: libc::SHUT_WR as u32,
            ..entry(opcode::Shutdown::CODE, client.as_raw_fd(), 6)
        };
        let shut = rig.all(&[shut], 1);
        let end = rig.all(&[read(peer.as_raw_fd(), &mut [0; 4], 0, 7)], 1);
        drop(server);
        let refused = made(rig);
        let refused = rig.all(
            &[Sqe {
                fd: refused.as_raw_fd(),
                ..connect
            }],
            1,
        );
        (told, connected, twice, shut, end, refused)
    });
}

#[test]
fn b9_full_queue_of_a_unix_listener_is_waited_for() {
    agree(|rig| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        // SAFETY: no memory.
        assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
        let _fills = UnixStream::connect(&path).unwrap();
        // SAFETY: makes a descriptor.
        let late = unsafe { OwnedFd::from_raw_fd(libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0)) };
        // SAFETY: plain numbers.
        let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
        address.sun_family = libc::AF_UNIX as u16;
        for (to, from) in address.sun_path.iter_mut().zip(path.to_str().unwrap().bytes()) {
            *to = from as _;
        }
        let connect = Sqe {
            addr: (&raw const address) as u64,
            off: size_of_val(&address) as u64,
            ..entry(code::CONNECT, late.as_raw_fd(), 1)
        };
        rig.send(&[connect]);
        rig.nothing();
        listener.accept().unwrap();
        rig.collect(1)
    });
}

/// A datagram socket whose error queue is not empty and stays so: the time at which it sent something.
fn with_an_error_queue() -> std::net::UdpSocket {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(socket.local_addr().unwrap()).unwrap();
    let flags = libc::SOF_TIMESTAMPING_TX_SOFTWARE | libc::SOF_TIMESTAMPING_SOFTWARE;
    let at = (&raw const flags).cast();
    // SAFETY: one readable number, whose size is told.
    let set = unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPING, at, 4) };
    assert_eq!(set, 0);
    socket.send(b"sent").unwrap();
    socket.recv(&mut [0; 8]).unwrap();
    let mut poll = libc::pollfd {
        fd: socket.as_raw_fd(),
        events: 0,
        revents: 0,
    };
    // SAFETY: one valid pollfd.
    let ready = unsafe { libc::poll(&mut poll, 1, 1000) };
    assert_eq!((ready, poll.revents), (1, libc::POLLERR));
    socket
}

/// epoll tells of an error queue for as long as there is something in it, and no receive takes it out.
#[test]
fn d7_receive_beside_an_error_queue_sleeps_and_is_woken_by_data() {
    let mut carrier = Fallback::new(&wish(), 1, 0, Vec::new()).unwrap();
    let socket = with_an_error_queue();
    let fd = socket.as_raw_fd();
    let mut lot = [Cqe::default(); LOT];
    let mut bufs = [[0u8; 8]; 3];
    let receive = |buf: &mut [u8; 8], user_data| Sqe {
        addr: buf.as_mut_ptr() as u64,
        len: 8,
        ..entry(code::RECV, fd, user_data)
    };
    let [a, b, c] = &mut bufs;
    assert!(carrier.push(&receive(a, 1)) && carrier.push(&receive(b, 2)));
    for round in 0..3 {
        let before = carrier.lookout.wakes;
        carrier.enter(1, Some(Duration::from_millis(10))).unwrap();
        assert_eq!(carrier.drain(&mut lot), 0, "nothing came");
        let wakes = carrier.lookout.wakes - before;
        // The event that there is an error, and once more when only changes are asked for.
        assert!(wakes <= 2, "round {round}: awake {wakes} times for nothing");
    }
    for (expected, user_data) in [(b"one", 1), (b"two", 2)] {
        socket.send(expected).unwrap();
        carrier.enter(1, Some(Duration::from_secs(10))).unwrap();
        assert_eq!(carrier.drain(&mut lot), 1);
        assert_eq!((lot[0].user_data, lot[0].result), (user_data, 3));
    }
    // Nobody waits: neither does the error queue make any noise, nor what comes.
    socket.send(b"three").unwrap();
    let before = carrier.lookout.wakes;
    carrier.enter(0, None).unwrap();
    assert_eq!(carrier.lookout.wakes, before);
    // What came meanwhile is there for the next.
    assert!(carrier.push(&receive(c, 3)));
    carrier.enter(1, Some(Duration::from_secs(10))).unwrap();
    assert_eq!((carrier.drain(&mut lot), lot[0].result), (1, 5));
    // One that is called off leaves none waiting.
    let mut never = [0u8; 8];
    assert!(carrier.push(&receive(&mut never, 4)));
    carrier.enter(1, Some(Duration::from_millis(5))).unwrap();
    assert!(carrier.push(&cancel(4, 0, -1, 5)));
    carrier.enter(2, Some(Duration::from_secs(10))).unwrap();
    assert_eq!(carrier.drain(&mut lot), 2);
    let mut results: Vec<_> = lot[..2].iter().map(|cqe| (cqe.user_data, cqe.result)).collect();
    results.sort_unstable();
    assert_eq!(results, [(4, -libc::ECANCELED), (5, 0)]);
}
