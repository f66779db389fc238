//! The executor of one core: its ring, its tasks, its timers. Everything here stays on one thread.
//!
//! Futures lie in slots of this thread's memory and are never seen by another; what wakers and handles share is a
//! [`Node`]. A wake-up at home is a push to the run queue; one from another thread goes through [`Far`].
//!
//! - **H1** a future is taken out of its slot while it is polled or dropped, so that what it spawns or wakes meanwhile finds
//!   nothing borrowed.
//! - **H2** a node finds a future only if the slot still holds that very node: a late waker of a task that is over reaches
//!   nobody else's.
//! - **H3** at most [`TASKS_A_TURN`] polls lie between two turns of the ring, and each turn collects all that completed: a
//!   task that always wakes itself delays completions, and completions delay a task, by one such turn at most.

use super::bell::Far;
use super::event::EventFd;
use super::task::{JoinError, JoinHandle, Node, Promise, promise};
use super::timers::Timers;
use crate::op::Read;
use crate::pace::Window;
use crate::ring::LocalRing;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use sync_base::Tally;

/// Polls between two turns of the ring, at most.
pub(crate) const TASKS_A_TURN: usize = 64;

/// A sleep ends after this long at the latest, whatever happened to its wake-up.
const LONGEST: Duration = Duration::from_secs(3600);

/// A sleep without the read of the event counter, for which there was no room.
const SHORT: Duration = Duration::from_millis(1);

std::thread_local! {
    static HERE: RefCell<Option<Rc<Home>>> = const { RefCell::new(None) };
    /// Whose home this thread is: compared, never followed.
    static WHOSE: Cell<*const Far> = const { Cell::new(std::ptr::null()) };
}

/// A future in its slot, and its waker; `None` while it is polled.
struct Slot {
    node: Arc<Node>,
    running: Option<Running>,
}

struct Running {
    future: Pin<Box<dyn Future<Output = ()>>>,
    waker: Waker,
}

#[derive(Default)]
struct Slots {
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
}

/// What happened on a core; written by its thread, read by any.
#[derive(Debug, Default)]
pub(crate) struct HomeCounts {
    pub(crate) spawned: Tally,
    pub(crate) polls: Tally,
    pub(crate) panics: Tally,
    pub(crate) turns: Tally,
    pub(crate) sleeps: Tally,
}

pub(crate) struct Home {
    pub(crate) ring: Rc<LocalRing>,
    pub(crate) window: Rc<Window<Rc<LocalRing>>>,
    pub(crate) far: Arc<Far>,
    pub(crate) timers: Rc<Timers>,
    pub(crate) counts: Arc<HomeCounts>,
    slots: RefCell<Slots>,
    run: RefCell<VecDeque<Arc<Node>>>,
    /// The read of the event counter is in flight.
    listening: Rc<Cell<bool>>,
    /// Takes no new task.
    closing: Cell<bool>,
}

/// For as long as this lives, the calling thread is a core's.
pub(crate) struct Entered(());

impl Drop for Entered {
    fn drop(&mut self) {
        WHOSE.set(std::ptr::null());
        let home = HERE.with(RefCell::take);
        drop(home);
    }
}

impl Home {
    pub(crate) fn new(window: Window<Rc<LocalRing>>, far: Arc<Far>) -> Rc<Self> {
        Rc::new(Self {
            ring: Rc::clone(window.ring()),
            window: Rc::new(window),
            far,
            timers: Rc::default(),
            counts: Arc::default(),
            slots: RefCell::default(),
            run: RefCell::default(),
            listening: Rc::default(),
            closing: Cell::new(false),
        })
    }

    /// Makes the calling thread this core's.
    pub(crate) fn enter(self: &Rc<Self>) -> Entered {
        WHOSE.set(Arc::as_ptr(&self.far));
        HERE.set(Some(Rc::clone(self)));
        Entered(())
    }

    /// The core that the calling thread is, if it is one.
    pub(crate) fn current() -> Option<Rc<Self>> {
        HERE.try_with(|here| here.borrow().clone()).ok().flatten()
    }

    /// Whether the calling thread is that core.
    #[inline]
    pub(crate) fn is_here(far: &Far) -> bool {
        std::ptr::eq(WHOSE.get(), far)
    }

    /// Panics on a core's thread: who blocks it blocks all of its tasks, perhaps the awaited one.
    pub(crate) fn refuse_to_block(what: &str) {
        assert!(
            WHOSE.get().is_null(),
            "{what} would block a core's thread, and with it whatever it waits for if that runs here: await it"
        );
    }

    /// Whether this core takes no new task.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.get()
    }

    /// Puts a task into the run queue; it was claimed.
    pub(crate) fn queue(&self, node: Arc<Node>) {
        if !self.closing.get() {
            self.run.borrow_mut().push_back(node);
        }
    }

    /// Makes a task of a future of this thread.
    pub(crate) fn spawn<F: Future + 'static>(&self, future: F) -> JoinHandle<F::Output> {
        let node = Node::new(Arc::clone(&self.far));
        let (promise, handle) = promise(&node);
        self.place(node, promise, future);
        handle
    }

    /// Puts a future into a slot under a node of its own, unless it was aborted already.
    pub(crate) fn place<F: Future + 'static>(&self, node: Arc<Node>, promise: Promise<F::Output>, future: F) {
        if self.closing.get() {
            // The future first: its handle then says that its core is gone.
            drop(future);
            drop(promise);
            return;
        }
        self.counts.spawned.add(1);
        let counts = Arc::clone(&self.counts);
        let task = async move {
            // Declared first, so dropped last: whoever waits is told when the future is gone.
            let promise = promise;
            let mut future = pin!(future);
            let result = poll_fn(|cx| {
                let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
                polled.map_or_else(
                    |panic| Poll::Ready(Err(JoinError::Panicked(panic))),
                    |polled| polled.map(Ok),
                )
            });
            let result = result.await;
            if result.is_err() {
                counts.panics.add(1);
            }
            promise.keep(result);
        };
        let running = Running {
            future: Box::pin(task),
            waker: Waker::from(Arc::clone(&node)),
        };
        let slot = Slot {
            node: Arc::clone(&node),
            running: Some(running),
        };
        {
            let mut slots = self.slots.borrow_mut();
            let at = match slots.free.pop() {
                Some(at) => at,
                None => {
                    slots.slots.push(None);
                    u32::try_from(slots.slots.len() - 1).expect("fewer than 2^32 tasks a core")
                }
            };
            node.set_slot(at);
            slots.slots[at as usize] = Some(slot);
        }
        if node.claim.claim() {
            self.queue(node);
        }
    }

    /// Brings the tasks that other threads woke into the run queue.
    pub(crate) fn take_wakes(&self) {
        self.far.wakes.take(|node| self.queue(node));
    }

    /// Fires the timers whose moment has come.
    pub(crate) fn fire_timers(&self) {
        if self.timers.next().is_some() {
            self.timers.fire(self.ring.deadline(Duration::ZERO));
        }
    }

    /// Polls at most [`TASKS_A_TURN`] tasks; whether more wait.
    pub(crate) fn run_tasks(&self) -> bool {
        for _ in 0..TASKS_A_TURN {
            let Some(node) = self.run.borrow_mut().pop_front() else {
                return false;
            };
            self.poll(&node);
        }
        !self.run.borrow().is_empty()
    }

    fn poll(&self, node: &Arc<Node>) {
        let aborted = node.claim.begin();
        let Some(mut running) = self.take_running(node) else {
            return;
        };
        self.counts.polls.add(1);
        let over = catch_unwind(AssertUnwindSafe(|| {
            aborted
                || running
                    .future
                    .as_mut()
                    .poll(&mut Context::from_waker(&running.waker))
                    .is_ready()
        }));
        if let Ok(false) = over {
            let mut slots = self.slots.borrow_mut();
            if let Some(Some(slot)) = slots.slots.get_mut(node.slot() as usize) {
                slot.running = Some(running);
            }
            return;
        }
        if over.is_err() {
            self.counts.panics.add(1);
        }
        self.free(node);
        self.drop_running(running);
    }

    /// H1, H2.
    fn take_running(&self, node: &Arc<Node>) -> Option<Running> {
        let mut slots = self.slots.borrow_mut();
        let slot = slots.slots.get_mut(node.slot() as usize)?.as_mut()?;
        if !Arc::ptr_eq(&slot.node, node) {
            return None;
        }
        slot.running.take()
    }

    fn free(&self, node: &Arc<Node>) {
        let gone = {
            let mut slots = self.slots.borrow_mut();
            let at = node.slot();
            slots.free.push(at);
            slots.slots[at as usize].take()
        };
        drop(gone);
    }

    /// A destructor of the caller's that panics costs the core nothing.
    fn drop_running(&self, running: Running) {
        if catch_unwind(AssertUnwindSafe(|| drop(running))).is_err() {
            self.counts.panics.add(1);
        }
    }

    /// Turns the ring once. Sleeps in it, until something completes, the next timer or a wake-up, if the core has nothing
    /// else to do; `timed` says that timers count.
    ///
    /// # Errors
    /// What the ring's waits fail with, but for back-pressure of the kernel.
    pub(crate) fn turn(&self, busy: bool, timed: bool) -> Result<(), crate::error::Error> {
        self.counts.turns.add(1);
        let limit = match self.timers.next() {
            Some(at) if timed => self.ring.left_until(at).min(LONGEST),
            _ => LONGEST,
        };
        if busy || limit.is_zero() {
            return self.ring.poll().map(drop).or_else(later);
        }
        let limit = if self.listen() { limit } else { limit.min(SHORT) };
        if !self.far.alarm.doze() {
            return self.ring.poll().map(drop).or_else(later);
        }
        self.counts.sleeps.add(1);
        // Woken also when a callback panics.
        let _awake = Dozing(&self.far);
        // For one completion, since it may be the one that rings the core.
        self.window.wait_at_most(1, limit).map(drop).or_else(later)
    }

    /// Has the ring read the event counter; `false` where there is no room for it.
    fn listen(&self) -> bool {
        if self.listening.get() {
            return true;
        }
        let event = EventFd(Arc::clone(&self.far.alarm.chime().event));
        let listening = Rc::clone(&self.listening);
        let read = Read::new(event, vec![0u8; 8].into_boxed_slice());
        let queued = self
            .ring
            .submit_own(|core| core.submit_then(read, move |_| listening.set(false)));
        self.listening.set(queued.is_ok());
        queued.is_ok()
    }

    /// Ends all tasks: no new ones, those that are there dropped, whoever waits for them told.
    pub(crate) fn close(&self) {
        self.closing.set(true);
        self.far.wakes.close(drop);
        self.timers.clear();
        loop {
            let slot = {
                let mut slots = self.slots.borrow_mut();
                slots.slots.pop()
            };
            let Some(slot) = slot else { break };
            if let Some(Slot {
                running: Some(running),
                ..
            }) = slot
            {
                self.drop_running(running);
            }
        }
        let rest = self.run.take();
        drop(rest);
    }
}

/// Asleep until dropped.
struct Dozing<'h>(&'h Far);

impl Drop for Dozing<'_> {
    fn drop(&mut self) {
        self.0.alarm.wake();
    }
}

/// Back-pressure of the kernel ends by itself.
fn later(error: crate::error::Error) -> Result<(), crate::error::Error> {
    if !error.is_retryable() {
        return Err(error);
    }
    std::thread::yield_now();
    Ok(())
}
