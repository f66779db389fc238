//! What a ring promises, on the real kernel: ownership, handles, styles.
#![cfg(not(any(loom, shuttle)))]

mod ended;
use ended::Counted;

use std::cell::Cell;
use std::fs::File;
use std::future::Future;
use std::io::Write as _;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use uring_core::op::{Nop, Read, Write};
use uring_core::{Error, ErrorKind, LocalRing, Options, Ring, Rung, Taken, totals};

const LONG: Duration = Duration::from_secs(10);

fn ring(depth: u32) -> LocalRing {
    LocalRing::with(&Options::new().depth(depth)).unwrap()
}

fn sample(bytes: usize) -> (Arc<File>, Vec<u8>) {
    let content: Vec<u8> = (0..bytes).map(|i| (i / 7) as u8 ^ i as u8).collect();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&content).unwrap();
    (Arc::new(file), content)
}

#[test]
fn d7_token_read_gives_result_and_buffer() {
    let ring = ring(8);
    let (file, content) = sample(10_000);
    let token = ring
        .submit(Read::new(Arc::clone(&file), vec![0; 4096]).at(100))
        .unwrap();
    let (read, buf) = ring.finish(token, LONG).unwrap();
    assert_eq!(read, Ok(4096));
    assert_eq!(buf, content[100..4196]);
    assert_eq!(Arc::strong_count(&file), 1, "the descriptor is given back");
}

#[test]
fn d7_reap_hands_each_completion_over_once() {
    let ring = ring(64);
    let (file, content) = sample(64 * 512);
    let mut expected = std::collections::HashMap::new();
    for i in 0..64u64 {
        let token = ring
            .submit(Read::new(Arc::clone(&file), vec![0; 512]).at(i * 512))
            .unwrap();
        expected.insert(token.id(), i as usize);
    }
    while !expected.is_empty() {
        ring.wait(1, LONG).unwrap();
        ring.reap(|done| {
            let at = expected.remove(&done.id()).expect("each completes once") * 512;
            let (read, buf) = done.take::<Read<Vec<u8>, Arc<File>>>().unwrap();
            assert_eq!(read, Ok(512));
            assert_eq!(buf, content[at..at + 512]);
        });
    }
    assert_eq!(ring.held(), 0);
}

#[test]
fn e11_stale_handle_is_an_error_and_never_another_operation() {
    let ring = ring(1);
    let first = ring.submit(Nop::new()).unwrap();
    let id = first.id();
    ring.finish(first, LONG).unwrap().unwrap();
    let (a, _b) = UnixStream::pair().unwrap();
    let second = ring.submit(Read::new(a, vec![0; 8])).unwrap();
    assert_eq!(second.id().slot(), id.slot(), "the slot is reused");
    assert_eq!(ring.cancel(id).unwrap_err().kind(), ErrorKind::Stale);
    assert_eq!(ring.abandon(id).unwrap_err().kind(), ErrorKind::Stale);
    ring.poll().unwrap();
    assert_eq!(ring.held(), 1, "the second operation was left alone");
    ring.cancel(&second).unwrap();
    let (read, buf) = ring.finish(second, LONG).unwrap();
    assert!(read.unwrap_err().is_cancelled());
    assert_eq!(buf.capacity(), 8);
}

#[test]
fn d7_handle_of_one_ring_means_nothing_to_another() {
    let (one, two) = (ring(2), ring(2));
    let token = one.submit(Nop::new()).unwrap();
    let _theirs = two.submit(Nop::new()).unwrap();
    assert_eq!(two.cancel(token.id()).unwrap_err().kind(), ErrorKind::Stale);
    assert!(matches!(two.take(token), Taken::Gone));
}

#[test]
fn e13_full_table_hands_the_operation_back() {
    let ring = ring(2);
    let drops = Arc::new(AtomicUsize::new(0));
    let (a, _b) = UnixStream::pair().unwrap();
    let a = Arc::new(a);
    let tokens: Vec<_> = (0..2)
        .map(|_| {
            ring.submit(Read::new(Arc::clone(&a), Counted::new(8, &drops)))
                .unwrap()
        })
        .collect();
    let rejected = ring
        .submit(Read::new(Arc::clone(&a), Counted::new(8, &drops)))
        .unwrap_err();
    assert_eq!(rejected.error.kind(), ErrorKind::WouldBlock);
    assert_eq!(drops.load(Ordering::SeqCst), 0, "the buffer came back whole");
    drop(rejected);
    assert_eq!(drops.load(Ordering::SeqCst), 1);
    for token in tokens {
        ring.cancel(&token).unwrap();
        assert!(ring.finish(token, LONG).unwrap().0.is_err());
    }
    assert_eq!(drops.load(Ordering::SeqCst), 3);
    ring.submit(Nop::new()).expect("nothing latches");
}

#[test]
fn e10_callbacks_run_after_the_drain_and_may_submit() {
    let ring = Rc::new(ring(4));
    let count = Rc::new(Cell::new(0));
    fn again(ring: &Rc<LocalRing>, count: &Rc<Cell<u32>>) {
        let (r, c) = (Rc::clone(ring), Rc::clone(count));
        ring.submit_with(Nop::new(), move |done| {
            done.unwrap();
            c.set(c.get() + 1);
            if c.get() < 100 {
                again(&r, &c);
            }
        })
        .unwrap();
    }
    again(&ring, &count);
    while count.get() < 100 {
        ring.wait(1, LONG).unwrap();
    }
    assert_eq!(ring.held(), 0);
}

#[test]
fn e10_callback_that_waits_on_the_ring_runs_no_callback_inside_itself() {
    let ring = Rc::new(ring(8));
    let depth = Rc::new(Cell::new(0));
    let deepest = Rc::new(Cell::new(0));
    for _ in 0..4 {
        let (r, d, m) = (Rc::clone(&ring), Rc::clone(&depth), Rc::clone(&deepest));
        ring.submit_with(Nop::new(), move |_| {
            d.set(d.get() + 1);
            m.set(m.get().max(d.get()));
            r.poll().unwrap();
            d.set(d.get() - 1);
        })
        .unwrap();
    }
    while ring.held() > 0 {
        ring.wait(1, LONG).unwrap();
    }
    assert_eq!(deepest.get(), 1);
}

#[test]
fn e10_panicking_callback_loses_nobody_elses_completion() {
    let ring = ring(8);
    let ran = Rc::new(Cell::new(0));
    for i in 0..8 {
        let ran = Rc::clone(&ran);
        ring.submit_with(Nop::new(), move |_| {
            ran.set(ran.get() + 1);
            assert!(i != 3, "planted");
        })
        .unwrap();
    }
    let mut panics = 0;
    while ran.get() < 8 {
        let waited = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| ring.wait(1, LONG)));
        panics += u32::from(waited.is_err());
    }
    assert_eq!(panics, 1);
    assert_eq!(ring.held(), 0);
}

#[test]
fn e10_callback_may_drop_the_last_other_handle_of_the_ring() {
    let ring = Rc::new(ring(2));
    let other = Rc::clone(&ring);
    ring.submit_with(Nop::new(), move |_| drop(other)).unwrap();
    ring.wait(1, LONG).unwrap();
    assert_eq!(Rc::strong_count(&ring), 1);
}

#[test]
fn d7_large_closure_is_boxed_and_counted() {
    let ring = ring(2);
    let stats = ring.stats();
    let seen = Rc::new(Cell::new(0));
    let small = Rc::clone(&seen);
    ring.submit_with(Nop::new(), move |_| small.set(1)).unwrap();
    ring.wait(1, LONG).unwrap();
    assert_eq!((stats.counts().boxed, seen.get()), (0, 1));
    let (big, mark) = ([7u64; 16], Rc::clone(&seen));
    ring.submit_with(Nop::new(), move |_| mark.set(big.iter().sum()))
        .unwrap();
    ring.wait(1, LONG).unwrap();
    assert_eq!((stats.counts().boxed, seen.get()), (1, 112));
}

#[test]
fn d7_dropped_future_keeps_its_buffer_until_the_kernel_is_done() {
    let ring = ring(4);
    let drops = Arc::new(AtomicUsize::new(0));
    let (a, mut b) = UnixStream::pair().unwrap();
    {
        let mut future = std::pin::pin!(ring.run(Read::new(a, Counted::new(64, &drops))));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(future.as_mut().poll(&mut cx).is_pending());
        ring.flush().unwrap();
    }
    assert_eq!(drops.load(Ordering::SeqCst), 0, "the kernel may still write it");
    let _ = b.write_all(b"late");
    while ring.held() > 0 {
        ring.wait(1, LONG).unwrap();
    }
    assert_eq!(drops.load(Ordering::SeqCst), 1);
    assert_eq!(ring.stats().counts().orphaned, 1);
}

#[test]
fn d7_future_dropped_before_its_first_poll_submits_nothing() {
    let ring = ring(4);
    let drops = Arc::new(AtomicUsize::new(0));
    let (a, _b) = UnixStream::pair().unwrap();
    drop(ring.run(Read::new(a, Counted::new(64, &drops))));
    assert_eq!((drops.load(Ordering::SeqCst), ring.held()), (1, 0));
}

#[test]
fn d7_forgotten_future_is_safe_and_given_back_at_ring_drop() {
    let drops = Arc::new(AtomicUsize::new(0));
    let (a, _b) = UnixStream::pair().unwrap();
    let ring = ring(4);
    let mut future = Box::pin(ring.run(Read::new(a, Counted::new(64, &drops))));
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(future.as_mut().poll(&mut cx).is_pending());
    std::mem::forget(future);
    ring.flush().unwrap();
    drop(ring);
    assert_eq!(drops.load(Ordering::SeqCst), 1);
}

#[test]
fn d7_ring_drop_with_reads_outstanding_frees_every_buffer_once() {
    let drops = Arc::new(AtomicUsize::new(0));
    let (a, _b) = UnixStream::pair().unwrap();
    let a = Arc::new(a);
    let ring = ring(64);
    for _ in 0..64 {
        let _ = ring
            .submit(Read::new(Arc::clone(&a), Counted::new(4096, &drops)))
            .unwrap();
    }
    ring.flush().unwrap();
    assert_eq!(drops.load(Ordering::SeqCst), 0);
    drop(ring);
    assert_eq!(drops.load(Ordering::SeqCst), 64);
    assert_eq!(Arc::strong_count(&a), 1);
}

#[test]
fn d7_ring_drop_runs_callbacks_with_what_was_cancelled() {
    let (a, _b) = UnixStream::pair().unwrap();
    let told = Rc::new(Cell::new(false));
    let mark = Rc::clone(&told);
    let ring = ring(2);
    ring.submit_with(Read::new(a, vec![0; 8]), move |(read, _)| {
        mark.set(read.unwrap_err().is_cancelled())
    })
    .unwrap();
    drop(ring);
    assert!(told.get());
}

#[test]
fn d5_ring_moves_with_operations_in_flight() {
    let ring = Ring::with(&Options::new().depth(8)).unwrap();
    let (a, mut b) = UnixStream::pair().unwrap();
    let token = ring.submit(Read::new(a, vec![0; 16])).unwrap();
    ring.flush().unwrap();
    let (ring, token) = std::thread::spawn(move || {
        ring.poll().unwrap();
        (ring, token)
    })
    .join()
    .unwrap();
    b.write_all(b"moved").unwrap();
    let (read, buf) = std::thread::spawn(move || ring.finish(token, LONG).unwrap())
        .join()
        .unwrap();
    assert_eq!((read, &buf[..]), (Ok(5), &b"moved"[..]));
}

#[test]
fn e5_every_rung_of_the_ladder_carries_reads_on_both_rings() {
    let (file, content) = sample(4096);
    for rung in Rung::ALL {
        let options = Options::new().depth(4).highest_rung(rung);
        let local = LocalRing::with(&options).unwrap();
        let movable = Ring::with(&options).unwrap();
        for ring in [&*local, &*movable] {
            let (read, buf) = ring
                .block_on(ring.run(Read::new(Arc::clone(&file), vec![0; 4096]).at(0)))
                .unwrap();
            assert_eq!((read, &buf), (Ok(4096), &content), "{}", ring.info());
        }
    }
}

#[test]
fn e8_sqpoll_works_or_says_why_not_and_survives_its_idle_time() {
    let ring = LocalRing::with(&Options::new().depth(4).sqpoll(Duration::from_millis(1))).unwrap();
    let info = ring.info();
    assert!(info.sqpoll || !info.refusals.is_empty(), "{info}");
    for pause_ms in [0, 20, 0] {
        std::thread::sleep(Duration::from_millis(pause_ms));
        let token = ring.submit(Nop::new()).unwrap();
        ring.finish(token, LONG).unwrap().unwrap();
    }
}

#[test]
fn e13_wait_is_bounded_by_its_timeout() {
    let ring = ring(2);
    let (a, _b) = UnixStream::pair().unwrap();
    let token = ring.submit(Read::new(a, vec![0; 8])).unwrap();
    assert_eq!(ring.wait(1, Duration::from_millis(5)), Ok(0));
    let (token, error) = ring.finish(token, Duration::from_millis(5)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(token.is_some());
}

#[test]
fn e13_one_system_call_submits_and_waits() {
    let ring = ring(32);
    let before = ring.stats().counts().enters;
    for _ in 0..32 {
        let _ = ring.submit(Nop::new()).unwrap();
    }
    assert_eq!(ring.wait(32, LONG), Ok(32));
    let counts = ring.stats().counts();
    assert_eq!(counts.enters - before, 1);
    assert_eq!(
        (counts.submitted, counts.completed, counts.in_flight),
        (32, 32, 0)
    );
    assert_eq!(ring.stats().latency_ns().count(), 32);
    assert_eq!(ring.reap(|done| drop(done)), 32);
}

#[test]
fn e13_totals_of_the_process_move_with_each_ring() {
    let before = totals().completed.sum();
    let ring = ring(4);
    for _ in 0..4 {
        let _ = ring.submit(Nop::new()).unwrap();
    }
    ring.wait(4, LONG).unwrap();
    assert!(totals().completed.sum() >= before + 4);
}

/// Cause and remedy, however it is told.
fn names_the_other_ring(error: Error) {
    assert_eq!(
        (error.kind(), error.errno()),
        (ErrorKind::InvalidInput, libc::EINVAL)
    );
    for told in [error.to_string(), error.explain("reading").to_string()] {
        assert!(
            told.contains("registered with another ring: use that ring"),
            "{told}"
        );
    }
}

#[test]
fn e1_buffer_group_of_another_ring_is_refused_with_the_receive() {
    use uring_core::op::RecvLeased;
    let (one, two) = (ring(4), ring(4));
    let group = one.provide_buffers(2, 64).unwrap();
    let (near, mut far) = UnixStream::pair().unwrap();
    let rejected = two.submit(RecvLeased::new(near, &group)).unwrap_err();
    names_the_other_ring(rejected.error);
    far.write_all(b"kept").unwrap();
    let token = one.submit(rejected.op).unwrap();
    let lease = one.finish(token, LONG).unwrap().unwrap().unwrap();
    assert_eq!(&lease[..], b"kept");
}

#[test]
fn e2_registered_file_of_another_ring_is_refused() {
    let (one, two) = (ring(2), ring(2));
    let (file, content) = sample(512);
    let fixed = one.register_file(&*file).unwrap();
    let rejected = two.submit(Read::new(fixed, vec![0; 512]).at(0)).unwrap_err();
    names_the_other_ring(rejected.error);
    names_the_other_ring(two.unregister_file(fixed).unwrap_err());
    names_the_other_ring(two.update_file(fixed, &*file).unwrap_err());
    let (op, _) = (rejected.op, rejected.error);
    let token = one.submit(op).unwrap();
    assert_eq!(one.finish(token, LONG).unwrap(), (Ok(512), content));
}

#[test]
fn e2_slot_of_a_registered_file_is_never_given_to_another() {
    let ring = ring(2);
    let (file, _) = sample(512);
    let old = ring.register_file(&*file).unwrap();
    ring.unregister_file(old).unwrap();
    let _new = ring.register_file(&*file).unwrap();
    let token = ring.submit(Read::new(old, vec![0; 512]).at(0)).unwrap();
    let (read, _) = ring.finish(token, LONG).unwrap();
    assert_eq!(read.unwrap_err().errno(), libc::EBADF);
}

#[test]
fn d7_forked_child_finds_the_ring_inert_and_the_parent_goes_on() {
    let ring = ring(4);
    let (a, mut b) = UnixStream::pair().unwrap();
    let token = ring.submit(Read::new(a, vec![0; 8])).unwrap();
    ring.flush().unwrap();
    // SAFETY: the child touches the ring, which is what is tested, and ends without running the harness.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let inert = ring.poll().is_err_and(|e| e.kind() == ErrorKind::Forked)
            && ring
                .submit(Nop::new())
                .is_err_and(|r| r.error.kind() == ErrorKind::Forked);
        drop(ring);
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(i32::from(!inert)) };
    }
    let mut status = 0;
    // SAFETY: waits for the child made above.
    unsafe { libc::waitpid(pid, &mut status, 0) };
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0);
    b.write_all(b"parent").unwrap();
    let (read, buf) = ring.finish(token, LONG).unwrap();
    assert_eq!((read, &buf[..]), (Ok(6), &b"parent"[..]));
}

#[test]
fn d7_write_gives_the_buffer_back_and_what_arrived_is_what_was_written() {
    let ring = ring(4);
    let (a, b) = UnixStream::pair().unwrap();
    let token = ring.submit(Write::new(a, b"payload".to_vec())).unwrap();
    let (written, buf) = ring.finish(token, LONG).unwrap();
    assert_eq!((written, &buf[..]), (Ok(7), &b"payload"[..]));
    let token = ring.submit(Read::new(b, Vec::with_capacity(32))).unwrap();
    let (read, buf) = ring.finish(token, LONG).unwrap();
    assert_eq!((read, &buf[..]), (Ok(7), &b"payload"[..]));
}

#[test]
fn e10_wakes_from_another_thread_end_a_sleep_in_the_ring() {
    let ring = ring(4);
    let (sender, receiver) = std::sync::mpsc::channel::<std::task::Waker>();
    let done = Arc::new(AtomicUsize::new(0));
    let flag = Arc::clone(&done);
    let waker_thread = std::thread::spawn(move || {
        let waker = receiver.recv().unwrap();
        flag.store(1, Ordering::SeqCst);
        waker.wake();
    });
    let mut sent = false;
    ring.block_on(std::future::poll_fn(|cx| {
        if done.load(Ordering::SeqCst) == 1 {
            return std::task::Poll::Ready(());
        }
        if !std::mem::replace(&mut sent, true) {
            sender.send(cx.waker().clone()).unwrap();
        }
        std::task::Poll::Pending
    }))
    .unwrap();
    waker_thread.join().unwrap();
}

#[test]
fn e14_poll_fd_is_a_descriptor_of_the_ring() {
    let ring = ring(2);
    assert!(ring.poll_fd().unwrap().as_raw_fd() >= 0);
}

#[test]
fn e1_registered_buffer_of_another_ring_is_refused_whatever_the_file() {
    use pooled_vec::{AlignedOptions, Slab};
    let (one, two) = (ring(2), ring(2));
    let (file, content) = sample(4096);
    let slab = Slab::new(2, 4096, AlignedOptions::new()).unwrap();
    let slab = one.register_slab(slab).unwrap();
    let fixed = two.register_file(&*file).unwrap();
    let read = Read::new(fixed, slab.lease().unwrap()).at(0);
    let Err(rejected) = one.submit(read) else {
        panic!("the file is the other ring's")
    };
    let Err(rejected) = two.submit(rejected.op) else {
        panic!("the buffer is the other ring's")
    };
    names_the_other_ring(rejected.error);
    names_the_other_ring(two.unregister_slab(slab.clone()).unwrap_err());
    let (buf, _) = rejected.op.into_parts();
    let token = one.submit(Read::new(file, buf).at(0)).unwrap();
    let (read, buf) = one.finish(token, LONG).unwrap();
    assert_eq!((read, &buf[..]), (Ok(4096), &content[..]));
    assert_eq!(slab.available(), 1);
    drop(buf);
    assert_eq!(slab.available(), 2);
}

#[test]
fn d7_any_entry_can_be_carried_and_gives_back_what_it_keeps() {
    use uring_core::{abi, op::Raw};
    let ring = ring(2);
    let (file, content) = sample(64);
    let mut buf = vec![0u8; 64];
    let entry = abi::Sqe {
        addr: buf.as_mut_ptr() as u64,
        len: 64,
        ..abi::Sqe::new(abi::code::READ, file.as_raw_fd())
    };
    // SAFETY: the vector's block and the file are kept with the operation.
    let read = unsafe { Raw::new(entry, (buf, Arc::clone(&file))) };
    let token = ring.submit(read).unwrap();
    let (outcome, (buf, _)) = ring.finish(token, LONG).unwrap();
    assert_eq!((outcome.result(), buf), (Ok(64), content));
}
