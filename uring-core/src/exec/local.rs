//! What a task of a core calls: its ring, its siblings, its clock.

use super::home::Home;
use super::task::JoinHandle;
use super::timers::{Key, Timers};
use crate::pace::Window;
use crate::ring::{Flight, LocalRing, Operation, Outcome};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

#[track_caller]
fn here(what: &str) -> Rc<Home> {
    Home::current()
        .unwrap_or_else(|| panic!("{what} was called outside of an engine's core: spawn_on runs code there"))
}

/// The ring of the core that calls. Costs a look into thread-local storage.
///
/// Where it outlives the core's tasks, in a thread-local for instance, the ring's end is delayed until it is dropped.
///
/// # Panics
/// Outside of a core.
pub fn ring() -> Rc<LocalRing> {
    Rc::clone(&here("ring").ring)
}

/// The window of the core that calls: what limits the operations that go in through it to what their device can use. One for
/// each core, made with the engine's [`p99_target`](crate::engine::Builder::p99_target).
///
/// ```
/// use uring_core::{engine::{self, Engine}, op::Read};
/// let engine = Engine::builder().core_count(1).build()?;
/// let read = engine.spawn_on(0, || async {
///     let file = std::fs::File::open("/proc/self/exe").unwrap();
///     engine::window().run(Read::new(file, vec![0; 64]).at(0)).await.0
/// })?;
/// assert_eq!(read.wait()??, 64);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Panics
/// Outside of a core.
pub fn window() -> Rc<Window<Rc<LocalRing>>> {
    Rc::clone(&here("window").window)
}

/// Makes a task of a future that stays on the core that calls. Allocates three times; runs when the caller waits.
///
/// # Panics
/// Outside of a core.
pub fn spawn_local<F: Future + 'static>(future: F) -> JoinHandle<F::Output> {
    here("spawn_local").spawn(future)
}

/// Runs an operation on the core's ring, waiting for room in it first; output and buffer come back on every path.
///
/// The future owns its way to the ring, so it may be `'static`; [`Core::run`](crate::Core::run) borrows the ring instead and
/// says at once where there is no room.
///
/// # Panics
/// Outside of a core.
pub async fn run<O: Operation>(op: O) -> O::Output {
    struct Letting<'r, O: Operation>(&'r LocalRing, Flight<O>);
    impl<O: Operation> Drop for Letting<'_, O> {
        fn drop(&mut self) {
            self.1.let_go(self.0);
        }
    }
    let ring = ring();
    let mut letting = Letting(&ring, Flight::Fresh(op));
    poll_fn(|cx| match letting.1.poll(&ring, cx.waker()) {
        Poll::Ready(Err(rejected)) if rejected.error.is_retryable() => {
            letting.1 = Flight::Fresh(rejected.op);
            ring.wait_for_room(cx.waker());
            Poll::Pending
        }
        Poll::Ready(Err(rejected)) => Poll::Ready(rejected.op.finish(Outcome::failed(rejected.error))),
        Poll::Ready(Ok(output)) => Poll::Ready(output),
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// Lets the other tasks of the core have their turn.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

/// Completes when its moment has come. Made by [`sleep`] and [`sleep_until`].
#[must_use = "it waits only when awaited"]
pub struct Sleep {
    timers: Rc<Timers>,
    at: u64,
    stage: Stage,
}

enum Stage {
    Fresh,
    Set(Key),
    Over,
}

/// Waits so long, counted from the call. Nothing is asked of the kernel: the core's sleep ends with the next timer.
///
/// # Panics
/// Outside of a core.
pub fn sleep(time: Duration) -> Sleep {
    let home = here("sleep");
    Sleep {
        at: home.ring.deadline(time),
        timers: Rc::clone(&home.timers),
        stage: Stage::Fresh,
    }
}

/// Waits until that moment; one turn where it has passed.
///
/// # Panics
/// Outside of a core.
pub fn sleep_until(moment: Instant) -> Sleep {
    sleep(moment.saturating_duration_since(Instant::now()))
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.stage {
            Stage::Fresh => self.stage = Stage::Set(self.timers.set(self.at, cx.waker())),
            Stage::Set(key) if self.timers.is_set(key, cx.waker()) => {}
            Stage::Set(_) | Stage::Over => {
                self.stage = Stage::Over;
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Stage::Set(key) = self.stage {
            self.timers.take_back(key);
        }
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep")
            .field("at_ns", &self.at)
            .finish_non_exhaustive()
    }
}

/// The time was up first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed(());

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time was up first")
    }
}

impl std::error::Error for Elapsed {}

/// Waits for a future, so long at most; then drops it, which lets go of its operations.
///
/// # Errors
/// When the time was up first.
///
/// # Panics
/// Outside of a core.
pub async fn timeout<F: Future>(limit: Duration, future: F) -> Result<F::Output, Elapsed> {
    until(sleep(limit), future).await
}

/// Waits for a future, until that moment at most; as [`timeout`].
///
/// # Errors
/// When the moment came first.
///
/// # Panics
/// Outside of a core.
pub async fn timeout_at<F: Future>(deadline: Instant, future: F) -> Result<F::Output, Elapsed> {
    until(sleep_until(deadline), future).await
}

async fn until<F: Future>(mut sleep: Sleep, future: F) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        Pin::new(&mut sleep).poll(cx).map(|()| Err(Elapsed(())))
    })
    .await
}

/// Ticks at equal distances. Made by [`interval`].
#[derive(Debug)]
pub struct Interval {
    next: u64,
    period: u64,
}

/// Ticks each time so much has passed, first after one period. Ticks that were missed are left out, the others stay in step.
///
/// # Panics
/// When the period is zero.
pub fn interval(period: Duration) -> Interval {
    assert!(!period.is_zero(), "an interval of no time would tick without end");
    let period = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
    Interval {
        next: here("interval").ring.deadline(Duration::from_nanos(period)),
        period,
    }
}

impl Interval {
    /// Waits for the next tick; says how many were left out before it.
    pub async fn tick(&mut self) -> u64 {
        let home = here("tick");
        let now = home.ring.deadline(Duration::ZERO);
        let missed = now.saturating_sub(self.next) / self.period;
        let at = self.next.saturating_add(missed.saturating_mul(self.period));
        let timers = Rc::clone(&home.timers);
        drop(home);
        Sleep {
            timers,
            at,
            stage: Stage::Fresh,
        }
        .await;
        self.next = at.saturating_add(self.period);
        missed
    }
}
