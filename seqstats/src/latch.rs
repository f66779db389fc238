//! A value whose readers never retry, whatever its writer does.
//!
//! A seqlock's reader can be lapped for ever, and so can the reader of two copies used in turn (the Linux kernel's
//! seqcount latch). Here there are `SLOTS` copies. A reader glances at the current one, and if that was overwritten
//! meanwhile it *announces* itself on the copy that is current then, which the writer leaves alone until the reader is
//! gone. There is no third attempt.
//!
//! # States
//! `current` is one word: the slot that is current, the low bits of its version, and how many readers announced
//! themselves on it since it became current. A slot is *current*, *held* (readers that announced themselves while it was
//! current are still in it: `left != entered`) or *free*. Legal moves: free -> current by the writer's swap; current ->
//! held or free by the next swap, which returns the number of announced readers; held -> free by the last of them.
//! `stamp` is `2 * version`, or odd while the slot is being written.
//!
//! # Invariants
//! - L1: one writer at a time: `entered`, `stamp`, the words and swaps of `current` belong to the holder of `turn`.
//! - L2: the writer writes only free slots.
//! - L3: announcing is one atomic addition to `current`, so a reader is counted in exactly the slot that it is told, and
//!   that slot is current at that moment: it is not free until the reader has added itself to `left`.
//! - L4: so an announced reader copies words that nobody writes.
//! - L5: a glance succeeds only if the stamp is that of the version named by `current`, before the copy and after it: then
//!   no word was stored meanwhile, by the fences as in the seqlock. The stamp has 64 bits, so it does not come round.
//! - L6: a thread announces itself at most once a version: its glance failed because a later version had been published
//!   since it loaded `current`. The count has 24 bits; Linux runs at most 2^22 threads.
//!
//! # Orderings
//! | access | order | pairs with |
//! |---|---|---|
//! | writer: odd stamp | Relaxed, then `fence(Release)` | the glance's `fence(Acquire)`, through any word stored later |
//! | writer: words, even stamp | Relaxed | published by the swap |
//! | writer: swap of `current` | Release | Acquire load and Acquire addition of readers: words and stamp |
//! | reader: `left` addition | Release | the writer's Acquire load of `left`: the copy is over before the slot is written |
//! | reader: stamps, words | Relaxed | ordered by `current` and the fence |
//!
//! # Linearization points
//! A write: its swap. A glance: its load of `current`. An announced read: its addition.

use crate::Plain;
use crate::turn::{Held, Hold, Taken, Turn};
use crate::words::Words;
use std::fmt;
use std::mem::MaybeUninit;
use sync_base::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use sync_base::{Backoff, CachePadded, Step, thread};

/// The word that says which slot is current: 24 bits of announced readers, 32 of version, 8 of slot.
#[derive(Clone, Copy)]
struct Current(u64);

impl Current {
    const ENTERED_BITS: u32 = 24;
    const SLOT_AT: u32 = 56;

    const fn new(slot: usize, version: u64) -> Self {
        Self((slot as u64) << Self::SLOT_AT | (version & u32::MAX as u64) << Self::ENTERED_BITS)
    }

    fn slot(self) -> usize {
        (self.0 >> Self::SLOT_AT) as usize
    }

    fn version(self) -> u32 {
        (self.0 >> Self::ENTERED_BITS) as u32
    }

    fn entered(self) -> u32 {
        self.0 as u32 & ((1 << Self::ENTERED_BITS) - 1)
    }
}

struct Slot<T> {
    stamp: AtomicU64,
    words: Words<T>,
    /// Announced readers that came and went.
    left: AtomicU32,
    /// Announced readers that came, complete once the slot is no longer current.
    entered: AtomicU32,
}

/// A plain value whose every read ends after a fixed number of steps, beside any writer.
///
/// [`read`](Self::read) is wait-free: of a value of `W` words it takes at most `2 W + 6` atomic operations, two of them
/// read-modify-writes, all of them only if it was overtaken by `SLOTS - 1` writes during one copy. (On processors without
/// atomic additions, such as arm64 before LSE, those two are short loops.) It may run in a signal handler, even one that
/// interrupts the writer.
///
/// What that costs: `SLOTS` copies of the value, each on cache lines of its own, and a writer that does one swap and
/// leaves alone the slots that announced readers are in. It never waits while at most `SLOTS - 2` of those are stopped in
/// mid-copy; with more, [`LatchWriter::write`] waits for one of them and [`LatchWriter::try_write`] hands the value back.
/// Where writes are rare a [`SeqLock`](crate::SeqLock) is smaller, and cheaper on both sides (claims `seq.read.64`,
/// `seq.write.64`); beside a writer that never pauses this is the faster one (claim `seq.read.hot.latch`).
///
/// ```
/// use seqstats::{Latch, LatchWriter};
/// static LATEST: Latch<[u64; 2]> = Latch::new([0, 0]);
/// let mut writer = LatchWriter::try_claim(&LATEST).expect("nobody else writes");
/// writer.write([3, 4]);
/// assert_eq!(LATEST.read(), [3, 4]);
/// ```
///
/// Two copies are not enough:
/// ```compile_fail,E0080
/// seqstats::Latch::<u64, 2>::new(0);
/// ```
/// ```
/// seqstats::Latch::<u64, 3>::new(0);
/// ```
pub struct Latch<T: Plain, const SLOTS: usize = 4> {
    current: CachePadded<AtomicU64>,
    slots: [CachePadded<Slot<T>>; SLOTS],
    turn: Turn,
}

impl<T: Plain, const SLOTS: usize> Latch<T, SLOTS> {
    const ENOUGH: () = assert!(
        SLOTS >= 3 && SLOTS <= 256,
        "one slot is current, one is written, and a lapped reader needs a third"
    );

    sync_base::const_fn! {
        /// Makes a latch around a value.
        pub fn new(value: T) -> Self {
            Self::with_version(value, 0)
        }
    }

    /// Makes a latch whose count of writes starts at `version`: for tests of the wrap at 2^63 writes.
    #[cfg(not(any(loom, shuttle)))]
    #[doc(hidden)]
    pub const fn with_version(value: T, version: u64) -> Self {
        const { Self::ENOUGH }
        let mut slots: MaybeUninit<[CachePadded<Slot<T>>; SLOTS]> = MaybeUninit::uninit();
        let mut i = 0;
        while i < SLOTS {
            let slot = CachePadded::new(Slot {
                stamp: AtomicU64::new(version.wrapping_mul(2)),
                words: Words::new(value),
                left: AtomicU32::new(0),
                entered: AtomicU32::new(0),
            });
            // SAFETY: i < SLOTS: inside the array.
            unsafe {
                slots
                    .as_mut_ptr()
                    .cast::<CachePadded<Slot<T>>>()
                    .add(i)
                    .write(slot)
            };
            i += 1;
        }
        Self {
            current: CachePadded::new(AtomicU64::new(Current::new(0, version).0)),
            // SAFETY: each of the SLOTS elements was written above.
            slots: unsafe { slots.assume_init() },
            turn: Turn::new(),
        }
    }

    #[cfg(any(loom, shuttle))]
    #[doc(hidden)]
    pub fn with_version(value: T, version: u64) -> Self {
        const { Self::ENOUGH }
        Self {
            current: CachePadded::new(AtomicU64::new(Current::new(0, version).0)),
            slots: std::array::from_fn(|_| {
                CachePadded::new(Slot {
                    stamp: AtomicU64::new(version.wrapping_mul(2)),
                    words: Words::new(value),
                    left: AtomicU32::new(0),
                    entered: AtomicU32::new(0),
                })
            }),
            turn: Turn::new(),
        }
    }

    /// Copies the value. Wait-free; see the type for the number of steps.
    #[inline]
    pub fn read(&self) -> T {
        let mut copy = MaybeUninit::uninit();
        if self.glance(&mut copy) {
            // SAFETY: a glance that succeeds initialised the copy.
            unsafe { copy.assume_init() }
        } else {
            self.read_announced()
        }
    }

    /// Copies the current slot without telling anybody; fails if the writer came round to it meanwhile.
    #[inline(always)]
    fn glance(&self, copy: &mut MaybeUninit<T>) -> bool {
        // Acquire: pairs with the Release swap in `LatchWriter::try_write`; publishes the slot's words and stamp.
        let current = Current(self.current.load(Ordering::Acquire));
        let slot = &self.slots[current.slot()];
        // Relaxed: L5: published by `current`, or later and then refused.
        let before = slot.stamp.load(Ordering::Relaxed);
        if before & 1 == 1 || (before / 2) as u32 != current.version() {
            return false;
        }
        slot.words.load_into(copy);
        // Acquire: pairs with the fence(Release) in `LatchWriter::try_write`. Words of a later version were copied: then
        // the load below sees its odd stamp or a later one. None were: the copy is whole.
        fence(Ordering::Acquire);
        // Relaxed: ordered by the fence.
        slot.stamp.load(Ordering::Relaxed) == before
    }

    /// Copies the current slot while the writer keeps off it.
    #[doc(hidden)]
    #[cold]
    pub fn read_announced(&self) -> T {
        // Acquire: pairs with the Release swap in `LatchWriter::try_write`; publishes the slot's words.
        let current = Current(self.current.fetch_add(1, Ordering::Acquire));
        let slot = &self.slots[current.slot()];
        let value = slot.words.load();
        // Release: pairs with the Acquire in `LatchWriter::free_slot`; the copy is over.
        // weaken-ok(Release->Relaxed): loads of the copy that pass this are load buffering, which loom never explores.
        slot.left.fetch_add(1, Ordering::Release);
        value
    }
}

impl<T: Plain, const SLOTS: usize> Taken for Latch<T, SLOTS> {
    fn turn(&self) -> &Turn {
        &self.turn
    }
}

impl<T: Plain + Default, const SLOTS: usize> Default for Latch<T, SLOTS> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: Plain + fmt::Debug, const SLOTS: usize> fmt::Debug for Latch<T, SLOTS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latch")
            .field("value", &self.read())
            .finish_non_exhaustive()
    }
}

/// The one writer of a [`Latch`], which it holds by reference or by `Arc`.
#[derive(Debug)]
pub struct LatchWriter<P: Hold> {
    held: Held<P>,
}

impl<T: Plain, const SLOTS: usize, P: Hold<Target = Latch<T, SLOTS>>> LatchWriter<P> {
    /// Becomes the writer.
    ///
    /// # Errors
    /// Hands `latch` back if there is a writer already.
    pub fn try_claim(latch: P) -> Result<Self, P> {
        Ok(Self {
            held: Held::try_new(latch)?,
        })
    }

    /// The slot that is current.
    fn current_slot(&self) -> usize {
        // Relaxed: L1: this thread or one that it synchronised with swapped it; readers change only the count.
        Current(self.held.current.load(Ordering::Relaxed)).slot()
    }

    /// L2: a slot that is not current and that every announced reader has left. At most `SLOTS - 1` are looked at.
    fn free_slot(&self, current: usize) -> Option<usize> {
        (1..SLOTS).map(|i| (current + i) % SLOTS).find(|&i| {
            let slot = &self.held.slots[i];
            // Acquire: pairs with the Release in `Latch::read_announced`; the copies are over. Relaxed: L1.
            // weaken-ok(Acquire->Relaxed): stores that overtake this are load buffering, which loom never explores.
            slot.left.load(Ordering::Acquire) == slot.entered.load(Ordering::Relaxed)
        })
    }

    /// Publishes a value. Wait-free: one swap, and a look at no more than `SLOTS - 1` slots.
    ///
    /// # Errors
    /// Hands the value back if announced readers are in all slots but the current one.
    #[inline]
    pub fn try_write(&mut self, value: T) -> Result<(), T> {
        let latch = &*self.held;
        let current = self.current_slot();
        let Some(next) = self.free_slot(current) else {
            return Err(value);
        };
        // Relaxed: L1.
        let version = (latch.slots[current].stamp.load(Ordering::Relaxed) / 2).wrapping_add(1);
        let slot = &latch.slots[next];
        // Relaxed: ordered before the words by the fence.
        slot.stamp
            .store(version.wrapping_mul(2).wrapping_sub(1), Ordering::Relaxed);
        // Release: pairs with the fence(Acquire) in `Latch::glance`. A reader that saw a word stored below sees the odd
        // stamp after its fence; one that saw none loses nothing.
        fence(Ordering::Release);
        slot.words.store(&value);
        // Relaxed: published by the swap.
        slot.stamp.store(version.wrapping_mul(2), Ordering::Relaxed);
        let published = Current::new(next, version).0;
        // Release: pairs with the Acquire in `Latch::glance` and `Latch::read_announced`; publishes words and stamp.
        let before = Current(latch.current.swap(published, Ordering::Release));
        let entered = &latch.slots[current].entered;
        // Relaxed, both: L1.
        let sum = entered.load(Ordering::Relaxed).wrapping_add(before.entered());
        entered.store(sum, Ordering::Relaxed);
        Ok(())
    }

    /// Publishes a value. Waits, spinning and then yielding, only while more than `SLOTS - 2` announced readers are
    /// stopped in mid-copy.
    #[inline]
    pub fn write(&mut self, value: T) {
        let mut backoff = Backoff::new();
        let mut value = value;
        while let Err(refused) = self.try_write(value) {
            value = refused;
            if backoff.step() == Step::Park {
                // The reader waited for is between two steps of a copy: it needs the processor only, and may be a
                // signal handler, which must not be asked to wake anybody.
                thread::yield_now();
            }
        }
    }

    /// Reads what was last published.
    pub fn get(&self) -> T {
        self.held.slots[self.current_slot()].words.load()
    }

    /// Changes a copy of the value and publishes it as [`write`](Self::write) does. If `change` panics nothing is
    /// published, and this writer goes on.
    pub fn update<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> R {
        let mut value = self.get();
        let result = change(&mut value);
        self.write(value);
        result
    }

    /// The latch that this writes to.
    pub fn latch(&self) -> &P {
        self.held.holder()
    }
}
