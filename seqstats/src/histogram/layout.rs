//! Which bucket a value falls into.

/// Powers of two are cut into `2^SUB_BITS` buckets.
const SUB_BITS: u32 = 5;
const SUB: usize = 1 << SUB_BITS;

/// The bucket of a value: no branch, no table.
#[inline(always)]
pub(super) const fn index(value: u64) -> usize {
    // The highest set bit, at least bit 5: values below 64 share the width of one.
    let top = 63 - (value | SUB as u64).leading_zeros();
    let shift = top - SUB_BITS;
    // value >> shift lies in 32..64, or below 32 where shift is 0: each octave continues where the last one ended.
    (shift as usize) * SUB + (value >> shift) as usize
}

/// The least value of a bucket.
pub(super) const fn lowest(index: usize) -> u64 {
    if index < 2 * SUB {
        return index as u64;
    }
    let shift = index / SUB - 1;
    ((index % SUB + SUB) as u64) << shift
}

/// The greatest value of a bucket.
pub(super) const fn highest(index: usize) -> u64 {
    if index < 2 * SUB {
        return index as u64;
    }
    let shift = index / SUB - 1;
    lowest(index) + ((1 << shift) - 1)
}

/// The value that stands for a bucket: its middle, rounded down.
pub(super) const fn middle(index: usize) -> u64 {
    lowest(index) + (highest(index) - lowest(index)) / 2
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn buckets_tile_the_range_without_gap_or_overlap() {
        let last = index(u64::MAX);
        assert_eq!(last, 1919);
        assert_eq!(lowest(0), 0);
        for i in 0..=last {
            assert_eq!(index(lowest(i)), i);
            assert_eq!(index(highest(i)), i);
            assert!(lowest(i) <= middle(i) && middle(i) <= highest(i));
            if i < last {
                assert_eq!(highest(i) + 1, lowest(i + 1), "bucket {i}");
            }
        }
        assert_eq!(highest(last), u64::MAX);
    }

    #[test]
    fn middle_is_within_1_6_percent_of_every_value_of_its_bucket() {
        for i in 1..=index(u64::MAX) {
            for v in [lowest(i), highest(i)] {
                assert!(
                    middle(i).abs_diff(v) as f64 / v as f64 <= 1.0 / 64.0,
                    "bucket {i}"
                );
            }
        }
    }
}
