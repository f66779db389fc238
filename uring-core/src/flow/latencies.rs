//! Quantiles of a few hundred latencies, to an eighth.

/// Buckets: eight to each doubling, of 40 doublings.
const BUCKETS: usize = 8 * 40;

/// A coarse histogram that is cleared at every window: 640 bytes.
#[derive(Clone, Debug)]
pub(super) struct Latencies {
    buckets: [u16; BUCKETS],
    count: u32,
}

impl Latencies {
    pub(super) const fn new() -> Self {
        Self {
            buckets: [0; BUCKETS],
            count: 0,
        }
    }

    pub(super) fn record(&mut self, latency_ns: u64) {
        let bucket = &mut self.buckets[index(latency_ns)];
        *bucket = bucket.saturating_add(1);
        self.count += 1;
    }

    pub(super) fn clear(&mut self) {
        self.buckets.fill(0);
        self.count = 0;
    }

    /// The latency that a share `q` of all is at or below, rounded up to its bucket's end; 0 without any.
    pub(super) fn quantile(&self, q: f64) -> u64 {
        let rank = ((f64::from(self.count) * q).ceil() as u32).max(1);
        let mut seen = 0u32;
        for (at, &bucket) in self.buckets.iter().enumerate() {
            seen += u32::from(bucket);
            if seen >= rank && self.count > 0 {
                return upper(at);
            }
        }
        0
    }
}

fn index(value: u64) -> usize {
    if value < 8 {
        return value as usize;
    }
    let doubling = value.ilog2() as usize;
    let eighth = (value >> (doubling - 3)) as usize & 7;
    ((doubling - 2) * 8 + eighth).min(BUCKETS - 1)
}

fn upper(index: usize) -> u64 {
    if index < 8 {
        return index as u64;
    }
    let (doubling, eighth) = (index / 8 + 2, index as u64 % 8);
    ((8 + eighth + 1) << (doubling - 3)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_lies_within_an_eighth_of_its_buckets_end() {
        for value in (0..10_000).chain([1 << 20, 123_456_789, 10_000_000_000]) {
            let end = upper(index(value));
            assert!(
                end >= value && end as f64 <= value as f64 * 1.125 + 1.0,
                "{value}: {end}"
            );
        }
    }

    #[test]
    fn quantiles_of_none_and_of_one() {
        let mut latencies = Latencies::new();
        assert_eq!(latencies.quantile(0.99), 0);
        latencies.record(1_000);
        assert!(latencies.quantile(0.5) >= 1_000 && latencies.quantile(0.99) <= 1_125);
        latencies.clear();
        assert_eq!(latencies.quantile(0.5), 0);
    }
}
