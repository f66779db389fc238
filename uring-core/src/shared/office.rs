//! What handles and tickets of one shared ring have in common, and who drives the ring when all of them are tasks.
//!
//! A thread that waits drives. A task that waits cannot: somebody has to sleep for it. That is, in this order:
//! - a task made by [`SharedRing::drive`](super::SharedRing::drive), in an executor that can wait for a descriptor;
//! - else one thread, started when a task is first pending and nobody drives: it stands in line like any other that waits, and
//!   ends with the last handle. Idle it sleeps.
//!
//! A program whose threads all wait by themselves never has that thread.

use super::drive::Station;
use super::hub::Hub;
use super::late;
use super::port::{Bed, Pier};
use crate::error::{Error, ErrorKind};
use crate::sys::fork::Token as ForkToken;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use sync_base::atomic::{AtomicBool, AtomicUsize, Ordering};
use sync_base::sync::{Mutex, MutexGuard, PoisonError};

/// A sleep of the helping thread. Nothing depends on its end.
const NIGHT: Duration = Duration::from_secs(60);

/// Counted by handles and tickets; the ring goes with the last.
pub(super) struct Office {
    pub(super) hub: Arc<Hub<Pier, Bed>>,
    fork: ForkToken,
    /// Tasks that drive.
    drivers: AtomicUsize,
    stations: Mutex<Vec<Arc<Station>>>,
    helped: AtomicBool,
    helper: Mutex<Option<Helper>>,
}

struct Helper {
    thread: JoinHandle<()>,
    over: Arc<AtomicBool>,
}

impl Office {
    pub(super) fn new(hub: Hub<Pier, Bed>) -> Arc<Self> {
        Arc::new(Self {
            hub: Arc::new(hub),
            fork: ForkToken::current(),
            drivers: AtomicUsize::new(0),
            stations: Mutex::default(),
            helped: AtomicBool::new(false),
            helper: Mutex::new(None),
        })
    }

    /// Whether this process may touch the ring.
    #[inline]
    pub(super) fn is_ours(&self) -> bool {
        self.fork.is_current()
    }

    #[inline]
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.is_ours() {
            Ok(())
        } else {
            Err(Error::of(ErrorKind::Forked))
        }
    }

    /// A task drives from here on.
    pub(super) fn driver_comes(&self, station: &Arc<Station>) {
        self.stations().push(Arc::clone(station));
        // Relaxed: see `see_that_it_is_driven`.
        self.drivers.fetch_add(1, Ordering::Relaxed);
    }

    /// A task drives no more. What is in flight may have been left to it.
    pub(super) fn driver_goes(&self, station: &Arc<Station>) {
        self.stations().retain(|other| !Arc::ptr_eq(other, station));
        // Relaxed: see `see_that_it_is_driven`.
        let others = self.drivers.fetch_sub(1, Ordering::Relaxed) - 1;
        if others == 0 && self.is_ours() && self.hub.act(|pier| pier.core().held()) > 0 {
            let _ = self.see_that_it_is_driven();
        }
    }

    fn stations(&self) -> MutexGuard<'_, Vec<Arc<Station>>> {
        self.stations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees that somebody drives for a task that is pending; `false` where no thread could be made.
    pub(super) fn see_that_it_is_driven(&self) -> bool {
        // Relaxed: who finds a driver here submitted under the lock before; the driver that has left since counts itself out
        // before it looks, under the same lock, at what is in flight. So one of the two sees the other. The helper stays.
        if self.drivers.load(Ordering::Relaxed) > 0 || self.helped.load(Ordering::Relaxed) {
            return true;
        }
        self.start_helper()
    }

    #[cold]
    fn start_helper(&self) -> bool {
        let mut helper = self.helper.lock().unwrap_or_else(PoisonError::into_inner);
        if helper.is_some() {
            return true;
        }
        let over = Arc::new(AtomicBool::new(false));
        let (hub, told) = (Arc::clone(&self.hub), Arc::clone(&over));
        let thread = std::thread::Builder::new()
            .name("uring-shared".into())
            .stack_size(128 << 10);
        let help = move || {
            // Relaxed: nothing is published with it, and the wake-up that follows it orders it before the look.
            let over = || told.load(Ordering::Relaxed);
            // A waker or a destructor that panics ends its own turn here, and not the help of the others; nor does one that the
            // panic carries.
            while !over() {
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| hub.keep(NIGHT, over))) {
                    let dropped = catch_unwind(AssertUnwindSafe(|| drop(panic)));
                    dropped.unwrap_or_else(std::mem::forget);
                }
            }
            drop(hub);
            drop(late::Run::default());
        };
        let Ok(thread) = thread.spawn(help) else {
            return false;
        };
        *helper = Some(Helper { thread, over });
        // Relaxed: only spares the lock.
        self.helped.store(true, Ordering::Relaxed);
        true
    }
}

impl Drop for Office {
    fn drop(&mut self) {
        let stations = std::mem::take(&mut *self.stations());
        stations.iter().for_each(|station| station.call());
        let helper = self
            .helper
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(Helper { thread, over }) = helper else {
            return;
        };
        if !self.is_ours() {
            // The thread is the parent's.
            std::mem::forget(thread);
            return;
        }
        // Relaxed: as in `start_helper`.
        over.store(true, Ordering::Relaxed);
        self.hub.sleeper().rouse();
        thread.thread().unpark();
        // A waker that ran on the helping thread may have had the last handle: then that thread ends by itself.
        if thread.thread().id() != std::thread::current().id() {
            let _ = thread.join();
        }
    }
}
