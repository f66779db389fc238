//! How an engine begins, pauses and ends.
//!
//! - **E1** all cores or none: if one cannot be made, those that were are stopped, and their threads are over, before the error
//!   is returned.
//! - **E2** who waits for the end of a core is none of the engine's own cores: a task that drops the last handle asks, and
//!   goes on.
//! - **E3** the wait is bounded: by the rings' drain limit and [`GRACE`]. A task that blocks its thread is left to end when it
//!   does; its thread then ends by itself.

use super::builder::Builder;
use super::everywhere::{Everywhere, Inheritance};
use super::info::CoreState;
use super::local::{Resident, current_core};
use super::plan::Plan;
use super::station::{Errand, Letter, Shared};
use super::worker::{Broken, Ready, work};
use super::{Engine, Inner};
use crate::error::{Error, ErrorKind, SetupError};
use crate::exec::home::Home;
use crate::sys::fork::Token as ForkToken;
use rcu_map::RcuCell;
use std::io;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What each core's ring carries beside its depth: the read of its event counter, and its inbox.
const OWN: u32 = 2;

/// And a message to each of the other cores, up to so many; beyond that they are woken by their event counters.
const OTHERS: usize = 64;

/// What a core's thread is given beyond the drain limit of its ring to end.
const GRACE: Duration = Duration::from_secs(5);

/// A core's thread, and what hangs up when its core is over.
struct Running {
    core: usize,
    thread: JoinHandle<()>,
    over: Receiver<()>,
}

/// The threads of an engine, until they are joined.
#[derive(Default)]
pub(crate) struct Threads {
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    running: Vec<Running>,
    /// Nobody starts a core any more.
    ended: bool,
}

impl Threads {
    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the thread of one core, which tells `ready` what became of it.
fn launch(
    asked: &Builder,
    plan: &Plan,
    core: usize,
    resident: (&Resident, Inheritance),
    ready: Sender<Ready>,
) -> io::Result<Running> {
    let (asked, of_core) = (asked.clone(), plan.cores[core].clone());
    let resident = (resident.0.clone(), resident.1);
    let (alive, over) = channel();
    let mut builder = std::thread::Builder::new().name(format!("uring-core-{core}"));
    if let Some(bytes) = asked.stack_bytes {
        builder = builder.stack_size(bytes);
    }
    let thread = builder.spawn(move || {
        // Dropped last, whatever happens.
        let _alive: Sender<()> = alive;
        work(&asked, core, &of_core, resident, ready);
    })?;
    Ok(Running { core, thread, over })
}

/// Waits until a thread's core is over, and for the thread; `false` when it is not by then.
fn see_out(running: Running, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match running.over.recv_timeout(left) {
            Err(RecvTimeoutError::Disconnected) => {
                // It only has thread-local destructors left, and reports nothing.
                let _ = running.thread.join();
                return true;
            }
            Err(RecvTimeoutError::Timeout) => return false,
            Ok(()) => {}
        }
    }
}

impl Engine {
    pub(crate) fn start(mut asked: Builder, plan: Plan) -> Result<Self, SetupError> {
        asked.options.own = OWN + plan.cores.len().min(OTHERS) as u32;
        let resident = Resident {
            whole: Arc::default(),
            everywhere: Arc::new(Everywhere::new(asked.options.registered_files)),
        };
        let (ready, report) = channel();
        let mut running = Vec::new();
        let mut failed = None;
        for core in 0..plan.cores.len() {
            match launch(
                &asked,
                &plan,
                core,
                (&resident, Inheritance::default()),
                ready.clone(),
            ) {
                Ok(started) => running.push(started),
                Err(error) => {
                    failed = Some(Error::from(error).explain("starting the thread of a core"));
                    break;
                }
            }
        }
        drop(ready);
        let mut stations: Vec<Option<Shared>> = vec![None; plan.cores.len()];
        for (core, made) in report.iter() {
            match made {
                Ok(station) => stations[core] = Some(station),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        let limit = asked.options.drain_limit + GRACE;
        let made: Vec<_> = stations.iter().flatten().collect();
        if failed.is_some() || made.len() < stations.len() {
            // E1
            made.iter().for_each(|station| station.stop());
            let deadline = Instant::now() + limit;
            running.into_iter().for_each(|running| {
                see_out(running, deadline);
            });
            return Err(failed.unwrap_or_else(|| {
                SetupError::new(
                    ErrorKind::Os,
                    format_args!("a core's thread ended before it was ready"),
                )
            }));
        }
        let stations = stations.into_iter().flatten().map(RcuCell::from_arc).collect();
        let threads = Threads::default();
        threads.lock().running = running;
        let inner = Arc::new(Inner {
            stations,
            resident,
            asked,
            plan,
            threads,
            fork: ForkToken::current(),
        });
        let set = inner.resident.whole.set(Arc::downgrade(&inner));
        debug_assert!(set.is_ok(), "an engine is made once");
        Ok(Self { inner })
    }

    fn station(&self, core: usize) -> Result<Shared, Error> {
        self.inner.check()?;
        let station = self.inner.stations.get(core);
        station
            .map(RcuCell::load_full)
            .ok_or(Error::of(ErrorKind::InvalidInput))
    }

    /// Has a core see to completions and nothing else: its tasks and messages wait, and operations of other threads go to other
    /// cores, for as long as one runs. Whether it was running. Does not wait.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when there is no such core.
    pub fn pause(&self, core: usize) -> Result<bool, Error> {
        Ok(self.station(core)?.ask(CoreState::Running, CoreState::Paused))
    }

    /// Lets a paused core go on; starts a failed one anew, with a new ring, on which all that every core has is registered
    /// first. Whether it was either. Waits for a new core's set-up.
    ///
    /// # Errors
    /// When there is no such core, or no new one can be made.
    pub fn resume(&self, core: usize) -> Result<bool, SetupError> {
        let explain = |error: Error| error.explain("resuming a core");
        let station = self.station(core).map_err(explain)?;
        if station.ask(CoreState::Paused, CoreState::Running) {
            return Ok(true);
        }
        let inner = &*self.inner;
        // V1; before the lock below, which the engine's end wants.
        let listed = inner.resident.everywhere.change();
        // Held meanwhile: one new life at a time, and none once the engine ends.
        let mut threads = inner.threads.lock();
        if threads.ended || inner.stations[core].load().state() != CoreState::Failed {
            return Ok(false);
        }
        let (ready, report) = channel();
        let inheritance = inner.resident.everywhere.inheritance(&listed);
        let running = launch(
            &inner.asked,
            &inner.plan,
            core,
            (&inner.resident, inheritance),
            ready,
        );
        let running = running.map_err(|error| explain(Error::from(error)))?;
        let made = report.recv().map(|(_, made)| made);
        threads
            .running
            .retain(|old| old.core != core || !old.thread.is_finished());
        threads.running.push(running);
        match made {
            Ok(Ok(station)) => {
                inner.stations[core].store_arc(station);
                Ok(true)
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(explain(Error::of(ErrorKind::Closed))),
        }
    }

    /// Has a core fail as a panic of its own loop would make it: for drills. Everything it has is given back, its state is
    /// [`CoreState::Failed`], and [`resume`](Engine::resume) starts it anew. Does not wait.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when there is no such core, [`ErrorKind::WouldBlock`] when its mailbox is full,
    /// [`ErrorKind::Closed`] when it is gone already.
    pub fn fail(&self, core: usize) -> Result<(), Error> {
        struct Fail;
        impl Errand for Fail {
            fn run(self: Arc<Self>, _: &Rc<Home>) -> Result<(), Letter> {
                std::panic::resume_unwind(Box::new(Broken))
            }

            fn refuse(self: Arc<Self>, _: Error) {}
        }
        use sync_base::queue::PushError;
        let posted = self.station(core)?.post(Arc::new(Fail));
        posted.map_err(|refused| {
            Error::of(match refused {
                PushError::Full(_) => ErrorKind::WouldBlock,
                PushError::Closed(_) => ErrorKind::Closed,
            })
        })
    }

    /// Ends the engine, whatever handles there are: no core takes anything more, tasks are dropped, operations cancelled and
    /// given back. Waits for that, the rings' drain limit and five seconds at most; on a core's own thread not at all. Whether
    /// all cores are over. May be called again. In a forked child, which has none of the cores, it does nothing.
    pub fn shut_down(&self) -> bool {
        self.inner.shut_down()
    }
}

impl Inner {
    fn shut_down(&self) -> bool {
        if self.check().is_err() {
            return false;
        }
        let running = {
            let mut threads = self.threads.lock();
            threads.ended = true;
            for station in &self.stations {
                station.load().stop();
            }
            // E2
            if current_core().is_none() {
                std::mem::take(&mut threads.running)
            } else {
                Vec::new()
            }
        };
        let deadline = Instant::now() + self.asked.options.drain_limit + GRACE;
        for running in running {
            see_out(running, deadline);
        }
        let over = |state| matches!(state, CoreState::Stopped | CoreState::Failed);
        self.stations.iter().all(|station| over(station.load().state()))
    }
}

impl Drop for Inner {
    /// The last handle is gone: as [`Engine::shut_down`].
    fn drop(&mut self) {
        self.shut_down();
        if self.check().is_err() {
            // The parent's: threads that are not there to be detached, cells that readers of those threads may hold.
            let list = std::mem::take(&mut self.threads);
            std::mem::forget((list, std::mem::take(&mut self.stations)));
        }
    }
}
