//! A task as other threads see it: who wakes it, who waits for its end, who ends it before.

use super::bell::Far;
use super::claim::QueueClaim;
use super::home::Home;
use super::park::park_on;
use super::reply::Reply;
use super::wakes::Linked;
use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake};
use sync_base::atomic::{AtomicPtr, AtomicU32, Ordering};

/// The part of a task that its wakers and its handle share; it owns nothing of the future.
#[derive(Debug)]
pub(crate) struct Node {
    far: Arc<Far>,
    pub(crate) claim: QueueClaim,
    /// Where the core keeps the future; written and read on the core's thread alone.
    slot: AtomicU32,
    link: AtomicPtr<Node>,
}

impl Linked for Node {
    fn link(&self) -> &AtomicPtr<Self> {
        &self.link
    }
}

impl Node {
    pub(crate) fn new(far: Arc<Far>) -> Arc<Self> {
        Arc::new(Self {
            far,
            claim: QueueClaim::new(),
            slot: AtomicU32::new(u32::MAX),
            link: AtomicPtr::new(std::ptr::null_mut()),
        })
    }

    pub(crate) fn slot(&self) -> u32 {
        // Relaxed: the core's thread alone.
        self.slot.load(Ordering::Relaxed)
    }

    pub(crate) fn set_slot(&self, slot: u32) {
        // Relaxed: the core's thread alone.
        self.slot.store(slot, Ordering::Relaxed);
    }

    fn abort(self: &Arc<Self>) {
        self.claim.abort();
        self.wake_by_ref();
    }
}

impl Wake for Node {
    fn wake(self: Arc<Self>) {
        if !self.claim.claim() {
            return;
        }
        if Home::is_here(&self.far) {
            if let Some(home) = Home::current() {
                home.queue(self);
            }
            return;
        }
        let far = Arc::clone(&self.far);
        // A core that is gone needs no wake-up: it has dropped the task.
        if far.wakes.push(self).is_ok() {
            far.alarm.ring(true);
        }
    }

    fn wake_by_ref(self: &Arc<Self>) {
        Arc::clone(self).wake();
    }
}

/// Why a task has no output.
#[non_exhaustive]
pub enum JoinError {
    /// It was aborted by its handle.
    Aborted,
    /// It panicked, with this.
    Panicked(Box<dyn Any + Send>),
    /// Its core stopped, or failed, before it was done.
    Gone,
}

impl JoinError {
    /// What a panic said, where it said so in words.
    pub fn panic_message(&self) -> Option<&str> {
        match self {
            Self::Panicked(payload) => message(payload.as_ref()),
            _ => None,
        }
    }
}

/// The words of a panic.
pub(crate) fn message(payload: &(dyn Any + Send)) -> Option<&str> {
    let text = payload.downcast_ref::<&'static str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aborted => f.write_str("Aborted"),
            Self::Panicked(_) => f.debug_tuple("Panicked").field(&self.panic_message()).finish(),
            Self::Gone => f.write_str("Gone"),
        }
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aborted => f.write_str("the task was aborted"),
            Self::Panicked(_) => write!(
                f,
                "the task panicked: {}",
                self.panic_message().unwrap_or("with a value that is no text")
            ),
            Self::Gone => f.write_str("the task's core stopped before the task was done"),
        }
    }
}

impl std::error::Error for JoinError {}

/// The task's end of a [`JoinHandle`]: dropped unkept, it says why.
pub(crate) struct Promise<T> {
    reply: Arc<Reply<Result<T, JoinError>>>,
    node: Arc<Node>,
}

impl<T> Promise<T> {
    pub(crate) fn keep(self, result: Result<T, JoinError>) {
        drop(self.reply.keep(result));
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        let why = if self.node.claim.is_aborted() {
            JoinError::Aborted
        } else {
            JoinError::Gone
        };
        drop(self.reply.keep(Err(why)));
    }
}

/// Waits for a task, in a future or in a thread, and may end it before. Dropped, it lets the task run on.
///
/// `Send` where the output is: a task may be awaited from any executor.
#[must_use = "a task runs on without its handle: drop it to say so"]
pub struct JoinHandle<T> {
    reply: Arc<Reply<Result<T, JoinError>>>,
    node: Arc<Node>,
}

/// The two ends of a task's output.
pub(crate) fn promise<T>(node: &Arc<Node>) -> (Promise<T>, JoinHandle<T>) {
    let reply = Arc::new(Reply::new());
    let promise = Promise {
        reply: Arc::clone(&reply),
        node: Arc::clone(node),
    };
    let node = Arc::clone(node);
    (promise, JoinHandle { reply, node })
}

impl<T> JoinHandle<T> {
    /// Asks that the task be dropped at its next turn instead of polled. From any thread; does not wait. A task that is
    /// done already, or ends in this very poll, keeps its output.
    pub fn abort(&self) {
        self.node.abort();
    }

    /// Whether the task is over.
    pub fn is_finished(&self) -> bool {
        self.reply.is_kept()
    }

    /// Sleeps until the task is over, in a thread that runs no tasks.
    ///
    /// # Errors
    /// When the task was aborted, panicked, or its core is gone.
    ///
    /// # Panics
    /// On a core's own thread, which would wait for ever if the task is one of its own: await the handle there.
    pub fn wait(self) -> Result<T, JoinError> {
        Home::refuse_to_block("JoinHandle::wait");
        park_on(self)
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.reply.poll(cx)
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("is_finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}
