//! Operations from any thread: each goes to a core's ring and comes back, once, with its buffer.
//!
//! # Where an operation is
//! In the caller's [`Submission`] -> in its [`Ticket`], on the way -> in the ring's table, as [`Carried`] -> over, its output
//! in the ticket.
//!
//! - **O1** the operation is in exactly one of these places, and whoever lets go of it there makes an output of it first: the
//!   mailbox by refusing, the ring on the last completion, the reaper when the kernel is done with what a dropped ring left
//!   behind, and the table when it is dropped with the operation still inside. So each is answered exactly once, on every
//!   path, and what it owns comes back.
//! - **O2** only a ring that the kernel never lets go of keeps an answer back: then the memory may never be touched again.

use super::local::processor;
use super::station::{Errand, Letter, Shared, Station};
use super::{Engine, Inner};
use crate::error::{Error, ErrorKind, Rejected};
use crate::exec::home::Home;
use crate::exec::park::park_on;
use crate::exec::reply::Reply;
use crate::ring::operation::sealed::Sealed;
use crate::ring::{Core, OpId, Operation, Outcome};
use crate::sys::abi::Sqe;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use sync_base::atomic::{AtomicBool, Ordering};
use sync_base::queue::PushError;

/// An operation on its way, and the place for its output.
struct Ticket<O: Operation> {
    op: Mutex<Option<O>>,
    /// Where the ring keeps it, and of which core.
    flying: Mutex<Option<OpId>>,
    /// Its cancellation is on the way.
    unwanted: AtomicBool,
    reply: Reply<O::Output>,
}

impl<O: Operation> Ticket<O> {
    fn new(op: O) -> Arc<Self> {
        Arc::new(Self {
            op: Mutex::new(Some(op)),
            flying: Mutex::new(None),
            unwanted: AtomicBool::new(false),
            reply: Reply::new(),
        })
    }

    fn take(&self) -> Option<O> {
        self.op.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put_back(&self, op: O) {
        *self.op.lock().unwrap_or_else(PoisonError::into_inner) = Some(op);
    }

    /// Ends it with an error if no ring has it yet; whether it did.
    fn end(&self, error: Error) -> bool {
        let op = self.take();
        let here = op.is_some();
        if let Some(op) = op {
            self.answer(op.finish(Outcome::failed(error)));
        }
        here
    }

    fn answer(&self, output: O::Output) {
        let kept = self.reply.keep(output);
        debug_assert!(kept.is_ok(), "O1: an operation is answered once");
    }
}

/// An operation in a ring's table, with the ticket that it answers to.
struct Carried<O: Operation>
where
    O::Output: Send,
{
    op: Option<O>,
    ticket: Arc<Ticket<O>>,
}

impl<O: Operation> Carried<O>
where
    O::Output: Send,
{
    fn op(&mut self) -> &mut O {
        self.op.as_mut().expect("O1: taken out only at its end")
    }

    /// Gives it to a ring. `Err` when that has no room; else it is there, or answered.
    fn launch(core: &Core, ticket: &Arc<Ticket<O>>, op: O) -> Result<(), O> {
        let carried = Self {
            op: Some(op),
            ticket: Arc::clone(ticket),
        };
        match core.submit_then(carried, |()| ()) {
            Ok(id) => {
                *ticket.flying.lock().unwrap_or_else(PoisonError::into_inner) = Some(id);
                core.nudge();
                Ok(())
            }
            Err(rejected) => {
                let mut carried = rejected.op.0;
                let op = carried.op.take().expect("handed back whole");
                if rejected.error.is_retryable() {
                    return Err(op);
                }
                ticket.answer(op.finish(Outcome::failed(rejected.error)));
                Ok(())
            }
        }
    }
}

impl<O: Operation> Drop for Carried<O>
where
    O::Output: Send,
{
    /// Dropped with the operation inside: the kernel is done with it, and nobody knows how it ended.
    fn drop(&mut self) {
        if let Some(op) = self.op.take() {
            let lost = Outcome::failed(Error::of(ErrorKind::Cancelled));
            self.ticket.answer(op.finish(lost));
        }
    }
}

impl<O: Operation> Sealed for Carried<O> where O::Output: Send {}

// SAFETY: everything is the inner operation's own doing, which lies at the same place for as long as this does: within it.
// The output goes to another thread, which its bound allows.
unsafe impl<O: Operation> Operation for Carried<O>
where
    O::Output: Send,
{
    type Output = ();

    const ENTRIES: u32 = O::ENTRIES;

    fn belongs_to(&self, ring: u32) -> bool {
        self.op.as_ref().is_none_or(|op| op.belongs_to(ring))
    }

    fn entry(&mut self) -> Sqe {
        self.op().entry()
    }

    fn linked(&mut self) -> Option<Sqe> {
        self.op().linked()
    }

    fn half_done(&mut self) {
        self.op().half_done();
    }

    fn arrived(&mut self, outcome: Outcome) {
        self.op().arrived(outcome);
    }

    fn finish(mut self, outcome: Outcome) {
        let op = self.op.take().expect("O1: finished once");
        self.ticket.answer(op.finish(outcome));
    }
}

impl<O: Operation> Errand for Ticket<O>
where
    O::Output: Send,
{
    fn run(self: Arc<Self>, home: &Rc<Home>) -> Result<(), Letter> {
        let Some(op) = self.take() else { return Ok(()) };
        match Carried::launch(&home.ring, &self, op) {
            Ok(()) => Ok(()),
            Err(op) => {
                self.put_back(op);
                Err(self)
            }
        }
    }

    fn wants_room(&self) -> bool {
        true
    }

    fn refuse(self: Arc<Self>, error: Error) {
        self.end(error);
    }
}

/// Asks a ring to cancel what a ticket stands for.
struct Cancel<O: Operation>(Arc<Ticket<O>>);

impl<O: Operation> Errand for Cancel<O>
where
    O::Output: Send,
{
    fn run(self: Arc<Self>, home: &Rc<Home>) -> Result<(), Letter> {
        // Relaxed: the locks order what matters; asked once more it is sent once more.
        self.0.unwanted.store(false, Ordering::Relaxed);
        let id = *self.0.flying.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = id {
            // Stale: it is over.
            let _ = home.ring.cancel(id);
        } else {
            // On its way when it was asked: back again, for want of room.
            self.0.end(Error::of(ErrorKind::Cancelled));
        }
        Ok(())
    }

    fn refuse(self: Arc<Self>, _: Error) {}
}

/// Where an operation is to go.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// To the core of the processor that the caller runs on.
    Nearest,
    To(usize),
}

enum Stage<O: Operation> {
    /// There was no room yet.
    Here(O, Engine, Way),
    /// To the core of this number. Does not keep the engine, which answers it when it ends.
    Sent(Arc<Ticket<O>>, Weak<Inner>, usize),
    Over,
}

/// An operation that was given to an engine: a future of its output, or [`wait`](Submission::wait) for it.
///
/// Where there was no room it is still here, and goes when it is polled or waited for. Dropped, an operation that went runs
/// on and its output is dropped with it; one that did not go is dropped. One that went does not keep the engine: when the last
/// handle is dropped it is cancelled and comes back.
#[must_use = "the output comes back through it, and the buffer"]
pub struct Submission<O: Operation> {
    stage: Stage<O>,
}

// Nothing in it is pinned.
impl<O: Operation> Unpin for Submission<O> {}

impl<O: Operation> fmt::Debug for Submission<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Here(..) => "waiting for room",
            Stage::Sent(..) => "sent",
            Stage::Over => "over",
        };
        f.debug_struct("Submission")
            .field("stage", &stage)
            .finish_non_exhaustive()
    }
}

/// What an attempt to send came to.
enum Sent<O: Operation> {
    Gone(Arc<Ticket<O>>, usize),
    /// Full: there.
    Full(O, Shared),
    /// No core takes anything any more.
    Closed(O, ErrorKind),
}

impl Engine {
    /// Gives an operation to the ring of the processor that the caller runs on (on a core's thread: to that core's ring), and
    /// to the next one that runs where that core is paused or gone. From any thread.
    ///
    /// Allocates once. Where the mailbox of that core has no room, the operation goes when the submission is polled or waited
    /// for; [`try_submit`](Engine::try_submit) says so instead.
    ///
    /// ```
    /// use uring_core::{engine::Engine, op::Read};
    /// let engine = Engine::builder().core_count(1).build()?;
    /// let file = std::fs::File::open("/proc/self/exe")?;
    /// let (read, buf) = engine.submit(Read::new(file, vec![0; 4]).at(0)).wait();
    /// assert_eq!((read?, &buf[..]), (4, &b"\x7fELF"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn submit<O: Operation>(&self, op: O) -> Submission<O>
    where
        O::Output: Send,
    {
        self.begin(op, Way::Nearest)
    }

    /// Gives an operation to the ring of one core; as [`submit`](Engine::submit), but to no other.
    ///
    /// An operation for a core that does not exist comes back with [`ErrorKind::InvalidInput`], one for a core that is gone with
    /// [`ErrorKind::Closed`].
    pub fn submit_on<O: Operation>(&self, core: usize, op: O) -> Submission<O>
    where
        O::Output: Send,
    {
        self.begin(op, Way::To(core))
    }

    /// Gives an operation to a ring at once or not at all; as [`submit`](Engine::submit).
    ///
    /// # Errors
    /// The operation comes back: [`ErrorKind::WouldBlock`] when there is no room, [`ErrorKind::Closed`] when no core takes
    /// anything any more.
    pub fn try_submit<O: Operation>(&self, op: O) -> Result<Submission<O>, Rejected<O>>
    where
        O::Output: Send,
    {
        let (op, kind) = match self.send(op, Way::Nearest) {
            Sent::Gone(ticket, core) => {
                return Ok(Submission {
                    stage: Stage::Sent(ticket, Arc::downgrade(&self.inner), core),
                });
            }
            Sent::Full(op, _) => (op, ErrorKind::WouldBlock),
            Sent::Closed(op, kind) => (op, kind),
        };
        let error = Error::of(kind);
        Err(Rejected { op, error })
    }

    fn begin<O: Operation>(&self, op: O, way: Way) -> Submission<O>
    where
        O::Output: Send,
    {
        let stage = match self.send(op, way) {
            Sent::Gone(ticket, core) => Stage::Sent(ticket, Arc::downgrade(&self.inner), core),
            Sent::Full(op, _) | Sent::Closed(op, _) => Stage::Here(op, self.clone(), way),
        };
        Submission { stage }
    }

    fn send<O: Operation>(&self, op: O, way: Way) -> Sent<O>
    where
        O::Output: Send,
    {
        if let Err(error) = self.inner.check() {
            return Sent::Closed(op, error.kind());
        }
        let (ticket, first) = (Ticket::new(op), self.inner.first(way));
        let cores = self.inner.stations.len();
        let candidates = match way {
            Way::Nearest => cores,
            Way::To(_) => usize::from(first < cores),
        };
        // Those that run come first; a paused one takes what nobody else does, and sees to it when it is resumed.
        for paused_too in [false, true] {
            for at in 0..candidates {
                let core = (first + at) % cores;
                let station = self.inner.stations[core].load();
                if !station.takes(paused_too) {
                    continue;
                }
                match offer(&ticket, &station) {
                    Ok(()) => return Sent::Gone(ticket, core),
                    Err(PushError::Full(op)) => {
                        drop(station);
                        return Sent::Full(op, self.inner.stations[core].load_full());
                    }
                    Err(PushError::Closed(op)) => ticket.put_back(op),
                }
            }
        }
        let kind = if first < cores {
            ErrorKind::Closed
        } else {
            ErrorKind::InvalidInput
        };
        Sent::Closed(ticket.take().expect("O1: sent nowhere"), kind)
    }
}

/// Gives what a ticket holds to a core: to its ring where the caller is that core, else to its mailbox. `Full` brings it back
/// out of the ticket.
fn offer<O: Operation>(ticket: &Arc<Ticket<O>>, station: &Station) -> Result<(), PushError<O>>
where
    O::Output: Send,
{
    let take = || ticket.take().expect("O1: not sent yet");
    if Home::is_here(&station.far)
        && let Some(home) = Home::current()
        && !home.is_closing()
    {
        return Carried::launch(&home.ring, ticket, take()).map_err(PushError::Full);
    }
    match station.post(Arc::clone(ticket) as Letter) {
        Ok(()) => Ok(()),
        Err(PushError::Full(_)) => Err(PushError::Full(take())),
        Err(PushError::Closed(_)) => Err(PushError::Closed(take())),
    }
}

impl Inner {
    /// The core to try first.
    fn first(&self, way: Way) -> usize {
        match way {
            Way::To(core) => core,
            Way::Nearest => match self.resident.core_here() {
                Some(core) => core,
                None => self.nearest(processor()),
            },
        }
    }
}

impl<O: Operation> Submission<O>
where
    O::Output: Send,
{
    /// Sleeps until the output is there, in a thread that runs no tasks.
    ///
    /// # Panics
    /// On a core's own thread, which would wait for ever for what it has to do itself: await it there.
    pub fn wait(self) -> O::Output {
        Home::refuse_to_block("Submission::wait");
        park_on(self)
    }

    /// Cancels the operation: at once where it still waits for its turn, and else by asking its ring, upon which it ends as a
    /// rule with [`ErrorKind::Cancelled`]. Does not wait, and needs no room: it overtakes all that waits for the core.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`] when the core is gone, [`ErrorKind::Stale`] when the operation did not go yet, or is over.
    pub fn cancel(&self) -> Result<(), Error> {
        let Stage::Sent(ticket, engine, core) = &self.stage else {
            return Err(Error::of(ErrorKind::Stale));
        };
        if ticket.reply.is_kept() {
            return Err(Error::of(ErrorKind::Stale));
        }
        if ticket.end(Error::of(ErrorKind::Cancelled)) {
            return Ok(());
        }
        let engine = engine.upgrade().ok_or(Error::of(ErrorKind::Closed))?;
        let station = engine.stations[*core].load();
        if !station.takes(true) {
            return Err(Error::of(ErrorKind::Closed));
        }
        // Relaxed: as where it is cleared.
        if !ticket.unwanted.swap(true, Ordering::Relaxed) {
            station.cancel(Arc::new(Cancel(Arc::clone(ticket))));
        }
        Ok(())
    }
}

impl<O: Operation> Future for Submission<O>
where
    O::Output: Send,
{
    type Output = O::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O::Output> {
        let this = self.get_mut();
        // The core at whose door the waker was left. Full there once more, it stands (M2); another's is left it as well.
        let mut told: Option<Shared> = None;
        loop {
            match std::mem::replace(&mut this.stage, Stage::Over) {
                Stage::Here(op, engine, way) => match engine.send(op, way) {
                    Sent::Gone(ticket, core) => {
                        this.stage = Stage::Sent(ticket, Arc::downgrade(&engine.inner), core);
                    }
                    Sent::Full(op, station) => {
                        this.stage = Stage::Here(op, engine, way);
                        if told.as_ref().is_some_and(|told| Shared::ptr_eq(told, &station)) {
                            return Poll::Pending;
                        }
                        station.wait_for_room(cx.waker());
                        told = Some(station);
                    }
                    Sent::Closed(op, kind) => {
                        return Poll::Ready(op.finish(Outcome::failed(Error::of(kind))));
                    }
                },
                Stage::Sent(ticket, engine, core) => {
                    let polled = ticket.reply.poll(cx);
                    if polled.is_pending() {
                        this.stage = Stage::Sent(ticket, engine, core);
                    }
                    return polled;
                }
                Stage::Over => panic!("a finished submission was polled again"),
            }
        }
    }
}

impl Station {
    /// Whether messages may be left here.
    fn takes(&self, paused_too: bool) -> bool {
        use super::info::CoreState::{Paused, Running};
        match self.state() {
            Running => true,
            Paused => paused_too,
            _ => false,
        }
    }

    /// Names whom to wake when the mailbox may have room, or on the core's own thread its ring.
    pub(crate) fn wait_for_room(&self, waker: &Waker) {
        match Home::current() {
            Some(home) if Home::is_here(&self.far) => home.ring.wait_for_room(waker),
            _ => self.mailbox.wait_for_room(waker),
        }
    }
}
