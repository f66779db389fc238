//! Files with a slot and no descriptor, and slots that are used again only when nobody can name them any more.

use super::drive::*;
use std::fs::File;
use std::future::Future;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;
use uring_core::file::DirectFd;
use uring_core::op::{Accept, Close, Direct, Install, Open, Read, Recv, Send, Socket, Write};
use uring_core::{ErrorKind, LocalRing, Options};

fn open_exe(ring: &LocalRing) -> DirectFd {
    let open = Open::new("/proc/self/exe", libc::O_RDONLY).unwrap();
    done(ring, Direct::into(open, ring.reserve_slot().unwrap())).unwrap()
}

#[test]
fn e2_file_opened_into_a_slot_works_and_its_slot_is_used_again() {
    let ring = clean(&Options::new().registered_files(2));
    let mut slots = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let file = open_exe(&ring);
        slots.insert(file.slot());
        let (read, buf) = done(&ring, Read::new(file, vec![0; 4]).at(0));
        assert_eq!((read, &buf[..]), (Ok(4), &b"\x7fELF"[..]));
    }
    assert!(slots.len() <= 2, "{slots:?}");
    let two = [open_exe(&ring), open_exe(&ring)];
    assert_eq!(ring.reserve_slot().unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(two);
    assert!(
        ring.reserve_slot().is_ok(),
        "given back as soon as they are asked for"
    );
}

#[test]
fn e2_slot_of_an_open_that_fails_is_free_again() {
    let ring = clean(&Options::new().registered_files(1));
    for _ in 0..3 {
        let open = Open::new("/no/such/file", libc::O_RDONLY).unwrap();
        let failed = done(&ring, Direct::into(open, ring.reserve_slot().unwrap())).unwrap_err();
        assert_eq!(failed.errno(), libc::ENOENT);
    }
    let within = Open::new("/proc/self/exe", libc::O_RDONLY)
        .unwrap()
        .resolve(libc::RESOLVE_NO_MAGICLINKS);
    let failed = done(&ring, Direct::into(within, ring.reserve_slot().unwrap())).unwrap_err();
    assert_eq!(failed.errno(), libc::ELOOP);
    drop(ring.reserve_slot().unwrap());
    drop(open_exe(&ring));
}

/// An operation in flight holds the slot, whoever else has let go of it.
#[test]
fn e2_slot_is_not_used_again_while_an_operation_names_it() {
    let ring = clean(&Options::new().registered_files(2));
    let (near, mut far) = UnixStream::pair().unwrap();
    let held = Arc::new(ring.adopt_file(&near).unwrap());
    drop(near);
    let slot = held.slot();
    let token = ring.submit(Recv::new(held, vec![0; 8])).unwrap();
    ring.flush().unwrap();
    let others: Vec<_> = (0..2).map_while(|_| ring.reserve_slot().ok()).collect();
    assert!(others.len() == 1 && others[0].slot() != slot);
    far.write_all(b"mine").unwrap();
    let (count, buf) = ring.finish(token, LONG).unwrap();
    assert_eq!((count, &buf[..]), (Ok(4), &b"mine"[..]));
    assert_eq!(
        ring.reserve_slot().unwrap().slot(),
        slot,
        "and is, once it is over"
    );
}

/// What is queued on a slot before its last holder goes reaches the old file, what is opened afterwards the new one.
#[test]
fn e2_close_that_is_queued_never_reaches_the_file_that_comes_next() {
    for sqpoll in [false, true] {
        let options = Options::new().registered_files(1);
        let options = if sqpoll {
            options.sqpoll(Duration::from_millis(5))
        } else {
            options
        };
        let ring = clean(&options);
        for round in 0..100u32 {
            let (near, mut far) = UnixStream::pair().unwrap();
            far.write_all(&round.to_ne_bytes()).unwrap();
            let held = ring.adopt_file(&near).unwrap();
            drop(near);
            let (count, buf) = done(&ring, Recv::new(held, vec![0; 4]));
            assert_eq!(
                (count, &buf[..]),
                (Ok(4), &round.to_ne_bytes()[..]),
                "sqpoll: {sqpoll}"
            );
        }
    }
}

#[test]
fn e2_file_dropped_on_another_thread_is_closed_at_the_next_turn() {
    let ring = clean(&Options::new());
    let (near, far) = UnixStream::pair().unwrap();
    let held = ring.adopt_file(&near).unwrap();
    drop(near);
    std::thread::spawn(move || drop(held)).join().unwrap();
    ring.poll().unwrap();
    let (count, _) = done(&ring, Recv::new(far, vec![0; 4]));
    assert_eq!(count, Ok(0), "the other end hangs up");
}

#[test]
fn e2_close_of_a_slot_tells_how_it_went_and_gives_the_slot_back() {
    let ring = clean(&Options::new().registered_files(1));
    let (near, far) = UnixStream::pair().unwrap();
    for _ in 0..3 {
        let held = ring.adopt_file(&near).unwrap();
        done(&ring, Close::direct(held)).unwrap();
    }
    drop(near);
    assert_eq!(done(&ring, Recv::new(far, vec![0; 4])).0, Ok(0));
    let other = clean(&Options::new());
    let held = ring.adopt_file(&File::open("/dev/null").unwrap()).unwrap();
    let refused = other.submit(Close::direct(held)).unwrap_err();
    assert_eq!(refused.error.kind(), ErrorKind::InvalidInput, "another ring's");
}

#[test]
fn e2_slots_that_the_kernel_picks_are_never_ours_and_come_back() {
    let ring = clean(&Options::new().registered_files(2).direct_files(2));
    let slots = ring.direct_slots().unwrap();
    let ours = [ring.reserve_slot().unwrap(), ring.reserve_slot().unwrap()];
    let open = || Direct::anywhere(Open::new("/proc/self/exe", libc::O_RDONLY).unwrap(), &slots);
    for _ in 0..10 {
        let (a, b) = (done(&ring, open()).unwrap(), done(&ring, open()).unwrap());
        assert!(a.slot() != b.slot() && a.slot() >= 2 && b.slot() >= 2);
        assert_eq!(done(&ring, open()).unwrap_err().errno(), libc::ENFILE);
        assert_eq!(done(&ring, Read::new(a, vec![0; 4]).at(0)).0, Ok(4));
        drop(b);
        ring.poll().unwrap();
    }
    drop(ours);
    let none = clean(&Options::new());
    assert_eq!(none.direct_slots().unwrap_err().kind(), ErrorKind::InvalidInput);
    let refused = none.submit(open()).unwrap_err();
    assert_eq!(
        refused.error.kind(),
        ErrorKind::InvalidInput,
        "another ring's slots"
    );
}

#[test]
fn e2_connections_and_sockets_live_in_slots_alone() {
    let ring = clean(&Options::new().direct_files(8));
    let slots = ring.direct_slots().unwrap();
    let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
    let address = listener.local_addr().unwrap();
    let accept = Direct::anywhere(Accept::new(Arc::clone(&listener)).multishot(), &slots);
    let mut connections = ring.stream(accept);
    ring.block_on(async {
        for text in [b"one", b"two"] {
            {
                let mut next = pin!(connections.next());
                std::future::poll_fn(|cx| {
                    let _ = next.as_mut().poll(cx);
                    std::task::Poll::Ready(())
                })
                .await;
                let socket = ring
                    .run(Direct::anywhere(Socket::tcp(&address), &slots))
                    .await
                    .unwrap();
                let socket = Arc::new(socket);
                let connect = uring_core::op::Connect::new(Arc::clone(&socket), address);
                ring.run(connect).await.unwrap();
                let connection = Arc::new(next.await.unwrap().unwrap());
                ring.run(Send::new(socket, text.to_vec())).await.0.unwrap();
                let (count, buf) = ring.run(Recv::new(connection, vec![0; 3])).await;
                assert_eq!((count, &buf[..]), (Ok(3), &text[..]));
            }
        }
    })
    .unwrap();
    // Two more, of which nobody takes one.
    let clients = [
        TcpStream::connect(address).unwrap(),
        TcpStream::connect(address).unwrap(),
    ];
    ring.wait(0, Duration::ZERO).unwrap();
    drop(connections);
    settle(&ring);
    ring.poll().unwrap();
    empty(&listener);
    for client in clients {
        assert!(is_hung_up(client), "a connection in a slot was never closed");
    }
}

#[test]
fn d7_file_that_arrives_late_in_a_slot_is_closed_and_the_slot_free() {
    let ring = clean(&Options::new().registered_files(1));
    let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
    for _ in 0..20 {
        let accept = Direct::into(Accept::new(Arc::clone(&listener)), ring.reserve_slot().unwrap());
        let mut accept = Box::pin(ring.run(accept));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(accept.as_mut().poll(&mut cx).is_pending());
        ring.flush().unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        drop(accept);
        settle(&ring);
        ring.poll().unwrap();
        empty(&listener);
        assert!(is_hung_up(client), "the connection was accepted and never closed");
    }
}

#[test]
fn e2_file_in_a_slot_gets_a_descriptor_when_it_is_asked_for() {
    let ring = clean(&Options::new());
    let (near, mut far) = UnixStream::pair().unwrap();
    let held = Arc::new(ring.adopt_file(&near).unwrap());
    drop(near);
    let fd: OwnedFd = done(&ring, Install::new(Arc::clone(&held))).unwrap();
    far.write_all(b"both").unwrap();
    assert_eq!(done(&ring, Recv::new(held, vec![0; 2])).1, b"bo");
    assert_eq!(done(&ring, Read::new(fd, vec![0; 2])).1, b"th");
    let plain = done(&ring, Install::new(scratch())).unwrap_err();
    assert_eq!(plain.errno(), libc::EBADF, "it has one already");
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let refused = done(
        &ring,
        Direct::into(Socket::new(-1, 0, 0), ring.reserve_slot().unwrap()),
    );
    assert_eq!(refused.unwrap_err().errno(), libc::EAFNOSUPPORT);
    drop(
        done(
            &ring,
            Direct::into(Socket::udp(&any), ring.reserve_slot().unwrap()),
        )
        .unwrap(),
    );
    assert_eq!(done(&ring, Write::new(scratch(), vec![1])).0, Ok(1));
}
