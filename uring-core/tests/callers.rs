//! Callers whose own code panics, turns the ring or waits where nobody expects it.
#![cfg(not(any(loom, shuttle)))]

mod ended;
use ended::Counted;

use std::cell::RefCell;
use std::future::Future;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use uring_core::batch::{Batch, Fate};
use uring_core::op::{Fsync, Nop, Read, Write};
use uring_core::sim::{Fault, Faults, Simulation};
use uring_core::{Carrier, ErrorKind, LocalRing, Options};

const LONG: Duration = Duration::from_secs(10);

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("a destructor of the caller");
    }
}

#[test]
fn d7_a_destructor_that_panics_while_a_ring_is_left_frees_nothing_that_the_kernel_writes() {
    let simulation = Simulation::new(1).faults(Faults::none().one_in(Fault::Stuck, 1));
    let options = Options::new().depth(8).drain_limit(Duration::ZERO);
    let ring = LocalRing::with(&options.simulated(&simulation)).unwrap();
    let (near, far) = UnixStream::pair().unwrap();
    let near = Arc::new(near);
    let drops = Arc::new(AtomicUsize::new(0));
    for _ in 0..4 {
        let buffer = Counted::new(64, &drops);
        let captured = PanicsWhenDropped;
        let read = Read::new(Arc::clone(&near), buffer);
        ring.submit_with(read, move |_| drop(captured)).unwrap();
    }
    ring.flush().unwrap();
    let dropped = catch_unwind(AssertUnwindSafe(|| drop(ring)));
    assert!(dropped.is_ok(), "the panic of a destructor goes no further");
    assert_eq!(drops.load(Ordering::Relaxed), 0, "the kernel still has all four");
    simulation.settle();
    drop(far);
}

thread_local! {
    static RING: RefCell<Option<Rc<LocalRing>>> = const { RefCell::new(None) };
}

/// Turns the ring of its thread.
fn turn() {
    let ring = RING.with_borrow(Clone::clone);
    if let Some(ring) = ring {
        ring.poll().unwrap();
    }
}

/// A waker that turns the ring when it wakes somebody, and when it is dropped.
struct Turning;

impl Wake for Turning {
    fn wake(self: Arc<Self>) {
        turn();
    }
}

impl Drop for Turning {
    fn drop(&mut self) {
        turn();
    }
}

fn carriers() -> [Options; 3] {
    let options = || Options::new().depth(8);
    [
        options(),
        options().carrier(Carrier::Fallback),
        options().carrier(Carrier::Sim),
    ]
}

/// A batch of a chain, something loose and something that hangs.
fn batch(hanging: &Arc<UnixStream>) -> Batch {
    let mut batch = Batch::new();
    let first = batch.add(Nop::new()).unwrap();
    let second = batch.add(Nop::new()).unwrap();
    batch.needs(second, first).unwrap();
    batch.add(Nop::new()).unwrap();
    batch.add(Read::new(Arc::clone(hanging), vec![0; 8])).unwrap();
    batch
}

#[test]
fn d2_a_waker_that_turns_the_ring_harms_no_batch() {
    for options in carriers() {
        let ring = Rc::new(LocalRing::with(&options).unwrap());
        RING.set(Some(Rc::clone(&ring)));
        let (near, far) = UnixStream::pair().unwrap();
        let near = Arc::new(near);
        let mut run = ring.run_batch(batch(&near)).unwrap();
        for _ in 0..20 {
            // Another waker each time, so that the one before is dropped; the first also drives the ring.
            let waker = Waker::from(Arc::new(Turning));
            let mut cx = Context::from_waker(&waker);
            let turned = ring.poll_turns(&mut cx, &mut |_: &mut Context<'_>| {
                Poll::<std::io::Result<()>>::Pending
            });
            assert!(turned.is_pending());
            assert!(Pin::new(&mut run).poll(&mut cx).is_pending());
            ring.wait(1, Duration::from_millis(1)).unwrap();
        }
        run.cancel();
        let results = ring.block_on(run).unwrap();
        assert_eq!(results.fates()[..3], [Fate::Done(0); 3]);
        assert!(matches!(results.fates()[3], Fate::Skipped(_)));
        RING.set(None);
        drop(far);
    }
}

#[test]
fn d2_a_simulated_ring_runs_what_depends_on_each_other() {
    let ring = LocalRing::with(&Options::new().depth(8).carrier(Carrier::Sim)).unwrap();
    let file = Arc::new(tempfile::tempfile().unwrap());
    let mut batch = Batch::new();
    let first = batch
        .add(Write::new(Arc::clone(&file), b"aaaa".to_vec()).at(0))
        .unwrap();
    let second = batch
        .add(Write::new(Arc::clone(&file), b"bbbb".to_vec()).at(4))
        .unwrap();
    let sync = batch.add(Fsync::new(Arc::clone(&file))).unwrap();
    batch.needs(second, first).unwrap();
    batch.needs(sync, second).unwrap();
    let results = ring.block_on(ring.run_batch(batch).unwrap()).unwrap();
    assert_eq!(results.fates(), [Fate::Done(4), Fate::Done(4), Fate::Done(0)]);
    let mut content = [0; 8];
    std::os::unix::fs::FileExt::read_exact_at(&*file, &mut content, 0).unwrap();
    assert_eq!(&content, b"aaaabbbb");
}

#[test]
fn e13_waiting_in_a_callback_panics_instead_of_hanging() {
    for options in carriers() {
        let ring = Rc::new(LocalRing::with(&options).unwrap());
        let inner = Rc::clone(&ring);
        let seen = Rc::new(RefCell::new(None));
        let told = Rc::clone(&seen);
        let then = move |_| {
            // What is over at once may be run here, and a token may be waited for.
            assert_eq!(inner.block_on(async { 5 }), Ok(5));
            let token = inner.submit(Nop::new()).unwrap();
            inner.finish(token, LONG).unwrap().unwrap();
            let waited = catch_unwind(AssertUnwindSafe(|| inner.block_on(inner.run(Nop::new()))));
            let why = waited.expect_err("it would wait for ever");
            told.replace(why.downcast_ref::<&str>().map(|why| (*why).to_owned()));
        };
        ring.submit_with(Nop::new(), then).unwrap();
        while seen.borrow().is_none() {
            ring.wait(1, LONG).unwrap();
        }
        let why = seen.take().unwrap();
        assert!(
            why.contains("inside a callback") && why.contains("finish"),
            "{why}"
        );
        assert_eq!(
            ring.block_on(ring.run(Nop::new())),
            Ok(Ok(())),
            "the ring goes on"
        );
    }
}

#[test]
fn e14_what_the_simulation_lacks_is_unsupported_and_not_invalid() {
    let ring = LocalRing::with(&Options::new().depth(8).carrier(Carrier::Sim)).unwrap();
    let word = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let woken = ring
        .block_on(ring.run(uring_core::op::FutexWake::new(word, 1)))
        .unwrap();
    assert_eq!(woken.unwrap_err().kind(), ErrorKind::Unsupported);
}

/// A waker that panics once.
struct Panicking;

impl Wake for Panicking {
    fn wake(self: Arc<Self>) {
        panic!("a waker of the caller");
    }
}

/// Counts its wake-ups.
struct Counting(AtomicUsize);

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn e10_a_waker_that_panics_loses_no_other_wake_up() {
    for options in carriers() {
        let ring = LocalRing::with(&options).unwrap();
        let counting = Arc::new(Counting(AtomicUsize::new(0)));
        let mut futures: Vec<_> = (0..6).map(|_| Box::pin(ring.run(Nop::new()))).collect();
        for (at, future) in futures.iter_mut().enumerate() {
            let waker = match at {
                1 => Waker::from(Arc::new(Panicking)),
                _ => Waker::from(Arc::clone(&counting)),
            };
            let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
        }
        let mut panics = 0;
        let mut turns = 0;
        while counting.0.load(Ordering::Relaxed) < 5 {
            turns += 1;
            assert!(turns < 100, "a wake-up was lost");
            panics += usize::from(catch_unwind(AssertUnwindSafe(|| ring.wait(1, LONG).unwrap())).is_err());
        }
        assert_eq!(panics, 1);
        for future in &mut futures {
            let polled = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert_eq!(polled, Poll::Ready(Ok(())));
        }
        assert_eq!(ring.held(), 0);
    }
}

/// In the simulated kernel's time, which nothing but its own calls moves: who measures from outside sees the very same.
#[test]
fn e13_published_latencies_are_those_of_an_outside_recorder() {
    let simulation = Simulation::new(7).faults(Faults::none().one_in(Fault::Late, 3));
    let ring = LocalRing::with(&Options::new().depth(16).simulated(&simulation)).unwrap();
    let mut outside = Vec::new();
    for _ in 0..400 {
        let begun = simulation.now();
        let mut tokens: Vec<_> = (0..16).map(|_| ring.submit(Nop::new()).unwrap().id()).collect();
        while !tokens.is_empty() {
            ring.wait(1, LONG).unwrap();
            let took = simulation.now() - begun;
            ring.reap(|done| {
                tokens.retain(|&id| id != done.id());
                outside.push(took.as_nanos() as u64);
            });
        }
    }
    outside.sort_unstable();
    let published = ring.stats().latency_ns();
    assert_eq!(published.count(), outside.len() as u64);
    assert!(
        outside[0] < outside[outside.len() - 1],
        "there is something to tell apart"
    );
    for q in [0.5, 0.9, 0.99, 0.999] {
        let exact = outside[((outside.len() as f64 * q).ceil() as usize).max(1) - 1];
        let told = published.quantile(q);
        assert!(
            told.abs_diff(exact) * 100 <= exact * 3,
            "{q}: {told} is not {exact}"
        );
    }
}
