//! Operations from any thread.

use crate::kit::{asked, engine, keep_busy, state, until};
use std::fs::File;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use uring_core::ErrorKind;
use uring_core::engine::{CoreState, Engine, current};
use uring_core::op::{Nop, Read, Timeout, Write};

fn messages(engine: &Engine) -> Vec<u64> {
    engine.cores().iter().map(|core| core.stats.messages).collect()
}

#[test]
fn an_operation_comes_back_with_its_buffer() {
    let engine = engine(2);
    let file = Arc::new(File::open("/proc/self/exe").unwrap());
    let reads: Vec<_> = (0..100)
        .map(|_| engine.submit(Read::new(Arc::clone(&file), vec![0u8; 4]).at(0)))
        .collect();
    for read in reads {
        let (read, buf) = read.wait();
        assert_eq!((read, &buf[..]), (Ok(4), &b"\x7fELF"[..]));
    }
    let (error, buf) = engine.submit(Write::new(file, vec![7u8; 3])).wait();
    assert_eq!(error.unwrap_err().errno(), libc::EBADF);
    assert_eq!(buf, [7; 3]);
}

#[test]
fn an_operation_may_be_awaited_in_any_executor_and_on_a_core() {
    let engine = engine(2);
    futures_executor::block_on(engine.submit(Nop::new())).unwrap();
    let here = engine.spawn_on(1, || async {
        let engine = current().expect("a core has an engine");
        for _ in 0..100 {
            engine.submit(Nop::new()).await.unwrap();
        }
        engine.submit_on(0, Nop::new()).await
    });
    here.unwrap().wait().unwrap().unwrap();
    // The first operation, the task, and the operation for core 0: the task's own hundred were no messages.
    assert_eq!(messages(&engine).iter().sum::<u64>(), 3);
}

#[test]
fn more_operations_than_ring_and_mailbox_hold_wait_their_turn() {
    let engine = asked(1).depth(8).mailbox(4).build().unwrap();
    let nops: Vec<_> = (0..500).map(|_| engine.submit(Nop::new())).collect();
    for nop in nops {
        nop.wait().unwrap();
    }
    let on_core = engine.spawn_on(0, || async {
        let engine = current().unwrap();
        let nops: Vec<_> = (0..100).map(|_| engine.submit(Nop::new())).collect();
        for nop in nops {
            nop.await.unwrap();
        }
        let mut held = vec![];
        for _ in 0..50 {
            held.push(uring_core::engine::spawn_local(uring_core::engine::run(
                Nop::new(),
            )));
        }
        for task in held {
            task.await.unwrap().unwrap();
        }
    });
    on_core.unwrap().wait().unwrap();
}

#[test]
fn a_full_mailbox_hands_the_operation_back() {
    let engine = asked(1).mailbox(2).build().unwrap();
    let busy = keep_busy(&engine, 0);
    let taken: Vec<_> = (0..2).map(|_| engine.try_submit(Nop::new()).unwrap()).collect();
    let (there, _here) = UnixStream::pair().unwrap();
    let refused = engine.try_submit(Read::new(there, vec![1u8, 2, 3])).unwrap_err();
    assert_eq!(refused.error.kind(), ErrorKind::WouldBlock);
    drop(refused.op);
    let waits = engine.submit(Nop::new());
    drop(busy);
    taken.into_iter().for_each(|nop| nop.wait().unwrap());
    waits.wait().unwrap();
}

#[test]
fn an_operation_is_cancelled_from_another_thread() {
    let engine = engine(1);
    let (there, _here) = UnixStream::pair().unwrap();
    let read = engine.submit(Read::new(there, vec![9u8; 16]));
    until("the read in the ring", || engine.cores()[0].stats.messages == 1);
    read.cancel().unwrap();
    let (cancelled, buf) = read.wait();
    assert_eq!(cancelled.unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(buf, [9; 16]);
    let over = engine.submit(Nop::new());
    // What came later is over, so that it is over too.
    engine.submit(Nop::new()).wait().unwrap();
    assert_eq!(over.cancel().unwrap_err().kind(), ErrorKind::Stale);
    over.wait().unwrap();
}

#[test]
fn a_dropped_submission_runs_on_and_its_buffer_is_dropped_once() {
    let engine = engine(1);
    let (mut here, there) = UnixStream::pair().unwrap();
    let buf = Arc::<[u8]>::from(*b"kept");
    drop(engine.submit(Write::new(there, Arc::clone(&buf))));
    let mut got = [0; 4];
    std::io::Read::read_exact(&mut here, &mut got).unwrap();
    assert_eq!(&got, b"kept");
    until("the end of the buffer", || Arc::strong_count(&buf) == 1);
}

/// Moves the calling thread.
fn pin(cpu: usize) -> bool {
    // SAFETY: a set of bits, all of them zero.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: a bit within the set; the call reads the set.
    unsafe {
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &set) == 0
    }
}

#[test]
fn e4_a_thread_that_migrates_in_mid_stream_stays_correct_and_its_ring_follows() {
    let engine = Engine::builder().build().unwrap();
    let homes: Vec<usize> = engine.info().cores.iter().map(|core| core.processor).collect();
    if homes.len() < 2 {
        return;
    }
    let submit = |count: usize| (0..count).for_each(|_| engine.submit(Nop::new()).wait().unwrap());
    std::thread::scope(|scope| {
        let moving = scope.spawn(|| {
            assert!(pin(homes[0]));
            // Whatever the thread was taken for before, it is asked anew within 32 submissions.
            submit(32);
            let before = messages(&engine);
            submit(40);
            let settled = messages(&engine);
            assert_eq!(
                settled[0] - before[0],
                40,
                "all go to the ring of processor {}",
                homes[0]
            );
            assert!(pin(homes[1]));
            submit(32);
            let moved = messages(&engine);
            assert_eq!(moved.iter().sum::<u64>() - settled.iter().sum::<u64>(), 32);
            submit(40);
            let after = messages(&engine);
            assert_eq!(
                after[1] - moved[1],
                40,
                "and follow the thread to processor {}",
                homes[1]
            );
            // To and fro with every one: each still comes back once.
            for n in 0..200 {
                assert!(pin(homes[n % 2]));
                submit(1);
            }
            assert_eq!(
                messages(&engine).iter().sum::<u64>(),
                after.iter().sum::<u64>() + 200
            );
        });
        moving.join().unwrap();
    });
}

#[test]
fn operations_avoid_a_paused_core_and_wait_if_all_are() {
    let engine = engine(2);
    assert_eq!(engine.pause(0), Ok(true));
    assert_eq!(state(&engine, 0), CoreState::Paused);
    for _ in 0..100 {
        engine.submit(Nop::new()).wait().unwrap();
    }
    assert_eq!(messages(&engine)[0], 0);
    assert_eq!(engine.pause(1), Ok(true));
    assert_eq!(engine.pause(1), Ok(false));
    let waits = engine.submit(Nop::new());
    let sent_on = engine.spawn_on(0, || async { 5 }).unwrap();
    assert!(!sent_on.is_finished());
    assert!(engine.resume(0).unwrap());
    assert_eq!(sent_on.wait().unwrap(), 5);
    assert!(engine.resume(1).unwrap());
    waits.wait().unwrap();
    assert!(!engine.resume(1).unwrap(), "it runs already");
}

#[test]
fn a_paused_core_still_sees_to_completions() {
    let engine = engine(1);
    let soon = engine.submit(Timeout::after(std::time::Duration::from_millis(5)));
    until("the timeout in the ring", || {
        engine.cores()[0].stats.messages == 1
    });
    engine.pause(0).unwrap();
    soon.wait().unwrap();
    assert_eq!(state(&engine, 0), CoreState::Paused);
}

#[test]
fn e9_each_core_has_operations_and_counts_of_its_own() {
    let engine = engine(2);
    for _ in 0..50 {
        engine.submit_on(1, Nop::new()).wait().unwrap();
    }
    until("the counts", || engine.cores()[1].stats.ring.completed >= 50);
    let cores = engine.cores();
    assert!(cores[0].stats.ring.completed < 50, "{cores:?}");
    assert_eq!((cores[0].stats.messages, cores[1].stats.messages), (0, 50));
    let (absent, _) = engine
        .submit_on(2, Read::new(File::open("/dev/null").unwrap(), vec![0u8; 1]))
        .wait();
    assert_eq!(absent.unwrap_err().kind(), ErrorKind::InvalidInput);
}
