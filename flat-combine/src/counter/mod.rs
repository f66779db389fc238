//! An exact counter: a plain atomic until contention is measured, then aggregating funnels, then plain again.
//!
//! # Protocol
//! The counter *is* one atomic word; every way of adding ends in a read-modify-write of it. On the *plain* way a thread
//! does that itself; on the *funnel* way (see `funnel`) a leader does it for a batch. Threads on either way may be mixed
//! at any moment, so a switch needs no agreement: `way` is a hint, and no value of it, however stale, can make a
//! result wrong. When to switch is decided by `policy`.
//!
//! # Invariants
//! - N1: `value` is what the operations that took effect add up to, modulo 2^64.
//! - N2: an operation takes effect at one read-modify-write of `value`, its own or its leader's.
//!
//! # Orderings
//! Every operation on `value` acquires and releases, as does each hand-over in a funnel: what a thread did before an
//! operation is visible to any thread whose operation came after it in the counter's order. `way` is Relaxed.

mod flag;
mod funnel;
mod meter;
mod policy;

pub use meter::Meter;

use crate::made_once::MadeOnce;
use crate::thread_number::thread_number;
use funnel::{Funnel, Report};
use policy::{Policy, SAMPLE_EVERY};
use std::fmt;
use sync_base::CachePadded;
use sync_base::atomic::{AtomicU32, AtomicU64, Ordering};
use sync_base::hint;
use sync_base::sync::Mutex;

/// How a [`Counter`] adds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Way {
    /// A plain atomic until contention is measured, a funnel while that is faster. The default.
    #[default]
    Adaptive,
    /// Always a plain atomic.
    Plain,
    /// Always a funnel.
    Funnel,
}

/// How often a [`Counter`] changed its way: see [`Counter::switches`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Switches {
    /// From plain to funnel.
    pub to_funnel: u64,
    /// From funnel to plain.
    pub to_plain: u64,
}

// The bits of `way`: two flags, and above them the salt of `sample_is_due`.
const FUNNEL: u32 = 1;
const PINNED: u32 = 2;
const SALT_AT: u32 = 2;
/// What moves the salt on: far, since values that follow each other must not follow it.
const NEXT_SALT: u32 = 0x9E37_79B4;

/// Counts exactly: each addition returns the value that it found.
///
/// # Consistency
/// Linearizable, with the memory ordering of an `AcqRel` read-modify-write, on either way of adding and across
/// switches between them. Previous values of `n` increments from any number of threads are a permutation of `0..n`.
///
/// # Arithmetic
/// | form | past the end |
/// |---|---|
/// | [`fetch_add`](Self::fetch_add), [`fetch_sub`](Self::fetch_sub) | wraps modulo 2^64 |
/// | [`checked_add`](Self::checked_add), [`checked_sub`](Self::checked_sub) | refused, nothing changes |
/// | [`saturating_add`](Self::saturating_add), [`saturating_sub`](Self::saturating_sub) | stops at the end |
/// | [`fetch_add_if_below`](Self::fetch_add_if_below) | refused above the limit |
///
/// The forms that may refuse or stop are compare-exchange loops on the word itself and take no funnel.
///
/// # Progress
/// Plain additions are wait-free where the processor has an atomic add, the forms with a condition lock-free. In a
/// funnel a thread waits for the leader of its batch: it spins, yields, then sleeps.
///
/// # When not to use it
/// Where nobody needs the previous value or a limit: [`StripedCounter`](crate::StripedCounter) costs a fraction.
///
/// ```
/// use flat_combine::Counter;
/// static TICKET: Counter = Counter::new(0);
/// let mut tickets: Vec<u64> = std::thread::scope(|scope| {
///     let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| TICKET.fetch_add(1))).collect();
///     threads.into_iter().map(|t| t.join().unwrap()).collect()
/// });
/// tickets.sort();
/// assert_eq!(tickets, [0, 1, 2, 3]);
///
/// let budget = Counter::new(0); // bytes in use, never above 100
/// assert_eq!(budget.fetch_add_if_below(90, 100), Ok(0));
/// assert_eq!(budget.fetch_add_if_below(11, 100), Err(90));
/// assert_eq!(budget.checked_sub(90), Ok(90));
/// assert_eq!(budget.checked_sub(1), Err(0));
/// ```
pub struct Counter {
    value: CachePadded<AtomicU64>,
    way: CachePadded<AtomicU32>,
    adapting: CachePadded<Adapting>,
    funnel: MadeOnce<Funnel>,
}

#[derive(Debug)]
struct Adapting {
    meter: Meter,
    policy: Mutex<Policy>,
    to_funnel: AtomicU64,
    to_plain: AtomicU64,
}

// No code of the caller's runs inside, so a panic never leaves a counter half changed.
impl std::panic::UnwindSafe for Counter {}
impl std::panic::RefUnwindSafe for Counter {}

impl Counter {
    sync_base::const_fn! {
        /// Makes a counter. Allocates nothing before the first funnel.
        pub fn new(value: u64) -> Self {
            Self::metered(value, Meter::MACHINE)
        }
    }

    sync_base::const_fn! {
        /// Makes a counter that takes its measurements from `meter`: for tests that say when there is contention.
        #[doc(hidden)]
        pub fn metered(value: u64, meter: Meter) -> Self {
            Self {
                value: CachePadded::new(AtomicU64::new(value)),
                way: CachePadded::new(AtomicU32::new(0)),
                adapting: CachePadded::new(Adapting {
                    meter,
                    policy: Mutex::new(Policy::new()),
                    to_funnel: AtomicU64::new(0),
                    to_plain: AtomicU64::new(0),
                }),
                funnel: MadeOnce::new(),
            }
        }
    }

    /// The value now. Wait-free.
    #[inline]
    pub fn load(&self) -> u64 {
        // Acquire: pairs with the AcqRel of every operation on the counter.
        self.value.load(Ordering::Acquire)
    }

    /// Adds, wrapping modulo 2^64, and returns the value before.
    #[inline]
    pub fn fetch_add(&self, count: u64) -> u64 {
        // Relaxed: a hint; both ways give exact results and may be mixed.
        let way = self.way.load(Ordering::Relaxed);
        if way & FUNNEL != 0 {
            return self.add_by_funnel(count);
        }
        // AcqRel: pairs with every other operation on the counter.
        let before = self.value.fetch_add(count, Ordering::AcqRel);
        if sample_is_due(before, way) {
            self.sample();
        }
        before
    }

    /// Subtracts, wrapping modulo 2^64, and returns the value before.
    #[inline]
    pub fn fetch_sub(&self, count: u64) -> u64 {
        self.fetch_add(count.wrapping_neg())
    }

    /// Adds unless the result would be above `limit`. Nobody ever sees the counter above the limit on this account.
    ///
    /// # Errors
    /// The value that left no room; nothing was added.
    #[inline]
    pub fn fetch_add_if_below(&self, count: u64, limit: u64) -> Result<u64, u64> {
        self.update(|value| value.checked_add(count).filter(|sum| *sum <= limit))
    }

    /// Adds unless the result would be above `u64::MAX`.
    ///
    /// # Errors
    /// The value found; nothing was added.
    #[inline]
    pub fn checked_add(&self, count: u64) -> Result<u64, u64> {
        self.update(|value| value.checked_add(count))
    }

    /// Subtracts unless the result would be below 0.
    ///
    /// # Errors
    /// The value found; nothing was subtracted.
    #[inline]
    pub fn checked_sub(&self, count: u64) -> Result<u64, u64> {
        self.update(|value| value.checked_sub(count))
    }

    /// Adds, stopping at `u64::MAX`, and returns the value before.
    #[inline]
    pub fn saturating_add(&self, count: u64) -> u64 {
        either(self.update(|value| Some(value.saturating_add(count))))
    }

    /// Subtracts, stopping at 0, and returns the value before.
    #[inline]
    pub fn saturating_sub(&self, count: u64) -> u64 {
        either(self.update(|value| Some(value.saturating_sub(count))))
    }

    /// Puts another value in and returns the one before.
    pub fn swap(&self, value: u64) -> u64 {
        // AcqRel: pairs with every other operation on the counter.
        self.value.swap(value, Ordering::AcqRel)
    }

    fn update(&self, new: impl Fn(u64) -> Option<u64>) -> Result<u64, u64> {
        let mut value = self.load();
        while let Some(new) = new(value) {
            // AcqRel: pairs with every other operation on the counter. Acquire on failure: pairs with the same.
            match self
                .value
                .compare_exchange_weak(value, new, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(before) => return Ok(before),
                Err(now) => value = now,
            }
        }
        Err(value)
    }

    /// Chooses the way of adding from here on. Operations already under way end as they began.
    pub fn set_way(&self, way: Way) {
        match way {
            Way::Adaptive => {
                // Relaxed: a hint.
                self.way.fetch_and(!PINNED, Ordering::Relaxed);
            }
            Way::Plain => self.switch(false, PINNED),
            Way::Funnel => self.switch(true, PINNED),
        }
    }

    /// How often the way changed so far, by itself or by [`set_way`](Self::set_way).
    pub fn switches(&self) -> Switches {
        // Relaxed: tallies, read for show.
        let read = |tally: &AtomicU64| tally.load(Ordering::Relaxed);
        Switches {
            to_funnel: read(&self.adapting.to_funnel),
            to_plain: read(&self.adapting.to_plain),
        }
    }

    fn switch(&self, funnel: bool, pinned: u32) {
        // Relaxed: a hint.
        let before = self
            .way
            .swap(if funnel { FUNNEL } else { 0 } | pinned, Ordering::Relaxed);
        if (before & FUNNEL != 0) != funnel {
            let tally = if funnel {
                &self.adapting.to_funnel
            } else {
                &self.adapting.to_plain
            };
            // Relaxed: a tally.
            tally.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[cold]
    #[inline(never)]
    fn add_by_funnel(&self, count: u64) -> u64 {
        let funnel = self.funnel.get_or_make(|| Funnel::new(groups()));
        let report = |report| self.report(report);
        funnel
            .add(&self.value, count.cast_signed(), thread_number(), report)
            // AcqRel: pairs with every other operation on the counter.
            .unwrap_or_else(|| self.value.fetch_add(count, Ordering::AcqRel))
    }

    /// Looks whether others add at this very moment, and lets the policy decide.
    #[cold]
    #[inline(never)]
    fn sample(&self) {
        // Relaxed: a hint.
        if self.way.fetch_add(NEXT_SALT, Ordering::Relaxed) & (FUNNEL | PINNED) != 0 {
            return;
        }
        // Relaxed: two glances at a number.
        let first = self.value.load(Ordering::Relaxed);
        (0..GLANCE_SPINS).for_each(|_| hint::spin_loop());
        // Relaxed: as above.
        let seen = self.value.load(Ordering::Relaxed) != first;
        let meter = self.adapting.meter;
        let contended = (meter.contended)(seen);
        let Ok(mut policy) = self.adapting.policy.try_lock() else {
            return;
        };
        if policy.plain_sample(thread_number(), contended, meter.now_ns) {
            self.switch(true, 0);
        }
    }

    #[cold]
    fn report(&self, report: Report) {
        // Relaxed: a hint.
        if LOOM || self.way.load(Ordering::Relaxed) & (FUNNEL | PINNED) != FUNNEL {
            return;
        }
        let Ok(mut policy) = self.adapting.policy.try_lock() else {
            return;
        };
        let meter = self.adapting.meter;
        let ops = (meter.funnelled)(report.batches, report.ops);
        if policy.funnel_report(report.batches, ops, (meter.now_ns)()) {
            policy.restart();
            self.switch(false, 0);
        }
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Counter").field(&self.load()).finish()
    }
}

impl Default for Counter {
    fn default() -> Self {
        Self::new(0)
    }
}

/// Under loom there is no clock, and a model decides by itself when to switch.
const LOOM: bool = cfg!(loom);
/// Spins between the two glances of a sample: about as long as one contended addition.
const GLANCE_SPINS: u32 = 4;
/// Cores that share an aggregator.
const CORES_TO_A_GROUP: usize = 4;
const GROUPS_MAX: usize = 8;

/// Whether an operation that found `before` is to sample: about one in `SAMPLE_EVERY`, told by the value itself.
///
/// A countdown would be a store an operation, and an atomic addition waits until the stores before it are done: 3.2 ns more
/// where it costs 4.4. The salt moves on at each sample, so that a counter which keeps coming back to a value is not sampled
/// at every turn. One that moves among a few hundred values alone, or in steps of a large power of two, is hardly ever
/// sampled, and stays plain.
#[inline(always)]
fn sample_is_due(before: u64, way: u32) -> bool {
    let folded = before ^ before >> 12 ^ u64::from(way >> SALT_AT);
    !LOOM && folded & (u64::from(SAMPLE_EVERY) - 1) == 0
}

fn groups() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if cfg!(any(loom, shuttle)) {
        1
    } else {
        (cores / CORES_TO_A_GROUP).clamp(1, GROUPS_MAX)
    }
}

fn either(result: Result<u64, u64>) -> u64 {
    match result {
        Ok(value) | Err(value) => value,
    }
}
