//! Operations that wait for room in a ring, and what goes on meanwhile.

use crate::kit::{LONG, asked, until};
use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;
use uring_core::engine::{Engine, Submission, current, ring, run, sleep};
use uring_core::op::{Nop, Read, Timeout, Write};
use uring_core::{ErrorKind, LocalRing};

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
    let nowhere = engine.submit_on(9, Nop::new()).wait().unwrap_err();
    assert_eq!(nowhere.kind(), ErrorKind::InvalidInput);
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
                std::thread::sleep(Duration::from_millis(1));
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

#[test]
fn a_ring_of_any_depth_carries_as_many_operations_of_its_users() {
    for depth in [1, 2, 3] {
        let engine = asked(2).depth(depth).build().unwrap();
        let task = engine.spawn_on(0, || async {
            sleep(Duration::from_millis(5)).await;
            run(Nop::new()).await
        });
        task.unwrap().wait().unwrap().unwrap();
        let across: Vec<_> = [0, 1]
            .map(|core| {
                engine.spawn_on(core, move || async move {
                    let engine = current().unwrap();
                    for _ in 0..200 {
                        engine.submit_on(1 - core, Nop::new()).await.unwrap();
                    }
                })
            })
            .into_iter()
            .map(Result::unwrap)
            .collect();
        for task in across {
            task.wait().unwrap();
        }
        // Asleep, listening and with its inbox open, the core has room for as many as were asked for, and for no more.
        let held = engine.spawn_on(0, move || async move {
            sleep(Duration::from_millis(5)).await;
            let mut held = vec![];
            while let Ok(id) = ring().submit(Timeout::after(LONG)) {
                held.push(id);
            }
            for id in &held {
                ring().abandon(id).unwrap();
            }
            held.len()
        });
        assert_eq!(held.unwrap().wait().unwrap(), depth as usize);
    }
}

#[test]
fn what_wakes_a_core_is_in_none_of_its_counts() {
    const COUNT: u64 = 1000;
    let engine = asked(1).build().unwrap();
    for n in 0..COUNT {
        engine.submit(Nop::new()).wait().unwrap();
        if n % 100 == 0 {
            // The core falls asleep: the read of its event counter takes as long as this.
            std::thread::sleep(Duration::from_millis(30));
        }
    }
    until("the last count published", || {
        engine.cores()[0].stats.ring.completed >= COUNT
    });
    let core = &engine.cores()[0].stats;
    assert_eq!((core.ring.submitted, core.ring.completed), (COUNT, COUNT));
    assert_eq!(
        (core.ring.failed, core.ring.shots, core.ring.in_flight),
        (0, 0, 0)
    );
    let told = engine.sources().read().to_prometheus().unwrap();
    assert!(!told.contains("\"READ\""), "{told}");
    // And on a ring that is driven by `block_on`, whose own read is called off at the end of each.
    let ring = LocalRing::new().unwrap();
    for _ in 0..COUNT {
        ring.block_on(ring.run(Nop::new())).unwrap().unwrap();
    }
    let counts = ring.stats().counts();
    assert_eq!((counts.submitted, counts.completed), (COUNT, COUNT));
    assert_eq!((counts.failed, counts.orphaned, counts.cancels), (0, 0, 0));
    assert_eq!(ring.stats().latency_ns().count(), COUNT);
    let kinds: Vec<_> = ring.stats().by_kind().iter().map(|(kind, _)| *kind).collect();
    assert_eq!(kinds, ["NOP"]);
}
