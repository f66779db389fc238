//! The representation of a value that is no word: a lock, and a version that stands for the value.
//!
//! # Protocol
//! Only moves and clones happen under the lock. An update clones the value, lets go, runs the caller's code on the
//! clone, and puts the result in if the version is still the same: the closure may run again, as with an atomic.
//!
//! # Invariants
//! - V1: the version changes with every write, so an unchanged version means an unchanged value.
//! - V2: no code of the caller's runs under the lock but `Clone::clone`: a closure that panics, or that uses the same
//!   cell, harms nothing. A lock that a panicking `clone` poisoned is as good as any, since `clone` changes nothing.

use super::{Refused, Representation};
use std::mem;
use sync_base::sync::{Mutex, MutexGuard, PoisonError};

/// A value behind a lock: what [`AdaptiveCell`](crate::AdaptiveCell) is made of where it has to be.
#[derive(Debug)]
pub struct Locked<T>(Mutex<Versioned<T>>);

#[derive(Debug)]
struct Versioned<T> {
    version: u64,
    value: T,
}

impl<T> Versioned<T> {
    /// V1.
    fn replace(&mut self, value: T) -> T {
        self.version = self.version.wrapping_add(1);
        mem::replace(&mut self.value, value)
    }
}

impl<T> Locked<T> {
    sync_base::const_fn! {
        /// Wraps a value, for a `static`: see [`AdaptiveCell::of`](crate::AdaptiveCell::of).
        pub fn new(value: T) -> Self {
            Self(Mutex::new(Versioned { version: 0, value }))
        }
    }
}

impl<T: Clone> Locked<T> {
    fn lock(&self) -> MutexGuard<'_, Versioned<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn versioned(&self) -> (u64, T) {
        let held = self.lock();
        (held.version, held.value.clone())
    }

    /// Replaces the value if its version is still `version`; hands `value` back otherwise.
    fn replace_if(&self, version: u64, value: T) -> Result<T, T> {
        let mut held = self.lock();
        if held.version == version {
            Ok(held.replace(value))
        } else {
            Err(value)
        }
    }
}

impl<T: Clone + PartialEq> super::sealed::Sealed for Locked<T> {}

impl<T: Clone + PartialEq> Representation<T> for Locked<T> {
    const LOCK_FREE: bool = false;

    fn new(value: T) -> Self {
        Self::new(value)
    }

    fn load(&self) -> T {
        self.versioned().1
    }

    fn store(&self, value: T) {
        // The old value is dropped here, when the lock is free again.
        drop(self.swap(value));
    }

    fn swap(&self, value: T) -> T {
        self.lock().replace(value)
    }

    fn compare_exchange(&self, current: &T, mut new: T) -> Result<T, Refused<T>> {
        loop {
            let (version, found) = self.versioned();
            if found != *current {
                return Err(Refused { found, new });
            }
            match self.replace_if(version, new) {
                Ok(before) => return Ok(before),
                Err(back) => new = back,
            }
        }
    }

    fn fetch_update(&self, mut f: impl FnMut(&T) -> Option<T>) -> Result<T, T> {
        loop {
            let (version, found) = self.versioned();
            let Some(new) = f(&found) else {
                return Err(found);
            };
            if let Ok(before) = self.replace_if(version, new) {
                return Ok(before);
            }
        }
    }

    fn into_inner(self) -> T {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner).value
    }
}
