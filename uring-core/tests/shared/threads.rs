//! Threads that submit and block.

use crate::kit::{Calling, LONG, numbered, real, ring, stream, until};
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;
use uring_core::op::{Nop, Read, Timeout};
use uring_core::sim::{Fault, Faults, Simulation};
use uring_core::{Carrier, ErrorKind, Options, SharedRing};

#[test]
fn twenty_four_threads_get_each_operation_exactly_once_with_its_own_bytes() {
    for carrier in real() {
        let ring = ring(carrier, 64);
        let file = numbered(24);
        let done = Arc::new(AtomicUsize::new(0));
        thread::scope(|threads| {
            for block in 0..24 {
                let (ring, file, done) = (ring.clone(), Arc::clone(&file), Arc::clone(&done));
                threads.spawn(move || {
                    for _ in 0..300 {
                        let read = Read::new(Arc::clone(&file), vec![0; 512]).at(block * 512);
                        let (count, buf) = ring.submit(read).unwrap().wait().unwrap();
                        assert_eq!(count, Ok(512));
                        assert!(buf.iter().all(|&byte| u64::from(byte) == block));
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(done.load(Ordering::SeqCst), 24 * 300);
        assert_eq!(ring.in_flight(), 0);
        let counts = ring.stats().counts();
        assert_eq!(
            (counts.submitted, counts.completed, counts.stale),
            (7200, 7200, 0)
        );
    }
}

/// Every thread keeps several in flight that end by themselves, in any order.
#[test]
fn operations_that_have_to_be_waited_for_are_never_lost_between_leaders() {
    for carrier in real() {
        let ring = ring(carrier, 256);
        thread::scope(|threads| {
            for at in 0..12u64 {
                let ring = ring.clone();
                threads.spawn(move || {
                    for round in 0..40 {
                        let after = |n| Timeout::after(Duration::from_micros(50 * ((at + n + round) % 7)));
                        let tickets: Vec<_> = (0..4).map(|n| ring.submit(after(n)).unwrap()).collect();
                        for ticket in tickets {
                            assert_eq!(ticket.wait_timeout(LONG).unwrap(), Ok(()));
                        }
                    }
                });
            }
        });
        assert_eq!(ring.stats().counts().completed, 12 * 40 * 4);
    }
}

/// While the first is being admitted the others come; they go to the kernel together.
#[test]
fn submissions_of_threads_that_meet_are_one_system_call() {
    if !real().contains(&Carrier::Uring) {
        return;
    }
    const OTHERS: usize = 16;
    let ring = ring(Carrier::Uring, 64);
    let file = numbered(1);
    let (inside, coming) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let before = ring.stats().counts().enters;
    thread::scope(|threads| {
        let (first, seen, others) = (ring.clone(), Arc::clone(&inside), Arc::clone(&coming));
        let slow = move || {
            seen.store(true, Ordering::SeqCst);
            until("the others", || others.load(Ordering::SeqCst) == OTHERS);
            // Until they have published: they say so just before, and then wait for this.
            thread::sleep(Duration::from_millis(200));
        };
        let read = Read::new(Arc::clone(&file), Calling(vec![0; 512].into(), slow)).at(0);
        threads.spawn(move || first.submit(read).unwrap().wait().unwrap().0.unwrap());
        for _ in 0..OTHERS {
            let (ring, inside, coming) = (ring.clone(), Arc::clone(&inside), Arc::clone(&coming));
            threads.spawn(move || {
                until("the first", || inside.load(Ordering::SeqCst));
                coming.fetch_add(1, Ordering::SeqCst);
                ring.submit(Nop::new()).unwrap().wait().unwrap().unwrap();
            });
        }
    });
    let enters = ring.stats().counts().enters - before;
    assert!(enters <= 6, "{enters} calls for {OTHERS} submissions that met");
    assert!(ring.tally().combined >= OTHERS as u64 - 4, "{:?}", ring.tally());
}

/// A submission is passed on while another thread sleeps for what does not come.
#[test]
fn submitting_does_not_wait_for_whoever_waits() {
    for carrier in real() {
        let ring = ring(carrier, 16);
        let (near, mut far) = stream();
        let hung = ring.submit(Read::new(near, vec![0; 8])).unwrap();
        thread::scope(|threads| {
            let waits = threads.spawn(move || hung.wait_timeout(LONG).unwrap());
            for _ in 0..200 {
                assert_eq!(ring.run(Nop::new()).unwrap(), Ok(()));
                let short = Timeout::after(Duration::from_micros(100));
                assert_eq!(ring.run(short).unwrap(), Ok(()));
            }
            assert!(!waits.is_finished());
            far.write_all(b"at last!").unwrap();
            let (read, buf) = waits.join().unwrap();
            assert_eq!((read, &buf[..]), (Ok(8), &b"at last!"[..]));
        });
    }
}

/// The kernel finishes an operation on the thread that submitted it, which does something else.
#[test]
fn another_thread_gets_what_the_submitter_sleeps_or_computes_over() {
    for carrier in real() {
        for computes in [false, true] {
            let ring = ring(carrier, 16);
            let (near, mut far) = stream();
            let (send, receive) = std::sync::mpsc::channel();
            let stop = Arc::new(AtomicBool::new(false));
            let (submitter, stopped) = (ring.clone(), Arc::clone(&stop));
            let submitting = thread::spawn(move || {
                send.send(submitter.submit(Read::new(near, vec![0; 8])).unwrap())
                    .unwrap();
                while !stopped.load(Ordering::Relaxed) {
                    if !computes {
                        thread::park();
                    }
                    std::hint::spin_loop();
                }
            });
            let ticket = receive.recv().unwrap();
            let writing = thread::spawn(move || {
                thread::sleep(Duration::from_millis(20));
                far.write_all(b"relayed!").unwrap();
                far
            });
            let (read, buf) = ticket.wait_timeout(LONG).unwrap();
            assert_eq!((read, &buf[..]), (Ok(8), &b"relayed!"[..]));
            stop.store(true, Ordering::Relaxed);
            submitting.thread().unpark();
            submitting.join().unwrap();
            drop(writing.join().unwrap());
        }
    }
}

/// The kernel cancels what a thread has submitted when that thread exits.
#[test]
fn an_operation_outlives_the_thread_whose_call_submitted_it() {
    for carrier in real() {
        let ring = ring(carrier, 16);
        let (near, mut far) = stream();
        let submitter = ring.clone();
        let ticket = thread::spawn(move || submitter.submit(Read::new(near, vec![0; 8])).unwrap())
            .join()
            .unwrap();
        thread::sleep(Duration::from_millis(20));
        far.write_all(b"survived").unwrap();
        let (read, buf) = ticket.wait_timeout(LONG).unwrap();
        assert_eq!((read, &buf[..]), (Ok(8), &b"survived"[..]), "{carrier:?}");
    }
}

/// One cancelled by its owner is not submitted anew, although its submitter is gone.
#[test]
fn a_cancelled_operation_of_a_thread_that_is_gone_stays_cancelled() {
    for carrier in real() {
        let ring = ring(carrier, 16);
        let (near, far) = stream();
        let submitter = ring.clone();
        let submit = move || submitter.submit(Read::new(near, vec![0; 8])).unwrap();
        let ticket = thread::spawn(submit).join().unwrap();
        ticket.cancel().unwrap();
        let (read, buf) = ticket.wait_timeout(LONG).unwrap();
        assert_eq!((read.unwrap_err().kind(), buf.len()), (ErrorKind::Cancelled, 8));
        drop(far);
    }
}

#[test]
fn ten_thousand_waits_that_run_out_lose_neither_the_operation_nor_the_lead() {
    for carrier in real() {
        let ring = ring(carrier, 16);
        let mut ends = Vec::new();
        let ran_out = AtomicUsize::new(0);
        let ran_out = &ran_out;
        thread::scope(|threads| {
            for at in 0..10u64 {
                let (near, far) = stream();
                ends.push(far);
                let ring = ring.clone();
                threads.spawn(move || {
                    let mut ticket = ring.submit(Read::new(near, vec![0; 8])).unwrap();
                    for round in 0..1000 {
                        let short = Duration::from_micros((at + round) % 5 * 10);
                        let (back, error) = ticket.wait_timeout(short).unwrap_err();
                        assert_eq!(error.kind(), ErrorKind::TimedOut);
                        ticket = back.unwrap();
                        ran_out.fetch_add(1, Ordering::SeqCst);
                    }
                    let (read, _) = ticket.wait_timeout(LONG).unwrap();
                    assert_eq!(read, Ok(8));
                });
            }
            until("the last", || ran_out.load(Ordering::SeqCst) == 10_000);
            for end in &mut ends {
                end.write_all(b"in time.").unwrap();
            }
        });
    }
}

/// The first to wait leads; it gives up, and the others still get theirs.
#[test]
fn a_leader_that_leaves_hands_over() {
    for carrier in real() {
        for _ in 0..20 {
            let ring = ring(carrier, 16);
            let all = Arc::new(Barrier::new(4));
            let gone = &AtomicUsize::new(0);
            let mut ends = Vec::new();
            thread::scope(|threads| {
                for at in 0..4u32 {
                    let (near, far) = stream();
                    ends.push(far);
                    let (ring, all) = (ring.clone(), Arc::clone(&all));
                    threads.spawn(move || {
                        let ticket = ring.submit(Read::new(near, vec![0; 8])).unwrap();
                        all.wait();
                        if at < 2 {
                            let given_up = ticket.wait_timeout(Duration::from_millis(2));
                            drop(given_up.unwrap_err().0);
                            gone.fetch_add(1, Ordering::SeqCst);
                        } else {
                            assert_eq!(ticket.wait_timeout(LONG).unwrap().0, Ok(8));
                        }
                    });
                }
                until("both have left", || gone.load(Ordering::SeqCst) == 2);
                for end in &mut ends {
                    // Whoever gave up has closed its end.
                    let _ = end.write_all(b"for you.");
                }
            });
        }
    }
}

#[test]
fn back_pressure_is_one_error_that_hands_the_operation_back() {
    for carrier in real() {
        let ring = ring(carrier, 4);
        let ends: Vec<_> = (0..5).map(|_| stream()).collect();
        let mut tickets = Vec::new();
        let mut refused = 0;
        for (near, _) in &ends {
            match ring.submit(Read::new(Arc::clone(near), vec![7; 8])) {
                Ok(ticket) => tickets.push(ticket),
                Err(rejected) => {
                    assert_eq!(rejected.error.kind(), ErrorKind::WouldBlock);
                    assert_eq!(rejected.op.into_parts().0, vec![7; 8]);
                    refused += 1;
                }
            }
        }
        assert_eq!((tickets.len(), refused), (4, 1));
        drop(tickets);
        until("room", || ring.in_flight() == 0);
        ring.run(Nop::new()).unwrap().unwrap();
    }
}

#[test]
fn a_simulated_kernel_that_fails_in_every_way_loses_nothing() {
    for seed in 1..=20 {
        let faults = Faults::none()
            .one_in(Fault::Busy, 7)
            .one_in(Fault::OutOfRequests, 9)
            .one_in(Fault::PartialSubmit, 3);
        let simulation = Simulation::new(seed).faults(faults);
        let ring = SharedRing::with(&Options::new().depth(8).simulated(&simulation)).unwrap();
        thread::scope(|threads| {
            for _ in 0..6 {
                let ring = ring.clone();
                threads.spawn(move || {
                    for round in 0..50 {
                        let ticket = loop {
                            let after = Timeout::after(Duration::from_micros(round % 3 * 20));
                            match ring.submit(after) {
                                Ok(ticket) => break ticket,
                                Err(rejected) => assert!(rejected.error.is_retryable()),
                            }
                            thread::yield_now();
                        };
                        assert_eq!(ticket.wait().unwrap(), Ok(()), "seed {seed}");
                    }
                });
            }
        });
        assert!(simulation.report().count(Fault::Busy) > 0);
        assert_eq!(
            (ring.stats().counts().completed, simulation.report().violations),
            (300, 0)
        );
    }
}
