//! Statistics that belong together, read as of one moment.

use crate::turn::{Held, Hold, Taken, Turn};
use crate::{Plain, SeqLock};
use std::fmt;

/// Whether a statistic only grows or goes up and down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Counts events; a `u64` that only grows, modulo 2^64.
    Counter,
    /// States how much there is now; an `i64`.
    Gauge,
}

/// The name and meaning of one statistic of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name in the struct, without the mark of a raw identifier.
    pub name: &'static str,
    /// What it counts: its doc comment.
    pub help: &'static str,
    /// Counter or gauge.
    pub kind: Kind,
}

/// A struct of statistics declared by [`stats!`](crate::stats). Not meant to be implemented by hand.
pub trait Stats: Copy + Default + 'static {
    /// What every metric of the group begins with.
    const NAME: &'static str;
    /// The statistics, in the order of the struct.
    const FIELDS: &'static [Field];
    /// All at zero.
    const ZERO: Self::Words;
    /// One word a statistic.
    type Words: Plain + Send + AsRef<[u64]> + AsMut<[u64]>;

    /// Packs the statistics; a gauge by its bits.
    fn to_words(&self) -> Self::Words;
    /// Unpacks them.
    fn from_words(words: &Self::Words) -> Self;

    /// What happened since `earlier`: counters by their difference, gauges as they stand now.
    #[must_use]
    fn since(&self, earlier: &Self) -> Self {
        let mut words = self.to_words();
        let earlier = earlier.to_words();
        let pairs = words.as_mut().iter_mut().zip(earlier.as_ref());
        for ((now, then), field) in pairs.zip(Self::FIELDS) {
            if field.kind == Kind::Counter {
                *now = now.wrapping_sub(*then);
            }
        }
        Self::from_words(&words)
    }

    /// Adds up two cores' or two objects' statistics, gauges too.
    #[must_use]
    fn plus(&self, other: &Self) -> Self {
        let mut words = self.to_words();
        for (mine, theirs) in words.as_mut().iter_mut().zip(other.to_words().as_ref()) {
            *mine = mine.wrapping_add(*theirs);
        }
        Self::from_words(&words)
    }
}

/// A value as [`Stats`] hands it on: to a display, a serializer, an exposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Counter(u64),
    Gauge(i64),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Counter(v) => v.fmt(f),
            Self::Gauge(v) => v.fmt(f),
        }
    }
}

/// The statistics of a group, each with its field.
pub(crate) fn values<S: Stats>(stats: &S) -> impl Iterator<Item = (&'static Field, Value)> {
    let words = stats.to_words();
    S::FIELDS.iter().enumerate().map(move |(i, field)| {
        let word = words.as_ref()[i];
        let value = match field.kind {
            Kind::Counter => Value::Counter(word),
            Kind::Gauge => Value::Gauge(word.cast_signed()),
        };
        (field, value)
    })
}

/// Writes `name=value` pairs, one space between.
#[doc(hidden)]
pub fn display<S: Stats>(stats: &S, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (i, (field, value)) in values(stats).enumerate() {
        let gap = if i == 0 { "" } else { " " };
        write!(f, "{gap}{}={value}", field.name)?;
    }
    Ok(())
}

/// A group of statistics that one updater changes together and anybody reads as of one moment.
///
/// Reading is a [`SeqLock`] read: no lock, no write. See [`stats!`](crate::stats) for the declaration.
pub struct Group<S: Stats> {
    lock: SeqLock<S::Words>,
}

impl<S: Stats> Group<S> {
    sync_base::const_fn! {
        /// Makes a group with every statistic at zero.
        pub fn new() -> Self {
            Self {
                lock: SeqLock::new(S::ZERO),
            }
        }
    }

    /// Reads all statistics as of one moment; progress as in [`SeqLock::read`].
    #[inline]
    pub fn snapshot(&self) -> S {
        S::from_words(&self.lock.read())
    }

    /// Reads all statistics as of one moment, in at most `attempts` copies; as [`SeqLock::read_bounded`].
    #[inline]
    pub fn snapshot_bounded(&self, attempts: usize) -> Option<S> {
        self.lock
            .read_bounded(attempts)
            .map(|words| S::from_words(&words))
    }

    /// Changes the statistics under the writer's lock, for writers that are many; waits while an [`Updater`] exists. If
    /// `change` panics nothing is published.
    pub fn update<R>(&self, change: impl FnOnce(&mut S) -> R) -> R {
        self.lock.update(|words| {
            let mut stats = S::from_words(words);
            let result = change(&mut stats);
            *words = stats.to_words();
            result
        })
    }
}

impl<S: Stats> Taken for Group<S> {
    fn turn(&self) -> &Turn {
        self.lock.turn()
    }
}

impl<S: Stats> Default for Group<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Stats + fmt::Debug> fmt::Debug for Group<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Group").field(&self.snapshot_bounded(8)).finish()
    }
}

/// The one updater of a [`Group`], which it holds by reference or by `Arc`. Keeps a copy of its own, so an update reads
/// nothing shared and publishes with plain stores.
#[derive(Debug)]
pub struct Updater<P: Hold, S> {
    held: Held<P>,
    now: S,
}

impl<S: Stats, P: Hold<Target = Group<S>>> Updater<P, S> {
    /// Becomes the updater.
    ///
    /// # Errors
    /// Hands `group` back if there is an updater already.
    pub fn try_claim(group: P) -> Result<Self, P> {
        let held = Held::try_new(group)?;
        let now = S::from_words(&held.lock.published());
        Ok(Self { held, now })
    }

    /// Changes the statistics and publishes them as one. Wait-free. If `change` panics nothing is published and nothing
    /// changed.
    #[inline]
    pub fn update<R>(&mut self, change: impl FnOnce(&mut S) -> R) -> R {
        let mut next = self.now;
        let result = change(&mut next);
        self.now = next;
        self.held.lock.publish(&next.to_words());
        result
    }

    /// The statistics as last published.
    pub fn get(&self) -> &S {
        &self.now
    }
}

/// Takes what a group counted since the last take, as if it were reset in between.
///
/// Nothing is set back, so the updater is not disturbed and several may take from one group. A take is of one moment: it
/// is never torn, and nothing falls between reading and resetting.
#[derive(Clone, Copy, Debug)]
pub struct GroupInterval<S> {
    until: S,
}

impl<S: Stats> GroupInterval<S> {
    /// Begins with everything that was ever counted.
    pub fn new() -> Self {
        Self {
            until: S::from_words(&S::ZERO),
        }
    }

    /// Returns what was counted since the last take of the same group; gauges as they stand.
    pub fn take(&mut self, group: &Group<S>) -> S {
        let now = group.snapshot();
        let taken = now.since(&self.until);
        self.until = now;
        taken
    }
}

impl<S: Stats> Default for GroupInterval<S> {
    fn default() -> Self {
        Self::new()
    }
}
