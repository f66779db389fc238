//! Buffers that the kernel picks: leased, recycled, run out of, filled in pieces.

use super::drive::*;
use std::future::Future;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;
use uring_core::op::{ReadLeased, RecvLeased, Within};
use uring_core::{ErrorKind, Options};

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
    let ring = uncounted(&Options::new());
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

/// No output is ever made of it, so that its buffer is given back by the operation itself.
#[test]
fn e1_buffer_that_came_and_was_never_looked_at_comes_back_with_its_operation() {
    for pieces in [false, true] {
        let ring = uncounted(&Options::new());
        let group = match pieces {
            false => ring.provide_buffers(2, 64),
            true => ring.provide_buffers_in_pieces(2, 64),
        };
        let group = group.unwrap();
        let (a, mut b) = UnixStream::pair().unwrap();
        b.write_all(&[7; 64]).unwrap();
        ring.submit(RecvLeased::new(a, &group)).unwrap();
        ring.wait(1, LONG).unwrap();
        assert_eq!(ring.reap(|done| std::mem::forget(done)), 1);
        assert_eq!((ring.held(), group.leased(), group.available()), (1, 1, 1));
        drop(ring);
        assert_eq!((group.leased(), group.available()), (0, 2));
    }
}

#[test]
fn e1_group_in_pieces_shares_a_buffer_among_messages_and_gets_it_back_once() {
    let ring = clean(&Options::new());
    let group = ring.provide_buffers_in_pieces(2, 64).unwrap();
    let pairs: Vec<_> = (0..2).map(|_| UnixStream::pair().unwrap()).collect();
    let nears: Vec<_> = pairs
        .iter()
        .map(|(near, _)| Arc::new(near.try_clone().unwrap()))
        .collect();
    let mut rounds = 0u8;
    let mut kept = Vec::new();
    // 16 bytes a piece, four pieces a buffer, from two connections by turns.
    for _ in 0..50 {
        for side in 0..2 {
            rounds = rounds.wrapping_add(1);
            (&pairs[side].1).write_all(&[rounds; 16]).unwrap();
            let lease = done(&ring, RecvLeased::new(Arc::clone(&nears[side]), &group));
            let lease = lease.unwrap().unwrap();
            assert_eq!(&lease[..], &[rounds; 16]);
            kept.push((rounds, lease));
            // Five pieces at a time span two buffers; older ones must not be overwritten.
            if kept.len() > 4 {
                kept.remove(0);
            }
            for (mark, lease) in &kept {
                assert_eq!(&lease[..], &[*mark; 16]);
            }
        }
    }
    assert_eq!(group.leased(), 4);
    drop(kept);
    assert_eq!((group.leased(), group.available()), (0, 2));
}

/// The kernel fills in the order of completions; what is made of them may come in another.
#[test]
fn e1_pieces_taken_in_another_order_than_they_came_are_still_the_right_bytes() {
    let ring = clean(&Options::new());
    let group = ring.provide_buffers_in_pieces(1, 64).unwrap();
    let (a, mut to_a) = UnixStream::pair().unwrap();
    let (b, mut to_b) = UnixStream::pair().unwrap();
    let first = ring.submit(RecvLeased::new(a, &group)).unwrap();
    let second = ring.submit(RecvLeased::new(b, &group)).unwrap();
    ring.flush().unwrap();
    to_a.write_all(b"first").unwrap();
    while ring.ready() < 1 {
        ring.wait(1, LONG).unwrap();
    }
    to_b.write_all(b"second").unwrap();
    let second = ring.finish(second, LONG).unwrap().unwrap().unwrap();
    let first = ring.finish(first, LONG).unwrap().unwrap().unwrap();
    assert_eq!((&first[..], &second[..]), (&b"first"[..], &b"second"[..]));
}

#[test]
fn e1_pieces_that_nobody_takes_come_back() {
    let ring = clean(&Options::new());
    let group = ring.provide_buffers_in_pieces(1, 32).unwrap();
    let (a, mut b) = UnixStream::pair().unwrap();
    let a = Arc::new(a);
    for _ in 0..20 {
        let mut pieces = ring.stream(RecvLeased::new(Arc::clone(&a), &group).multishot());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(pieces.poll_item(&mut cx).is_pending());
        ring.flush().unwrap();
        b.write_all(b"ab").unwrap();
        ring.wait(0, Duration::from_millis(0)).unwrap();
        b.write_all(b"cd").unwrap();
        ring.poll().unwrap();
        drop(pieces);
        settle(&ring);
        assert_eq!(group.leased(), 0);
    }
    // Sixteen bytes that nobody took, sixteen to go: every buffer is whole again after the next full one.
    b.write_all(&[9; 32]).unwrap();
    let mut got = 0;
    while got < 32 {
        let lease = done(&ring, RecvLeased::new(Arc::clone(&a), &group))
            .unwrap()
            .unwrap();
        got += lease.len();
    }
}

#[test]
fn e1_group_that_runs_out_says_so_and_goes_on_when_a_lease_is_back() {
    let ring = clean(&Options::new());
    let group = ring.provide_buffers(2, 4).unwrap();
    let (a, mut b) = UnixStream::pair().unwrap();
    b.write_all(b"aaaabbbbcccc").unwrap();
    let mut receiving = ring.receive(Arc::new(a), &group);
    let end = ring
        .block_on(async {
            let mut leases = vec![
                receiving.next().await.unwrap().unwrap(),
                receiving.next().await.unwrap().unwrap(),
            ];
            let dry = receiving.next().await.unwrap().unwrap_err();
            assert_eq!((dry.kind(), dry.errno()), (ErrorKind::WouldBlock, libc::ENOBUFS));
            assert!(dry.to_string().contains("give leased buffers back"), "{dry}");
            // Nothing comes while nothing is back, and the wait is woken by what comes back.
            {
                let mut next = pin!(receiving.next());
                std::future::poll_fn(|cx| {
                    assert!(next.as_mut().poll(cx).is_pending());
                    std::task::Poll::Ready(())
                })
                .await;
                let back = leases.remove(0);
                std::thread::spawn(move || drop(back)).join().unwrap();
                let third = next.await.unwrap().unwrap();
                assert_eq!(&third[..], b"cccc");
            }
            assert_eq!(&leases[0][..], b"bbbb");
            drop(leases);
            drop(b);
            receiving.next().await
        })
        .unwrap();
    assert!(end.is_none(), "the end of the data is the end");
    drop(receiving);
    settle(&ring);
    assert_eq!((group.leased(), group.available()), (0, 2));
}

#[test]
fn e1_receiving_survives_the_end_of_a_series_that_is_not_the_end_of_the_data() {
    let ring = clean(&Options::new().depth(2).sq_entries(4));
    let group = ring.provide_buffers(256, 1).unwrap();
    let (a, mut b) = UnixStream::pair().unwrap();
    let content: Vec<u8> = (0..200).collect();
    b.write_all(&content).unwrap();
    drop(b);
    let mut receiving = ring.receive(Arc::new(a), &group);
    let got = ring
        .block_on(async {
            let mut got = Vec::new();
            while let Some(piece) = receiving.next().await {
                got.extend_from_slice(&piece.unwrap());
            }
            got
        })
        .unwrap();
    assert_eq!(
        got, content,
        "the queue of completions overflows, and nothing is lost"
    );
    drop(receiving);
}

#[test]
fn d7_multishot_read_brings_what_a_pipe_gets_and_refuses_a_file() {
    let ring = clean(&Options::new());
    let group = ring.provide_buffers(4, 16).unwrap();
    let (read, write) = pipe();
    let mut pieces = ring.stream(ReadLeased::new(read, &group));
    ring.block_on(async {
        for text in [&b"one"[..], b"two", b"three"] {
            assert!(std::io::pipe().is_ok());
            let mut file = std::fs::File::from(write.try_clone().unwrap());
            file.write_all(text).unwrap();
            let lease = pieces.next().await.unwrap().unwrap().unwrap();
            assert_eq!(&lease[..], text);
        }
        drop(write);
        assert!(pieces.next().await.unwrap().unwrap().is_none(), "the end");
        assert!(pieces.next().await.is_none());
    })
    .unwrap();
    drop(pieces);
    let mut refused = ring.stream(ReadLeased::new(scratch(), &group));
    let error = ring.block_on(refused.next()).unwrap().unwrap().unwrap_err();
    assert_eq!(error.errno(), libc::EBADFD);
    drop(refused);
    settle(&ring);
    assert_eq!(group.leased(), 0);
}

#[test]
fn e1_group_is_taken_back_from_the_kernel_and_its_number_used_again() {
    let ring = clean(&Options::new());
    for round in 0..300u32 {
        let group = ring.provide_buffers(2, 64).unwrap();
        let (a, mut b) = UnixStream::pair().unwrap();
        b.write_all(&round.to_ne_bytes()).unwrap();
        let lease = done(&ring, RecvLeased::new(a, &group)).unwrap().unwrap();
        drop(group);
        assert_eq!(&lease[..], &round.to_ne_bytes(), "a lease outlives its group");
    }
    for wrong in [(0, 8), (3, 8), (2, 0)] {
        assert!(ring.provide_buffers(wrong.0, wrong.1).is_err());
    }
}

#[test]
fn e1_bounded_receive_gives_its_lease_and_a_bound_that_strikes_gives_the_buffer_back() {
    let ring = clean(&Options::new());
    let (a, mut b) = UnixStream::pair().unwrap();
    let a = Arc::new(a);
    for pieces in [false, true] {
        let group = match pieces {
            false => ring.provide_buffers(1, 64),
            true => ring.provide_buffers_in_pieces(1, 64),
        };
        let group = group.unwrap();
        let bounded = |limit| Within::new(limit, RecvLeased::new(Arc::clone(&a), &group));
        for round in 0..5u8 {
            b.write_all(&[round; 10]).unwrap();
            let lease = done(&ring, bounded(LONG)).unwrap().unwrap();
            assert_eq!((&lease[..], group.leased()), (&[round; 10][..], 1));
        }
        let late = done(&ring, bounded(Duration::from_millis(2))).unwrap_err();
        assert!(late.is_cancelled());
        assert_eq!((group.leased(), group.available()), (0, 1));
    }
}
