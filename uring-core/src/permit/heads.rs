//! The hashes of a path's prefixes, each ending at a component.
//!
//! A prefix of `d` components has a 64-bit hash under the table's secret key and a 16-bit tag: 13 bits of the hash, and `d`.
//! Prefixes of up to seven components are hashed; what lies deeper is found by its first seven and told apart when the
//! hit is compared with the path, which every hit is. So a hash that collides costs time and decides nothing.

use std::hash::{BuildHasher, RandomState};

/// Prefixes that a path has here: those of 0 to 7 components.
pub(super) const DEPTHS: usize = 8;

/// Bits of a tag that are the depth.
const DEPTH_BITS: u16 = DEPTHS as u16 - 1;

/// The secret that hashes depend on, so that nobody aims collisions at a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    seed: u64,
    /// Bits of a hash that are kept: all, but in tests that forge collisions.
    kept: u64,
}

impl Key {
    pub(super) fn random() -> Self {
        Self {
            seed: RandomState::new().hash_one(0u8),
            kept: !0,
        }
    }

    /// A key under which everything of the same depth collides.
    #[cfg(test)]
    pub(super) const COLLIDING: Self = Self { seed: 1, kept: 0 };
}

/// The prefixes of one path, hashed under one key.
#[derive(Clone, Debug)]
#[doc(hidden)]
pub struct Heads {
    /// The tag of each depth, four to a word, the first lowest. That of a depth which the path has not got no lane of that depth
    /// equals.
    tags: [u64; 2],
    hashes: [u64; DEPTHS],
    deepest: usize,
}

/// For each depth a tag of another.
const ABSENT: [u64; 2] = [0x0002_0003_0000_0001, 0x0006_0007_0004_0005];

impl Heads {
    /// Hashes the prefixes of a normal path. Reads no byte beyond it.
    pub(super) fn of(path: &[u8], key: Key) -> Self {
        let mut heads = Self {
            tags: ABSENT,
            hashes: [0; DEPTHS],
            deepest: 0,
        };
        let root = key.seed & key.kept;
        heads.hashes[0] = root;
        heads.tags[0] ^= change_of(0, root);
        if path.len() > 1 {
            heads.fill(path, key);
        }
        heads
    }

    /// Hashes eight words at a time. What stands before a slash is told by the state before the slash's word, and by what of that
    /// word comes before it; so each prefix costs one multiplication, whatever its length, and none waits for another.
    #[inline(always)]
    fn fill(&mut self, path: &[u8], key: Key) {
        // The last word holds what is left, perhaps nothing.
        let words = path.len() / 8 + 1;
        let mut state = key.seed;
        let mut depth = 1;
        // Apart from memory until the end: each depth would wait for the store of the one before.
        let [mut low, mut high] = self.tags;
        for first in (0..words).step_by(8) {
            let (mut word, mut before) = ([0; 8], [0; 8]);
            // A bit for each byte at which a prefix ends.
            let mut ends = 0u64;
            let here = (words - first).min(8);
            for at in 0..here {
                word[at] = word_at(path, 8 * (first + at));
                before[at] = state;
                state = fold(state ^ word[at], 0x9e37_79b9_7f4a_7c15);
                ends |= slashes(word[at]) << (8 * at);
            }
            if first == 0 {
                ends &= !1;
            }
            if first + here == words {
                ends |= 1 << (path.len() - 8 * first);
            }
            while ends != 0 && depth < DEPTHS {
                let end = ends.trailing_zeros() as usize;
                let part = word[end / 8] & ((1 << (8 * (end % 8))) - 1);
                let hash = fold(before[end / 8] ^ part, 0xd6e8_feb8_6659_fd93) & key.kept;
                self.hashes[depth] = hash;
                let change = change_of(depth, hash);
                let (of_low, of_high) = if depth < 4 { (change, 0) } else { (0, change) };
                (low, high) = (low ^ of_low, high ^ of_high);
                self.deepest = depth;
                depth += 1;
                ends &= ends - 1;
            }
            if depth == DEPTHS {
                break;
            }
        }
        self.tags = [low, high];
    }

    /// The deepest prefix's tag and hash: they stand for a whole path or anchor.
    pub(super) fn last(&self) -> (u16, u64) {
        (self.tag(self.deepest), self.hashes[self.deepest])
    }

    /// The depth of the deepest prefix.
    #[inline(always)]
    pub(super) fn deepest(&self) -> usize {
        self.deepest
    }

    /// The tag of a depth, 0 to 7.
    #[inline(always)]
    pub(super) fn tag(&self, depth: usize) -> u16 {
        (self.tags[depth / 4] >> (16 * (depth % 4))) as u16
    }

    /// All tags.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(super) fn packed(&self) -> [u64; 2] {
        self.tags
    }

    /// The hashes of the prefixes that the path has, by depth.
    #[inline(always)]
    pub(super) fn hashes(&self) -> &[u64] {
        &self.hashes[..=self.deepest]
    }

    /// Puts another tag in place of one, for the tests of the scan.
    #[cfg(test)]
    pub(super) fn put_tag(&mut self, depth: usize, tag: u16) {
        let (word, shift) = (depth / 4, 16 * (depth % 4));
        self.tags[word] = self.tags[word] & !(0xffff << shift) | u64::from(tag) << shift;
    }
}

/// What turns the absent tag of a depth into that of a hash, in its word.
#[inline(always)]
fn change_of(depth: usize, hash: u64) -> u64 {
    let tag = (hash >> 48) & !u64::from(DEPTH_BITS) | depth as u64;
    (tag ^ depth as u64 ^ 1) << (16 * (depth % 4))
}

/// The depth that a tag belongs to.
#[inline(always)]
pub(super) fn depth_of(tag: u16) -> usize {
    (tag & DEPTH_BITS) as usize
}

/// The word at a byte, the first byte lowest; past the end of the path, zeros. No path has a zero byte, so what pads a word is told
/// from what is in it.
#[inline(always)]
fn word_at(path: &[u8], at: usize) -> u64 {
    if let Some(Some(bytes)) = path.get(at..).map(<[u8]>::first_chunk::<8>) {
        return u64::from_le_bytes(*bytes);
    }
    let left = path.len() - at;
    match path.last_chunk::<8>() {
        _ if left == 0 => 0,
        // The last eight bytes of the path, those before `at` shifted out.
        Some(bytes) => u64::from_le_bytes(*bytes) >> (8 * (8 - left)),
        None => path
            .iter()
            .rev()
            .fold(0, |word, &byte| word << 8 | u64::from(byte)),
    }
}

/// A bit for each byte of a word that is a slash.
#[inline(always)]
fn slashes(word: u64) -> u64 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let differs = word ^ 0x2f2f_2f2f_2f2f_2f2f;
    // The highest bit of each byte that is zero; no carry leaves a byte.
    let zeros = !(((differs & LOW) + LOW) | differs | LOW);
    (zeros >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// Both halves of a product, folded: every bit of `a` reaches every bit of the result.
#[inline(always)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn c8_heads_are_those_of_the_prefixes_and_of_nothing_else() {
        let key = Key { seed: 7, kept: !0 };
        for names in [
            vec!["a"],
            vec!["srv", "www", "index.html"],
            vec![
                "1234567",
                "12345678",
                "123456789",
                "a",
                "1234567890123456",
                "b",
                "cc",
                "d",
                "e",
            ],
        ] {
            let path = format!("/{}", names.join("/"));
            let heads = Heads::of(path.as_bytes(), key);
            assert_eq!(heads.deepest, names.len().min(7));
            for depth in 1..=heads.deepest {
                let prefix = format!("/{}", names[..depth].join("/"));
                let of_prefix = Heads::of(prefix.as_bytes(), key);
                assert_eq!(
                    of_prefix.last(),
                    (heads.tag(depth), heads.hashes[depth]),
                    "{prefix}"
                );
                assert_eq!(depth_of(heads.tag(depth)), depth);
            }
            for depth in heads.deepest + 1..DEPTHS {
                assert_ne!(
                    depth_of(heads.tag(depth)),
                    depth,
                    "no lane equals an absent prefix"
                );
            }
        }
    }

    #[test]
    fn c8_paths_that_differ_in_a_boundary_or_a_byte_differ_in_their_hash() {
        let key = Key { seed: 7, kept: !0 };
        let all = [
            "/",
            "/a",
            "/ab",
            "/a/b",
            "/b/a",
            "/aa",
            "/abcdefgh",
            "/abcdefg/h",
            "/abcdefghi",
            "/abcdefgh/i",
            "/A",
            "/abcdefgh/",
            "/\u{e9}",
            "/a\u{1}",
        ];
        let mut hashes: Vec<_> = all
            .iter()
            .map(|path| Heads::of(path.as_bytes(), key).last().1)
            .collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), all.len());
    }
}
