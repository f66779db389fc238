//! What one slot of a table holds: a node's address with fifteen bits of its hash in the sixteen that addresses leave free.
//!
//! # States
//! ```text
//! bit 63        62 .. 48        47 .. 0
//! 0             0               0            EMPTY: a probe ends here
//! 0             0               1            GRAVE: a node stood here; a probe goes on
//! 1             15 hash bits    address      FULL
//! ```
//! Legal moves, all by the writer that holds the shard's lock:
//! EMPTY -> FULL (insert), FULL -> FULL (replace), FULL -> GRAVE (remove), FULL -> EMPTY and GRAVE -> EMPTY (remove,
//! when the next slot is EMPTY), GRAVE -> FULL (insert).
//!
//! The top bit of a FULL word is set, so a look-up compares sixteen bits and never mistakes EMPTY or GRAVE for a match.

use std::ptr::{self, NonNull};

const TAG_SHIFT: u32 = 48;
const ADDRESS: usize = (1 << TAG_SHIFT) - 1;
const FULL: usize = 1 << 63;
const GRAVE: usize = 1;

/// Sixteen bits to compare before the key is: the FULL bit and fifteen of the hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag(usize);

/// Hash bits set aside for the shard, so at most 64 shards.
pub(crate) const SHARD_BITS_MAX: u32 = 6;

/// The upper 32 bits of a spread hash, which a node keeps: from the top, up to 6 bits choose the shard, the next 26 the
/// place in its table. A table longer than 2^26 slots (then the map holds billions of entries) probes further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spread(u32);

impl Spread {
    /// Index of the shard among `2^shard_bits`.
    #[inline(always)]
    pub(crate) fn shard(self, shard_bits: u32) -> usize {
        debug_assert!(shard_bits <= SHARD_BITS_MAX);
        // Widened, since shifting 32 bits by 32 is not defined.
        (u64::from(self.0) >> (32 - shard_bits)) as usize
    }

    /// Index of the first slot to probe among `2^slot_bits`, `slot_bits >= 1`.
    #[inline(always)]
    pub(crate) fn home(self, slot_bits: u32) -> usize {
        let path = u64::from(self.0) << (32 + SHARD_BITS_MAX);
        (path >> (64 - slot_bits)) as usize
    }
}

/// A hash spread over 64 bits by one multiplication, so that a weak hasher (an identity, say) costs no long probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hashed(u64);

impl Hashed {
    /// Spreads what a hasher returned.
    #[inline(always)]
    pub(crate) fn new(hash: u64) -> Self {
        // 2^64 divided by the golden ratio: each input bit reaches the top bits of the product.
        Self(hash.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// The bits that choose shard and place.
    #[inline(always)]
    pub(crate) fn spread(self) -> Spread {
        Spread((self.0 >> 32) as u32)
    }

    /// The tag of a FULL word: bits that `spread` does not use.
    #[inline(always)]
    pub(crate) fn tag(self) -> Tag {
        Tag((FULL >> TAG_SHIFT) | (self.0 >> 16 & 0x7FFF) as usize)
    }
}

/// One slot's content.
#[derive(Debug)]
pub(crate) struct Word<N>(*mut N);

impl<N> Clone for Word<N> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<N> Copy for Word<N> {}

impl<N> Word<N> {
    pub(crate) const EMPTY: Self = Self(ptr::null_mut());
    pub(crate) const GRAVE: Self = Self(ptr::without_provenance_mut(GRAVE));

    /// Packs a node's address with its tag.
    ///
    /// # Panics
    /// When the address needs more than 48 bits: only an allocator that asks the kernel for such addresses by an
    /// explicit hint, or one that tags its pointers, hands them out.
    #[inline]
    pub(crate) fn full(tag: Tag, node: NonNull<N>) -> Self {
        assert!(
            node.addr().get() & !ADDRESS == 0,
            "the allocator returned an address above 2^48, where RcuMap keeps hash bits: use an allocator that \
             neither maps high addresses nor tags pointers"
        );
        Self(node.as_ptr().map_addr(|address| address | tag.0 << TAG_SHIFT))
    }

    /// Takes a word as it was loaded from a slot.
    #[inline(always)]
    pub(crate) fn from_raw(raw: *mut N) -> Self {
        Self(raw)
    }

    /// Gives the word in the form a slot stores.
    #[inline(always)]
    pub(crate) fn into_raw(self) -> *mut N {
        self.0
    }

    #[inline(always)]
    pub(crate) fn is_empty(self) -> bool {
        self.0.is_null()
    }

    #[inline(always)]
    pub(crate) fn is_grave(self) -> bool {
        self.0.addr() == GRAVE
    }

    #[inline(always)]
    pub(crate) fn has_tag(self, tag: Tag) -> bool {
        self.0.addr() >> TAG_SHIFT == tag.0
    }

    /// The node of a FULL word.
    #[inline(always)]
    pub(crate) fn node(self) -> Option<NonNull<N>> {
        if self.0.addr() & FULL == 0 {
            return None;
        }
        // SAFETY: `full` alone sets the FULL bit, on the address of a node, which is not null.
        Some(unsafe { NonNull::new_unchecked(self.0.map_addr(|address| address & ADDRESS)) })
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_full_word_gives_back_its_node_and_tag() {
        let mut value = 7u64;
        for hash in [0, 1, u64::MAX, 0x1234_5678_9ABC_DEF0] {
            let hashed = Hashed::new(hash);
            let word = Word::full(hashed.tag(), NonNull::from(&mut value));
            assert!(word.has_tag(hashed.tag()) && !word.is_empty() && !word.is_grave());
            // SAFETY: the address is that of `value`, with the provenance it went in with.
            assert_eq!(unsafe { *word.node().unwrap().as_ptr() }, 7);
        }
    }

    #[test]
    fn empty_and_grave_match_no_tag_and_hold_no_node() {
        for hash in 0..100_000u64 {
            let tag = Hashed::new(hash).tag();
            assert!(!Word::<u64>::EMPTY.has_tag(tag) && !Word::<u64>::GRAVE.has_tag(tag));
        }
        assert!(Word::<u64>::EMPTY.node().is_none() && Word::<u64>::GRAVE.node().is_none());
    }

    #[test]
    #[should_panic(expected = "above 2^48")]
    fn an_address_above_48_bits_is_refused_with_its_remedy() {
        let high = ptr::without_provenance_mut::<u64>(1 << 50 | 8);
        let _ = Word::full(Hashed::new(1).tag(), NonNull::new(high).unwrap());
    }

    #[test]
    fn an_identity_hasher_still_spreads_over_shards_slots_and_tags() {
        for stride in [1u64, 64, 4096, 1 << 32] {
            let hashes = (0..1024).map(|i| Hashed::new(i * stride));
            let shards: HashSet<_> = hashes.clone().map(|h| h.spread().shard(6)).collect();
            let homes: HashSet<_> = hashes.map(|h| h.spread().home(10)).collect();
            assert_eq!(shards.len(), 64, "stride {stride}");
            assert!(homes.len() > 400, "stride {stride}: {} homes", homes.len());
        }
    }

    #[test]
    fn one_shard_and_one_line_need_no_hash_bits() {
        for hash in [0, u64::MAX, 0x8000_0000_0000_0000] {
            assert_eq!(Hashed::new(hash).spread().shard(0), 0);
            assert!(Hashed::new(hash).spread().home(3) < 8);
        }
    }
}
