//! A core as every other thread sees it: its state, its mailbox, its counts.
//!
//! # States
//! ```text
//!            pause            stop
//! Running ◄────────► Paused ───────► Stopping ───► Stopped
//!    │      resume                      ▲
//!    │                 stop             │
//!    ├──────────────────────────────────┘
//!    └──► Failed   (its loop panicked, or its ring broke; `Engine::resume` puts a new station in its place)
//! ```
//! Every move but the last ones (`Stopped`, `Failed`: the core's own) is an exchange of the one word.
//!
//! - **S1** a station is for one life of a core: what was stopped or failed never runs again under it.
//! - **S2** the core rings no more and reads no more once it is `Stopped` or `Failed`, and before that it has closed its
//!   mailbox and handed out everything in it (M3): so a message is run, refused, or back with its sender.
//!
//! The states publish nothing: whoever changes one rings the alarm, and the core looks behind it.

use super::info::{CoreInfo, CoreState, CoreStats};
use super::mailbox::Mailbox;
use crate::error::Error;
use crate::exec::bell::Far;
use crate::exec::home::{Home, HomeCounts};
use crate::pace::WindowHandle;
use crate::ring::StatsHandle;
use crate::ring::registry::Registry;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use sync_base::Tally;
use sync_base::atomic::{AtomicU8, Ordering};
use sync_base::queue::PushError;

/// A message to a core.
pub(crate) trait Errand: Send + Sync {
    /// Does on the core's thread what it was sent for.
    ///
    /// # Errors
    /// Hands itself back when the ring has no room now.
    fn run(self: Arc<Self>, home: &Rc<Home>) -> Result<(), Letter>;

    /// Whether it may find no room in the ring, and then waits its turn among others of its kind.
    fn wants_room(&self) -> bool {
        false
    }

    /// Is told that it will not be run.
    fn refuse(self: Arc<Self>, error: Error);
}

/// A message in the mailbox.
pub(crate) type Letter = Arc<dyn Errand>;

/// What happened to a core's messages.
#[derive(Debug, Default)]
pub(crate) struct LetterCounts {
    pub(crate) posted: Tally,
    pub(crate) full: Tally,
    pub(crate) run: Tally,
    pub(crate) refused: Tally,
}

/// How a station is shared: as the cell that publishes it does.
pub(crate) type Shared = sync_base::sync::Arc<Station>;

/// One life of one core.
pub(crate) struct Station {
    pub(crate) info: CoreInfo,
    pub(crate) far: Arc<Far>,
    pub(crate) mailbox: Mailbox<Letter>,
    /// Where orders go, which reach a paused core too.
    orders: Mailbox<Letter>,
    /// What its ring is known by number, to take and give back slots from any thread.
    pub(crate) registry: sync_base::sync::Arc<Registry>,
    /// What needs no room and makes some: overtakes the mailbox. Each operation is in it once at most.
    cancels: Mutex<Vec<Letter>>,
    pub(crate) letters: LetterCounts,
    pub(crate) home: Arc<HomeCounts>,
    pub(crate) ring: StatsHandle,
    pub(crate) window: WindowHandle,
    state: AtomicU8,
    failure: Mutex<Option<String>>,
}

impl Station {
    pub(crate) fn new(
        info: CoreInfo,
        far: Arc<Far>,
        (mailbox, orders): (Mailbox<Letter>, Mailbox<Letter>),
        registry: sync_base::sync::Arc<Registry>,
        home: Arc<HomeCounts>,
        (ring, window): (StatsHandle, WindowHandle),
    ) -> Shared {
        Shared::new(Self {
            info,
            far,
            mailbox,
            orders,
            registry,
            cancels: Mutex::default(),
            letters: LetterCounts::default(),
            home,
            ring,
            window,
            state: AtomicU8::new(CoreState::Running as u8),
            failure: Mutex::new(None),
        })
    }

    #[inline]
    pub(crate) fn state(&self) -> CoreState {
        // Relaxed: publishes nothing; what must be seen is rung for.
        CoreState::from_word(self.state.load(Ordering::Relaxed))
    }

    fn exchange(&self, from: CoreState, to: CoreState) -> bool {
        // Relaxed: as in `state`.
        let moved = self
            .state
            .compare_exchange(from as u8, to as u8, Ordering::Relaxed, Ordering::Relaxed);
        moved.is_ok()
    }

    /// Asks for a move that the core's loop sees; whether it was one.
    pub(crate) fn ask(&self, from: CoreState, to: CoreState) -> bool {
        let moved = self.exchange(from, to);
        if moved {
            self.far.ring();
        }
        moved
    }

    /// Asks the core to end; nothing where it ended or was asked.
    pub(crate) fn stop(&self) {
        while !self.ask(CoreState::Running, CoreState::Stopping)
            && !self.ask(CoreState::Paused, CoreState::Stopping)
            && matches!(self.state(), CoreState::Running | CoreState::Paused)
        {}
    }

    /// The core's last act but one: says how it ended.
    pub(crate) fn end(&self, failure: Option<String>) {
        let last = if failure.is_some() {
            CoreState::Failed
        } else {
            CoreState::Stopped
        };
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
        // Relaxed: as in `state`; the failure is read under its lock.
        self.state.store(last as u8, Ordering::Relaxed);
    }

    pub(crate) fn failure(&self) -> Option<String> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Leaves a message; counts it, or that there was no room.
    pub(crate) fn post(&self, letter: Letter) -> Result<(), PushError<Letter>> {
        let afar = !Home::is_here(&self.far);
        let posted = self.mailbox.post(letter, &self.far.alarm, afar);
        match &posted {
            Ok(()) => self.letters.posted.add(1),
            Err(PushError::Full(_)) => self.letters.full.add(1),
            Err(PushError::Closed(_)) => {}
        }
        posted
    }

    /// Leaves an order; it counts as no message.
    pub(crate) fn give(&self, order: Letter) -> Result<(), PushError<Letter>> {
        let afar = !Home::is_here(&self.far);
        self.orders.post(order, &self.far.alarm, afar)
    }

    /// Leaves a cancellation, for which there is always room: what it is for has been let in.
    pub(crate) fn cancel(&self, letter: Letter) {
        self.cancels
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(letter);
        self.far.ring();
    }

    /// Takes the cancellations out.
    pub(crate) fn take_cancels(&self) -> Vec<Letter> {
        std::mem::take(&mut *self.cancels.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn stats(&self) -> CoreStats {
        let bell = self.far.alarm.chime();
        let count = |tally: &Tally| tally.get() as u64;
        CoreStats {
            ring: self.ring.counts(),
            messages: count(&self.letters.run),
            messages_full: count(&self.letters.full),
            messages_refused: count(&self.letters.refused),
            messages_waiting: self.mailbox.len() as u64,
            woken_by_message: count(&bell.by_message),
            woken_by_event: count(&bell.by_event),
            tasks: count(&self.home.spawned),
            polls: count(&self.home.polls),
            panics: count(&self.home.panics),
            turns: count(&self.home.turns),
            sleeps: count(&self.home.sleeps),
        }
    }
}
