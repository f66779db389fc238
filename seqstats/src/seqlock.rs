//! A value that one writer publishes without waiting for its readers.
//!
//! # States
//! `sequence` is even when the words hold one value, odd while a writer changes them. Legal moves: even -> odd -> even,
//! each by one, modulo 2^64, by the holder of the turn alone.
//!
//! # Invariants
//! - I1: one writer at a time: whoever changes `sequence` or the words holds `turn`.
//! - I2: a reader that loads any word stored by write `k` and then fences and loads `sequence` sees at least the odd
//!   number of write `k`: the writer's release fence stands between that number and the words, the reader's acquire
//!   fence between the words and the second load.
//! - I3: a reader that loads the even number after write `k` sees the words of write `k` or later ones.
//! - I4: so a copy between two loads of the same even number is exactly one published value. The number would have to
//!   go round in full, 2^63 writes, during one copy to deceive a reader: at a write a nanosecond, 292 years.
//!
//! # Layout
//! The number comes first on a cache line of its own choosing, the words follow at once: a value of up to 56 bytes is then
//! fetched together with its number, as it was at one moment. Where they lie on two lines, a writer that has to fetch the
//! second one back stands still while the number is odd, and readers see little else (claim `seq.read.hot`: the lane of 56
//! bytes against that of 64).
//!
//! # Orderings
//! | access | order | pairs with |
//! |---|---|---|
//! | writer: odd number | Relaxed, then `fence(Release)` | the reader's `fence(Acquire)`, through any word stored later (I2) |
//! | writer: words | Relaxed | data, guarded by the numbers |
//! | writer: even number | Release | the reader's first load (I3) |
//! | reader: first load | Acquire | the writer's even number |
//! | reader: words | Relaxed | data, guarded by the numbers |
//! | reader: second load | Relaxed, after `fence(Acquire)` | the writer's `fence(Release)` |
//!
//! # Linearization points
//! A write: its even store. A successful read: its first load of the number.
//!
//! H.-J. Boehm, "Can seqlocks get along with programming language memory models?", MSPC 2012.

use crate::Plain;
use crate::turn::{Held, Hold, Taken, Turn};
use crate::words::Words;
use std::fmt;
use std::mem::MaybeUninit;
use sync_base::atomic::{AtomicU64, Ordering, fence};
use sync_base::{Backoff, Step, hint, thread};

/// Attempts in a row before a reader waits: a writer that has to fetch its line back lets about as many succeed, and a
/// pause of the processor costs as much as ten of them.
const EAGER: usize = if cfg!(any(loom, shuttle)) { 1 } else { 32 };

/// A plain value that readers copy without a lock while one writer at a time replaces it.
///
/// Readers never write to shared memory, so any number of them scale; the writer never waits for a reader.
/// [`read`](Self::read) tries until a copy succeeds; [`try_read`](Self::try_read) and
/// [`read_bounded`](Self::read_bounded) end after a stated number of copies. Where every read must succeed in a stated
/// number of steps, use [`Latch`](crate::Latch).
///
/// ```
/// use seqstats::{SeqLock, Writer};
/// static LOAD: SeqLock<[u64; 2]> = SeqLock::new([0, 0]);
/// let mut writer = Writer::try_claim(&LOAD).expect("nobody else writes");
/// writer.write([3, 4]);
/// writer.update(|load| load[0] += 1);
/// assert_eq!(LOAD.read(), [4, 4]);
/// ```
///
/// A lock of a type that may not be sent is not shared:
/// ```compile_fail,E0277
/// fn shared<T: Sync>() {}
/// shared::<seqstats::SeqLock<std::marker::PhantomData<*const u8>>>();
/// ```
/// ```
/// fn shared<T: Sync>() {}
/// shared::<seqstats::SeqLock<std::marker::PhantomData<u8>>>();
/// ```
// In this order, on a line: see Layout.
#[repr(C, align(64))]
pub struct SeqLock<T: Plain> {
    sequence: AtomicU64,
    words: Words<T>,
    turn: Turn,
}

impl<T: Plain> SeqLock<T> {
    sync_base::const_fn! {
        /// Makes a lock around a value.
        pub fn new(value: T) -> Self {
            Self::with_sequence(value, 0)
        }
    }

    sync_base::const_fn! {
        /// Makes a lock whose count of writes starts at `writes`: for tests of the wrap at 2^63 writes.
        #[doc(hidden)]
        pub fn with_sequence(value: T, writes: u64) -> Self {
            Self {
                sequence: AtomicU64::new(writes.wrapping_mul(2)),
                words: Words::new(value),
                turn: Turn::new(),
            }
        }
    }

    /// Tries once to copy the value. Wait-free: two loads beside the words; `None` if a write was in progress or ended
    /// meanwhile. Safe in a signal handler, even one that interrupts the writer.
    #[inline]
    pub fn try_read(&self) -> Option<T> {
        let mut copy = MaybeUninit::uninit();
        // SAFETY: an attempt that succeeds initialised the copy.
        self.attempt(&mut copy).then(|| unsafe { copy.assume_init() })
    }

    /// Copies the value to `copy`; true if it is one value.
    #[inline(always)]
    fn attempt(&self, copy: &mut MaybeUninit<T>) -> bool {
        // Acquire: pairs with the Release in `publish`; I3.
        let before = self.sequence.load(Ordering::Acquire);
        if before & 1 == 1 {
            return false;
        }
        self.words.load_into(copy);
        // Acquire: pairs with the fence(Release) in `publish`. Words of a later write were copied: then the load below
        // sees its odd number, or a later one. None were: then whatever the load below sees, the copy is whole.
        fence(Ordering::Acquire);
        // Relaxed: ordered by the fence.
        before == self.sequence.load(Ordering::Relaxed)
    }

    /// Copies the value. Takes no lock and writes nothing. Each failed attempt means that a writer was at work, so all
    /// readers together make progress as long as it does; a writer stopped in mid-write is waited for, by spinning
    /// briefly and yielding after that. Not for a signal handler that may interrupt the writer: it would wait for the
    /// thread that it stands on.
    #[inline]
    pub fn read(&self) -> T {
        let mut copy = MaybeUninit::uninit();
        if self.attempt(&mut copy) {
            // SAFETY: an attempt that succeeds initialised the copy.
            unsafe { copy.assume_init() }
        } else {
            self.read_contended()
        }
    }

    /// Has a copy of its own: if the one of `read` were lent to a call, it could not be made where it is to stay.
    #[cold]
    #[inline(never)]
    fn read_contended(&self) -> T {
        for _ in 0..EAGER {
            if let Some(value) = self.try_read() {
                return value;
            }
        }
        let mut backoff = Backoff::new();
        loop {
            if backoff.step() == Step::Park {
                thread::yield_now();
            }
            if let Some(value) = self.try_read() {
                return value;
            }
        }
    }

    /// Tries up to `attempts` times to copy the value. Wait-free: at most `attempts` copies, `None` after that.
    #[inline]
    pub fn read_bounded(&self, attempts: usize) -> Option<T> {
        for _ in 0..attempts {
            if let Some(value) = self.try_read() {
                return Some(value);
            }
            hint::spin_loop();
        }
        None
    }

    /// Publishes a value on behalf of the holder of the turn (I1).
    #[inline(always)]
    pub(crate) fn publish(&self, value: &T) {
        // Relaxed: I1: this thread or one that it synchronised with stored it.
        let even = self.sequence.load(Ordering::Relaxed);
        debug_assert!(even & 1 == 0, "I1: the last write ended");
        // Relaxed: ordered before the words by the fence.
        self.sequence.store(even.wrapping_add(1), Ordering::Relaxed);
        // Release: pairs with the fence(Acquire) in `try_read`. A reader that saw a word stored below sees the
        // odd number after its fence; one that saw none is none the wiser and loses nothing.
        fence(Ordering::Release);
        self.words.store(value);
        // Release: pairs with the first, Acquire load in `try_read`; publishes the words.
        self.sequence.store(even.wrapping_add(2), Ordering::Release);
    }

    /// Reads what was last published on behalf of the holder of the turn (I1): nobody else writes.
    #[inline(always)]
    pub(crate) fn published(&self) -> T {
        self.words.load()
    }

    /// Becomes the writer, waiting while somebody else is: spins a little, yields a little, then sleeps.
    pub fn lock(&self) -> Writer<&Self> {
        Writer {
            held: Held::new(self),
        }
    }

    /// Publishes a value under the writer's lock; waits while there is another writer, for ever if that one is a
    /// [`Writer`] that is never dropped. A sole writer keeps its [`Writer`] and pays for no lock.
    pub fn write(&self, value: T) {
        self.lock().write(value);
    }

    /// Changes the value under the writer's lock. If `change` panics nothing is published and the lock is free again.
    pub fn update<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        self.lock().update(change)
    }

    /// Takes the value out.
    pub fn into_inner(self) -> T {
        self.words.load()
    }
}

impl<T: Plain> Taken for SeqLock<T> {
    fn turn(&self) -> &Turn {
        &self.turn
    }
}

impl<T: Plain + Default> Default for SeqLock<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for SeqLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeqLock")
            .field("value", &self.try_read())
            .finish_non_exhaustive()
    }
}

/// The one writer of a [`SeqLock`], which it holds by reference or by `Arc`. Publishes with plain stores: no
/// read-modify-write, no wait, whatever the readers do (claim `seq.write.64`).
#[derive(Debug)]
pub struct Writer<P: Hold> {
    held: Held<P>,
}

impl<T: Plain, P: Hold<Target = SeqLock<T>>> Writer<P> {
    /// Becomes the writer.
    ///
    /// # Errors
    /// Hands `lock` back if there is a writer already.
    pub fn try_claim(lock: P) -> Result<Self, P> {
        Ok(Self {
            held: Held::try_new(lock)?,
        })
    }

    /// Publishes a value. Wait-free: two stores beside the words.
    #[inline]
    pub fn write(&mut self, value: T) {
        self.held.publish(&value);
    }

    /// Reads what was last published. Wait-free: nobody else writes.
    #[inline]
    pub fn get(&self) -> T {
        self.held.published()
    }

    /// Changes a copy of the value and publishes it. If `change` panics nothing is published: readers keep seeing the
    /// old value, and this writer goes on.
    #[inline]
    pub fn update<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> R {
        let mut value = self.get();
        let result = change(&mut value);
        self.write(value);
        result
    }

    /// The lock that this writes to.
    pub fn lock(&self) -> &P {
        self.held.holder()
    }
}
