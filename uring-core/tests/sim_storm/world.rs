//! Runs a program on a simulated ring, and compares everything that comes back with the model.

use crate::loan::{Arena, Loan};
use crate::model::{Disk, Leases, REGION, REGIONS, Stream};
use crate::program::{Random, Step};
use std::collections::HashSet;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use uring_core::buffer::{BufGroup, Lease};
use uring_core::sim::Simulation;
use uring_core::{Core, Error, LocalRing, OpId, Ring};

/// A defect between the ring and the oracle, to see that the oracle tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plant {
    /// The buffer of a submission that finds the queue full is given back, and its entry queued all the same.
    FreedOnFullQueue,
    /// A completion reaches nobody.
    LostCompletion,
    /// A completion reaches the operation that has the slot of another one.
    WrongGeneration,
    /// A completion is handed over twice.
    DoubleCompletion,
    /// A buffer is given back with its operation still in flight.
    EarlyHandBack,
    /// The kernel loses completions that find the queue full: this one is planted below the ring.
    DroppingKernel,
}

/// Either type of ring.
pub(crate) enum Any {
    Local(LocalRing),
    Moving(Ring),
}

impl std::ops::Deref for Any {
    type Target = Core;
    fn deref(&self) -> &Core {
        match self {
            Any::Local(ring) => ring,
            Any::Moving(ring) => ring,
        }
    }
}

macro_rules! submit {
    ($ring:expr, $method:ident, $op:expr, $then:expr) => {{
        let (op, then) = ($op, $then);
        match $ring {
            Any::Local(ring) => ring.$method(op, then),
            Any::Moving(ring) => ring.$method(op, then),
        }
    }};
}

pub(crate) use submit;

/// What an operation was to do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    WriteFile { region: usize, data: [u8; REGION] },
    ReadFile { region: usize },
    WriteStream { number: u64 },
    ReadStream { number: u64 },
    Nop,
    Timeout { until: Duration },
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Live {
    pub(crate) serial: u64,
    pub(crate) kind: Kind,
    pub(crate) id: Option<OpId>,
    /// A cancellation may have hit it: asked for, bounded, or by descriptor.
    pub(crate) cancelled: bool,
}

/// What came back.
pub(crate) struct Got {
    pub(crate) at: usize,
    pub(crate) serial: u64,
    pub(crate) result: Result<usize, Error>,
    pub(crate) loan: Option<Loan>,
}

pub(crate) type Inbox = Arc<Mutex<Vec<Got>>>;
pub(crate) type Flying<'r> = (
    usize,
    Pin<Box<dyn Future<Output = (Result<usize, Error>, Loan)> + 'r>>,
);
pub(crate) type Transfer<O> = fn(O) -> Loan;

/// What a multishot or single receive brought.
pub(crate) type Received = Arc<Mutex<Vec<(Result<Option<Lease>, Error>, bool)>>>;
pub(crate) type Accepted = Arc<Mutex<Vec<(Result<OwnedFd, Error>, bool)>>>;
pub(crate) type Files = Arc<Mutex<Vec<Result<(), Error>>>>;

pub(crate) struct World<'r> {
    pub(crate) ring: &'r Any,
    pub(crate) simulation: Simulation,
    pub(crate) arena: Arc<Arena>,
    pub(crate) group: &'r BufGroup,
    pub(crate) stuck: bool,
    pub(crate) plant: Option<Plant>,
    pub(crate) plants_left: u32,
    pub(crate) alias: Option<(u64, u32)>,
    pub(crate) disk: Disk,
    pub(crate) stream: Stream,
    /// Written to by the test itself, received from by lease.
    pub(crate) feed: Stream,
    pub(crate) receiving: bool,
    pub(crate) received: Received,
    pub(crate) leases: Leases<Lease>,
    pub(crate) listener: Arc<UnixListener>,
    pub(crate) address: std::os::unix::net::SocketAddr,
    pub(crate) clients: Vec<UnixStream>,
    pub(crate) accepting: bool,
    pub(crate) accepted: Accepted,
    pub(crate) opens: u64,
    pub(crate) opened: Files,
    pub(crate) ops: Vec<Option<Live>>,
    pub(crate) vacant: Vec<usize>,
    pub(crate) live: usize,
    pub(crate) by_slot: Vec<Option<usize>>,
    pub(crate) gone: HashSet<OpId>,
    pub(crate) futures: Vec<Flying<'r>>,
    pub(crate) inbox: Inbox,
    pub(crate) forgotten: usize,
    pub(crate) serial: u64,
    pub(crate) stalls: u32,
    pub(crate) random: Random,
    pub(crate) steps_done: usize,
}

pub(crate) type Checked = Result<(), String>;

impl<'r> World<'r> {
    pub(crate) fn new(
        ring: &'r Any,
        simulation: &Simulation,
        arena: &Arc<Arena>,
        group: &'r BufGroup,
        stuck: bool,
        plant: Option<Plant>,
    ) -> Self {
        use std::os::linux::net::SocketAddrExt;
        let name = format!("storm-{}-{:p}", std::process::id(), ring);
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
        Self {
            ring,
            simulation: simulation.clone(),
            arena: Arc::clone(arena),
            group,
            stuck,
            plant,
            plants_left: 3,
            alias: None,
            disk: Disk::new(),
            stream: Stream::new(0),
            feed: Stream::new(0),
            receiving: false,
            received: Received::default(),
            leases: Leases {
                held: Default::default(),
            },
            listener: Arc::new(UnixListener::bind_addr(&address).unwrap()),
            address,
            clients: Vec::new(),
            accepting: false,
            accepted: Accepted::default(),
            opens: 0,
            opened: Files::default(),
            ops: Vec::new(),
            vacant: Vec::new(),
            live: 0,
            by_slot: Vec::new(),
            gone: HashSet::new(),
            futures: Vec::new(),
            inbox: Inbox::default(),
            forgotten: 0,
            serial: 0,
            stalls: 0,
            random: Random(0x0dd5),
            steps_done: 0,
        }
    }

    /// Runs every step, then the end.
    pub(crate) fn run(&mut self, program: &[Step]) -> Checked {
        for step in program {
            self.step(*step)?;
            self.steps_done += 1;
        }
        self.quiesce()
    }

    fn step(&mut self, step: Step) -> Checked {
        match step {
            Step::WriteFile { region, style } => self.write_file(usize::from(region) % REGIONS, style),
            Step::ReadFile {
                region,
                style,
                bound_us,
            } => self.read_file(usize::from(region) % REGIONS, style, bound_us),
            Step::WriteStream { len, style } => self.write_stream(len, style),
            Step::ReadStream { len, style, bound_us } => self.read_stream(len, style, bound_us),
            Step::Feed { len } => self.feed_bytes(len),
            Step::Receive { again } => self.receive(again),
            Step::Connect => self.connect(),
            Step::Accept { again } => self.accept(again),
            Step::Open => self.open(),
            Step::Close => self.close(),
            Step::Nop => self.nop(),
            Step::Timeout { micros } => self.timeout(micros),
            Step::Cancel { pick } => self.cancel(pick),
            Step::CancelAll => self.cancel_all(),
            Step::CancelFile => self.cancel_file(),
            Step::Abandon { pick } => self.abandon(pick),
            Step::DropFuture { pick } => self.drop_future(pick),
            Step::Forget => self.forget(),
            Step::GiveLease => self.leases.give_one(),
            Step::Flush => {
                let _ = self.ring.flush();
                Ok(())
            }
            Step::Wait { want, micros } => {
                self.turn(usize::from(want), Duration::from_micros(u64::from(micros)))
            }
            Step::Quiesce => self.quiesce(),
        }
    }
}
