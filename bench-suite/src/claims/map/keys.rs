//! Keys, values and the order in which they are asked for: the same for every lane.

use crate::Invalid;
use std::hash::Hash;

/// The hasher of every lane that lets one choose.
#[cfg(feature = "peers")]
pub(super) type Hasher = hashbrown::DefaultHashBuilder;
/// Without peers there is nobody to be fair to but `std`.
#[cfg(not(feature = "peers"))]
pub(super) type Hasher = std::hash::RandomState;

/// How many entries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size(pub(super) usize);

impl Size {
    pub(super) const THOUSAND: Self = Self(1_000);
    pub(super) const HUNDRED_THOUSAND: Self = Self(100_000);
}

/// What a claim's maps are keyed by.
pub(super) trait Key: Clone + Eq + Hash + Send + Sync + 'static {
    fn nth(n: usize) -> Self;
}

impl Key for u32 {
    fn nth(n: usize) -> Self {
        (n as u32).wrapping_mul(0x9E37_79B1)
    }
}
impl Key for u64 {
    fn nth(n: usize) -> Self {
        (n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
}
impl Key for String {
    fn nth(n: usize) -> Self {
        format!("/var/lib/service/{:x}", n.wrapping_mul(0x9E37_79B1))
    }
}

/// The value stored under the `n`th key.
pub(super) fn value(n: usize) -> u64 {
    n as u64 ^ 0x5555
}

const ORDER: usize = 1 << 16;

/// Keys, and a zipf-distributed order of look-ups (exponent 1).
#[derive(Debug)]
pub(super) struct Keys<K> {
    pub(super) keys: Vec<K>,
    order: Vec<u32>,
}

impl<K: Key> Keys<K> {
    pub(super) fn zipf(Size(n): Size) -> Self {
        let mut total = 0.0;
        let cumulative: Vec<f64> = (0..n)
            .map(|i| {
                total += 1.0 / (i + 1) as f64;
                total
            })
            .collect();
        Self::ordered(n, |random| {
            let at = random as f64 / u32::MAX as f64 * total;
            cumulative.partition_point(|c| *c < at).min(n - 1)
        })
    }

    pub(super) fn uniform(Size(n): Size) -> Self {
        Self::ordered(n, |random| random as usize % n)
    }

    fn ordered(n: usize, pick: impl Fn(u32) -> usize) -> Self {
        let mut state = 0x1234_5678_9ABC_DEFFu64;
        let order = (0..ORDER)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                pick((state >> 32) as u32) as u32
            })
            .collect();
        Self {
            keys: (0..n).map(K::nth).collect(),
            order,
        }
    }

    /// The key of the `i`th look-up; threads begin at different places.
    #[inline(always)]
    pub(super) fn at(&self, i: u64) -> &K {
        &self.keys[self.index(i)]
    }

    #[inline(always)]
    pub(super) fn index(&self, i: u64) -> usize {
        self.order[i as usize & (ORDER - 1)] as usize
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (K, u64)> {
        self.keys
            .iter()
            .cloned()
            .enumerate()
            .map(|(n, key)| (key, value(n)))
    }

    /// Checks the sum of the values that `n` look-ups from `start` returned.
    pub(super) fn verify(&self, start: u64, n: u64, sum: u64) -> Result<(), Invalid> {
        let expected = (start..start + n).fold(0u64, |sum, i| sum.wrapping_add(value(self.index(i))));
        if sum == expected {
            return Ok(());
        }
        Err(Invalid(format!("{n} look-ups summed to {sum}, not {expected}")))
    }
}

/// Where thread `index` begins in the order.
pub(super) fn start(index: usize) -> u64 {
    index as u64 * 7919
}
