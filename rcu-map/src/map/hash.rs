//! What a look-up takes from a hash: where the directory leads it, where in a table it begins, what to compare first.
//!
//! ```text
//! bit 31 .. 16          15 .. 8              7 .. 0
//! prefix: directory,    home line in the     tag
//! stripe                table, from the top
//! ```
//! A table of more than 2^8 lines takes home bits from the tag as well, one of more than 2^16 probes further; neither
//! comes about unless hashes collide or the directory has reached its greatest length.

/// Hash bits set aside for the writers' stripes, so at most 64.
pub(crate) const STRIPE_BITS_MAX: u32 = 6;
/// Hash bits set aside for the directory.
pub(crate) const PREFIX_BITS_MAX: u32 = 16;

/// The upper 32 bits of a hash spread by one multiplication, so that a weak hasher (an identity, say) costs no long
/// probes. A node keeps them: they decide everything about its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hashed(u32);

impl Hashed {
    /// Spreads what a hasher returned.
    #[inline(always)]
    pub(crate) fn new(hash: u64) -> Self {
        // 2^64 divided by the golden ratio: each input bit reaches the top bits of the product.
        Self((hash.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u32)
    }

    /// The first `bits` bits, at most 16.
    #[inline]
    pub(crate) fn prefix(self, bits: u32) -> usize {
        debug_assert!(bits <= PREFIX_BITS_MAX);
        self.shifted(32 - bits as usize)
    }

    /// The first `32 - shift` bits; bits of `shift` above the sixth do not count.
    #[inline(always)]
    pub(crate) fn shifted(self, shift: usize) -> usize {
        // Widened, since shifting 32 bits by 32 is not defined.
        u64::from(self.0).wrapping_shr(shift as u32) as usize
    }

    /// The bit that comes after the first `bits` bits, below 16.
    #[inline]
    pub(crate) fn bit_after(self, bits: u32) -> bool {
        debug_assert!(bits < PREFIX_BITS_MAX);
        self.0 << bits >> 31 == 1
    }

    /// Index of the first line to probe among `2^(32 - shift)`; bits of `shift` above the sixth do not count, so that a
    /// word that carries other things above them can be given as it is.
    #[inline(always)]
    pub(crate) fn home(self, shift: usize) -> usize {
        // Widened, as above.
        u64::from(self.0 << 16).wrapping_shr(shift as u32) as usize
    }

    /// The tag: seven bits, below one that is set.
    #[inline(always)]
    pub(crate) fn tag(self) -> Tag {
        Tag(self.0 as u8 | Tag::TAKEN)
    }
}

/// What a control word holds of a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag(pub(crate) u8);

impl Tag {
    /// Set in every tag, so that none is zero, which marks a free slot.
    const TAKEN: u8 = 0x80;
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn an_identity_hasher_still_spreads_over_stripes_lines_and_tags() {
        for stride in [1u64, 64, 4096, 1 << 32, 1 << 40] {
            let hashes = (0..4096).map(|i| Hashed::new(i * stride));
            let stripes: HashSet<_> = hashes.clone().map(|h| h.prefix(6)).collect();
            let places: HashSet<_> = hashes.map(|h| (h.prefix(4), h.home(32 - 8))).collect();
            assert_eq!(stripes.len(), 64, "stride {stride}");
            assert!(places.len() > 1500, "stride {stride}: {} places", places.len());
        }
    }

    #[test]
    fn no_prefix_and_one_line_need_no_hash_bits() {
        for hash in [0, u64::MAX, 0x8000_0000_0000_0000] {
            assert_eq!(Hashed::new(hash).prefix(0), 0);
            assert_eq!(Hashed::new(hash).home(32), 0);
            assert!(Hashed::new(hash).home(29) < 8);
            assert!(
                Hashed::new(hash).home(29 | 7 << 8) < 8,
                "only six bits of a shift count"
            );
        }
    }

    #[test]
    fn the_bit_after_a_prefix_is_the_next_longer_ones_last() {
        for hash in 0..1000 {
            let hashed = Hashed::new(hash);
            assert!(
                (0..PREFIX_BITS_MAX)
                    .all(|bits| usize::from(hashed.bit_after(bits)) == hashed.prefix(bits + 1) & 1)
            );
        }
    }
}
