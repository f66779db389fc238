//! Waiting for a word of memory to change: `futex_wait(2)`, `futex_wake(2)` (the calls of `futex2`).

use super::result_of;
use crate::error::Error;
use crate::ring::operation::sealed::Sealed;
use crate::ring::{Operation, Outcome};
use crate::sys::abi::{Sqe, code};
use std::sync::Arc;
// Stands outside the models: the kernel reads it.
use std::sync::atomic::AtomicU32;

/// A word that threads agree on, which stays where it is as long as the value lives.
pub trait Word: Send + 'static + sealed::Word {}

mod sealed {
    /// Keeps the promise of a fixed address to this crate.
    pub trait Word {
        #[doc(hidden)]
        fn address(&self) -> *const u32;
    }
}

impl Word for Arc<AtomicU32> {}
impl sealed::Word for Arc<AtomicU32> {
    fn address(&self) -> *const u32 {
        self.as_ptr()
    }
}

impl Word for &'static AtomicU32 {}
impl sealed::Word for &'static AtomicU32 {
    fn address(&self) -> *const u32 {
        self.as_ptr()
    }
}

const SIZE_U32: i32 = 2;
const PRIVATE: i32 = 128;
/// Every bit: who waits for any is woken for any.
const ANY: u64 = u32::MAX as u64;

fn entry(opcode: u8, word: &impl Word, shared: bool, value: u64) -> Sqe {
    let flags = if shared { SIZE_U32 } else { SIZE_U32 | PRIVATE };
    Sqe {
        addr: word.address() as u64,
        off: value,
        addr3: ANY,
        ..Sqe::new(opcode, flags)
    }
}

/// Waits until somebody wakes those who wait for a word (Linux 6.7).
///
/// Fails with [`ErrorKind::WouldBlock`](crate::ErrorKind::WouldBlock) when the word is not what was expected when the
/// operation starts: then there is nothing to wait for. Look at the word again afterwards, as with every futex.
#[derive(Debug)]
pub struct FutexWait<W> {
    word: W,
    expected: u32,
    shared: bool,
}

impl<W: Word> FutexWait<W> {
    /// Waits while the word is `expected`.
    pub fn new(word: W, expected: u32) -> Self {
        Self {
            word,
            expected,
            shared: false,
        }
    }

    /// Lets other processes that share the memory do the waking.
    pub fn shared(mut self) -> Self {
        self.shared = true;
        self
    }
}

impl<W: Word> Sealed for FutexWait<W> {}

// SAFETY: the entry names the word, which stays where it is by the promise of `Word`.
unsafe impl<W: Word> Operation for FutexWait<W> {
    type Output = Result<(), Error>;

    fn entry(&mut self) -> Sqe {
        entry(
            code::FUTEX_WAIT,
            &self.word,
            self.shared,
            u64::from(self.expected),
        )
    }

    fn finish(self, outcome: Outcome) -> Self::Output {
        result_of(outcome, code::FUTEX_WAIT).map(drop)
    }
}

/// Wakes up to so many of those who wait for a word, in the kernel or through a ring (Linux 6.7). Gives how many.
#[derive(Debug)]
pub struct FutexWake<W> {
    word: W,
    count: u32,
    shared: bool,
}

impl<W: Word> FutexWake<W> {
    /// Names the word and how many to wake.
    pub fn new(word: W, count: u32) -> Self {
        Self {
            word,
            count,
            shared: false,
        }
    }

    /// Wakes those of other processes too that share the memory.
    pub fn shared(mut self) -> Self {
        self.shared = true;
        self
    }
}

impl<W: Word> Sealed for FutexWake<W> {}

// SAFETY: as for `FutexWait`.
unsafe impl<W: Word> Operation for FutexWake<W> {
    type Output = Result<u32, Error>;

    fn entry(&mut self) -> Sqe {
        let count = u64::from(self.count.min(i32::MAX as u32));
        entry(code::FUTEX_WAKE, &self.word, self.shared, count)
    }

    fn finish(self, outcome: Outcome) -> Self::Output {
        result_of(outcome, code::FUTEX_WAKE)
    }
}
