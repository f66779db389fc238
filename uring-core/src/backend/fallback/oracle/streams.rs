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
