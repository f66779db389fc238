//! Tickets dropped, forgotten and cancelled, callers that panic, and the ends of rings.

use crate::kit::{Calling, Counted, LONG, Random, alone, real, ring, stream, until};
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;
use uring_core::op::{Nop, Read, Timeout};
use uring_core::{Carrier, ErrorKind, SharedRing, Ticket, totals};

#[test]
fn tickets_dropped_cancelled_and_waited_for_at_random_leak_no_buffer() {
    for carrier in real() {
        let alive = Arc::new(AtomicUsize::new(0));
        let ring = ring(carrier, 64);
        thread::scope(|threads| {
            for seed in 1..=8u64 {
                let (ring, alive) = (ring.clone(), Arc::clone(&alive));
                threads.spawn(move || {
                    let mut random = Random(seed * 7919);
                    let (near, mut far) = stream();
                    let mut tickets: Vec<Ticket<Read<Counted, _>>> = Vec::new();
                    for _ in 0..400 {
                        match random.below(6) {
                            0 | 1 if tickets.len() < 8 => {
                                let read = Read::new(Arc::clone(&near), Counted::new(&alive));
                                tickets.extend(ring.submit(read).ok());
                            }
                            2 => drop(tickets.pop()),
                            3 => {
                                if let Some(ticket) = tickets.pop() {
                                    // Over already, or not.
                                    let _ = ticket.cancel();
                                    let (_, buf) = ticket.wait_timeout(LONG).unwrap();
                                    assert_eq!(buf.0.len(), 8);
                                }
                            }
                            4 => drop(far.write_all(b"anything")),
                            _ => {
                                if let Some(ticket) = tickets.pop() {
                                    match ticket.wait_timeout(Duration::from_micros(random.below(50))) {
                                        Ok((_, buf)) => assert_eq!(buf.0.len(), 8),
                                        Err((back, error)) => {
                                            assert_eq!(error.kind(), ErrorKind::TimedOut);
                                            tickets.extend(back);
                                        }
                                    }
                                }
                            }
                        }
                    }
                });
            }
        });
        drop(ring);
        until("every buffer", || alive.load(Ordering::SeqCst) == 0);
    }
}

#[test]
fn a_dropped_ticket_cancels_and_its_buffer_goes_once() {
    for carrier in real() {
        let alive = Arc::new(AtomicUsize::new(0));
        let ring = ring(carrier, 8);
        let (near, far) = stream();
        drop(ring.submit(Read::new(near, Counted::new(&alive))).unwrap());
        until("its end", || ring.in_flight() == 0);
        assert_eq!(alive.load(Ordering::SeqCst), 0);
        drop(far);
    }
}

#[test]
fn a_forgotten_ticket_keeps_the_ring_and_harms_nobody() {
    for carrier in real() {
        let alive = Arc::new(AtomicUsize::new(0));
        let ring = ring(carrier, 8);
        let (near, mut far) = stream();
        let kept = Arc::clone(&near);
        std::mem::forget(ring.submit(Read::new(near, Counted::new(&alive))).unwrap());
        let next = ring.submit(Timeout::after(Duration::from_millis(1))).unwrap();
        assert_eq!(next.wait().unwrap(), Ok(()));
        far.write_all(b"for none").unwrap();
        until("its end", || ring.in_flight() == 0);
        assert_eq!(
            alive.load(Ordering::SeqCst),
            1,
            "whoever forgets a ticket leaks what it gives"
        );
        drop((ring, kept));
    }
}

#[test]
fn a_panic_while_an_operation_is_admitted_is_its_own_callers_alone() {
    for carrier in real() {
        let ring = ring(carrier, 16);
        thread::scope(|threads| {
            for _ in 0..4 {
                let ring = ring.clone();
                threads.spawn(move || {
                    for _ in 0..100 {
                        ring.run(Nop::new()).unwrap().unwrap();
                    }
                });
            }
            for _ in 0..50 {
                let (near, _far) = stream();
                let boom = Calling(vec![0; 8].into(), || panic!("a buffer's own code"));
                let submitted = catch_unwind(AssertUnwindSafe(|| ring.submit(Read::new(near, boom))));
                assert!(submitted.is_err());
            }
        });
        assert_eq!((ring.run(Nop::new()).unwrap(), ring.in_flight()), (Ok(()), 0));
    }
}

struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("a waker of the caller");
    }
}

/// Whoever collects runs a waker that panics: its wait unwinds, and the others are served all the same, whoever led.
#[test]
fn a_leader_that_panics_hands_over() {
    let _alone = alone();
    for carrier in real() {
        let ring = ring(carrier, 16);
        let (near, mut far) = stream();
        let (other, mut there) = stream();
        let waiting: Vec<_> = [near, other]
            .into_iter()
            .map(|end| {
                let ticket = ring.submit(Read::new(end, vec![0; 8])).unwrap();
                thread::spawn(move || catch_unwind(AssertUnwindSafe(|| ticket.wait_timeout(LONG).unwrap().0)))
            })
            .collect();
        thread::sleep(Duration::from_millis(20));
        let mut task = Box::pin(ring.submit(Timeout::after(Duration::from_millis(5))).unwrap());
        let waker = Waker::from(Arc::new(Panics));
        let polled = Future::poll(task.as_mut(), &mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        until("the end of the timer", || task.is_over());
        // Who panicked has closed its end.
        let _ = far.write_all(b"whatever");
        let _ = there.write_all(b"whatever");
        let ends: Vec<_> = waiting.into_iter().map(|thread| thread.join().unwrap()).collect();
        let panicked = ends.iter().filter(|end| end.is_err()).count();
        assert!(panicked <= 1, "{carrier:?}");
        assert!(
            ends.into_iter().flatten().all(|read| read == Ok(8)),
            "{carrier:?}"
        );
        assert_eq!(task.wait_timeout_pinned(), Ok(()));
        // A helping thread that ran it helps on.
        let next = ring.submit(Timeout::after(Duration::from_millis(1))).unwrap();
        assert_eq!(futures_executor::block_on(next), Ok(Ok(())));
        assert_eq!(ring.run(Nop::new()).unwrap(), Ok(()));
    }
}

/// A drop that panics, unless it is dropped by a panic.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !thread::panicking() {
            panic!("a destructor of the caller");
        }
    }
}

/// What a waker may end in.
enum Ends {
    Panics,
    PanicsWithBomb,
}

impl Wake for Ends {
    fn wake(self: Arc<Self>) {
        match *self {
            Self::Panics => panic!("a waker of the caller"),
            Self::PanicsWithBomb => std::panic::panic_any(Bomb),
        }
    }
}

/// Awaits a timer as a task, on a thread of its own, so that a wait without end is a failure and not a hang.
fn innocent(ring: &SharedRing) {
    let ring = ring.clone();
    let (tell, told) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let timer = ring.submit(Timeout::after(Duration::from_millis(20))).unwrap();
        tell.send(futures_executor::block_on(timer))
    });
    let served = told.recv_timeout(LONG).expect("somebody drives for it");
    assert_eq!(served, Ok(Ok(())));
}

/// Nobody but the helping thread drives here, so each waker panics on that thread.
#[test]
fn a_helper_outlives_wakers_and_destructors_that_panic() {
    let _alone = alone();
    for carrier in real() {
        let ring = ring(carrier, 16);
        for end in [Ends::Panics, Ends::PanicsWithBomb] {
            let waker = Waker::from(Arc::new(end));
            let mut task = Box::pin(ring.submit(Timeout::after(Duration::from_millis(5))).unwrap());
            let polled = Future::poll(task.as_mut(), &mut Context::from_waker(&waker));
            assert!(polled.is_pending());
            until("the end of the timer", || task.is_over());
            innocent(&ring);
            assert_eq!(task.wait_timeout_pinned(), Ok(()));
        }
        let (near, far) = stream();
        let bomb = Bomb;
        // Taken in as a whole: what is captured is dropped with the buffer.
        let buffer = Calling(vec![0; 8].into(), move || {
            let _ = &bomb;
        });
        let read = ring.submit(Read::new(near, buffer)).unwrap();
        // Here where the cancellation ends it at once, else on the helping thread.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(read)));
        until("the end of the read", || ring.in_flight() == 0);
        innocent(&ring);
        drop(far);
    }
}

trait Pinned {
    fn wait_timeout_pinned(self) -> Result<(), uring_core::Error>;
}

impl Pinned for std::pin::Pin<Box<Ticket<Timeout>>> {
    fn wait_timeout_pinned(self) -> Result<(), uring_core::Error> {
        std::pin::Pin::into_inner(self).wait_timeout(LONG).unwrap()
    }
}

#[test]
fn closing_ends_every_ticket_in_whatever_state_it_is() {
    let _alone = alone();
    for carrier in real() {
        let ring = ring(carrier, 32);
        let ends: Vec<_> = (0..6).map(|_| stream()).collect();
        let read = |at: usize| {
            ring.submit(Read::new(Arc::clone(&ends[at].0), vec![0; 8]))
                .unwrap()
        };
        // One that leads, two in line, one nobody waits for, one that a task waits for, one over already, one dropped.
        let blocked: Vec<_> = (0..3).map(read).collect();
        let (idle, mut task, over) = (read(3), read(4), ring.submit(Nop::new()).unwrap());
        drop(read(5));
        let polled = std::pin::Pin::new(&mut task).poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
        let blocked: Vec<_> = blocked
            .into_iter()
            .map(|ticket| thread::spawn(move || ticket.wait_timeout(LONG).unwrap()))
            .collect();
        thread::sleep(Duration::from_millis(20));
        ring.close();
        ring.close();
        for thread in blocked {
            let (read, buf) = thread.join().unwrap();
            assert_eq!((read.unwrap_err().kind(), buf.len()), (ErrorKind::Cancelled, 8));
        }
        for ticket in [idle, task] {
            let (read, buf) = ticket.wait_timeout(LONG).unwrap();
            assert_eq!((read.unwrap_err().kind(), buf.len()), (ErrorKind::Cancelled, 8));
        }
        assert_eq!(over.wait().unwrap(), Ok(()));
        let refused = ring.submit(Nop::new()).unwrap_err();
        assert_eq!(refused.error.kind(), ErrorKind::Closed);
        until("nothing is left", || ring.in_flight() == 0);
    }
}

#[test]
fn the_ring_goes_with_its_last_ticket() {
    for carrier in real() {
        let ring = ring(carrier, 8);
        let (near, mut far) = stream();
        let ticket = ring.submit(Read::new(near, vec![0; 8])).unwrap();
        drop(ring);
        far.write_all(b"still up").unwrap();
        let (read, buf) = ticket.wait_timeout(LONG).unwrap();
        assert_eq!((read, &buf[..]), (Ok(8), &b"still up"[..]));
    }
}

/// Dropped with operations that nobody waits for: drained as a ring is, nothing abandoned.
#[test]
fn a_dropped_ring_gets_its_buffers_back() {
    for carrier in real() {
        let alive = Arc::new(AtomicUsize::new(0));
        let before = totals().abandoned.sum();
        let ring = ring(carrier, 8);
        let (near, far) = stream();
        for _ in 0..8 {
            drop(
                ring.submit(Read::new(Arc::clone(&near), Counted::new(&alive)))
                    .unwrap(),
            );
        }
        drop(ring);
        assert_eq!(alive.load(Ordering::SeqCst), 0);
        assert_eq!(totals().abandoned.sum(), before);
        drop(far);
    }
}

#[test]
fn a_forked_child_touches_nothing_and_its_parent_goes_on() {
    for carrier in real() {
        let ring = ring(carrier, 8);
        let (near, mut far) = stream();
        let ticket = ring.submit(Read::new(near, vec![0; 8])).unwrap();
        // SAFETY: the child touches the ring, which is what is tested, and ends without running the harness.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let forked = |error: uring_core::Error| error.kind() == ErrorKind::Forked;
            let inert = ring
                .submit(Nop::new())
                .is_err_and(|rejected| forked(rejected.error))
                && ticket.cancel().is_err_and(forked)
                && ring.in_flight() == 0
                && ticket.wait().is_err_and(forked);
            ring.close();
            drop(ring);
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(i32::from(!inert)) };
        }
        let mut status = 0;
        // SAFETY: waits for the child made above.
        unsafe { libc::waitpid(pid, &mut status, 0) };
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0);
        far.write_all(b"parent's").unwrap();
        let (read, buf) = ticket.wait_timeout(LONG).unwrap();
        assert_eq!((read, &buf[..]), (Ok(8), &b"parent's"[..]));
    }
}

/// Submits to the ring, waits on it, and drops the last handle to it.
struct Reenters(std::sync::Mutex<Option<SharedRing>>, Arc<AtomicUsize>);

impl Wake for Reenters {
    fn wake(self: Arc<Self>) {
        let ring = self.0.lock().unwrap().take().expect("woken once");
        ring.run(Nop::new()).unwrap().unwrap();
        ring.run(Timeout::after(Duration::from_micros(10)))
            .unwrap()
            .unwrap();
        drop(ring);
        self.1.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_waker_may_submit_wait_and_drop_the_ring() {
    let _alone = alone();
    for carrier in [Carrier::Uring, Carrier::Fallback] {
        if !real().contains(&carrier) {
            continue;
        }
        let ring = ring(carrier, 8);
        let woken = Arc::new(AtomicUsize::new(0));
        let mut ticket = Box::pin(ring.submit(Timeout::after(Duration::from_millis(5))).unwrap());
        let waker = Waker::from(Arc::new(Reenters(
            std::sync::Mutex::new(Some(ring)),
            Arc::clone(&woken),
        )));
        let polled = ticket.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        until("the waker", || woken.load(Ordering::SeqCst) == 1);
        assert_eq!(
            ticket.as_mut().poll(&mut Context::from_waker(&waker)),
            Poll::Ready(Ok(Ok(())))
        );
    }
}
