//! Orders: what every core has to do, and answers for.
//!
//! Unlike a message, an order reaches a paused core too, goes before messages, and may be withdrawn.
//!
//! # States of an order
//! ```text
//!   asked ──the core runs it──► answered
//!     ├──the core ends first──► gone
//!     └──who asked waits no longer──► withdrawn (the core finds nothing to do)
//! ```
//! - **R1** an order that was withdrawn has not run and never will, one that was answered has: all moves are under its own lock,
//!   which is held while it runs. So who asked knows what there is to be undone.
//! - **R2** orders to one core run in the order in which they were given: what undoes one, though it is never withdrawn, runs
//!   before whatever is asked of that core later.
//! - **R3** there is room to undo: orders are given by one thread at a time, and one that was answered has left the mailbox
//!   with all before it.
//!
//! The lock orders everything; the linearization point is the move. The mailbox is that of messages (M1, M3).

use super::Inner;
use super::info::CoreState;
use super::station::{Errand, Letter, Shared};
use crate::error::{Error, ErrorKind, SetupError};
use crate::exec::home::Home;
use inline_error::BoxedError;
use std::fmt;
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use sync_base::queue::PushError;

/// How long all cores together have to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Room for orders that a core which blocks has not found withdrawn yet.
pub(crate) const ORDERS: usize = 16;

/// Something was not done on every core, so it was done on none.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NotOnAll {
    /// The core that refused; `None` when what was asked for was wrong, or the engine is over.
    pub core: Option<usize>,
    /// Why, and what helps.
    pub error: BoxedError<ErrorKind>,
}

impl NotOnAll {
    pub(crate) fn whole(kind: ErrorKind, why: &str) -> Self {
        let error = SetupError::new(kind, format_args!("{why}")).into();
        Self { core: None, error }
    }

    pub(crate) fn by(core: usize, error: SetupError) -> Self {
        let error = error.into();
        Self {
            core: Some(core),
            error,
        }
    }
}

impl fmt::Display for NotOnAll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { core, error } = self;
        match core {
            Some(core) => write!(f, "core {core} refused, and every other is as before: {error}"),
            None => write!(f, "every core is as before: {error}"),
        }
    }
}

impl std::error::Error for NotOnAll {}

enum Stage<D, T> {
    Asked(D),
    Answered(Result<T, SetupError>),
    Gone,
    Withdrawn,
}

struct Order<D, T> {
    stage: Mutex<Stage<D, T>>,
    moved: Condvar,
}

/// What came of an order.
pub(crate) enum Answer<T> {
    Done(T),
    Refused(SetupError),
    /// The core is over, and its ring with it.
    Gone,
}

impl<D, T> Order<D, T> {
    fn lock(&self) -> MutexGuard<'_, Stage<D, T>> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the answer; withdraws the order when it has not come by then, unless it must be obeyed.
    fn answer(&self, deadline: Instant, must: bool) -> Answer<T> {
        let left = deadline.saturating_duration_since(Instant::now());
        let waited = self
            .moved
            .wait_timeout_while(self.lock(), left, |stage| matches!(stage, Stage::Asked(_)));
        let (mut stage, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if must && matches!(*stage, Stage::Asked(_)) {
            return Answer::Refused(busy());
        }
        match std::mem::replace(&mut *stage, Stage::Withdrawn) {
            Stage::Answered(Ok(done)) => Answer::Done(done),
            Stage::Answered(Err(error)) => Answer::Refused(error),
            Stage::Gone => Answer::Gone,
            Stage::Asked(_) | Stage::Withdrawn => Answer::Refused(busy()),
        }
    }
}

fn busy() -> SetupError {
    SetupError::new(
        ErrorKind::WouldBlock,
        format_args!(
            "it did not answer within {PATIENCE:?}, a task or a callback blocks its thread: try again when that is over, \
             and move what blocks to a thread of its own"
        ),
    )
}

impl<D, T> Errand for Order<D, T>
where
    D: FnOnce(&Home) -> Result<T, SetupError> + Send,
    T: Send,
{
    fn run(self: Arc<Self>, home: &Rc<Home>) -> Result<(), Letter> {
        let mut stage = self.lock();
        if matches!(*stage, Stage::Asked(_))
            && let Stage::Asked(todo) = std::mem::replace(&mut *stage, Stage::Gone)
        {
            *stage = Stage::Answered(todo(home));
            self.moved.notify_all();
        }
        Ok(())
    }

    fn refuse(self: Arc<Self>, _: Error) {
        let mut stage = self.lock();
        if matches!(*stage, Stage::Asked(_)) {
            *stage = Stage::Gone;
            self.moved.notify_all();
        }
    }
}

/// Cores by number, and something of each.
pub(crate) type OnCores<T> = Vec<(usize, Shared, T)>;

/// What came of an order on each core of a list.
pub(crate) type Answers<T> = OnCores<Answer<T>>;

impl Inner {
    /// The cores that have a ring now: a failed one has none.
    pub(crate) fn living(&self) -> Vec<(usize, Shared)> {
        let stations = self.stations.iter().map(|cell| cell.load_full()).enumerate();
        stations
            .filter(|(_, station)| matches!(station.state(), CoreState::Running | CoreState::Paused))
            .collect()
    }
}

/// Has each core of the list do what `make` says for it, all at once, and gathers what came of it.
///
/// What is `must`-done is never withdrawn: a core that is late does it before it does anything that it is asked later.
pub(crate) fn order<T, D>(
    cores: Vec<(usize, Shared)>,
    must: bool,
    mut make: impl FnMut(usize) -> D,
) -> Answers<T>
where
    D: FnOnce(&Home) -> Result<T, SetupError> + Send + 'static,
    T: Send + 'static,
{
    let deadline = Instant::now() + PATIENCE;
    let given: Vec<_> = cores
        .into_iter()
        .map(|(core, station)| {
            let order = Arc::new(Order {
                stage: Mutex::new(Stage::Asked(make(core))),
                moved: Condvar::new(),
            });
            let posted = station.give(Arc::clone(&order) as Letter);
            (core, station, order, posted)
        })
        .collect();
    let answer = |order: Arc<Order<D, T>>, posted| match posted {
        Ok(()) => order.answer(deadline, must),
        Err(PushError::Full(_)) => Answer::Refused(busy()),
        Err(PushError::Closed(_)) => Answer::Gone,
    };
    given
        .into_iter()
        .map(|(core, station, order, posted)| (core, station, answer(order, posted)))
        .collect()
}

/// The cores that did it, and with what; or, where one refused, those that have to undo it and the refusal.
pub(crate) fn all_or_none<T>(answers: Answers<T>) -> Result<OnCores<T>, (OnCores<T>, NotOnAll)> {
    let (mut done, mut refused) = (Vec::new(), None);
    for (core, station, answer) in answers {
        match answer {
            Answer::Done(what) => done.push((core, station, what)),
            Answer::Refused(error) if refused.is_none() => refused = Some(NotOnAll::by(core, error)),
            Answer::Refused(_) | Answer::Gone => {}
        }
    }
    match refused {
        Some(refused) => Err((done, refused)),
        None if done.is_empty() => Err((done, no_core())),
        None => Ok(done),
    }
}

pub(crate) fn no_core() -> NotOnAll {
    NotOnAll::whole(
        ErrorKind::Closed,
        "no core runs: the engine is over, or every core has failed and one must be resumed first",
    )
}
