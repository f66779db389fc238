//! The window itself, between callers and their ring.
//!
//! What it knows lives in the ring, as its observer, so that it goes where the ring goes and ends with it; a [`Window`] is
//! the way to it. Nothing of it is borrowed while a waker, a closure or a future of the caller's runs.

use super::gate::{Gate, Ticket};
use super::governor::Governor;
use super::options::WindowOptions;
use super::stats::{Publisher, WindowHandle};
use crate::error::{Error, ErrorKind, SetupError};
use crate::ring::{Flight, Observer, Operation, Outcome, RingRef, Seen};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Looks at the completion queue in a row without finding anything, after which a spinning wait goes to sleep: some hundreds
/// of microseconds, more than lies between the completions of a busy device.
const SPINS: u32 = 20_000;

/// All that changes, in the ring's keeping.
struct Pacer {
    state: RefCell<State>,
    /// Kept for its allocation.
    woken: Cell<Vec<Waker>>,
}

struct State {
    gate: Gate,
    governor: Governor,
    publisher: Publisher,
    /// Somebody was refused a place since the last reap.
    wanting: bool,
    /// When the caller of the operation in each slot began to wait; 0 where it did not.
    since_ns: Box<[u64]>,
}

impl State {
    fn backlog(&self) -> bool {
        self.wanting || self.gate.waiting() > 0
    }

    fn publish(&mut self) {
        let brain = self.governor.brain();
        let now = &mut self.publisher.now;
        let window = i64::from(self.governor.window());
        now.moves += u64::from(now.window != window);
        now.window = window;
        now.in_flight = i64::from(self.gate.held());
        now.waiting = i64::from(self.gate.waiting());
        now.target_p99_ns = brain
            .target_ns()
            .map_or(0, |ns| i64::try_from(ns).unwrap_or(i64::MAX));
        now.target_unreachable = i64::from(brain.target_unreachable());
        now.settled = i64::from(brain.has_settled());
        now.cached = i64::from(self.governor.is_cached());
        now.spinning = i64::from(self.governor.spins());
        self.publisher.publish();
    }
}

impl Pacer {
    /// Changes the state, and then wakes whoever that gave a place.
    fn change<T>(&self, change: impl FnOnce(&mut State, &mut Vec<Waker>) -> T) -> T {
        let mut woken = self.woken.take();
        let given = change(&mut self.state.borrow_mut(), &mut woken);
        let mut panic = None;
        for waker in woken.drain(..) {
            // A waker that panics keeps no other from being woken, or its place would be lost.
            if let Err(first) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
                panic.get_or_insert(first);
            }
        }
        self.woken.set(woken);
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
        given
    }
}

impl Observer for Pacer {
    fn reaped(&self, seen: &[Seen]) {
        self.change(|state, woken| {
            let backlog = state.backlog();
            state.wanting = false;
            state.governor.reaped(seen, state.gate.held(), backlog);
            for seen in seen {
                let since = &mut state.since_ns[seen.slot as usize];
                let began = match std::mem::take(since) {
                    0 => seen.started_ns,
                    since => since,
                };
                state.publisher.caller(seen.now_ns.saturating_sub(began));
            }
            state.gate.release(seen.len() as u32, woken);
            state.gate.allow(state.governor.window(), woken);
            state.publish();
        });
    }
}

/// Limits what is in flight on a ring to what its device can use.
///
/// Take the ring as `&LocalRing`, `&Ring`, an `Rc` of either, or by value. A ring has one window, for good; clones of an
/// `Rc<Window<_>>` share it.
///
/// ```
/// use uring_core::{LocalRing, op::Read, pace::{Window, WindowOptions}};
/// let ring = LocalRing::new()?;
/// let window = Window::new(&ring, &WindowOptions::new())?;
/// let file = std::sync::Arc::new(std::fs::File::open("/proc/self/exe")?);
/// let (read, buf) = ring.block_on(window.run(Read::new(file, vec![0; 4096]).at(0)))?;
/// assert_eq!((read?, &buf[..4]), (4096, &b"\x7fELF"[..]));
/// assert_eq!(window.handle().stats().admitted, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
/// Callbacks and tokens go in through [`enter`](Self::enter):
/// ```
/// use std::time::Duration;
/// use uring_core::{LocalRing, op::Nop, pace::{Control, Window, WindowOptions}};
/// let ring = LocalRing::new()?;
/// let window = Window::new(&ring, &WindowOptions::new().control(Control::Fixed(1)))?;
/// assert!(window.enter(|| ring.submit_with(Nop::new(), |_| ())).is_some());
/// assert!(window.enter(|| ring.submit(Nop::new())).is_none(), "there is one place, and it is taken");
/// window.wait(Duration::from_secs(1))?;
/// assert!(window.enter(|| ring.submit(Nop::new())).is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Window<R> {
    ring: R,
}

impl<R: RingRef> fmt::Debug for Window<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Window")
            .field("ring", self.ring.core())
            .field("stats", &self.handle().stats())
            .finish()
    }
}

impl<R: RingRef> Window<R> {
    /// Puts a window on a ring.
    ///
    /// # Errors
    /// On a ring that has one, and for options that no window can have.
    pub fn new(ring: R, options: &WindowOptions) -> Result<Self, SetupError> {
        let (depth, slots) = {
            let inner = ring.core().state.borrow();
            (inner.table.callers(), inner.table.capacity())
        };
        let governor = Governor::new(options, depth)?;
        let mut state = State {
            gate: Gate::new(governor.window()),
            governor,
            publisher: Publisher::new(),
            wanting: false,
            since_ns: vec![0; slots as usize].into(),
        };
        state.publisher.now.window = i64::from(state.governor.window());
        state.publish();
        let pacer = Pacer {
            state: RefCell::new(state),
            woken: Cell::default(),
        };
        match ring.core().observe(Box::new(pacer)) {
            Ok(()) => Ok(Self { ring }),
            Err(_) => Err(SetupError::new(
                ErrorKind::InvalidInput,
                format_args!("this ring has a window already: share that one, or make another ring"),
            )),
        }
    }

    /// The ring.
    pub fn ring(&self) -> &R {
        &self.ring
    }

    /// Hands out what the window publishes, to be read from any thread.
    pub fn handle(&self) -> WindowHandle {
        self.pacer().state.borrow().publisher.handle()
    }

    fn pacer(&self) -> &Pacer {
        let observer = self.ring.core().observer();
        observer.expect("the ring's observer is the window's, from `new` on")
    }

    /// Takes a place and runs `submit`, whose operations hold it until their last completions; `None`, and nothing run,
    /// when there is none: wait, and try again, or queue with [`run`](Self::run).
    ///
    /// `submit` submits one operation as a rule. One that submits several takes a place for each, the window notwithstanding;
    /// one that submits none gives the place back. Never overtakes those who wait.
    #[must_use = "without a place nothing was submitted"]
    pub fn enter<T>(&self, submit: impl FnOnce() -> T) -> Option<T> {
        let pacer = self.pacer();
        let there = {
            let mut state = pacer.state.borrow_mut();
            let there = state.gate.try_take();
            state.wanting |= !there;
            state.publisher.now.refused += u64::from(!there);
            there
        };
        there.then(|| {
            let _ends = Entering::begin(self);
            submit()
        })
    }

    /// Makes a future that waits for a place, submits the operation and resolves to its output. The ring has to be turned
    /// meanwhile, by [`wait`](Self::wait), `block_on` or an executor.
    ///
    /// First come, first served, in the order of first polls. Dropped while it waits it leaves the queue; dropped in
    /// flight, its operation is cancelled and keeps its place until the kernel is done with it. Where the ring itself has no
    /// room, because others fill it, it gives its place up and queues anew when there is some.
    ///
    /// Allocates nothing in a steady state.
    pub fn run<O: Operation>(&self, op: O) -> Paced<'_, R, O> {
        Paced {
            window: self,
            stage: Stage::Fresh(op),
        }
    }

    /// Counts the completions that a wait should ask for now: 1 unless callers are waiting for places, then a quarter of the
    /// window, at most 16.
    pub fn want(&self) -> usize {
        let state = self.pacer().state.borrow();
        state.governor.want(state.gate.held(), state.backlog()) as usize
    }

    /// Passes everything queued to the kernel and waits for as many completions as [`want`](Self::want) says, at most
    /// `timeout`; then collects and runs what follows. Returns how many operations completed.
    ///
    /// Spins first where that was seen to pay; with nothing of the window's in flight it always sleeps.
    ///
    /// # Errors
    /// As [`Core::wait`](crate::Core::wait).
    pub fn wait(&self, timeout: Duration) -> Result<usize, Error> {
        self.wait_at_most(usize::MAX, timeout)
    }

    /// The same for at most `want` completions: for whoever waits for something else besides, which must not have to wait for
    /// others to complete.
    ///
    /// # Errors
    /// As [`Core::wait`](crate::Core::wait).
    pub fn wait_at_most(&self, want: usize, timeout: Duration) -> Result<usize, Error> {
        let most = u32::try_from(want).unwrap_or(u32::MAX);
        let core = self.ring.core();
        let (want, spin, look) = {
            let mut state = self.pacer().state.borrow_mut();
            let held = state.gate.held();
            let want = state.governor.want(held, state.backlog()).min(most);
            let busy = held > 0 && !timeout.is_zero();
            (
                want,
                busy && state.governor.spins(),
                busy && state.governor.wants_look(),
            )
        };
        let mut came = 0;
        if look {
            let looked = core.flush_and_look()?;
            let mut state = self.pacer().state.borrow_mut();
            state.governor.looked(looked.submitted, looked.at_once);
            came = looked.all;
        }
        if spin && came == 0 {
            for _ in 0..SPINS {
                let done = core.poll()?;
                if done > 0 {
                    return Ok(done);
                }
                std::hint::spin_loop();
            }
        }
        let done = core.wait(want.saturating_sub(came) as usize, timeout)?;
        Ok(done + came as usize)
    }

    /// Passes everything queued to the kernel, collects what completed and runs what follows, without waiting.
    ///
    /// # Errors
    /// As [`Core::poll`](crate::Core::poll).
    pub fn poll(&self) -> Result<usize, Error> {
        self.ring.core().poll()
    }
}

/// A place is taken, and operations are being submitted on it; settled when dropped, also by a panic.
struct Entering<'w, R: RingRef> {
    window: &'w Window<R>,
    before: Option<u32>,
}

impl<'w, R: RingRef> Entering<'w, R> {
    fn begin(window: &'w Window<R>) -> Self {
        let before = window.ring.core().begin_placing();
        Self { window, before }
    }
}

impl<R: RingRef> Drop for Entering<'_, R> {
    fn drop(&mut self) {
        let admitted = self.window.ring.core().end_placing(self.before.take());
        self.window.pacer().change(|state, woken| {
            state.publisher.now.admitted += u64::from(admitted);
            state.gate.settle(1, admitted, woken);
        });
    }
}

/// An operation that waits for a place, then for its completion. Made by [`Window::run`].
#[must_use = "nothing is submitted before the first poll"]
pub struct Paced<'w, R: RingRef, O: Operation> {
    window: &'w Window<R>,
    stage: Stage<O>,
}

enum Stage<O> {
    Fresh(O),
    Waiting(Ticket, O),
    Flying(Flight<O>),
    Over,
}

// Nothing in it is pinned: the operation moves into the ring's table before anybody points at it.
impl<R: RingRef, O: Operation> Unpin for Paced<'_, R, O> {}

impl<R: RingRef, O: Operation> fmt::Debug for Paced<'_, R, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Fresh(_) => "fresh",
            Stage::Waiting(..) => "waiting for a place",
            Stage::Flying(_) => "in flight",
            Stage::Over => "over",
        };
        f.debug_struct("Paced").field("stage", &stage).finish()
    }
}

impl<R: RingRef, O: Operation> Paced<'_, R, O> {
    /// Takes a place, or queues for one.
    fn ask(&mut self, op: O, waker: &Waker) -> Poll<O::Output> {
        let pacer = self.window.pacer();
        if pacer.state.borrow_mut().gate.try_take() {
            return self.launch(op, 0, waker);
        }
        let (mine, since_ns) = (waker.clone(), self.window.ring.core().clock_ns());
        let ticket = pacer.change(|state, woken| state.gate.draw(mine, since_ns, woken));
        self.stage = Stage::Waiting(ticket, op);
        Poll::Pending
    }

    /// Sees whether the place has come.
    fn await_place(&mut self, ticket: Ticket, op: O, waker: &Waker) -> Poll<O::Output> {
        let pacer = self.window.pacer();
        let taken = pacer.state.borrow_mut().gate.take(ticket);
        let ticket = match taken {
            Ok(since_ns) => {
                pacer.state.borrow_mut().publisher.now.waited += 1;
                return self.launch(op, since_ns, waker);
            }
            Err(ticket) => ticket,
        };
        if !pacer.state.borrow().gate.knows(&ticket, waker) {
            let fresh = waker.clone();
            let replaced = pacer.state.borrow_mut().gate.rewake(&ticket, fresh);
            match replaced {
                Ok(old) => drop(old),
                Err(granted) => granted.wake(),
            }
        }
        self.stage = Stage::Waiting(ticket, op);
        Poll::Pending
    }

    /// Submits on a place that was taken.
    fn launch(&mut self, op: O, since_ns: u64, waker: &Waker) -> Poll<O::Output> {
        let core = self.window.ring.core();
        let mut flight = Flight::Fresh(op);
        let launched = {
            let _ends = Entering::begin(self.window);
            flight.poll(core, waker)
        };
        if let Flight::Flying(id) = &flight {
            let mut state = self.window.pacer().state.borrow_mut();
            state.since_ns[id.slot()] = since_ns;
        }
        match launched {
            Poll::Pending => {
                self.stage = Stage::Flying(flight);
                Poll::Pending
            }
            Poll::Ready(Ok(output)) => Poll::Ready(output),
            Poll::Ready(Err(rejected)) if rejected.error.kind() == ErrorKind::WouldBlock => {
                core.wait_for_room(waker);
                self.stage = Stage::Fresh(rejected.op);
                Poll::Pending
            }
            Poll::Ready(Err(rejected)) => Poll::Ready(rejected.op.finish(Outcome::failed(rejected.error))),
        }
    }
}

impl<R: RingRef, O: Operation> Future for Paced<'_, R, O> {
    type Output = O::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O::Output> {
        let this = self.get_mut();
        match std::mem::replace(&mut this.stage, Stage::Over) {
            Stage::Fresh(op) => this.ask(op, cx.waker()),
            Stage::Waiting(ticket, op) => this.await_place(ticket, op, cx.waker()),
            Stage::Flying(mut flight) => match flight.poll(this.window.ring.core(), cx.waker()) {
                Poll::Pending => {
                    this.stage = Stage::Flying(flight);
                    Poll::Pending
                }
                Poll::Ready(Ok(output)) => Poll::Ready(output),
                Poll::Ready(Err(_)) => unreachable!("an operation in flight was taken"),
            },
            Stage::Over => panic!("a finished operation was polled again"),
        }
    }
}

impl<R: RingRef, O: Operation> Drop for Paced<'_, R, O> {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Waiting(ticket, op) => {
                let mine = self
                    .window
                    .pacer()
                    .change(|state, woken| state.gate.leave(ticket, woken));
                drop((mine, op));
            }
            Stage::Flying(mut flight) => flight.let_go(self.window.ring.core()),
            Stage::Fresh(_) | Stage::Over => {}
        }
    }
}
