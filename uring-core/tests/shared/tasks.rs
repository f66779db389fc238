//! Tasks that await tickets, with a driver and without.

use crate::kit::{LONG, alone, real, ring, stream, threads_named, until};
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::thread;
use std::time::Duration;
use tokio::io::{Interest, unix::AsyncFd};
use uring_core::op::{Nop, Read, Timeout};
use uring_core::{ErrorKind, SharedRing};

/// Nobody blocks and nobody drives: one thread is started, and ends with the ring.
#[test]
fn tasks_alone_are_driven_by_one_thread_that_ends_with_the_ring() {
    let _alone = alone();
    for carrier in real() {
        let ring = ring(carrier, 128);
        let tasks: Vec<_> = (0..8)
            .map(|at| {
                let ring = ring.clone();
                thread::spawn(move || {
                    futures_executor::block_on(async {
                        for round in 0..50 {
                            let after = Duration::from_micros((at * round) % 90);
                            let (a, b) = (ring.submit(Timeout::after(after)), ring.submit(Nop::new()));
                            assert_eq!(a.unwrap().await.unwrap(), Ok(()));
                            assert_eq!(b.unwrap().await.unwrap(), Ok(()));
                        }
                    });
                })
            })
            .collect();
        for task in tasks {
            task.join().unwrap();
        }
        assert_eq!(threads_named("uring-shared"), 1);
        drop(ring);
        until("its end", || threads_named("uring-shared") == 0);
    }
}

/// The executor's way to wait for the ring's descriptor.
fn readable(ring: &SharedRing) -> impl FnMut(&mut Context<'_>) -> Poll<std::io::Result<()>> + use<> {
    let fd = ring.poll_fd().try_clone_to_owned().unwrap();
    // SAFETY: an `OwnedFd` stays the same open descriptor.
    let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }.unwrap();
    move |cx| {
        ready!(fd.poll_read_ready(cx))?.clear_ready();
        Poll::Ready(Ok(()))
    }
}

#[test]
fn a_driver_in_an_executor_of_many_threads_needs_no_thread_of_ours() {
    let _alone = alone();
    for carrier in real() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(3)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let ring = ring(carrier, 128);
            let driver = tokio::spawn(ring.drive(readable(&ring)));
            let tasks: Vec<_> = (0..24u64)
                .map(|at| {
                    let ring = ring.clone();
                    tokio::spawn(async move {
                        for round in 0..20 {
                            let (near, mut far) = stream();
                            let read = ring.submit(Read::new(near, vec![0; 8])).unwrap();
                            let after = Duration::from_micros((at + round) % 5 * 20);
                            ring.submit(Timeout::after(after))
                                .unwrap()
                                .await
                                .unwrap()
                                .unwrap();
                            far.write_all(&at.to_ne_bytes()).unwrap();
                            let (read, buf) = read.await.unwrap();
                            assert_eq!((read, &buf[..]), (Ok(8), &at.to_ne_bytes()[..]));
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!(threads_named("uring-shared"), 0);
            drop(ring);
            driver.await.unwrap().unwrap();
        });
    }
}

/// What was left to a driver is not left alone when it goes.
#[test]
fn a_driver_that_goes_is_replaced() {
    let _alone = alone();
    for carrier in real() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let ring = ring(carrier, 8);
            let driver = ring.drive(readable(&ring));
            let (near, mut far) = stream();
            let read = ring.submit(Read::new(near, vec![0; 8])).unwrap();
            let read = tokio::spawn(read);
            tokio::task::yield_now().await;
            assert_eq!(threads_named("uring-shared"), 0);
            drop(driver);
            far.write_all(b"replaced").unwrap();
            assert_eq!(read.await.unwrap().unwrap().0, Ok(8));
            drop(ring);
        });
        until("its end", || threads_named("uring-shared") == 0);
    }
}

struct Counts(AtomicUsize);

impl Wake for Counts {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn the_task_that_polled_last_is_woken() {
    let _alone = alone();
    for carrier in real() {
        let ring = ring(carrier, 8);
        let (near, mut far) = stream();
        let mut ticket = Box::pin(ring.submit(Read::new(near, vec![0; 8])).unwrap());
        let wakers = [0, 1].map(|_| Arc::new(Counts(AtomicUsize::new(0))));
        for counts in &wakers {
            let waker = Waker::from(Arc::clone(counts));
            for _ in 0..2 {
                assert!(
                    ticket
                        .as_mut()
                        .poll(&mut Context::from_waker(&waker))
                        .is_pending()
                );
            }
        }
        far.write_all(b"whatever").unwrap();
        until("the wake-up", || wakers[1].0.load(Ordering::SeqCst) == 1);
        assert_eq!(wakers[0].0.load(Ordering::SeqCst), 0);
        assert!(
            ticket
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_ready()
        );
        let again = ticket.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(again, Poll::Ready(Err(error)) if error.kind() == ErrorKind::Stale));
    }
}

/// Threads that block and tasks that await, on one ring.
#[test]
fn threads_and_tasks_share_a_ring() {
    let _alone = alone();
    for carrier in real() {
        let ring = ring(carrier, 128);
        thread::scope(|threads| {
            for at in 0..8u64 {
                let ring = ring.clone();
                threads.spawn(move || {
                    for round in 0..100 {
                        let ticket = ring
                            .submit(Timeout::after(Duration::from_micros((at + round) % 40)))
                            .unwrap();
                        if at % 2 == 0 {
                            assert_eq!(futures_executor::block_on(ticket).unwrap(), Ok(()));
                        } else {
                            assert_eq!(ticket.wait_timeout(LONG).unwrap(), Ok(()));
                        }
                    }
                });
            }
        });
        assert_eq!(ring.stats().counts().completed, 800);
        drop(ring);
        until("its end", || threads_named("uring-shared") == 0);
    }
}
