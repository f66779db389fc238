//! The simulated ring: what it promises to its users, and what it shows of the ring above it.
#![cfg(not(any(loom, shuttle)))]

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::Duration;
use uring_core::op::{Accept, Nop, Open, Read, RecvLeased, Timeout, Within, Write};
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
    ring.poll().unwrap();
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
