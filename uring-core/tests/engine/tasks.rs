//! Tasks, their handles, their timers, and what they may do to their core.

use crate::kit::{LONG, asked, engine, keep_busy, until};
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};
use uring_core::ErrorKind;
use uring_core::engine::{
    self, CrossCore, Engine, JoinError, JoinHandle, interval, ring, sleep, spawn_local, timeout, timeout_at,
    yield_now,
};
use uring_core::op::Nop;

/// Runs a task on core 0 and hands its output back.
fn on<T: Send + 'static, F: Future<Output = T> + 'static>(
    engine: &Engine,
    make: impl FnOnce() -> F + Send + 'static,
) -> T {
    engine.spawn_on(0, make).unwrap().wait().unwrap()
}

#[test]
fn tasks_that_are_not_send_run_and_are_joined() {
    let engine = engine(1);
    let sum = on(&engine, || async {
        let shared = Rc::new(Cell::new(0));
        let tasks: Vec<_> = (1..=10)
            .map(|n| {
                let shared = Rc::clone(&shared);
                spawn_local(async move {
                    yield_now().await;
                    ring().run(Nop::new()).await.unwrap();
                    shared.set(shared.get() + n);
                    Rc::new(n)
                })
            })
            .collect();
        let mut sum = 0;
        for task in tasks {
            sum += *task.await.unwrap();
        }
        (sum, shared.get())
    });
    assert_eq!(sum, (55, 55));
}

#[test]
fn a_panicking_task_is_reported_and_its_core_goes_on() {
    let engine = engine(1);
    let task = engine.spawn_on(0, || async { panic!("planted {}", 1) });
    let error: JoinError = task.unwrap().wait().map(|never: ()| never).unwrap_err();
    assert_eq!(error.panic_message(), Some("planted 1"));
    let made = engine.spawn_on(0, || -> std::future::Ready<()> { panic!("in the closure") });
    assert_eq!(
        made.unwrap().wait().unwrap_err().panic_message(),
        Some("in the closure")
    );
    assert_eq!(on(&engine, || async { 7 }), 7);
    assert_eq!(engine.cores()[0].stats.panics, 2);
}

#[test]
fn a_destructor_that_panics_costs_its_core_nothing() {
    struct Bad;
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("planted");
        }
    }
    let engine = engine(1);
    let task = engine.spawn_on(0, || async {
        let _bad = Bad;
        std::future::pending::<()>().await;
    });
    let task = task.unwrap();
    until("the task's first poll", || engine.cores()[0].stats.polls > 0);
    task.abort();
    assert!(matches!(task.wait(), Err(JoinError::Aborted)));
    assert_eq!(on(&engine, || async { 7 }), 7);
    assert!(engine.cores()[0].stats.panics >= 1);
}

#[test]
fn an_aborted_task_is_dropped_and_says_so_whatever_it_waits_for() {
    let engine = engine(1);
    for what in 0..4 {
        let dropped = Arc::new(());
        let held = Arc::clone(&dropped);
        let task: JoinHandle<()> = engine
            .spawn_on(0, move || async move {
                let _held = held;
                match what {
                    0 => std::future::pending().await,
                    1 => sleep(LONG).await,
                    2 => ring().run(uring_core::op::Timeout::after(LONG)).await.unwrap(),
                    _ => loop {
                        yield_now().await;
                    },
                }
            })
            .unwrap();
        task.abort();
        assert!(matches!(task.wait(), Err(JoinError::Aborted)));
        until("the end of the future", || Arc::strong_count(&dropped) == 1);
    }
    assert!(on(&engine, || async { ring().held() <= 3 }));
}

#[test]
fn a_late_waker_of_a_task_that_is_over_reaches_nobody_else() {
    let engine = engine(1);
    let kept: Arc<Mutex<Option<Waker>>> = Arc::default();
    let keep = Arc::clone(&kept);
    on(&engine, move || {
        poll_fn(move |cx| {
            *keep.lock().unwrap() = Some(cx.waker().clone());
            Poll::Ready(())
        })
    });
    let waker = kept.lock().unwrap().take().unwrap();
    let polls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&polls);
    let next = engine.spawn_on(0, move || {
        poll_fn(move |_| {
            // Relaxed: read when the waker's round trip is over.
            counted.fetch_add(1, Ordering::Relaxed);
            Poll::<()>::Pending
        })
    });
    on(&engine, || async {});
    waker.wake_by_ref();
    on(&engine, || async {});
    drop(next);
    // Relaxed: as above.
    assert_eq!(
        polls.load(Ordering::Relaxed),
        1,
        "the slot's next task is not woken"
    );
    drop(engine);
    waker.wake();
}

#[test]
fn a_waker_on_another_thread_wakes_a_sleeping_core() {
    let engine = engine(2);
    for _ in 0..100 {
        let (give, take) = (Arc::new(Mutex::new(None::<Waker>)), Arc::new(AtomicUsize::new(0)));
        let (left, set) = (Arc::clone(&give), Arc::clone(&take));
        let task = engine.spawn_on(0, move || {
            poll_fn(move |cx| {
                // Relaxed: the waker publishes it.
                if set.load(Ordering::Relaxed) == 1 {
                    return Poll::Ready(());
                }
                *left.lock().unwrap() = Some(cx.waker().clone());
                Poll::Pending
            })
        });
        until("the waker", || give.lock().unwrap().is_some());
        // Relaxed: published by the waker.
        take.store(1, Ordering::Relaxed);
        give.lock().unwrap().take().unwrap().wake();
        task.unwrap().wait().unwrap();
    }
}

#[test]
fn timers_end_in_order_and_a_dropped_one_is_gone() {
    let engine = engine(1);
    let order = on(&engine, || async {
        let order = Rc::new(RefCell::new(vec![]));
        let tasks: Vec<_> = [30, 10, 20]
            .into_iter()
            .map(|ms| {
                let order = Rc::clone(&order);
                spawn_local(async move {
                    sleep(Duration::from_millis(ms)).await;
                    order.borrow_mut().push(ms);
                })
            })
            .collect();
        drop(sleep(LONG));
        for task in tasks {
            task.await.unwrap();
        }
        order.take()
    });
    assert_eq!(order, [10, 20, 30]);
}

#[test]
fn a_timeout_ends_what_takes_too_long_and_leaves_the_rest_alone() {
    let engine = engine(1);
    let (late, in_time, past) = on(&engine, || async {
        let never = engine::run(uring_core::op::Timeout::after(LONG));
        let late = timeout(Duration::from_millis(1), never).await;
        let in_time = timeout(LONG, async { 7 }).await;
        let past = timeout_at(Instant::now(), std::future::pending::<()>()).await;
        (late.is_err(), in_time, past)
    });
    assert!(late);
    assert_eq!(in_time, Ok(7));
    assert!(past.is_err_and(|error| error.to_string() == "the time was up first"));
}

#[test]
fn an_interval_stays_in_step_and_says_what_it_left_out() {
    let engine = engine(1);
    let missed = on(&engine, || async {
        let mut ticks = interval(Duration::from_millis(2));
        let first = ticks.tick().await;
        // Blocks the core on purpose: some ticks pass meanwhile.
        std::thread::sleep(Duration::from_millis(20));
        (first, ticks.tick().await)
    });
    assert!(missed.1 >= 4, "{missed:?}");
}

#[test]
fn a_task_that_always_wakes_itself_starves_neither_completions_nor_others() {
    let engine = engine(1);
    let spinning = engine.spawn_on(0, || async {
        loop {
            yield_now().await;
        }
    });
    let spinning: JoinHandle<()> = spinning.unwrap();
    on(&engine, || async {
        for _ in 0..100 {
            ring().run(Nop::new()).await.unwrap();
        }
        sleep(Duration::from_millis(1)).await;
    });
    spinning.abort();
    assert!(matches!(spinning.wait(), Err(JoinError::Aborted)));
}

#[test]
fn between_two_turns_of_the_ring_lie_so_many_polls_and_no_more() {
    let engine = engine(1);
    let polls = on(&engine, || async {
        let polls = Rc::new(Cell::new(0u32));
        let tasks: Vec<JoinHandle<()>> = (0..8)
            .map(|_| {
                let polls = Rc::clone(&polls);
                spawn_local(async move {
                    loop {
                        polls.set(polls.get() + 1);
                        yield_now().await;
                    }
                })
            })
            .collect();
        let mut between = vec![];
        for _ in 0..50 {
            let before = polls.get();
            ring().run(Nop::new()).await.unwrap();
            between.push(polls.get() - before);
        }
        tasks.iter().for_each(JoinHandle::abort);
        between
    });
    // One turn submits, the next collects at the latest.
    assert!(polls.iter().all(|&n| n <= 3 * 64), "{polls:?}");
}

#[test]
fn a_full_mailbox_hands_the_closure_back_and_whoever_waits_gets_room() {
    let engine = asked(1).mailbox(4).build().unwrap();
    let busy = keep_busy(&engine, 0);
    let ran = Arc::new(AtomicUsize::new(0));
    let count = |ran: &Arc<AtomicUsize>| {
        let ran = Arc::clone(ran);
        move || async move {
            // Relaxed: read when every task was joined.
            ran.fetch_add(1, Ordering::Relaxed);
        }
    };
    let mut tasks: Vec<_> = (0..4).map(|_| engine.spawn_on(0, count(&ran)).unwrap()).collect();
    let refused = engine.spawn_on(0, count(&ran)).unwrap_err();
    assert_eq!(refused.error.kind(), ErrorKind::WouldBlock);
    assert!(refused.to_string().contains("mailbox is full"), "{refused}");
    assert_eq!(engine.cores()[0].stats.messages_full, 1);
    assert_eq!(engine.cores()[0].stats.messages_waiting, 4);
    let waiting = {
        let (engine, make) = (engine.clone(), refused.make);
        std::thread::spawn(move || engine.send_on(0, make).wait().unwrap())
    };
    until("the sender's wait", || engine.cores()[0].stats.messages_full >= 2);
    drop(busy);
    tasks.push(waiting.join().unwrap());
    tasks.into_iter().for_each(|task| task.wait().unwrap());
    // Relaxed: every task was joined.
    assert_eq!(ran.load(Ordering::Relaxed), 5);
    let absent = engine.spawn_on(1, count(&ran)).unwrap_err();
    assert_eq!(absent.error.kind(), ErrorKind::InvalidInput);
}

/// Bounces between two cores, each asleep while the other has the ball.
fn bounce(how: CrossCore) -> (u64, u64) {
    let engine = asked(2).cross_core(how).build().unwrap();
    let there = engine.clone();
    let bounced = engine.spawn_on(0, move || async move {
        for n in 0..200u32 {
            let back = there.spawn_on(1, move || async move { n + 1 }).unwrap();
            assert_eq!(back.await.unwrap(), n + 1);
        }
    });
    bounced.unwrap().wait().unwrap();
    let cores = engine.cores();
    let sum = |f: fn(&uring_core::engine::CoreStats) -> u64| cores.iter().map(|core| f(&core.stats)).sum();
    (sum(|s| s.woken_by_message), sum(|s| s.woken_by_event))
}

#[test]
fn cores_wake_each_other_by_messages() {
    if engine(1).info().cores[0].messages {
        let (by_message, by_event) = bounce(CrossCore::Auto);
        assert!(by_message > by_event, "{by_message} {by_event}");
    }
}

#[test]
fn cores_wake_each_other_by_events_where_messages_are_not_wanted() {
    let (by_message, by_event) = bounce(CrossCore::Event);
    assert_eq!(by_message, 0);
    assert!(by_event > 0);
}

#[test]
fn an_idle_core_has_no_wake_ups() {
    let engine = engine(2);
    on(&engine, || async {
        drop(spawn_local(sleep(LONG)));
    });
    let turns = || -> Vec<u64> { engine.cores().iter().map(|core| core.stats.turns).collect() };
    let enters = || -> Vec<u64> { engine.cores().iter().map(|core| core.stats.ring.enters).collect() };
    // Until both sleep: the last look at the work above.
    let mut before = turns();
    until("the sleep of both", || {
        std::thread::sleep(Duration::from_millis(50));
        std::mem::replace(&mut before, turns()) == before
    });
    let before = (turns(), enters());
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!((turns(), enters()), before, "a turn in an idle second");
}

#[test]
fn blocking_a_core_on_a_task_or_in_block_on_is_told_apart() {
    let engine = engine(1);
    let waits = engine.spawn_on(0, || async { spawn_local(async {}).wait() });
    let told = waits.unwrap().wait().unwrap_err();
    assert!(told.panic_message().unwrap().contains("await it"), "{told}");
    let blocks = engine.spawn_on(0, || async { ring().block_on(spawn_local(async {})).unwrap() });
    let told = blocks.unwrap().wait().unwrap_err();
    assert!(told.panic_message().unwrap().contains("await it"), "{told}");
    assert_eq!(on(&engine, || async { 7 }), 7, "the core goes on");
}

#[test]
#[should_panic(expected = "outside of an engine's core")]
fn what_belongs_to_a_core_says_so_elsewhere() {
    drop(sleep(LONG));
}
