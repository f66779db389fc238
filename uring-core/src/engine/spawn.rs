//! Tasks sent to a core: the closure that makes the future is `Send`, the future need not be.

use super::Engine;
use super::station::{Errand, Letter, Shared};
use crate::error::{Error, ErrorKind};
use crate::exec::home::Home;
use crate::exec::park::park_on;
use crate::exec::task::{JoinHandle, Node, Promise, promise};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use sync_base::queue::PushError;

/// A closure that was not taken, and why.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NotSent<F> {
    /// The closure.
    pub make: F,
    /// [`ErrorKind::WouldBlock`]: the mailbox is full. [`ErrorKind::Closed`]: the core is gone. [`ErrorKind::InvalidInput`]: there
    /// is no such core.
    pub error: Error,
}

impl<F> fmt::Debug for NotSent<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NotSent")
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl<F> fmt::Display for NotSent<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.error.kind() {
            ErrorKind::WouldBlock => "its core's mailbox is full: send_on waits for room",
            ErrorKind::InvalidInput => "there is no core of that number",
            ErrorKind::Forked => "the engine is the parent's of this forked process: make one of its own",
            _ => "its core is gone",
        };
        write!(f, "the task was not taken: {why}")
    }
}

impl<F> std::error::Error for NotSent<F> {}

/// What is sent: the closure, and the task's end of its handle.
struct Spawn<F, T> {
    parcel: Mutex<Option<(F, Promise<T>)>>,
    node: Arc<Node>,
}

impl<F, T> Spawn<F, T> {
    fn take(&self) -> Option<(F, Promise<T>)> {
        self.parcel.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<F, Fut> Errand for Spawn<F, Fut::Output>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future + 'static,
    Fut::Output: Send,
{
    fn run(self: Arc<Self>, home: &Rc<Home>) -> Result<(), Letter> {
        if let Some((make, promise)) = self.take() {
            // Made inside the task, so that a panic of `make` is the task's.
            home.place(Arc::clone(&self.node), promise, async move { make().await });
        }
        Ok(())
    }

    fn refuse(self: Arc<Self>, _: Error) {
        drop(self.take());
    }
}

/// What came of an attempt that failed; `full` is the core whose mailbox had no room.
struct Declined<F> {
    not_sent: NotSent<F>,
    full: Option<Shared>,
}

/// A task on its way to a core: a future of its handle. Made by [`Engine::send_on`].
#[must_use = "nothing is sent before it is awaited or waited for"]
pub struct Sending<F> {
    engine: Engine,
    core: usize,
    make: Option<F>,
}

impl<F> Unpin for Sending<F> {}

impl<F> fmt::Debug for Sending<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending")
            .field("core", &self.core)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Sends a closure to a core that runs the future it makes as a task there. From any thread; never waits.
    ///
    /// The future stays on that core and may hold what is not `Send`; its output comes back, so it is.
    ///
    /// ```
    /// use std::rc::Rc;
    /// use uring_core::engine::{Engine, current_core};
    /// let engine = Engine::builder().core_count(1).build()?;
    /// let task = engine.spawn_on(0, || async {
    ///     let local = Rc::new(41);
    ///     uring_core::engine::yield_now().await;
    ///     (*local + 1, current_core())
    /// })?;
    /// assert_eq!(task.wait()?, (42, Some(0)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The closure comes back with the reason: [`NotSent`].
    pub fn spawn_on<F, Fut>(&self, core: usize, make: F) -> Result<JoinHandle<Fut::Output>, NotSent<F>>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future + 'static,
        Fut::Output: Send,
    {
        self.offer_task(core, make).map_err(|declined| declined.not_sent)
    }

    /// As [`spawn_on`](Engine::spawn_on), waiting for room in the core's mailbox.
    pub fn send_on<F, Fut>(&self, core: usize, make: F) -> Sending<F>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future + 'static,
        Fut::Output: Send,
    {
        Sending {
            engine: self.clone(),
            core,
            make: Some(make),
        }
    }

    fn offer_task<F, Fut>(&self, core: usize, make: F) -> Result<JoinHandle<Fut::Output>, Declined<F>>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future + 'static,
        Fut::Output: Send,
    {
        let decline = |make: F, kind: ErrorKind, full| {
            let error = Error::of(kind);
            let not_sent = NotSent { make, error };
            Err(Declined { not_sent, full })
        };
        if let Err(error) = self.inner.check() {
            return decline(make, error.kind(), None);
        }
        let Some(station) = self.inner.stations.get(core) else {
            return decline(make, ErrorKind::InvalidInput, None);
        };
        let station = station.load_full();
        let node = Node::new(Arc::clone(&station.far));
        let (promise, handle) = promise(&node);
        let spawn = Arc::new(Spawn {
            parcel: Mutex::new(Some((make, promise))),
            node,
        });
        let (kind, full) = match station.post(Arc::clone(&spawn) as Letter) {
            Ok(()) => return Ok(handle),
            Err(PushError::Full(_)) => (ErrorKind::WouldBlock, Some(station)),
            Err(PushError::Closed(_)) => (ErrorKind::Closed, None),
        };
        let (make, _) = spawn.take().expect("handed back by the mailbox");
        decline(make, kind, full)
    }
}

impl<F, Fut> Sending<F>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future + 'static,
    Fut::Output: Send,
{
    /// Sleeps until the task is sent, in a thread that runs no tasks.
    ///
    /// # Errors
    /// The closure comes back when the core is gone, or there is none.
    ///
    /// # Panics
    /// On a core's own thread: await it there.
    pub fn wait(self) -> Result<JoinHandle<Fut::Output>, NotSent<F>> {
        Home::refuse_to_block("Sending::wait");
        park_on(self)
    }
}

impl<F, Fut> Future for Sending<F>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future + 'static,
    Fut::Output: Send,
{
    type Output = Result<JoinHandle<Fut::Output>, NotSent<F>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let mut told: Option<Shared> = None;
        loop {
            let make = this.make.take().expect("a finished sending was polled again");
            match this.engine.offer_task(this.core, make) {
                Ok(handle) => return Poll::Ready(Ok(handle)),
                Err(Declined {
                    not_sent,
                    full: Some(station),
                }) => {
                    this.make = Some(not_sent.make);
                    if told.as_ref().is_some_and(|told| Shared::ptr_eq(told, &station)) {
                        return Poll::Pending;
                    }
                    // The mailbox alone has no room: messages of a core to itself go through it as well.
                    station.mailbox.wait_for_room(cx.waker());
                    told = Some(station);
                }
                Err(Declined { not_sent, .. }) => return Poll::Ready(Err(not_sent)),
            }
        }
    }
}
