//! loom's locks, which give up the processor only at a full barrier, as a kernel does.
//!
//! A lock that is free when it is asked for is taken by an Acquire and orders no more than that; nor does one for which a
//! thread spins, whose last try alone counts. Only a thread that sleeps runs barriers.

use super::interrupt;
use std::sync::{LockResult, TryLockError, TryLockResult};

pub use loom::sync::{Arc, MutexGuard};
pub use std::sync::PoisonError;

/// std's `Mutex` under loom.
#[derive(Debug)]
pub struct Mutex<T>(loom::sync::Mutex<T>);

impl<T> Mutex<T> {
    /// Makes an unlocked mutex.
    pub fn new(value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }

    /// Locks, blocking until it can.
    #[track_caller]
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        match self.try_lock() {
            Ok(guard) => Ok(guard),
            Err(TryLockError::Poisoned(poisoned)) => Err(poisoned),
            Err(TryLockError::WouldBlock) => interrupt::while_blocked(|| self.0.lock()),
        }
    }

    /// Locks if nobody holds the lock.
    #[track_caller]
    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        interrupt::poll();
        self.0.try_lock()
    }

    /// The value, borrowed exclusively.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        self.0.get_mut()
    }

    /// Takes the value out.
    pub fn into_inner(self) -> LockResult<T> {
        self.0.into_inner()
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

/// std's `Condvar` under loom.
#[derive(Debug, Default)]
pub struct Condvar(loom::sync::Condvar);

impl Condvar {
    /// Makes a condition nobody waits for.
    pub fn new() -> Self {
        Self(loom::sync::Condvar::new())
    }

    /// Waits until notified; may wake without reason.
    #[track_caller]
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        interrupt::while_blocked(|| self.0.wait(guard))
    }

    /// Wakes one waiter.
    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    /// Wakes every waiter.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}
