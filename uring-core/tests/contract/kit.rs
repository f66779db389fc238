//! What a test needs of a carrier: rings, and files and streams that operations on it can reach.

use crate::counted::CountedRing;
pub(crate) use crate::ended::Counted;
use std::fs::File;
use std::future::Future;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use uring_core::op::{IoFd, Target};
use uring_core::{Carrier, Core, ErrorKind, LocalRing, Operation, Options, Ring, Rung};

/// Longer than any test waits when all is well.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// One carrier, set up one way.
#[derive(Clone, Debug)]
pub(crate) struct Kit {
    carrier: Carrier,
    rung: Option<Rung>,
    sqpoll: Option<Duration>,
}

impl Kit {
    fn new(carrier: Carrier) -> Self {
        Self {
            carrier,
            rung: None,
            sqpoll: None,
        }
    }

    /// io_uring as the kernel gives it.
    pub(crate) fn uring() -> Self {
        Self::new(Carrier::Uring)
    }

    /// io_uring from a lower rung of the ladder.
    pub(crate) fn rung(rung: Rung) -> Self {
        Self {
            rung: Some(rung),
            ..Self::uring()
        }
    }

    /// io_uring with a polling thread that falls asleep between most operations of a test.
    pub(crate) fn polled() -> Self {
        Self {
            sqpoll: Some(Duration::from_millis(1)),
            ..Self::uring()
        }
    }

    /// epoll and threads.
    pub(crate) fn fallback() -> Self {
        Self::new(Carrier::Fallback)
    }

    /// The simulated kernel, in which nothing goes wrong.
    pub(crate) fn sim() -> Self {
        Self::new(Carrier::Sim)
    }

    /// Runs a test, or says why this machine cannot.
    pub(crate) fn run(self, test: fn(&Self)) {
        if self.carrier == Carrier::Uring
            && let Some(errno) = uring_core::probe().refused
        {
            eprintln!("skipped: io_uring is refused here (error {errno})");
            return;
        }
        test(&self);
    }

    /// Options for this carrier.
    pub(crate) fn options(&self, depth: u32) -> Options {
        let mut options = Options::new()
            .depth(depth)
            .registered_files(8)
            .carrier(self.carrier);
        if let Some(rung) = self.rung {
            options = options.highest_rung(rung);
        }
        if let Some(idle) = self.sqpoll {
            options = options.sqpoll(idle);
        }
        options
    }

    /// A ring for this thread, whose end is checked.
    pub(crate) fn ring(&self, depth: u32) -> CountedRing {
        CountedRing::with(&self.options(depth))
    }

    /// A ring that picks so many slots for files by itself too.
    pub(crate) fn with_direct_files(&self, depth: u32, direct: u32) -> CountedRing {
        CountedRing::with(&self.options(depth).direct_files(direct))
    }

    /// A ring that the test drops with something on it: nothing is counted.
    pub(crate) fn uncounted(&self, depth: u32) -> LocalRing {
        LocalRing::with(&self.options(depth)).unwrap()
    }

    /// A ring that may move.
    pub(crate) fn movable(&self, depth: u32) -> Ring {
        Ring::with(&self.options(depth)).unwrap()
    }

    /// The rung that was asked for.
    pub(crate) fn forced(&self) -> Option<Rung> {
        self.rung
    }

    /// How long a polling thread waits before it falls asleep.
    pub(crate) fn idle(&self) -> Option<Duration> {
        self.sqpoll
    }

    /// Both ends of a stream: one for operations of the ring, one for the test.
    pub(crate) fn stream(&self, _ring: &Core) -> (Fd, Peer) {
        let (near, far) = UnixStream::pair().unwrap();
        (Fd::Real(Arc::new(near.into())), Peer::Real(far))
    }

    /// A file with this content.
    pub(crate) fn file(&self, _ring: &Core, content: &[u8]) -> Fd {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        Fd::Real(Arc::new(File::into(file)))
    }
}

/// A descriptor of the world that the carrier lives in. The same file however often it is cloned.
#[derive(Clone, Debug)]
pub(crate) enum Fd {
    /// One of this process.
    Real(Arc<OwnedFd>),
}

impl Fd {
    /// How many clones there are, those owned by operations too.
    pub(crate) fn owners(&self) -> usize {
        match self {
            Self::Real(fd) => Arc::strong_count(fd),
        }
    }
}

impl IoFd for Fd {
    fn target(&self) -> Target {
        match self {
            Self::Real(fd) => Target::Fd(fd.as_raw_fd()),
        }
    }
}

impl AsFd for Fd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Real(fd) => fd.as_fd(),
        }
    }
}

/// The test's end of a stream.
#[derive(Debug)]
pub(crate) enum Peer {
    /// A socket of this process.
    Real(UnixStream),
}

impl Peer {
    /// Writes all of it. For amounts that fit the stream.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        match self {
            Self::Real(stream) => stream.write_all(bytes).unwrap(),
        }
    }

    /// Whether nobody holds the other end any more.
    pub(crate) fn is_hung_up(&mut self) -> bool {
        match self {
            Self::Real(stream) => {
                stream.set_read_timeout(Some(LONG)).unwrap();
                matches!(stream.read(&mut [0; 1]), Ok(0))
            }
        }
    }

    /// Reads exactly so many bytes.
    pub(crate) fn read(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        match self {
            Self::Real(stream) => stream.read_exact(&mut bytes).unwrap(),
        }
        bytes
    }
}

/// Runs one operation to its end.
pub(crate) fn done<O: Operation>(ring: &Core, op: O) -> O::Output {
    let token = ring.submit(op).unwrap_or_else(|rejected| panic!("{rejected}"));
    ring.finish(token, LONG)
        .unwrap_or_else(|(_, error)| panic!("{error}"))
}

/// Turns the ring until a future is done, without help from any other descriptor.
pub(crate) fn finished<F: Future>(ring: &Core, future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..1000 {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        ring.wait(1, Duration::from_millis(50)).unwrap();
    }
    panic!("the future never ended");
}

/// Submits with a callback; where there is no room, waits as the error says and tries again.
pub(crate) fn insist<O: Operation>(ring: &LocalRing, op: O, then: impl FnOnce(O::Output) + 'static) {
    let (mut op, mut then) = (op, then);
    for _ in 0..10_000 {
        match ring.submit_with(op, then) {
            Ok(_) => return,
            Err(rejected) => {
                assert_eq!(rejected.error.kind(), ErrorKind::WouldBlock);
                (op, then) = rejected.op;
                ring.wait(1, Duration::from_millis(1)).unwrap();
            }
        }
    }
    panic!("the ring never had room");
}

/// Waits until the ring holds nothing.
pub(crate) fn settle(ring: &Core) {
    let mut rounds = 0;
    while ring.held() > 0 {
        rounds += 1;
        assert!(rounds < 1000, "{} operations never completed", ring.held());
        ring.wait(1, Duration::from_millis(50)).unwrap();
    }
}

/// Bytes that tell their place.
pub(crate) fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|i| (i / 7) as u8 ^ i as u8).collect()
}
