//! Locks under loom, made of an atomic and a place to sleep, so that they order no more than a kernel's do.
//!
//! A lock that is free when it is asked for is taken by an Acquire and given back by a Release, and orders nothing else; nor
//! does one for which a thread spins, whose last try alone counts. Only a thread that sleeps runs barriers, as a context
//! switch does. loom's own mutex will not do: a thread that is about to *try* it is held up while another has it, and serves
//! no interrupt meanwhile.
//!
//! Who sleeps where is plain memory: loom runs one thread at a time, and switches only at the operations that it knows.

use super::atomic::{AtomicBool, Ordering};
use super::cell::UnsafeCell;
use super::interrupt;
use loom::thread::Thread;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::sync::{LockResult, TryLockError, TryLockResult};

pub use loom::sync::Arc;
pub use std::sync::PoisonError;

/// Threads that sleep until each is called.
#[derive(Debug, Default)]
struct Sleepers(RefCell<VecDeque<(Thread, Rc<Cell<bool>>)>>);

impl Sleepers {
    /// Puts the calling thread last in the queue; it sleeps when the result is called.
    fn join(&self) -> impl FnOnce() {
        let called = Rc::new(Cell::new(false));
        let entry = (loom::thread::current(), Rc::clone(&called));
        self.0.borrow_mut().push_back(entry);
        move || {
            while !called.get() {
                loom::thread::park();
            }
        }
    }

    /// Calls the first; says whether there was one.
    fn call(&self) -> bool {
        let first = self.0.borrow_mut().pop_front();
        if let Some((thread, called)) = &first {
            called.set(true);
            thread.unpark();
        }
        first.is_some()
    }
}

/// std's `Mutex` under loom. Never poisoned, as a panic ends the model.
#[derive(Debug)]
pub struct Mutex<T> {
    locked: AtomicBool,
    sleepers: Sleepers,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached by the holder alone; the rest is touched by whichever thread loom lets run.
unsafe impl<T: Send> Sync for Mutex<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Mutex<T> {}
impl<T> std::panic::RefUnwindSafe for Mutex<T> {}
impl<T> std::panic::UnwindSafe for Mutex<T> {}

impl<T> Mutex<T> {
    /// Makes an unlocked mutex.
    #[track_caller]
    pub fn new(value: T) -> Self {
        Self {
            locked: AtomicBool::new(false),
            sleepers: Sleepers::default(),
            value: UnsafeCell::new(value),
        }
    }

    /// Locks, blocking until it can.
    #[track_caller]
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        while !self.take() {
            // In the queue before anything can switch threads: the holder cannot leave unseen.
            let sleep = self.sleepers.join();
            interrupt::while_blocked(sleep);
        }
        Ok(MutexGuard::new(self))
    }

    /// Locks if nobody holds the lock.
    #[track_caller]
    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        if self.take() {
            Ok(MutexGuard::new(self))
        } else {
            Err(TryLockError::WouldBlock)
        }
    }

    #[track_caller]
    fn take(&self) -> bool {
        // Acquire: pairs with the Release in the guard's drop; what the holder before did. Relaxed on failure: nothing is
        // taken.
        self.locked
            .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    /// The value, borrowed exclusively.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        // SAFETY: `&mut self`.
        Ok(self.value.with_mut(|value| unsafe { &mut *value }))
    }

    /// Takes the value out.
    pub fn into_inner(self) -> LockResult<T> {
        Ok(self.value.into_inner())
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

/// std's `MutexGuard` under loom.
pub struct MutexGuard<'a, T> {
    lock: &'a Mutex<T>,
    here: PhantomData<*const ()>,
}

impl<'a, T> MutexGuard<'a, T> {
    fn new(lock: &'a Mutex<T>) -> Self {
        // A write, so that a hand-over that is not ordered is seen.
        lock.value.with_mut(|_| ());
        Self {
            lock,
            here: PhantomData,
        }
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        // Release: pairs with the Acquire in `take`; what was done under the lock.
        self.lock.locked.store(false, Ordering::Release);
        self.lock.sleepers.call();
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: this thread holds the lock.
        self.lock.value.with(|value| unsafe { &*value })
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this thread holds the lock, and the guard is borrowed exclusively.
        self.lock.value.with_mut(|value| unsafe { &mut *value })
    }
}

impl<T: fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// std's `Condvar` under loom.
#[derive(Debug, Default)]
pub struct Condvar(Sleepers);

// SAFETY: touched by whichever thread loom lets run.
unsafe impl Sync for Condvar {}
// SAFETY: as above.
unsafe impl Send for Condvar {}
impl std::panic::RefUnwindSafe for Condvar {}
impl std::panic::UnwindSafe for Condvar {}

impl Condvar {
    /// Makes a condition nobody waits for.
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits until notified.
    #[track_caller]
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        let lock = guard.lock;
        // In the queue before the lock is given back: no notification between the two is lost.
        let sleep = self.0.join();
        drop(guard);
        interrupt::while_blocked(sleep);
        lock.lock()
    }

    /// Wakes one waiter.
    #[track_caller]
    pub fn notify_one(&self) {
        interrupt::place();
        self.0.call();
    }

    /// Wakes every waiter.
    #[track_caller]
    pub fn notify_all(&self) {
        interrupt::place();
        while self.0.call() {}
    }
}
