//! loom's threads, each known to the model of interrupts from its birth to its end.

use super::interrupt;

pub use loom::thread::{AccessError, LocalKey, Thread, ThreadId, current, panicking};

/// std's `JoinHandle` under loom.
#[derive(Debug)]
pub struct JoinHandle<T>(loom::thread::JoinHandle<T>);

impl<T> JoinHandle<T> {
    /// Waits for the thread to finish.
    #[track_caller]
    pub fn join(self) -> std::thread::Result<T> {
        interrupt::while_blocked(|| self.0.join())
    }

    /// A handle to the thread.
    pub fn thread(&self) -> &Thread {
        self.0.thread()
    }
}

pub(crate) use super::interrupt::is_ending;

/// Starts a thread.
#[track_caller]
pub fn spawn<T: 'static>(f: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
    let seat = interrupt::enlist();
    JoinHandle(loom::thread::spawn(move || {
        interrupt::sit(seat);
        let result = f();
        interrupt::leave(seat);
        result
    }))
}

/// Lets another thread run.
#[track_caller]
pub fn yield_now() {
    interrupt::poll();
    loom::thread::yield_now();
}

/// Blocks until somebody unparks this thread.
#[track_caller]
pub fn park() {
    interrupt::while_blocked(loom::thread::park);
}
