//! A window on a ring: who gets a place, what is never lost, what it costs.
#![cfg(not(any(loom, shuttle)))]

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use uring_core::op::{Nop, Read, Timeout};
use uring_core::pace::{Control, Paced, Waiting, Window, WindowOptions};
use uring_core::sim::{Fault, Faults, Simulation};
use uring_core::{Carrier, LocalRing, Options, Ring};

const LONG: Duration = Duration::from_secs(10);
const MS: Duration = Duration::from_millis(1);

fn simulated(depth: u32) -> (LocalRing, Simulation) {
    let simulation = Simulation::new(7);
    let ring = LocalRing::with(&Options::new().depth(depth).simulated(&simulation)).unwrap();
    (ring, simulation)
}

fn fixed(places: u32) -> WindowOptions {
    WindowOptions::new()
        .control(Control::Fixed(places))
        .waiting(Waiting::Sleep)
}

type Flight<'w> = Paced<'w, &'w LocalRing, Timeout>;

fn poll(flight: &mut Flight<'_>) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    Pin::new(flight).poll(&mut cx).is_ready()
}

/// A hundred callers at once, each of which asks ten times; in which order they were served.
fn served(places: u32) -> Vec<u32> {
    let (ring, _) = simulated(64);
    let window = Window::new(&ring, &fixed(places)).unwrap();
    let handle = window.handle();
    let order = RefCell::new(Vec::new());
    let caller = async |n: u32| {
        for _ in 0..10 {
            window.run(Timeout::after(MS)).await.unwrap();
            let now = handle.stats();
            assert!(now.in_flight <= i64::from(places), "{now}");
            order.borrow_mut().push(n);
        }
    };
    let mut callers: Vec<_> = (0..100).map(|n| Box::pin(caller(n))).collect();
    let mut cx = Context::from_waker(Waker::noop());
    while !callers.is_empty() {
        callers.retain_mut(|caller| caller.as_mut().poll(&mut cx).is_pending());
        if !callers.is_empty() {
            window.wait(LONG).unwrap();
        }
    }
    let end = handle.stats();
    let waited = 1_000 - u64::from(places);
    assert_eq!(
        (end.admitted, end.waited, end.refused),
        (1_000, waited, 0),
        "{end}"
    );
    order.take()
}

#[test]
fn e7_callers_wait_for_places_in_a_closed_loop_and_in_order() {
    let in_turn: Vec<u32> = (0..1_000).map(|n| n % 100).collect();
    assert_eq!(served(1), in_turn, "one place goes round");
    let mut counts = [0u32; 100];
    for n in served(7) {
        counts[n as usize] += 1;
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(most - least <= 2, "nobody is passed over: {counts:?}");
    }
}

#[test]
fn e7_a_caller_that_leaves_loses_nobodys_place() {
    let (ring, _) = simulated(16);
    let window = Window::new(&ring, &fixed(2)).unwrap();
    let mut flights: Vec<Flight<'_>> = (0..8).map(|_| window.run(Timeout::after(MS))).collect();
    flights.iter_mut().for_each(|flight| assert!(!poll(flight)));
    assert_eq!(
        window.handle().stats().in_flight,
        0,
        "published at the first reap"
    );
    // One leaves from the middle of the queue, one from its head; then the places of two that ended are granted, and one of
    // those leaves before it took its own.
    drop(flights.remove(4));
    drop(flights.remove(2));
    while ring.wait(1, LONG).unwrap() < 2 && window.handle().stats().in_flight > 0 {}
    drop(flights.remove(2));
    let mut done = 0;
    for _ in 0..100 {
        flights.retain_mut(|flight| {
            let ready = poll(flight);
            done += u32::from(ready);
            !ready
        });
        if flights.is_empty() {
            break;
        }
        window.wait(LONG).unwrap();
    }
    assert_eq!((done, flights.len()), (5, 0), "all who stayed were served");
    let end = window.handle().stats();
    assert_eq!((end.in_flight, end.waiting), (0, 0), "{end}");
}

#[test]
fn e7_an_operation_given_up_keeps_its_place_until_the_kernel_is_done_with_it() {
    let (ring, _) = simulated(16);
    let window = Window::new(&ring, &fixed(1)).unwrap();
    let mut first = window.run(Timeout::after(Duration::from_secs(1)));
    assert!(!poll(&mut first));
    drop(first);
    assert!(
        window.enter(|| ()).is_none(),
        "its cancellation has not come back"
    );
    let mut second = window.run(Timeout::after(MS));
    assert!(!poll(&mut second));
    while !poll(&mut second) {
        window.wait(LONG).unwrap();
    }
    let end = window.handle().stats();
    assert_eq!((end.admitted, end.in_flight), (2, 0));
}

#[test]
fn e7_enter_gives_its_place_back_whatever_happens_inside() {
    let (ring, _) = simulated(16);
    let window = Window::new(&ring, &fixed(1)).unwrap();
    for _ in 0..10 {
        assert!(window.enter(|| ()).is_some(), "nothing submitted: no place kept");
        let panicked = catch_unwind(AssertUnwindSafe(|| window.enter(|| panic!("a caller's bug"))));
        assert!(panicked.is_err());
    }
    // Submitted, then panicked: the operation is in flight and holds the place.
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        window.enter(|| {
            ring.submit_with(Timeout::after(MS), |_| ()).unwrap();
            panic!("a caller's bug");
        })
    }));
    assert!(panicked.is_err());
    assert!(window.enter(|| ()).is_none());
    window.wait(LONG).unwrap();
    // Several at once take a place each.
    let three = || (0..3).for_each(|_| assert!(ring.submit_with(Timeout::after(MS), |_| ()).is_ok()));
    assert!(window.enter(three).is_some());
    for left in [2, 1, 0] {
        assert!(window.enter(|| ()).is_none());
        ring.wait(1, LONG).unwrap();
        let held = window.handle().stats().in_flight;
        assert!(held <= left, "{held}");
        if held == 0 {
            break;
        }
    }
    assert!(window.enter(|| ()).is_some());
}

#[test]
fn e7_what_has_no_place_is_not_counted_and_room_taken_by_others_is_waited_for() {
    let (ring, _) = simulated(4);
    let window = Window::new(&ring, &fixed(4)).unwrap();
    for _ in 0..4 {
        ring.submit_with(Timeout::after(MS), |_| ()).unwrap();
    }
    let done = ring
        .block_on(async {
            let mut flights: Vec<_> = (0..6).map(|_| Box::pin(window.run(Nop::new()))).collect();
            std::future::poll_fn(|cx| {
                flights.retain_mut(|flight| flight.as_mut().poll(cx).is_pending());
                if flights.is_empty() {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
        })
        .is_ok();
    let end = window.handle().stats();
    assert!(done && end.admitted == 6 && end.in_flight == 0, "{end}");
}

#[test]
fn e7_device_latency_and_what_callers_see_are_told_apart() {
    let (ring, _) = simulated(64);
    let window = Window::new(&ring, &fixed(1)).unwrap();
    let mut flights: Vec<Flight<'_>> = (0..20).map(|_| window.run(Timeout::after(MS))).collect();
    loop {
        flights.retain_mut(|flight| !poll(flight));
        if flights.is_empty() {
            break;
        }
        window.wait(LONG).unwrap();
    }
    let (device, caller) = (ring.stats().latency_ns(), window.handle().caller_ns());
    assert_eq!((device.count(), caller.count()), (20, 20));
    let ms = |ns: u64| ns as f64 / 1e6;
    assert!(
        (0.98..1.2).contains(&ms(device.quantile(0.99))),
        "one at a time takes a millisecond each"
    );
    assert!(
        (19.0..24.0).contains(&ms(caller.max())),
        "the last of twenty waited for nineteen: {} ms",
        ms(caller.max())
    );
    assert!((9.0..13.0).contains(&ms(caller.quantile(0.5))));
}

#[test]
fn e7_a_waker_that_panics_keeps_no_other_from_its_place() {
    struct Loud;
    impl std::task::Wake for Loud {
        fn wake(self: Arc<Self>) {
            panic!("a caller's bug");
        }
    }
    let (ring, _) = simulated(8);
    let window = Window::new(&ring, &fixed(1)).unwrap();
    let two = || (0..2).for_each(|_| assert!(ring.submit_with(Timeout::after(MS), |_| ()).is_ok()));
    assert!(window.enter(two).is_some());
    let (loud, quiet) = (Waker::from(Arc::new(Loud)), Waker::noop());
    let mut first = window.run(Timeout::after(MS));
    let mut second = window.run(Timeout::after(MS));
    assert!(
        Pin::new(&mut first)
            .poll(&mut Context::from_waker(&loud))
            .is_pending()
    );
    assert!(
        Pin::new(&mut second)
            .poll(&mut Context::from_waker(quiet))
            .is_pending()
    );
    let mut panics = 0;
    while window.handle().stats().waiting > 0 || panics == 0 {
        panics += u32::from(catch_unwind(AssertUnwindSafe(|| window.wait(LONG))).is_err());
        if panics > 0 {
            break;
        }
    }
    assert_eq!(panics, 1, "the panic goes to whoever waited");
    drop(first);
    while !poll(&mut second) {
        window.wait(LONG).unwrap();
    }
}

#[test]
fn e9_each_ring_has_a_window_operations_and_statistics_of_its_own() {
    let simulation = Simulation::new(3).faults(Faults::none().one_in(Fault::Late, 1));
    let rings = [(); 2].map(|()| LocalRing::with(&Options::new().depth(64).simulated(&simulation)).unwrap());
    let busy = Window::new(&rings[0], &WindowOptions::new().waiting(Waiting::Sleep)).unwrap();
    let idle = Window::new(&rings[1], &WindowOptions::new()).unwrap();
    let again = Window::new(&rings[0], &WindowOptions::new()).unwrap_err();
    assert!(again.message().contains("a window already"), "{again}");
    // A device without a queue: the more in flight, the faster, up to the depth.
    let file = Arc::new(std::fs::File::open("/proc/self/exe").unwrap());
    let read = || Read::new(Arc::clone(&file), vec![0; 8]).at(0);
    for _ in 0..40_000 {
        while busy.enter(|| rings[0].submit_with(read(), |_| ())).is_some() {}
        busy.wait(LONG).unwrap();
        if busy.handle().stats().settled == 1 {
            break;
        }
    }
    let (busy, idle) = (busy.handle().stats(), idle.handle().stats());
    assert!(
        busy.settled == 1 && busy.cached == 0 && busy.window >= 48,
        "{busy}"
    );
    assert_eq!((idle.window, idle.moves, idle.admitted), (4, 0, 0), "{idle}");
    assert_eq!(rings[1].stats().counts().submitted, 0);
}

#[test]
fn e7_idle_window_makes_no_call_and_wakes_nobody() {
    let (ring, simulation) = simulated(8);
    let window = Window::new(&ring, &WindowOptions::new().waiting(Waiting::Spin)).unwrap();
    assert!(
        window
            .enter(|| ring.submit_with(Timeout::after(MS), |_| ()))
            .is_some()
    );
    window.wait(LONG).unwrap();
    let (before, began) = (ring.stats().counts().enters, simulation.now());
    assert_eq!(window.wait(Duration::from_secs(3_600)).unwrap(), 0);
    assert_eq!(
        ring.stats().counts().enters,
        before,
        "nothing is in flight: not even one call"
    );
    ring.submit_with(Timeout::after(Duration::from_secs(7_200)), |_| ())
        .unwrap();
    assert_eq!(window.wait(Duration::from_secs(3_600)).unwrap(), 0);
    assert!(simulation.now() - began >= Duration::from_secs(3_600));
    let counts = ring.stats().counts();
    assert_eq!(
        counts.enters,
        before + 1,
        "an hour of waiting for another's operation is one call"
    );
}

#[test]
fn e6_reads_of_the_page_cache_are_not_held_back() {
    if uring_core::probe().refused.is_some() {
        eprintln!("skipped: io_uring is refused here");
        return;
    }
    let ring = LocalRing::with(&Options::new().depth(32).carrier(Carrier::Uring)).unwrap();
    let window = Window::new(&ring, &WindowOptions::new()).unwrap();
    let file = Arc::new(std::fs::File::open("/proc/self/exe").unwrap());
    // The first pass brings the block in.
    let read = || Read::new(Arc::clone(&file), vec![0; 512]).at(0);
    let seen = Cell::new(0u32);
    for _ in 0..2_000 {
        while window
            .enter(|| ring.submit_with(read(), |(read, _)| assert_eq!(read, Ok(512))))
            .is_some()
        {
            seen.set(seen.get() + 1);
        }
        window.wait(LONG).unwrap();
        if window.handle().stats().window == 32 {
            break;
        }
    }
    let now = window.handle().stats();
    assert!(now.cached == 1 && now.window == 32, "{now} after {}", seen.get());
}

#[test]
fn windows_that_let_nothing_through_are_refused_with_a_remedy() {
    let (ring, _) = simulated(8);
    for (options, words) in [
        (WindowOptions::new().max(0), "1 or more"),
        (fixed(0), "lets nothing through"),
        (WindowOptions::new().target_p99(Duration::ZERO), "such as 2 ms"),
        (fixed(8).target_p99(MS), "one of the two"),
    ] {
        let refused = Window::new(&ring, &options).unwrap_err();
        assert!(refused.message().contains(words), "{refused}");
    }
    let window = Window::new(&ring, &fixed(1_000)).unwrap();
    assert_eq!(window.handle().stats().window, 8, "no more than the ring is deep");
}

#[test]
fn e7_window_goes_where_its_ring_goes_and_is_shared_like_it() {
    fn sendable<T: Send>(value: T) -> T {
        value
    }
    let ring = Ring::with(&Options::new().depth(8).carrier(Carrier::Sim)).unwrap();
    let window = sendable(Window::new(ring, &fixed(1)).unwrap());
    assert!(
        window
            .enter(|| window.ring().submit_with(Timeout::after(MS), |_| ()))
            .is_some()
    );
    let window = std::thread::spawn(move || {
        window.wait(LONG).unwrap();
        window
    })
    .join()
    .unwrap();
    assert_eq!(window.handle().stats().in_flight, 0);
    let local = Rc::new(LocalRing::with(&Options::new().depth(8).carrier(Carrier::Sim)).unwrap());
    let shared = Rc::new(Window::new(Rc::clone(&local), &fixed(1)).unwrap());
    let mine = Rc::clone(&shared);
    let task: Pin<Box<dyn Future<Output = ()>>> =
        Box::pin(async move { mine.run(Nop::new()).await.unwrap() });
    local.block_on(task).unwrap();
    assert_eq!(shared.handle().stats().admitted, 1);
}
