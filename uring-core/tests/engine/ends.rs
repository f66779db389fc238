//! How an engine, or one of its cores, ends: nothing is lost, nobody waits for ever.

use crate::kit::{LONG, asked, engine, keep_busy, state, until};
use std::cell::Cell;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use uring_core::engine::{CoreState, Engine, JoinError, current, ring, sleep, spawn_local};
use uring_core::op::{Nop, Open, Read, Timeout};
use uring_core::{ErrorKind, totals};

type StuckRead = uring_core::engine::Submission<Read<Vec<u8>, UnixStream>>;

/// Operations that never complete by themselves, with what keeps them so.
fn stuck(engine: &Engine, count: usize) -> (Vec<StuckRead>, Vec<UnixStream>) {
    (0..count)
        .map(|n| {
            let (there, here) = UnixStream::pair().unwrap();
            (engine.submit(Read::new(there, vec![n as u8; 64])), here)
        })
        .unzip()
}

fn come_back(reads: Vec<StuckRead>) {
    for (n, read) in reads.into_iter().enumerate() {
        let (result, buf) = read.wait();
        let errno = result.unwrap_err().errno();
        assert!([libc::ECANCELED, libc::ESHUTDOWN].contains(&errno), "{errno}");
        assert_eq!(buf, vec![n as u8; 64], "the buffer is as it was");
    }
}

#[test]
fn e10_a_callback_that_drops_the_last_handle_ends_the_engine() {
    let engine = engine(2);
    let waits = engine.spawn_on(1, std::future::pending::<()>).unwrap();
    let (reads, _kept) = stuck(&engine, 8);
    let ran = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&ran);
    let own = engine.clone();
    let task = engine.spawn_on(0, move || async move {
        let handle = Cell::new(Some(own));
        let submitted = ring().submit_with(Nop::new(), move |done| {
            done.unwrap();
            drop(handle.take());
            // Relaxed: read after the engine is over.
            seen.store(true, Ordering::Relaxed);
        });
        submitted.unwrap();
        std::future::pending::<()>().await;
    });
    let task = task.unwrap();
    // Each submission is a handle: this thread keeps none but those that are answered.
    let (answered, answers) = mpsc::channel();
    std::thread::spawn(move || {
        come_back(reads);
        answered.send(()).unwrap();
    });
    drop(engine);
    assert!(matches!(task.wait(), Err(JoinError::Gone)));
    assert!(matches!(waits.wait(), Err(JoinError::Gone)));
    // Relaxed: the engine is over.
    assert!(ran.load(Ordering::Relaxed));
    answers.recv_timeout(LONG).unwrap();
}

#[test]
fn e10_a_callback_that_panics_costs_nobody_else_anything() {
    let engine = engine(1);
    let task = engine.spawn_on(0, || async {
        for n in 0..40 {
            let submitted = ring().submit_with(Nop::new(), move |done| {
                done.unwrap();
                assert!(n % 2 == 1, "planted");
            });
            if submitted.is_err() {
                sleep(Duration::ZERO).await;
            }
            ring().run(Nop::new()).await.unwrap();
        }
        7
    });
    assert_eq!(task.unwrap().wait().unwrap(), 7);
    for _ in 0..50 {
        engine.submit(Nop::new()).wait().unwrap();
    }
    let core = &engine.cores()[0];
    assert_eq!((core.state, core.stats.panics), (CoreState::Running, 20));
}

#[test]
fn e10_a_callback_submits_to_its_engine() {
    let engine = engine(2);
    let (done, ends) = mpsc::channel();
    let task = engine.spawn_on(0, move || async move {
        let engine = current().unwrap();
        let submitted = ring().submit_with(Nop::new(), move |_| {
            let there = engine.submit_on(1, Nop::new());
            let here = engine.submit(Nop::new());
            drop(spawn_local(async move {
                there.await.unwrap();
                here.await.unwrap();
                done.send(()).unwrap();
            }));
        });
        submitted.unwrap();
    });
    task.unwrap().wait().unwrap();
    ends.recv_timeout(LONG).unwrap();
}

#[test]
fn dropped_with_tasks_and_operations_everything_comes_back() {
    for core in 0..2 {
        let engine = engine(2);
        let held = Arc::new(());
        let tasks: Vec<_> = (0..20)
            .map(|n| {
                let held = Arc::clone(&held);
                engine.spawn_on(n % 2, move || async move {
                    let _held = held;
                    let local = Rc::new(n);
                    match n % 3 {
                        0 => std::future::pending::<()>().await,
                        1 => sleep(LONG).await,
                        _ => ring().run(Timeout::after(LONG)).await.unwrap(),
                    }
                    drop(local);
                })
            })
            .map(Result::unwrap)
            .collect();
        let (reads, _kept) = stuck(&engine, 30);
        if core == 1 {
            engine.pause(1).unwrap();
        }
        assert!(engine.shut_down(), "within the limit");
        for task in tasks {
            assert!(matches!(task.wait(), Err(JoinError::Gone)));
        }
        come_back(reads);
        assert_eq!(Arc::strong_count(&held), 1);
        assert_eq!(state(&engine, 0), CoreState::Stopped);
        let late = engine.submit(Nop::new()).wait().unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Closed);
        assert!(engine.spawn_on(0, || async {}).is_err());
        assert!(engine.shut_down(), "twice");
    }
}

#[test]
fn dropped_while_a_task_keeps_its_thread_it_waits_so_long_and_no_longer() {
    // The wait is the drain limit and a grace: with the task over in time, and with it over only afterwards.
    let engine = engine(1);
    let busy = keep_busy(&engine, 0);
    let (done, ended) = mpsc::channel();
    let waiter = std::thread::spawn(move || {
        let all = engine.shut_down();
        done.send(()).unwrap();
        (engine, all)
    });
    assert!(
        ended.recv_timeout(Duration::from_millis(50)).is_err(),
        "it waits for the task"
    );
    drop(busy);
    let (engine, all) = waiter.join().unwrap();
    assert!(all);
    assert_eq!(state(&engine, 0), CoreState::Stopped);
}

#[test]
fn dropped_by_a_task_of_its_own_it_ends_when_that_returns() {
    let engine = engine(2);
    let other = engine.spawn_on(1, std::future::pending::<()>).unwrap();
    let own = engine.clone();
    let task = engine.spawn_on(0, move || async move {
        sleep(Duration::from_millis(5)).await;
        // Asks, and waits for nobody.
        assert!(!own.shut_down());
        drop(own);
        11
    });
    drop(engine);
    assert_eq!(
        task.unwrap().wait().unwrap(),
        11,
        "the poll that drops it goes on to its end"
    );
    assert!(matches!(other.wait(), Err(JoinError::Gone)));
}

#[test]
fn shut_down_while_others_submit_answers_every_operation() {
    let engine = asked(2).mailbox(8).build().unwrap();
    let (answered, given) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let nops: Vec<_> = (0..10).map(|_| engine.submit(Nop::new())).collect();
                    // Relaxed: read after the threads were joined.
                    given.fetch_add(10, Ordering::Relaxed);
                    let mut closed = false;
                    for nop in nops {
                        closed |= nop.wait().is_err();
                        // Relaxed: as above.
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                    if closed {
                        return;
                    }
                }
            });
        }
        std::thread::sleep(Duration::from_millis(20));
        let (first, second) = (
            scope.spawn(|| engine.shut_down()),
            scope.spawn(|| engine.shut_down()),
        );
        let ended = [first.join().unwrap(), second.join().unwrap()];
        assert!(ended.contains(&true), "{ended:?}");
    });
    // Relaxed: the threads were joined.
    assert_eq!(answered.load(Ordering::Relaxed), given.load(Ordering::Relaxed));
}

#[test]
fn a_failed_core_gives_everything_back_is_avoided_and_starts_anew() {
    let engine = engine(2);
    let local = engine.spawn_on(0, std::future::pending::<()>).unwrap();
    let (reads, _kept) = {
        let busy: Vec<_> = (0..8)
            .map(|n| {
                let (there, here) = UnixStream::pair().unwrap();
                (engine.submit_on(0, Read::new(there, vec![n as u8; 64])), here)
            })
            .collect();
        busy.into_iter().unzip::<_, _, Vec<_>, Vec<_>>()
    };
    engine.fail(0).unwrap();
    come_back(reads);
    assert!(matches!(local.wait(), Err(JoinError::Gone)));
    until("the failed state", || state(&engine, 0) == CoreState::Failed);
    let status = &engine.cores()[0];
    assert_eq!(
        status.failure.as_deref(),
        Some("its loop panicked: the core was told to fail")
    );
    for _ in 0..20 {
        engine.submit(Nop::new()).wait().unwrap();
    }
    assert!(engine.spawn_on(0, || async {}).is_err());
    assert!(engine.fail(0).is_err(), "gone already");
    assert!(engine.resume(0).unwrap());
    assert_eq!(state(&engine, 0), CoreState::Running);
    assert!(engine.cores()[0].failure.is_none());
    assert_eq!(engine.spawn_on(0, || async { 3 }).unwrap().wait().unwrap(), 3);
    engine.submit_on(0, Nop::new()).wait().unwrap();
}

#[test]
fn messages_of_a_core_that_fails_are_refused_and_counted() {
    let engine = asked(1).mailbox(16).build().unwrap();
    let busy = keep_busy(&engine, 0);
    engine.fail(0).unwrap();
    let nops: Vec<_> = (0..5).map(|_| engine.submit(Nop::new())).collect();
    let task = engine.spawn_on(0, || async {}).unwrap();
    drop(busy);
    for nop in nops {
        assert_eq!(nop.wait().unwrap_err().errno(), libc::ESHUTDOWN);
    }
    assert!(matches!(task.wait(), Err(JoinError::Gone)));
    until("the failed state", || state(&engine, 0) == CoreState::Failed);
    assert_eq!(engine.cores()[0].stats.messages_refused, 6);
    assert!(engine.resume(0).unwrap());
    engine.submit(Nop::new()).wait().unwrap();
}

#[test]
fn a_task_whose_end_is_heard_of_when_all_else_is_gone_may_do_what_it_likes() {
    struct Last(mpsc::Sender<bool>);
    impl Drop for Last {
        fn drop(&mut self) {
            // On the core's thread, as it ends.
            let late = spawn_local(async {});
            let refused = current().is_none_or(|engine| engine.submit_on(0, Nop::new()).cancel().is_err());
            drop(sleep(Duration::ZERO));
            self.0.send(late.is_finished() && refused).unwrap();
        }
    }
    let engine = engine(1);
    let (tell, told) = mpsc::channel();
    let task = engine.spawn_on(0, move || async move {
        let _last = Last(tell);
        std::future::pending::<()>().await;
    });
    drop(task.unwrap());
    until("the task's first poll", || engine.cores()[0].stats.polls > 0);
    drop(engine);
    assert!(told.recv_timeout(LONG).unwrap());
}

#[test]
fn what_the_kernel_still_holds_when_a_ring_goes_is_answered_by_the_reaper() {
    const COUNT: usize = 400;
    let mut outlived = 0;
    for round in 0..300 {
        let dir = tempfile::tempdir().unwrap();
        let engine = asked(1)
            .depth(COUNT as u32)
            .ring(|ring| ring.drain_limit(Duration::ZERO))
            .build()
            .unwrap();
        // A file that has to be made is opened by a worker of the kernel, which cannot be called off.
        let opens: Vec<_> = (0..COUNT)
            .map(|n| {
                engine
                    .submit(Open::new(dir.path().join(n.to_string()), libc::O_CREAT | libc::O_RDWR).unwrap())
            })
            .collect();
        until("the opens in the ring", || {
            engine.cores()[0].stats.messages >= COUNT as u64 / 2
        });
        assert!(engine.shut_down());
        outlived += totals().abandoned.sum();
        let mut answered = 0;
        for open in opens {
            drop(open.wait());
            answered += 1;
        }
        assert_eq!(answered, COUNT);
        if outlived > 10 && round >= 5 {
            return;
        }
    }
    panic!("nothing ever outlived its ring");
}

#[test]
fn d7_a_forked_child_is_refused_and_waits_for_nobody() {
    let engine = engine(2);
    engine.submit(Nop::new()).wait().unwrap();
    // SAFETY: the child takes no lock that another thread may have held, and calls `_exit`.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: has the child ended if it hangs.
        unsafe { libc::alarm(3) };
        let forked = |kind| kind == ErrorKind::Forked;
        let mut refused = forked(engine.submit(Nop::new()).wait().unwrap_err().kind());
        refused &= engine
            .try_submit(Nop::new())
            .is_err_and(|it| forked(it.error.kind()));
        refused &= engine
            .spawn_on(0, || async {})
            .is_err_and(|it| forked(it.error.kind()));
        refused &= engine.pause(0).is_err_and(|error| forked(error.kind()));
        refused &= engine.fail(0).is_err_and(|error| forked(error.kind()));
        refused &= !engine.shut_down();
        drop(engine);
        // SAFETY: ends the child at once, without running destructors.
        unsafe { libc::_exit(i32::from(!refused)) };
    }
    let mut status = 0;
    // SAFETY: waits for the child made above.
    unsafe { libc::waitpid(pid, &mut status, 0) };
    assert!(
        libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0,
        "{status}"
    );
    engine.submit(Nop::new()).wait().unwrap();
    assert!(engine.shut_down());
}
