//! Runs a program on a simulated ring, and compares everything that comes back with the model.

use crate::loan::{Arena, Loan};
use crate::model::{Disk, Fd, Leases, REGION, REGIONS, Stream, byte_at, is_ordinary};
use crate::program::{Random, Step, Style};
use std::collections::HashSet;
use std::future::Future;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use uring_core::buffer::{BufGroup, Lease};
use uring_core::op::{Accept, Close, Nop, Open, Raw, Read, RecvLeased, Send, Timeout, Within, Write};
use uring_core::sim::{Fault, Simulation};
use uring_core::{Core, Error, ErrorKind, LocalRing, OpId, Operation, Ring, abi};

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
    /// The kernel sends completions twice and loses those that find the queue full: this one is planted below the ring.
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

/// What an operation was to do.
#[derive(Clone, Copy, Debug)]
enum Kind {
    WriteFile { region: usize, data: [u8; REGION] },
    ReadFile { region: usize },
    WriteStream { number: u64 },
    ReadStream { number: u64 },
    Nop,
    Timeout { until: Duration },
}

#[derive(Clone, Copy, Debug)]
struct Live {
    serial: u64,
    kind: Kind,
    id: Option<OpId>,
    /// A cancellation may have hit it: asked for, bounded, or by descriptor.
    cancelled: bool,
}

/// What came back.
struct Got {
    at: usize,
    serial: u64,
    result: Result<usize, Error>,
    loan: Option<Loan>,
}

type Inbox = Arc<Mutex<Vec<Got>>>;
type Flying<'r> = (
    usize,
    Pin<Box<dyn Future<Output = (Result<usize, Error>, Loan)> + 'r>>,
);
type Transfer<O> = fn(O) -> Loan;

/// What a multishot or single receive brought.
type Received = Arc<Mutex<Vec<(Result<Option<Lease>, Error>, bool)>>>;
type Accepted = Arc<Mutex<Vec<(Result<OwnedFd, Error>, bool)>>>;
type Files = Arc<Mutex<Vec<Result<(), Error>>>>;

pub(crate) struct World<'r> {
    ring: &'r Any,
    simulation: Simulation,
    arena: Arc<Arena>,
    group: &'r BufGroup,
    stuck: bool,
    plant: Option<Plant>,
    plants_left: u32,
    alias: Option<(u64, u32)>,
    disk: Disk,
    stream: Stream,
    /// Written to by the test itself, received from by lease.
    feed: Stream,
    receiving: bool,
    received: Received,
    leases: Leases<Lease>,
    listener: Arc<UnixListener>,
    address: std::os::unix::net::SocketAddr,
    clients: Vec<UnixStream>,
    accepting: bool,
    accepted: Accepted,
    opens: u64,
    opened: Files,
    ops: Vec<Option<Live>>,
    vacant: Vec<usize>,
    live: usize,
    by_slot: Vec<Option<usize>>,
    gone: HashSet<OpId>,
    futures: Vec<Flying<'r>>,
    inbox: Inbox,
    forgotten: usize,
    serial: u64,
    stalls: u32,
    random: Random,
    pub(crate) steps_done: usize,
}

type Checked = Result<(), String>;

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

    // --- submitting -----------------------------------------------------------------------------------------------

    fn begin(&mut self, kind: Kind, cancelled: bool) -> (usize, u64) {
        self.serial += 1;
        let live = Live {
            serial: self.serial,
            kind,
            id: None,
            cancelled,
        };
        self.live += 1;
        match self.vacant.pop() {
            Some(at) => {
                self.ops[at] = Some(live);
                (at, self.serial)
            }
            None => {
                self.ops.push(Some(live));
                (self.ops.len() - 1, self.serial)
            }
        }
    }

    fn end(&mut self, at: usize) -> Option<Live> {
        let live = self.ops[at].take()?;
        self.vacant.push(at);
        self.live -= 1;
        if let Some(id) = live.id {
            self.by_slot[id.slot()] = self.by_slot[id.slot()].filter(|&a| a != at);
        }
        Some(live)
    }

    fn name(&mut self, at: usize, id: OpId) {
        if self.by_slot.len() <= id.slot() {
            self.by_slot.resize(id.slot() + 1, None);
        }
        self.by_slot[id.slot()] = Some(at);
        self.ops[at].as_mut().expect("just begun").id = Some(id);
    }

    /// Submits a transfer in any style; a rejected one must give its very buffer back.
    fn launch<O>(&mut self, kind: Kind, op: O, back: Transfer<O>, style: Style, cancelled: bool) -> Checked
    where
        O: Operation<Output = (Result<usize, Error>, Loan)>,
    {
        let (at, serial) = self.begin(kind, cancelled);
        let rejected = match style {
            Style::Token => match self.ring.submit(op) {
                Ok(token) => {
                    self.name(at, token.id());
                    return Ok(());
                }
                Err(rejected) => (back(rejected.op), rejected.error),
            },
            Style::Callback => {
                let inbox = Arc::clone(&self.inbox);
                let then = move |(result, loan): (Result<usize, Error>, Loan)| {
                    inbox.lock().unwrap().push(Got {
                        at,
                        serial,
                        result,
                        loan: Some(loan),
                    });
                };
                match submit!(self.ring, submit_with, op, then) {
                    Ok(id) => {
                        self.name(at, id);
                        return Ok(());
                    }
                    Err(rejected) => (back(rejected.op.0), rejected.error),
                }
            }
            Style::Future => {
                let mut future = Box::pin(self.ring.run(op));
                let mut cx = Context::from_waker(Waker::noop());
                match future.as_mut().poll(&mut cx) {
                    Poll::Pending => {
                        self.futures.push((at, future));
                        return Ok(());
                    }
                    Poll::Ready((result, loan)) => match result {
                        Err(error) => (loan, error),
                        Ok(_) => return Err("a future was ready before it was submitted".into()),
                    },
                }
            }
        };
        let (loan, error) = rejected;
        self.stalls += 1;
        let live = self.end(at).expect("just begun");
        self.release(live.kind, false);
        if error.kind() != ErrorKind::WouldBlock {
            return Err(format!("rejected with {error:?}"));
        }
        if let Kind::WriteFile { data, .. } = live.kind
            && loan.bytes() != data
        {
            return Err("another buffer came back with the rejected submission".into());
        }
        if self.plant == Some(Plant::FreedOnFullQueue) && matches!(live.kind, Kind::ReadFile { .. }) {
            self.alias = Some((loan.bytes().as_ptr() as u64, REGION as u32));
        }
        Ok(())
    }

    /// Lets go of what an operation had of the model; an orphan of unknown fate leaves doubt behind.
    fn release(&mut self, kind: Kind, orphaned: bool) {
        match kind {
            Kind::WriteFile { region, data } => {
                let region = &mut self.disk.regions[region];
                if orphaned {
                    region.maybe = Some(data);
                } else {
                    region.writing = false;
                }
            }
            Kind::ReadFile { region } => {
                if !orphaned {
                    self.disk.regions[region].readers -= 1;
                }
            }
            Kind::WriteStream { number } | Kind::ReadStream { number } if number != self.stream.number => {}
            // How much an orphan moved is not known: the stream is given up.
            Kind::WriteStream { number } | Kind::ReadStream { number } if orphaned => {
                self.stream = Stream::new(number + 1);
            }
            Kind::WriteStream { .. } => self.stream.writing = false,
            Kind::ReadStream { .. } => self.stream.reading = false,
            Kind::Nop | Kind::Timeout { .. } => {}
        }
    }

    fn write_file(&mut self, region: usize, style: Style) -> Checked {
        let part = &mut self.disk.regions[region];
        if part.writing || part.readers > 0 || part.maybe.is_some() {
            return Ok(());
        }
        part.writing = true;
        let mut loan = self.arena.lend(REGION);
        let first = self.random.next();
        for (i, byte) in loan.bytes_mut().iter_mut().enumerate() {
            *byte = (first >> (i % 8 * 8)) as u8 ^ i as u8;
        }
        let data = loan.bytes().try_into().unwrap();
        let offset = (region * REGION) as u64;
        let op = Write::new(Arc::clone(&self.disk.file), loan).at(offset);
        let kind = Kind::WriteFile { region, data };
        self.launch(kind, op, |op| op.into_parts().0, style, false)
    }

    fn read_file(&mut self, region: usize, style: Style, bound_us: Option<u16>) -> Checked {
        let part = &mut self.disk.regions[region];
        if part.writing || part.maybe.is_some() {
            return Ok(());
        }
        part.readers += 1;
        let loan = self.arena.lend(REGION);
        let op = Read::new(Arc::clone(&self.disk.file), loan).at((region * REGION) as u64);
        self.read(Kind::ReadFile { region }, op, style, bound_us)
    }

    fn read(&mut self, kind: Kind, op: Read<Loan, Fd>, style: Style, bound_us: Option<u16>) -> Checked {
        match bound_us {
            None => self.launch(kind, op, |op| op.into_parts().0, style, false),
            Some(limit) => {
                let op = Within::new(Duration::from_micros(u64::from(limit)), op);
                self.launch(kind, op, |op| op.into_inner().into_parts().0, style, true)
            }
        }
    }

    fn write_stream(&mut self, len: u8, style: Style) -> Checked {
        if std::mem::replace(&mut self.stream.writing, true) {
            return Ok(());
        }
        let mut loan = self.arena.lend(usize::from(len));
        let start = self.stream.written;
        for (byte, at) in loan.bytes_mut().iter_mut().zip(start..) {
            *byte = byte_at(at);
        }
        // Counted at once, since a reader may see the bytes before the writer sees its completion.
        self.stream.written += u64::from(len);
        let zero_copy = len.is_multiple_of(4);
        let op = Send::new(Arc::clone(&self.stream.to), loan);
        let op = if zero_copy { op.zero_copy() } else { op };
        let kind = Kind::WriteStream {
            number: self.stream.number,
        };
        let before = self.stalls;
        let done = self.launch(kind, op, |op| op.into_parts().0, style, false);
        if self.stalls > before {
            self.stream.written -= u64::from(len);
        }
        done
    }

    fn read_stream(&mut self, len: u8, style: Style, bound_us: Option<u16>) -> Checked {
        if std::mem::replace(&mut self.stream.reading, true) {
            return Ok(());
        }
        let loan = self.arena.lend(usize::from(len));
        let op = Read::new(Arc::clone(&self.stream.from), loan);
        let kind = Kind::ReadStream {
            number: self.stream.number,
        };
        self.read(kind, op, style, bound_us)
    }

    fn feed_bytes(&mut self, len: u8) -> Checked {
        let bytes: Vec<u8> = (self.feed.written..)
            .take(usize::from(len))
            .map(byte_at)
            .collect();
        // SAFETY: reads so many bytes at most.
        let sent = unsafe {
            libc::send(
                self.feed.to.as_raw_fd(),
                bytes.as_ptr().cast(),
                bytes.len(),
                libc::MSG_DONTWAIT,
            )
        };
        self.feed.written += u64::try_from(sent).unwrap_or(0);
        Ok(())
    }

    fn receive(&mut self, again: bool) -> Checked {
        if self.receiving {
            return Ok(());
        }
        let inbox = Arc::clone(&self.received);
        let op = RecvLeased::new(Arc::clone(&self.feed.from), self.group);
        let submitted = if again {
            let each = move |item, more| inbox.lock().unwrap().push((item, more));
            submit!(self.ring, submit_each, op.multishot(), each).is_ok()
        } else {
            let then = move |item| inbox.lock().unwrap().push((item, false));
            submit!(self.ring, submit_with, op, then).is_ok()
        };
        self.receiving = submitted;
        Ok(())
    }

    fn connect(&mut self) -> Checked {
        if self.clients.len() < 8
            && let Ok(client) = UnixStream::connect_addr(&self.address)
        {
            self.clients.push(client);
        }
        Ok(())
    }

    fn accept(&mut self, again: bool) -> Checked {
        if self.accepting {
            return Ok(());
        }
        let inbox = Arc::clone(&self.accepted);
        let op = Accept::new(Arc::clone(&self.listener));
        let submitted = if again {
            let each = move |item, more| inbox.lock().unwrap().push((item, more));
            submit!(self.ring, submit_each, op.multishot(), each).is_ok()
        } else {
            let then = move |item| inbox.lock().unwrap().push((item, false));
            submit!(self.ring, submit_with, op, then).is_ok()
        };
        self.accepting = submitted;
        Ok(())
    }

    fn open(&mut self) -> Checked {
        let inbox = Arc::clone(&self.opened);
        let op = Open::new("/dev/null", libc::O_RDWR).unwrap();
        let submitted = submit!(self.ring, submit_with, op, move |file: Result<
            std::fs::File,
            Error,
        >| {
            inbox.lock().unwrap().push(file.map(drop));
        });
        self.opens += u64::from(submitted.is_ok());
        Ok(())
    }

    fn close(&mut self) -> Checked {
        let inbox = Arc::clone(&self.opened);
        let op = Close::new(self.disk.file.try_clone().unwrap());
        let submitted = submit!(self.ring, submit_with, op, move |closed: Result<(), Error>| {
            inbox.lock().unwrap().push(closed);
        });
        self.opens += u64::from(submitted.is_ok());
        Ok(())
    }

    fn nop(&mut self) -> Checked {
        let (at, _) = self.begin(Kind::Nop, false);
        match self.ring.submit(Nop::new()) {
            Ok(token) => self.name(at, token.id()),
            Err(_) => drop(self.end(at)),
        }
        Ok(())
    }

    fn timeout(&mut self, micros: u16) -> Checked {
        let time = Duration::from_micros(u64::from(micros));
        let until = self.simulation.now() + time;
        let (at, _) = self.begin(Kind::Timeout { until }, false);
        match self.ring.submit(Timeout::after(time)) {
            Ok(token) => self.name(at, token.id()),
            Err(_) => drop(self.end(at)),
        }
        Ok(())
    }

    // --- letting go -----------------------------------------------------------------------------------------------

    fn pick(&self, pick: u16) -> Option<usize> {
        let slots = self.by_slot.len();
        if slots == 0 {
            return None;
        }
        self.by_slot[usize::from(pick) % slots]
    }

    fn cancel(&mut self, pick: u16) -> Checked {
        if let Some(&stale) = self.gone.iter().next() {
            match self.ring.cancel(stale) {
                Err(error) if error.kind() == ErrorKind::Stale => {}
                other => return Err(format!("a stale handle was taken for a live one: {other:?}")),
            }
        }
        let Some(at) = self.pick(pick) else { return Ok(()) };
        let Some(live) = self.ops[at].as_mut() else {
            return Ok(());
        };
        if self.ring.cancel(live.id.expect("named")).is_ok() {
            live.cancelled = true;
        }
        Ok(())
    }

    fn cancel_all(&mut self) -> Checked {
        self.ring.cancel_all().map_err(|e| e.to_string())?;
        self.ops
            .iter_mut()
            .flatten()
            .for_each(|live| live.cancelled = true);
        Ok(())
    }

    fn cancel_file(&mut self) -> Checked {
        use std::os::fd::AsFd;
        let done = self.ring.cancel_fd(self.disk.file.as_fd());
        done.map_err(|e| e.to_string())?;
        for live in self.ops.iter_mut().flatten() {
            if matches!(live.kind, Kind::WriteFile { .. } | Kind::ReadFile { .. }) {
                live.cancelled = true;
            }
        }
        Ok(())
    }

    /// Lets go of a token or callback by its handle.
    fn abandon(&mut self, pick: u16) -> Checked {
        let Some(at) = self.pick(pick) else { return Ok(()) };
        let Some(live) = self.ops[at] else { return Ok(()) };
        let id = live.id.expect("named");
        if self.inbox.lock().unwrap().iter().any(|got| got.at == at) {
            return Ok(());
        }
        if self.ring.abandon(id).is_ok() {
            self.end(at);
            self.release(live.kind, true);
        }
        Ok(())
    }

    fn drop_future(&mut self, pick: u16) -> Checked {
        if self.futures.is_empty() {
            return Ok(());
        }
        let which = usize::from(pick) % self.futures.len();
        let (at, future) = self.futures.swap_remove(which);
        drop(future);
        let live = self.end(at).ok_or("a future without its operation")?;
        self.release(live.kind, true);
        Ok(())
    }

    /// A forgotten future holds its slot for as long as the ring lives, so only one is.
    fn forget(&mut self) -> Checked {
        if self.forgotten > 0 || self.stuck {
            return Ok(());
        }
        if let Some((at, future)) = self.futures.pop() {
            std::mem::forget(future);
            self.forgotten += 1;
            let live = self.end(at).ok_or("a future without its operation")?;
            self.release(live.kind, true);
        }
        Ok(())
    }

    // --- what comes back ------------------------------------------------------------------------------------------

    fn plants(&mut self, plant: Plant) -> bool {
        let here = self.plant == Some(plant) && self.plants_left > 0 && self.random.below(16) == 0;
        self.plants_left -= u32::from(here);
        here
    }

    fn turn(&mut self, want: usize, timeout: Duration) -> Checked {
        if let Err(error) = self.ring.wait(want, timeout)
            && !error.is_retryable()
        {
            return Err(format!("a wait failed: {error:?}"));
        }
        self.plant_alias();
        self.reap()?;
        self.look_at_futures()?;
        let inbox = std::mem::take(&mut *self.inbox.lock().unwrap());
        for got in inbox {
            self.came(got)?;
        }
        self.look_at_received()?;
        self.look_at_accepted()?;
        self.look_at_files()
    }

    fn reap(&mut self) -> Checked {
        let mut came = Vec::new();
        let mut unknown = None;
        self.ring.reap(|done| {
            let id = done.id();
            let done = match done.take::<Nop>() {
                Ok(ended) => return came.push((id, ended.map(|()| 0), None)),
                Err(done) => done,
            };
            let done = match done.take::<Timeout>() {
                Ok(ended) => return came.push((id, ended.map(|()| 0), None)),
                Err(done) => done,
            };
            let done = match done.take::<Read<Loan, Fd>>() {
                Ok((result, loan)) => return came.push((id, result, Some(loan))),
                Err(done) => done,
            };
            let done = match done.take::<Write<Loan, Fd>>() {
                Ok((result, loan)) => return came.push((id, result, Some(loan))),
                Err(done) => done,
            };
            let done = match done.take::<Send<Loan, Fd>>() {
                Ok((result, loan)) => return came.push((id, result, Some(loan))),
                Err(done) => done,
            };
            match done.take::<Within<Read<Loan, Fd>>>() {
                Ok((result, loan)) => came.push((id, result, Some(loan))),
                // The planted alias, or nothing that was submitted.
                Err(done) => unknown = done.take::<Raw<()>>().is_err().then_some(id).or(unknown),
            }
        });
        if let Some(id) = unknown {
            return Err(format!("{id:?} is of no type that was submitted"));
        }
        for (id, result, loan) in came {
            if self.plants(Plant::LostCompletion) {
                continue;
            }
            let twice = self.plants(Plant::DoubleCompletion);
            let at = self.by_slot.get(id.slot()).copied().flatten();
            let wrong = self.plants(Plant::WrongGeneration);
            let other = self.by_slot.iter().flatten().copied().find(|&a| Some(a) != at);
            let at = if wrong { other.or(at) } else { at };
            let Some((at, live)) = at.and_then(|at| Some((at, self.ops[at]?))) else {
                return Err(format!("{id:?} completed, and nobody waits for it"));
            };
            if live.id != Some(id) && !wrong {
                return Err(format!("{id:?} completed in the place of {:?}", live.id));
            }
            self.gone.insert(id);
            if self.gone.len() > 64 {
                self.gone.clear();
            }
            let serial = live.serial;
            self.came(Got {
                at,
                serial,
                result,
                loan,
            })?;
            if twice {
                self.came(Got {
                    at,
                    serial,
                    result,
                    loan: None,
                })?;
            }
        }
        Ok(())
    }

    fn look_at_futures(&mut self) -> Checked {
        let mut cx = Context::from_waker(Waker::noop());
        let mut ended = Vec::new();
        self.futures
            .retain_mut(|(at, future)| match future.as_mut().poll(&mut cx) {
                Poll::Pending => true,
                Poll::Ready(output) => {
                    ended.push((*at, output));
                    false
                }
            });
        for (at, (result, loan)) in ended {
            let serial = self.ops[at].ok_or("a future without its operation")?.serial;
            self.came(Got {
                at,
                serial,
                result,
                loan: Some(loan),
            })?;
        }
        Ok(())
    }

    /// One operation ended: it was alive, it is the one, and the model agrees.
    fn came(&mut self, got: Got) -> Checked {
        let Some(live) = self.end(got.at).filter(|live| live.serial == got.serial) else {
            return Err("an operation ended twice".into());
        };
        if let Err(error) = got.result {
            // The other end of a stream that was given up is closed.
            let given_up = matches!(live.kind, Kind::WriteStream { number } | Kind::ReadStream { number }
                if number != self.stream.number);
            let allowed = is_ordinary(error) || (error.is_cancelled() && live.cancelled) || given_up;
            if !allowed {
                return Err(format!(
                    "{:?} ended with {error:?}, which nothing explains",
                    live.kind
                ));
            }
        }
        match (live.kind, got.result, &got.loan) {
            (Kind::Nop, Ok(_), None) => {}
            (Kind::Timeout { until }, Ok(_), None) => {
                if self.simulation.now() < until {
                    return Err("a timeout came too early".into());
                }
            }
            (Kind::WriteFile { region, data }, Ok(n), Some(loan)) => {
                if loan.bytes() != data {
                    return Err("another buffer came back from a write".into());
                }
                self.disk.regions[region].content[..n].copy_from_slice(&data[..n]);
            }
            (Kind::ReadFile { region }, Ok(n), Some(loan)) => {
                let want = &self.disk.regions[region].content[..n];
                if n == 0 || loan.bytes()[..n] != *want {
                    return Err(format!(
                        "region {region} read as {:?}, not {want:?}",
                        loan.bytes()
                    ));
                }
            }
            (Kind::WriteStream { number }, result, Some(loan)) => {
                // What was not taken is written again from there.
                if number == self.stream.number {
                    self.stream.written -= (loan.bytes().len() - result.unwrap_or(0)) as u64;
                }
            }
            (Kind::ReadStream { number }, Ok(n), Some(loan)) => {
                if number == self.stream.number {
                    self.stream.came(&loan.bytes()[..n])?;
                }
            }
            (_, Err(_), _) => {}
            (kind, result, _) => return Err(format!("{kind:?} gave {result:?}")),
        }
        self.release(live.kind, false);
        Ok(())
    }

    fn look_at_received(&mut self) -> Checked {
        let received = std::mem::take(&mut *self.received.lock().unwrap());
        for (item, more) in received {
            match item {
                Ok(Some(lease)) => {
                    self.feed.came(&lease)?;
                    let bytes = lease.to_vec();
                    self.leases.held.push_back((lease, bytes));
                }
                Ok(None) => return Err("the feed ended".into()),
                Err(error) if is_ordinary(error) || error.is_cancelled() => {}
                Err(error) => return Err(format!("a receive failed: {error:?}")),
            }
            self.receiving &= more;
        }
        Ok(())
    }

    fn look_at_accepted(&mut self) -> Checked {
        let accepted = std::mem::take(&mut *self.accepted.lock().unwrap());
        for (item, more) in accepted {
            match item {
                // Closed at once, and its client too, so that numbers are used again.
                Ok(_) => drop(self.clients.pop()),
                Err(error) if is_ordinary(error) || error.is_cancelled() => {}
                Err(error) => return Err(format!("an accept failed: {error:?}")),
            }
            self.accepting &= more;
        }
        Ok(())
    }

    fn look_at_files(&mut self) -> Checked {
        let opened = std::mem::take(&mut *self.opened.lock().unwrap());
        self.opens -= opened.len() as u64;
        match opened
            .into_iter()
            .flat_map(Result::err)
            .find(|e| !is_ordinary(*e) && !e.is_cancelled())
        {
            Some(error) => Err(format!("an open or close failed: {error:?}")),
            None => Ok(()),
        }
    }

    /// Queues the entry whose buffer went back already.
    fn plant_alias(&mut self) {
        let early = self.plant == Some(Plant::EarlyHandBack) && self.plants_left > 0;
        if early && self.alias.is_none() {
            self.plants_left -= 1;
            let loan = self.arena.lend(REGION);
            self.alias = Some((loan.bytes().as_ptr() as u64, REGION as u32));
        }
        if let Some((addr, len)) = self.alias.take() {
            let entry = abi::Sqe {
                addr,
                len,
                ..abi::Sqe::new(abi::code::READ, self.disk.file.as_raw_fd())
            };
            // SAFETY: planted: the memory is the arena's, which never frees it, but it is no longer this entry's.
            let _ = self.ring.submit(unsafe { Raw::new(entry, ()) });
        }
    }

    /// Ends everything, within a bounded number of waits, and compares all that can be compared.
    fn quiesce(&mut self) -> Checked {
        self.cancel_all()?;
        let stuck = |world: &Self| world.simulation.report().count(Fault::Stuck) as usize;
        let mut rounds = 0;
        // What was forgotten keeps its slot, but is over in the kernel.
        let in_kernel = |world: &Self| {
            let counts = world.ring.stats().counts();
            (counts.submitted - counts.completed) as usize
        };
        while self.ring.held() > self.forgotten + stuck(self) || in_kernel(self) > stuck(self) {
            self.turn(1, Duration::from_millis(200))?;
            rounds += 1;
            if rounds > 2000 {
                return Err(format!(
                    "{} operations never end, {} may",
                    self.ring.held(),
                    self.forgotten + stuck(self)
                ));
            }
        }
        // Completions that nobody waits for may still lie about.
        let doubled = |world: &Self| world.simulation.report().count(Fault::Duplicate);
        for _ in 0..200 {
            self.turn(0, Duration::ZERO)?;
            if self.ring.stats().counts().stale == doubled(self) {
                break;
            }
        }
        let stale = self.ring.stats().counts().stale;
        if stale != doubled(self) {
            return Err(format!("{stale} stale completions, {} doubled", doubled(self)));
        }
        if !self.stuck && self.live > 0 {
            let lost: Vec<_> = self.ops.iter().flatten().collect();
            return Err(format!("never completed: {lost:?}"));
        }
        if !self.stuck && (self.receiving || self.accepting || self.opens > 0) {
            return Err("a receive, accept, open or close never completed".into());
        }
        let violations = self.simulation.report().violations;
        if violations > 0 {
            return Err(format!("{violations} times memory in flight was touched"));
        }
        if !self.stuck {
            for region in &mut self.disk.regions {
                (region.readers, region.writing) = (0, false);
            }
        }
        self.disk.compare()?;
        let (_, corrupt) = self.arena.audit();
        if corrupt > 0 {
            return Err(format!("{corrupt} buffers were written after they came back"));
        }
        Ok(())
    }
}
