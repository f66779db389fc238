//! The thread of a core: set-up, loop, end.
//!
//! # One turn
//! Clear the alarm; look at the state, at tasks woken from afar, at orders, at messages, at timers; poll tasks; turn the ring, asleep in
//! it if there was nothing to do. Between two turns of the ring lie at most [`LETTERS_A_TURN`] messages and
//! [`TASKS_A_TURN`](crate::exec::home::TASKS_A_TURN) polls.
//!
//! - **L1** a panic in a task, a callback, a message or a destructor ends that one thing. A panic of the loop itself, or an
//!   error of the ring, ends the core: [`CoreState::Failed`].
//! - **L2** however the core ends, it closes its mailbox, refuses what lies there, drops its tasks and then its ring, which
//!   gives every operation back to its owner, now or by the reaper. Only then is it `Stopped` or `Failed`.
//! - **L3** operations that find the ring full wait, in order among themselves; other messages go on meanwhile. Once as many
//!   wait as the mailbox holds, nothing more is taken out of it: it fills, and senders see it.
//! - **L4** a cancellation overtakes all of these, on a paused core too: it needs no room, and makes some.

use super::builder::{Builder, CrossCore};
use super::everywhere::Inheritance;
use super::info::{CoreInfo, CoreState};
use super::local::Resident;
use super::mailbox::{Letters, mailbox};
use super::order::ORDERS;
use super::plan::CorePlan;
use super::station::{Letter, Shared, Station};
use crate::buffer::RegisteredSlab;
use crate::error::{Error, ErrorKind, SetupError};
use crate::exec::bell::Far;
use crate::exec::home::Home;
use crate::exec::task::message;
use crate::op::{Inbox, Message};
use crate::pace::{Window, WindowOptions};
use crate::ring::LocalRing;
use crate::sys::ladder::Refusal;
use crate::sys::scheduling::{Scheduling, niceness, renice};
use crate::sys::{affinity, numa};
use pooled_vec::{AlignedOptions, Slab};
use std::any::Any;
use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::task::Waker;
use std::time::Duration;

/// Messages between two turns of the ring, at most.
const LETTERS_A_TURN: usize = 64;

/// How long a ring may take to send a message to itself.
const TRIAL: Duration = Duration::from_secs(1);

/// Turns in a row that panic before the core is given up.
const PANICS_IN_A_ROW: u32 = 16;

/// Everything that a core's thread owns.
struct Worker {
    station: Shared,
    home: Rc<Home>,
    letters: Letters<Letter>,
    orders: Letters<Letter>,
    /// Taken out of the mailbox, not yet run.
    backlog: VecDeque<Letter>,
    /// Operations for which the ring had no room, the oldest first.
    waiting: VecDeque<Letter>,
    /// How many of them there may be.
    waiting_at_most: usize,
    taken: Vec<Letter>,
    /// Rings when there may be room in the ring.
    room: Waker,
}

/// The body of a core's thread. Says on `ready` what became of the set-up.
pub(crate) fn work(
    asked: &Builder,
    index: usize,
    plan: &CorePlan,
    (resident, inheritance): (Resident, Inheritance),
    ready: Sender<Ready>,
) {
    let (mut worker, slab) = match Worker::set_up(asked, index, plan, inheritance) {
        Ok(made) => made,
        Err(error) => {
            // Nobody listens only if the builder itself is gone.
            let _ = ready.send((index, Err(error)));
            return;
        }
    };
    let entered = (worker.home.enter(), resident.enter(index, slab));
    let _ = ready.send((index, Ok(Shared::clone(&worker.station))));
    drop(ready);
    let ran = catch_unwind(AssertUnwindSafe(|| worker.run()));
    let failure = match ran {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(format!("waiting on the ring: {error}")),
        Err(panic) => Some(told(panic.as_ref())),
    };
    worker.end(failure, entered);
}

/// What a thread says when it is ready, or will never be.
pub(crate) type Ready = (usize, Result<Shared, SetupError>);

fn told(panic: &(dyn Any + Send)) -> String {
    let words = message(panic).unwrap_or("with a value that is no text");
    format!("its loop panicked: {words}")
}

/// Notes a refusal.
fn note(refusals: &mut Vec<Refusal>, asked: impl FnOnce() -> String, done: io::Result<()>) -> bool {
    if let Err(error) = &done {
        refusals.push(Refusal {
            asked: asked(),
            errno: error.raw_os_error().unwrap_or(libc::EIO),
        });
    }
    done.is_ok()
}

impl Worker {
    fn set_up(
        asked: &Builder,
        index: usize,
        plan: &CorePlan,
        inheritance: Inheritance,
    ) -> Result<(Self, Option<RegisteredSlab>), SetupError> {
        let mut refusals = Vec::new();
        if !plan.pin.is_empty() {
            let pinned = affinity::pin(&plan.pin);
            note(
                &mut refusals,
                || format!("pinning to processor {:?}", plan.pin),
                pinned,
            );
        }
        let node = asked.node.filter(|&node| {
            let told = || format!("memory of node {node}");
            note(&mut refusals, told, numa::prefer(node))
        });
        note(
            &mut refusals,
            || format!("{:?}", asked.scheduling),
            asked.scheduling.apply(),
        );
        if let Some(nice) = asked.nice {
            note(&mut refusals, || format!("niceness {nice}"), renice(nice));
        }
        let explain = |what: &'static str| move |error: Error| error.explain(what);
        let ring = Rc::new(LocalRing::with(&asked.options)?);
        inheritance.register(index, &ring)?;
        let far = Far::new().map_err(explain("making a core's event counter"))?;
        let slab = asked.memory.map(|memory| {
            let slab = Slab::new(memory.slots, memory.slot_bytes, AlignedOptions::new());
            slab.map_err(|error| {
                SetupError::new(
                    ErrorKind::InvalidInput,
                    format_args!("registered memory: {error}"),
                )
            })
        });
        let mut registered_bytes = 0;
        let slab = match slab.transpose()? {
            None => None,
            Some(slab) => {
                let (slab, refused) = ring.register_slab_or_plain(slab)?;
                match refused {
                    None => registered_bytes = asked.memory.map_or(0, |m| m.slots * m.slot_bytes),
                    Some(error) => refusals.push(Refusal {
                        asked: "registered memory".into(),
                        errno: error.errno().map_or(libc::ENOMEM, |errno| errno.number()),
                    }),
                }
                Some(slab)
            }
        };
        let messages = asked.cross_core == CrossCore::Auto && listen(&ring, &far);
        let mut pacing = WindowOptions::new();
        if let Some(target) = asked.p99_target {
            pacing = pacing.target_p99(target);
        }
        let window = Window::new(Rc::clone(&ring), &pacing)?;
        let handles = (ring.stats(), window.handle());
        let home = Home::new(window, Arc::clone(&far));
        let (post, letters) = mailbox(asked.mailbox);
        let (give, orders) = mailbox(ORDERS);
        let registry = sync_base::sync::Arc::clone(&home.ring.state.borrow().registry);
        let info = CoreInfo {
            index,
            processor: plan.home,
            runs_on: affinity::allowed().unwrap_or_default(),
            scheduling: Scheduling::of_this_thread().unwrap_or_default(),
            nice: niceness(),
            node,
            registered_bytes,
            messages,
            ring: ring.info(),
            refusals,
        };
        let station = Station::new(
            info,
            Arc::clone(&far),
            (post, give),
            registry,
            Arc::clone(&home.counts),
            handles,
        );
        let worker = Self {
            station,
            home,
            letters,
            orders,
            backlog: VecDeque::new(),
            waiting: VecDeque::new(),
            waiting_at_most: asked.mailbox.next_power_of_two(),
            taken: Vec::with_capacity(LETTERS_A_TURN),
            room: Waker::from(far),
        };
        Ok((worker, slab))
    }

    fn run(&mut self) -> Result<(), Error> {
        let mut panics_in_a_row = 0;
        loop {
            self.station.far.alarm.take();
            let state = self.station.state();
            if state == CoreState::Stopping {
                return Ok(());
            }
            let running = state != CoreState::Paused;
            self.home.take_wakes();
            self.obey();
            self.cancel();
            // What a panic kept from running has completed already: nothing would end a sleep for it.
            let mut busy = panics_in_a_row > 0;
            if running {
                busy |= self.deliver();
                self.home.fire_timers();
                busy |= self.home.run_tasks();
            }
            // A callback's panic comes out here; what had not run yet runs on the next turn.
            match catch_unwind(AssertUnwindSafe(|| self.home.turn(busy, running))) {
                Ok(turned) => {
                    turned?;
                    panics_in_a_row = 0;
                }
                Err(panic) => {
                    self.home.counts.panics.add(1);
                    panics_in_a_row += 1;
                    if panics_in_a_row == PANICS_IN_A_ROW {
                        std::panic::resume_unwind(panic);
                    }
                }
            }
        }
    }

    /// Runs every order.
    fn obey(&mut self) {
        while self.orders.take(&mut self.taken, ORDERS) || !self.taken.is_empty() {
            for order in self.taken.drain(..) {
                let home = &self.home;
                // An order is done or refused; it never waits for room.
                let run = catch_unwind(AssertUnwindSafe(|| order.run(home)));
                if run.is_err() {
                    self.home.counts.panics.add(1);
                }
            }
        }
    }

    /// Runs messages, the oldest first; whether there may be more that can be run now.
    fn deliver(&mut self) -> bool {
        while let Some(letter) = self.waiting.pop_front() {
            if let Some(letter) = self.open(letter) {
                self.waiting.push_front(letter);
                break;
            }
        }
        let mut more = false;
        if self.backlog.is_empty() {
            // L3
            let most = LETTERS_A_TURN.min(self.waiting_at_most - self.waiting.len());
            more = most > 0 && self.letters.take(&mut self.taken, most);
            self.backlog.extend(self.taken.drain(..));
        }
        while let Some(letter) = self.backlog.pop_front() {
            let back = if letter.wants_room() && !self.waiting.is_empty() {
                Some(letter)
            } else {
                self.open(letter)
            };
            self.waiting.extend(back);
        }
        if !self.waiting.is_empty() {
            self.home.ring.wait_for_room(&self.room);
        }
        more
    }

    /// Runs one message; hands it back where the ring has no room for it.
    fn open(&self, letter: Letter) -> Option<Letter> {
        let home = &self.home;
        match catch_unwind(AssertUnwindSafe(|| letter.run(home))) {
            Ok(Ok(())) => {
                self.station.letters.run.add(1);
                None
            }
            Ok(Err(letter)) => Some(letter),
            Err(panic) => {
                self.home.counts.panics.add(1);
                if panic.is::<Broken>() {
                    std::panic::resume_unwind(Box::new("the core was told to fail"));
                }
                None
            }
        }
    }

    /// L4
    fn cancel(&self) {
        for letter in self.station.take_cancels() {
            let home = &self.home;
            // Code of the caller's may run here, a waker for instance.
            if catch_unwind(AssertUnwindSafe(|| letter.run(home))).is_err() {
                self.home.counts.panics.add(1);
            }
        }
    }

    /// L2
    fn end(mut self, failure: Option<String>, entered: impl Sized) {
        let closed = Error::of(ErrorKind::Closed);
        self.orders.close(|order| order.refuse(closed));
        let refused = &self.station.letters.refused;
        let mut refuse = |letter: Letter| {
            refused.add(1);
            // Code of the caller's may run here, a waker for instance.
            let _ = catch_unwind(AssertUnwindSafe(|| letter.refuse(closed)));
        };
        self.letters.close(&mut refuse);
        self.waiting.drain(..).for_each(&mut refuse);
        self.backlog.drain(..).for_each(&mut refuse);
        // The ring cancels all that it has as it goes.
        drop(self.station.take_cancels());
        self.home.close();
        drop(entered);
        let Self { station, home, .. } = self;
        // The ring goes with the last of these, unless a task has put it where it outlives the core.
        drop(home);
        station.end(failure);
    }
}

/// What a message panics with to end the core's loop itself.
pub(crate) struct Broken;

/// Opens an inbox in the ring for the messages of others, and tries it; `false` where the kernel has none.
fn listen(ring: &LocalRing, far: &Far) -> bool {
    if ring.info().rung.is_none() {
        return false;
    }
    let Ok(inbox) = ring.submit_own(|core| core.submit_each(Inbox::new(), |_, _| {})) else {
        return false;
    };
    let sent = ring.mailbox(inbox).and_then(|address| {
        let message = Message::new(&address, 0)?;
        let sent = Rc::new(Cell::new(None));
        let tell = Rc::clone(&sent);
        ring.submit_own(|core| core.submit_then(message, move |done| tell.set(Some(done))))
            .map_err(|rejected| rejected.error)?;
        let until = ring.deadline(TRIAL);
        while sent.get().is_none() && !ring.left_until(until).is_zero() {
            ring.wait(1, TRIAL)?;
        }
        sent.take().unwrap_or(Err(Error::of(ErrorKind::TimedOut)))?;
        Ok(address)
    });
    match sent {
        Ok(address) => far.alarm.chime().address.set(address).is_ok(),
        Err(_) => {
            // Let go of already where the ring took no such thing.
            let _ = ring.abandon(inbox);
            false
        }
    }
}
