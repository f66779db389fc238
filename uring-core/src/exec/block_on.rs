//! The simplest executor: one future, one ring.

use super::alarm::Alarm;
use super::event::{Event, EventFd};
use super::home::Home;
use crate::error::{Error, SetupError};
use crate::op::Read;
use crate::ring::{Core, LocalRing, OpId, Options};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, ThreadId};
use std::time::Duration;
use sync_base::atomic::{AtomicBool, Ordering};

/// A sleep ends after this long at the latest, whatever happened to its wake-up.
const ROUND: Duration = Duration::from_secs(1);

/// Polls in a row after which the ring is turned, so that a future that always wakes itself does not keep the ring from
/// bringing what it waits for.
const POLLS_A_TURN: u32 = 8;

/// Wakes the thread that runs a future: by a flag if it is that thread itself, by an event counter in the ring if not.
struct Bell {
    alarm: Alarm<Arc<Event>>,
    home: ThreadId,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.alarm.ring(thread::current().id() != self.home);
    }
}

impl Bell {
    fn new() -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Self {
            alarm: Alarm::new(Event::new()?),
            home: thread::current().id(),
        }))
    }
}

/// A read of the event counter in flight, for as long as this lives.
struct Listening<'r> {
    core: &'r Core,
    armed: Arc<AtomicBool>,
    id: Option<OpId>,
}

impl Listening<'_> {
    /// Queues the read unless one is in flight; without room for it the sleep is short instead.
    fn arm(&mut self, bell: &Arc<Bell>) -> Duration {
        // Relaxed: set and cleared by this thread, or before the ring moved to it.
        if self.armed.load(Ordering::Relaxed) {
            return ROUND;
        }
        let armed = Arc::clone(&self.armed);
        let event = Read::new(
            EventFd(Arc::clone(bell.alarm.chime())),
            vec![0u8; 8].into_boxed_slice(),
        );
        let queued = self.core.submit_own(|core| {
            core.submit_then(event, move |_| {
                // Relaxed: as above.
                armed.store(false, Ordering::Relaxed);
            })
        });
        let Ok(id) = queued else {
            return Duration::from_millis(1);
        };
        // Relaxed: as above.
        self.armed.store(true, Ordering::Relaxed);
        self.id = Some(id);
        ROUND
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.core.orphan(id);
        }
    }
}

impl Core {
    /// Runs a future to its end on this thread, turning the ring whenever it has to wait.
    ///
    /// Wake-ups may come from any thread. Costs an eventfd and, once it has to wait, one read of it.
    ///
    /// While it waits, the ring holds one operation more: the read of that eventfd, which is cancelled when it returns and gone
    /// with the next turn.
    ///
    /// # Errors
    /// What the ring's waits fail with.
    ///
    /// # Panics
    /// When it would have to wait inside a callback of the same ring: callbacks run one after the other, so that nothing
    /// would ever wake it. [`finish`](Core::finish) may be called there. So too when it would have to wait on a core's own
    /// thread of an [`Engine`](crate::engine::Engine), whose tasks stand still meanwhile, perhaps the awaited one: await it
    /// there.
    pub fn block_on<F: Future>(&self, future: F) -> Result<F::Output, Error> {
        let bell = Bell::new()?;
        let waker = Waker::from(Arc::clone(&bell));
        let mut cx = Context::from_waker(&waker);
        let mut listening = Listening {
            core: self,
            armed: Arc::new(AtomicBool::new(false)),
            id: None,
        };
        let mut future = pin!(future);
        let mut polls = 0;
        loop {
            if bell.alarm.take() {
                if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                    return Ok(output);
                }
                polls += 1;
                if polls % POLLS_A_TURN == 0 {
                    self.poll().or_else(retry_later)?;
                }
                continue;
            }
            assert!(
                !self.dispatching.get(),
                "block_on would wait for ever inside a callback of its own ring, since callbacks run one after the other: \
                 wait for the token with finish, or return and go on in the next callback"
            );
            Home::refuse_to_block("block_on");
            let limit = listening.arm(&bell);
            if bell.alarm.doze() {
                let waited = self.wait(1, limit);
                bell.alarm.wake();
                waited.or_else(retry_later)?;
            }
        }
    }
}

/// Back-pressure of the kernel ends by itself.
fn retry_later(error: Error) -> Result<usize, Error> {
    if !error.is_retryable() {
        return Err(error);
    }
    thread::yield_now();
    Ok(0)
}

/// Makes a ring for this thread and runs on it the future that `make` returns. The simplest use of this crate.
///
/// ```
/// use uring_core::op::Nop;
/// let done = uring_core::block_on(async |ring| ring.run(Nop::new()).await)?;
/// assert_eq!(done, Ok(()));
/// # Ok::<(), uring_core::SetupError>(())
/// ```
///
/// # Errors
/// When no ring can be made, or its waits fail.
pub fn block_on<R>(make: impl AsyncFnOnce(&LocalRing) -> R) -> Result<R, SetupError> {
    let ring = LocalRing::with(&Options::new())?;
    ring.block_on(make(&ring))
        .map_err(|error| error.explain("waiting on the ring"))
}
