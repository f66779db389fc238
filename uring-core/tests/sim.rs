//! The simulated ring: what it promises to its users, and what it shows of the ring above it.
#![cfg(not(any(loom, shuttle)))]

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use uring_core::buffer::{IoBuf, IoBufMut};
use uring_core::op::{Accept, Nop, Open, Read, RecvLeased, Send, Timeout, Within, Write};
use uring_core::sim::{Fault, Faults, Simulation};
use uring_core::{Carrier, ErrorKind, LocalRing, Options, Ring, totals};

const LONG: Duration = Duration::from_secs(10);

fn memory_file() -> Arc<File> {
    named_memory_file(c"sim")
}

fn named_memory_file(name: &std::ffi::CStr) -> Arc<File> {
    // SAFETY: makes a descriptor or fails.
    let fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
    assert!(fd >= 0);
    // SAFETY: just made, owned by nobody else.
    Arc::new(unsafe { File::from_raw_fd(fd) })
}

/// Descriptors of this process that are open on the memory file of this name.
fn descriptors_of(name: &str) -> usize {
    let links = std::fs::read_dir("/proc/self/fd").unwrap();
    links
        .filter_map(|link| std::fs::read_link(link.unwrap().path()).ok())
        .filter(|target| target.to_string_lossy().contains(name))
        .count()
}

fn options(simulation: &Simulation) -> Options {
    Options::new().depth(8).simulated(simulation)
}

#[test]
fn d7_simulated_file_gives_back_what_was_written() {
    let ring = LocalRing::with(&Options::new().carrier(Carrier::Sim)).unwrap();
    assert_eq!(ring.info().backend, "sim");
    let file = memory_file();
    let token = ring
        .submit(Write::new(Arc::clone(&file), b"in memory".to_vec()).at(3))
        .unwrap();
    assert_eq!(ring.finish(token, LONG).unwrap().0, Ok(9));
    let token = ring
        .submit(Read::new(Arc::clone(&file), vec![0; 64]).at(0))
        .unwrap();
    let (read, buf) = ring.finish(token, LONG).unwrap();
    assert_eq!((read, &buf[..]), (Ok(12), &b"\0\0\0in memory"[..]));
    assert_eq!(Arc::strong_count(&file), 1);
}

#[test]
fn e13_simulated_hour_passes_at_once_and_in_order() {
    let simulation = Simulation::new(1);
    let ring = LocalRing::with(&options(&simulation)).unwrap();
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    for seconds in [3600u64, 60, 1] {
        let order = Arc::clone(&order);
        ring.submit_with(Timeout::after(Duration::from_secs(seconds)), move |ended| {
            ended.unwrap();
            order.lock().unwrap().push(seconds);
        })
        .unwrap();
    }
    let start = simulation.now();
    while ring.held() > 0 {
        ring.wait(1, Duration::MAX).unwrap();
    }
    assert_eq!(*order.lock().unwrap(), [1, 60, 3600]);
    let passed = simulation.now() - start;
    assert!(passed >= Duration::from_secs(3600) && passed < Duration::from_secs(3601));
}

#[test]
fn e13_simulated_wait_that_nothing_ends_takes_its_timeout_and_no_more() {
    let simulation = Simulation::new(1);
    let ring = LocalRing::with(&options(&simulation)).unwrap();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let token = ring.submit(Read::new(ours, vec![0; 8])).unwrap();
    let start = simulation.now();
    assert_eq!(ring.wait(1, LONG), Ok(0));
    let passed = simulation.now() - start;
    assert!(
        passed >= LONG && passed < LONG + Duration::from_millis(1),
        "{passed:?}"
    );
    ring.cancel(&token).unwrap();
    assert!(ring.finish(token, LONG).unwrap().0.unwrap_err().is_cancelled());
}

/// Runs a fixed set of calls under every fault and gives the digest of what came.
fn digest(seed: u64) -> u64 {
    let simulation = Simulation::new(seed).faults(Faults::storm());
    let ring = LocalRing::with(&options(&simulation)).unwrap();
    let file = memory_file();
    for i in 0..500u64 {
        let _ = ring.submit(Write::new(Arc::clone(&file), vec![i as u8; 16]).at(i * 16));
        let _ = ring.submit_with(
            Within::new(
                Duration::from_micros(i),
                Read::new(Arc::clone(&file), vec![0; 16]).at(0),
            ),
            |_| {},
        );
        let _ = ring.wait(1, Duration::from_micros(10));
        ring.reap(|done| drop(done));
    }
    drop(ring);
    simulation.report().digest
}

#[test]
fn d7_simulation_repeats_from_its_seed_and_differs_by_it() {
    assert_eq!(digest(7), digest(7));
    assert_ne!(digest(7), digest(8));
}

#[test]
fn d7_open_stuck_past_the_drain_limit_leaks_no_descriptor() {
    let simulation = Simulation::new(3).faults(Faults::none().one_in(Fault::Stuck, 1));
    let ring = LocalRing::with(&options(&simulation).drain_limit(Duration::from_millis(5))).unwrap();
    let file = named_memory_file(c"stuck-open");
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let _ = ring.submit(Open::new(path, libc::O_RDWR).unwrap()).unwrap();
    ring.flush().unwrap();
    drop(ring);
    assert_eq!(simulation.report().count(Fault::Abandoned), 1);
    simulation.settle();
    for _ in 0..500 {
        if descriptors_of("stuck-open") == 1 && totals().abandoned.sum() == 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the descriptor that came late stays open");
}

/// A close that the kernel does after its ring is gone must not be done again: the number may be another's by then.
#[test]
fn d7_descriptor_closed_when_its_ring_is_gone_is_closed_once() {
    use uring_core::op::Close;
    /// Beyond the numbers that other tests of this process get.
    const HIGH: i32 = 700;
    let copy = |fd: i32| {
        // SAFETY: makes a descriptor or fails.
        let made = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, HIGH) };
        assert!(made >= HIGH);
        // SAFETY: just made, owned by nobody else.
        unsafe { File::from_raw_fd(made) }
    };
    let null = File::open("/dev/null").unwrap();
    let closed = copy(null.as_raw_fd());
    let number = closed.as_raw_fd();
    let simulation = Simulation::new(3).faults(Faults::none().one_in(Fault::Stuck, 1));
    let ring = LocalRing::with(&options(&simulation).drain_limit(Duration::from_millis(5))).unwrap();
    let _ = ring.submit(Close::new(closed)).unwrap();
    ring.flush().unwrap();
    drop(ring);
    simulation.settle();
    let other = copy(null.as_raw_fd());
    assert_eq!(other.as_raw_fd(), number, "the kernel closed it");
    for _ in 0..500 {
        if totals().abandoned.sum() == 0 {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(other.metadata().is_ok(), "somebody else's descriptor was closed");
}

#[test]
fn d7_accept_stuck_past_the_drain_limit_leaks_no_connection() {
    use std::io::Read as _;
    let simulation = Simulation::new(3).faults(Faults::none().one_in(Fault::Stuck, 1));
    let ring = Ring::with(&options(&simulation).drain_limit(Duration::from_millis(5))).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let mut client = UnixStream::connect(&path).unwrap();
    let _ = ring.submit(Accept::new(listener)).unwrap();
    ring.flush().unwrap();
    drop(ring);
    simulation.settle();
    client.set_read_timeout(Some(LONG)).unwrap();
    let mut byte = [0];
    assert_eq!(client.read(&mut byte).unwrap(), 0, "the connection was closed");
}

#[test]
fn d7_abandoned_receive_gives_its_provided_buffer_and_memory_back_only_at_its_end() {
    use std::io::Write as _;
    let before = totals().abandoned.sum();
    let simulation = Simulation::new(5).faults(Faults::none().one_in(Fault::Stuck, 1));
    let ring = LocalRing::with(&options(&simulation).drain_limit(Duration::from_millis(5))).unwrap();
    let group = ring.provide_buffers(2, 64).unwrap();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"late").unwrap();
    let ours = Arc::new(ours);
    let _ = ring.submit(RecvLeased::new(Arc::clone(&ours), &group)).unwrap();
    let _ = ring.submit(Read::new(Arc::clone(&ours), vec![0; 64])).unwrap();
    ring.flush().unwrap();
    drop(ring);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(
        Arc::strong_count(&ours),
        3,
        "nothing is freed while the kernel has it"
    );
    assert!(totals().abandoned.sum() >= before + 2);
    simulation.settle();
    for _ in 0..500 {
        if Arc::strong_count(&ours) == 1 {
            assert_eq!(group.leased(), 0);
            assert_eq!(simulation.report().violations, 0);
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the reaper freed nothing");
}

#[test]
fn e13_call_refused_again_and_again_latches_nothing() {
    let simulation = Simulation::new(9).faults(Faults::none().one_in(Fault::Busy, 2));
    let ring = LocalRing::with(&options(&simulation)).unwrap();
    let mut refused = 0;
    for _ in 0..1000 {
        let token = ring.submit(Nop::new()).unwrap();
        refused += u32::from(ring.flush().is_err());
        assert_eq!(ring.finish(token, LONG).unwrap(), Ok(()));
    }
    assert!(refused > 100);
    assert_eq!(ring.stats().counts().stale, 0);
}

#[test]
fn d7_duplicate_completion_reaches_nobody_and_is_counted() {
    let simulation = Simulation::new(9).faults(Faults::none().one_in(Fault::Duplicate, 2));
    let ring = LocalRing::with(&options(&simulation)).unwrap();
    for round in 0..200u64 {
        let file = memory_file();
        let token = ring.submit(Write::new(file, vec![round as u8; 8]).at(0)).unwrap();
        assert_eq!(ring.finish(token, LONG).unwrap().0, Ok(8));
    }
    while ring.wait(1, Duration::from_millis(1)).unwrap() > 0 {}
    let doubled = simulation.report().count(Fault::Duplicate);
    assert!(doubled > 50);
    for _ in 0..1000 {
        ring.poll().unwrap();
    }
    assert_eq!(ring.stats().counts().stale, doubled);
}

#[test]
fn d7_multishot_is_refused_where_overflow_would_lose_completions() {
    let simulation = Simulation::new(1).drops_overflow();
    let ring = LocalRing::with(&options(&simulation)).unwrap();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let refused = ring
        .submit_each(
            uring_core::op::Poll::readable(ours).multishot(),
            |_, _| unreachable!(),
        )
        .unwrap_err();
    assert_eq!(refused.error.kind(), ErrorKind::Unsupported);
    drop(refused);
    assert_eq!(ring.held(), 0);
    // Single completions have credit each: none is lost.
    for _ in 0..100 {
        while ring.submit(Nop::new()).is_ok() {}
        ring.wait(1, LONG).unwrap();
        ring.reap(|done| drop(done));
    }
    assert_eq!(simulation.report().count(Fault::Dropped), 0);
}

#[test]
fn d7_multishot_submitted_for_one_result_gives_one_and_leaks_none() {
    let simulation = Simulation::new(1);
    let ring = LocalRing::with(&options(&simulation)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let clients: Vec<_> = (0..3).map(|_| UnixStream::connect(&path).unwrap()).collect();
    let token = ring.submit(Accept::new(listener).multishot()).unwrap();
    let accepted = ring.finish(token, LONG).unwrap().unwrap();
    assert_eq!(ring.held(), 0, "one completion, and it was the last");
    drop((accepted, clients));
}

/// A buffer that says when it is gone.
struct Told(Box<[u8]>, Arc<AtomicUsize>);

impl Told {
    fn new(bytes: &[u8], gone: &Arc<AtomicUsize>) -> Self {
        Self(bytes.into(), Arc::clone(gone))
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: the box's block stays where it is and has one owner.
unsafe impl IoBuf for Told {
    fn stable_ptr(&self) -> *const u8 {
        self.0.as_ptr()
    }
    fn bytes_init(&self) -> usize {
        self.0.len()
    }
}

// SAFETY: as above.
unsafe impl IoBufMut for Told {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.0.as_mut_ptr()
    }
    fn bytes_total(&self) -> usize {
        self.0.len()
    }
    unsafe fn set_init(&mut self, _: usize) {}
}

/// tokio#8255: the call that submits fails, and the buffer is freed although its entry is still queued.
#[test]
fn d7_call_that_fails_frees_no_buffer_whose_entry_is_queued() {
    let simulation = Simulation::new(1).faults(Faults::none().one_in(Fault::OutOfRequests, 1));
    let ring = LocalRing::with(&options(&simulation)).unwrap();
    let gone = Arc::new(AtomicUsize::new(0));
    let file = memory_file();
    let tokens: Vec<_> = (0..4u64)
        .map(|i| {
            let write = Write::new(Arc::clone(&file), Told::new(&[i as u8; 8], &gone));
            ring.submit(write.at(i * 8)).unwrap()
        })
        .collect();
    for _ in 0..10 {
        assert_eq!(ring.flush().unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(ring.wait(1, LONG).is_err());
    }
    assert_eq!((gone.load(Ordering::Relaxed), ring.held()), (0, 4));
    let _calm = simulation.clone().faults(Faults::none());
    for token in tokens {
        assert_eq!(ring.finish(token, LONG).unwrap().0, Ok(8));
    }
    let token = ring.submit(Read::new(file, vec![0; 32]).at(0)).unwrap();
    let (_, bytes) = ring.finish(token, LONG).unwrap();
    assert!(bytes.iter().zip(0..).all(|(&b, at)| b == at / 8));
    assert_eq!(gone.load(Ordering::Relaxed), 4);
}

/// tokio#8112: the completion of an operation that was let go of wakes the future that has its place by then.
#[test]
fn d7_late_completion_wakes_no_other_future() {
    use std::future::Future;
    struct Woken(AtomicUsize);
    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let faults = Faults::none()
        .one_in(Fault::Late, 2)
        .one_in(Fault::Duplicate, 2)
        .one_in(Fault::CancelLost, 2);
    let simulation = Simulation::new(11).faults(faults);
    let ring = LocalRing::with(&Options::new().depth(2).simulated(&simulation)).unwrap();
    let file = memory_file();
    let (never, _peer) = UnixStream::pair().unwrap();
    let never = Arc::new(never);
    for _ in 0..200 {
        let mut first = Box::pin(ring.run(Read::new(Arc::clone(&file), vec![0; 8]).at(0)));
        let woken = Arc::new(Woken(AtomicUsize::new(0)));
        let (nobody, waker) = (std::task::Waker::noop(), Arc::clone(&woken).into());
        let submitted = first.as_mut().poll(&mut std::task::Context::from_waker(nobody));
        assert!(submitted.is_pending());
        ring.flush().unwrap();
        drop(first);
        let mut second = Box::pin(ring.run(Read::new(Arc::clone(&never), vec![0; 8])));
        let mut cx = std::task::Context::from_waker(&waker);
        assert!(second.as_mut().poll(&mut cx).is_pending());
        while ring.held() > 1 {
            ring.wait(1, LONG).unwrap();
        }
        for _ in 0..8 {
            ring.wait(1, Duration::from_millis(200)).unwrap();
        }
        assert_eq!(woken.0.load(Ordering::Relaxed), 0, "nothing came for it");
        assert!(second.as_mut().poll(&mut cx).is_pending());
        drop(second);
        while ring.held() > 0 {
            ring.wait(1, LONG).unwrap();
        }
    }
    let report = simulation.report();
    assert!(report.count(Fault::Late) > 0 && report.count(Fault::Duplicate) > 0);
}

/// io-uring#156: the time that a linked timeout names is gone when the kernel reads it.
#[test]
fn d7_linked_timeout_keeps_its_time_until_the_kernel_has_read_it() {
    let simulation = Simulation::new(1).faults(Faults::none().one_in(Fault::Busy, 1));
    let ring = LocalRing::with(&options(&simulation)).unwrap();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let limit = Duration::from_secs(5);
    let submit = |socket| {
        ring.submit(Within::new(limit, Read::new(socket, vec![0; 8])))
            .unwrap()
    };
    let token = submit(ours);
    assert!(ring.flush().is_err(), "the entry stays queued");
    // What was on the stack of the submission is overwritten.
    std::hint::black_box([0xA5u8; 4096]);
    let _calm = simulation.clone().faults(Faults::none());
    let start = simulation.now();
    let (read, _) = ring.finish(token, LONG).unwrap();
    assert!(read.unwrap_err().is_cancelled());
    let took = simulation.now() - start;
    assert!(took >= limit && took < limit + Duration::from_secs(1), "{took:?}");
}

/// zio#623: every entry is taken, and none is left to cancel with.
#[test]
fn d7_cancellations_find_room_when_the_queue_is_full() {
    let simulation = Simulation::new(1).faults(Faults::none().one_in(Fault::PartialSubmit, 2));
    let options = Options::new().depth(64).sq_entries(4).simulated(&simulation);
    let ring = LocalRing::with(&options).unwrap();
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let ours = Arc::new(ours);
    let gone = Arc::new(AtomicUsize::new(0));
    let mut in_flight = 0;
    while in_flight < 64 {
        let read = Read::new(Arc::clone(&ours), Told::new(&[0; 8], &gone));
        match ring.submit_with(read, |(read, _)| assert!(read.unwrap_err().is_cancelled())) {
            Ok(_) => in_flight += 1,
            Err(rejected) => {
                assert_eq!(rejected.error.kind(), ErrorKind::WouldBlock);
                gone.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
    assert_eq!(ring.cancel_all().unwrap(), 64);
    let mut rounds = 0;
    while ring.held() > 0 {
        ring.wait(1, LONG).unwrap();
        rounds += 1;
        assert!(rounds < 1000, "the cancellations never get through");
    }
    assert_eq!(gone.load(Ordering::Relaxed), 64);
    assert!(simulation.report().count(Fault::FullQueue) > 0);
}

/// io-uring#302, firewood#1522: completions behind a full queue are brought in by a call alone, and nobody makes it.
#[test]
fn d7_overflowed_completions_are_brought_in_whatever_the_caller_does() {
    for polls in [true, false] {
        let simulation = Simulation::new(1).faults(Faults::none().one_in(Fault::Overflow, 2));
        let ring = LocalRing::with(&options(&simulation)).unwrap();
        let seen = Arc::new(AtomicUsize::new(0));
        for _ in 0..8 {
            let seen = Arc::clone(&seen);
            let then = move |_| {
                seen.fetch_add(1, Ordering::Relaxed);
            };
            ring.submit_with(Nop::new(), then).unwrap();
        }
        for _ in 0..1000 {
            if polls {
                ring.poll().unwrap();
            } else {
                ring.wait(8, LONG).unwrap();
            }
        }
        assert_eq!(seen.load(Ordering::Relaxed), 8);
        assert!(simulation.report().count(Fault::Overflow) > 0);
    }
}

#[test]
fn d7_ring_drop_with_zero_copy_sends_outstanding_waits_for_their_notifications() {
    let simulation = Simulation::new(2).faults(Faults::none().one_in(Fault::Late, 1));
    let ring = LocalRing::with(&options(&simulation)).unwrap();
    let gone = Arc::new(AtomicUsize::new(0));
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let ours = Arc::new(ours);
    for _ in 0..4 {
        let send = Send::new(Arc::clone(&ours), Told::new(&[7; 64], &gone)).zero_copy();
        let _ = ring.submit(send).unwrap();
    }
    ring.flush().unwrap();
    assert_eq!(gone.load(Ordering::Relaxed), 0);
    drop(ring);
    assert_eq!(gone.load(Ordering::Relaxed), 4);
    assert_eq!(simulation.report().violations, 0);
    assert_eq!(Arc::strong_count(&ours), 1);
}

/// tokio-uring#102: dropping the runtime hangs on an accept that nobody connects to.
#[test]
fn d7_ring_drop_with_an_accept_outstanding_takes_no_longer_than_its_limit() {
    let simulation = Simulation::new(2).faults(Faults::none().one_in(Fault::Stuck, 1));
    let limit = Duration::from_millis(300);
    let ring = LocalRing::with(&options(&simulation).drain_limit(limit)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(dir.path().join("socket")).unwrap();
    let _ = ring.submit(Accept::new(listener)).unwrap();
    ring.flush().unwrap();
    let start = simulation.now();
    drop(ring);
    let took = simulation.now() - start;
    assert!(took >= limit && took < limit * 2, "{took:?}");
}

#[test]
fn d7_closure_of_64_bytes_lies_in_the_slot_and_one_of_65_is_counted() {
    let ring = LocalRing::with(&Options::new().carrier(Carrier::Sim)).unwrap();
    let sum = Arc::new(AtomicUsize::new(0));
    let (fits, into) = ([1u8; 56], Arc::clone(&sum));
    let closure = move |_| {
        into.fetch_add(fits.iter().map(|&b| usize::from(b)).sum(), Ordering::Relaxed);
    };
    assert_eq!(size_of_val(&closure), uring_core::CLOSURE_BYTES);
    ring.submit_with(Nop::new(), closure).unwrap();
    ring.wait(1, LONG).unwrap();
    assert_eq!(ring.stats().counts().boxed, 0);
    let (larger, into) = ([1u8; 57], Arc::clone(&sum));
    let closure = move |_| {
        into.fetch_add(larger.iter().map(|&b| usize::from(b)).sum(), Ordering::Relaxed);
    };
    ring.submit_with(Nop::new(), closure).unwrap();
    ring.wait(1, LONG).unwrap();
    assert_eq!(
        (ring.stats().counts().boxed, sum.load(Ordering::Relaxed)),
        (1, 113)
    );
}
