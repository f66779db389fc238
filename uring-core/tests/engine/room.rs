//! Operations that wait for room in a ring, and what goes on meanwhile.

use crate::kit::{asked, until};
use std::io::Read as _;
use std::os::unix::net::UnixStream;
use uring_core::ErrorKind;
use uring_core::engine::{Engine, Submission};
use uring_core::op::{Nop, Read, Write};

const DEPTH: usize = 4;

type StuckRead = Submission<Read<Vec<u8>, UnixStream>>;

/// More operations than the ring has room for, none of which ends by itself; with what keeps them so.
fn crowded(engine: &Engine) -> (Vec<StuckRead>, Vec<UnixStream>) {
    let crowd = (0..4 * DEPTH)
        .map(|n| {
            let (there, here) = UnixStream::pair().unwrap();
            (engine.submit(Read::new(there, vec![n as u8; 8])), here)
        })
        .unzip();
    until("all of them out of the mailbox", || {
        engine.cores()[0].stats.messages_waiting == 0
    });
    crowd
}

fn small() -> Engine {
    asked(1).depth(DEPTH as u32).build().unwrap()
}

#[test]
fn a_cancellation_overtakes_operations_that_wait_for_room() {
    let engine = small();
    let (reads, _kept) = crowded(&engine);
    // The youngest first: what waits must not take the room of what is in the ring before it is called off itself.
    for read in reads.iter().rev() {
        read.cancel().unwrap();
    }
    for (n, read) in reads.into_iter().enumerate() {
        let (cancelled, buf) = read.wait();
        assert_eq!(cancelled.unwrap_err().kind(), ErrorKind::Cancelled, "{n}");
        assert_eq!(buf, [n as u8; 8]);
    }
    engine.submit(Nop::new()).wait().unwrap();
}

#[test]
fn an_operation_that_waits_for_room_is_called_off_at_once() {
    let engine = small();
    let (mut reads, _kept) = crowded(&engine);
    let last = reads.pop().unwrap();
    last.cancel().unwrap();
    let again = last.cancel().unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Stale, "it is over when it is asked for");
    let (cancelled, buf) = last.wait();
    assert_eq!(cancelled.unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(buf, [15; 8]);
}

#[test]
fn tasks_go_on_while_operations_wait_for_room() {
    let engine = small();
    let (_reads, _kept) = crowded(&engine);
    assert_eq!(engine.spawn_on(0, || async { 7 }).unwrap().wait().unwrap(), 7);
}

#[test]
fn operations_that_wait_for_room_keep_their_order() {
    let engine = small();
    let (reads, _kept) = crowded(&engine);
    let (there, mut here) = UnixStream::pair().unwrap();
    let writes: Vec<_> = (0..20)
        .map(|n| engine.submit(Write::new(there.try_clone().unwrap(), vec![n; 1])))
        .collect();
    for read in &reads {
        read.cancel().unwrap();
    }
    for write in writes {
        assert_eq!(write.wait().0, Ok(1));
    }
    let mut written = [0; 20];
    here.read_exact(&mut written).unwrap();
    assert_eq!(written.to_vec(), (0..20).collect::<Vec<u8>>());
}

#[test]
fn no_more_operations_wait_for_room_than_the_mailbox_holds() {
    let engine = asked(1).depth(DEPTH as u32).mailbox(8).build().unwrap();
    let mut kept = vec![];
    let mut taken = vec![];
    // The core takes some out of the mailbox until as many wait: then none is taken any more, however long one tries.
    let mut refused_in_a_row = 0;
    while refused_in_a_row < 100 {
        let (there, here) = UnixStream::pair().unwrap();
        match engine.try_submit(Read::new(there, vec![0u8; 8])) {
            Ok(read) => {
                refused_in_a_row = 0;
                taken.push(read);
                kept.push(here);
            }
            Err(full) => {
                assert_eq!(full.error.kind(), ErrorKind::WouldBlock);
                refused_in_a_row += 1;
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
        assert!(taken.len() <= DEPTH + 8 + 8, "{}", taken.len());
    }
    for read in &taken {
        read.cancel().unwrap();
    }
    for read in taken {
        assert_eq!(read.wait().0.unwrap_err().kind(), ErrorKind::Cancelled);
    }
}
