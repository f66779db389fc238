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
#[repr(C, align(16))]
#[doc(hidden)]
pub struct Heads {
    /// By depth; a depth that the path has not got holds what no lane of that depth equals.
    pub(super) tags: [u16; DEPTHS],
    pub(super) hashes: [u64; DEPTHS],
    /// The deepest prefix here.
    pub(super) deepest: usize,
}

impl Heads {
    /// Hashes the prefixes of a normal path. Reads no byte beyond it.
    pub(super) fn of(path: &[u8], key: Key) -> Self {
        let mut heads = Self {
            tags: std::array::from_fn(|depth| depth as u16 ^ 1),
            hashes: [0; DEPTHS],
            deepest: 0,
        };
        let mut state = key.seed;
        heads.set(0, state & key.kept);
        if path.len() == 1 {
            return heads;
        }
        let mut at = 1;
        for depth in 1..DEPTHS {
            let (next, ends) = hash_component(state, path, at);
            (state, at) = (next, ends + 1);
            heads.set(depth, state & key.kept);
            heads.deepest = depth;
            if ends == path.len() {
                break;
            }
        }
        heads
    }

    /// The deepest prefix, which stands for a whole path or pattern.
    pub(super) fn deepest(&self) -> (u16, u64) {
        (self.tags[self.deepest], self.hashes[self.deepest])
    }

    fn set(&mut self, depth: usize, hash: u64) {
        self.hashes[depth] = hash;
        self.tags[depth] = (hash >> 48) as u16 & !DEPTH_BITS | depth as u16;
    }
}

/// The depth that a tag belongs to.
#[inline(always)]
pub(super) fn depth_of(tag: u16) -> usize {
    (tag & DEPTH_BITS) as usize
}

/// Takes in the component that begins at `at`; gives the state after it, and where it ends.
#[inline(always)]
fn hash_component(mut state: u64, path: &[u8], mut at: usize) -> (u64, usize) {
    const SLASHES: u64 = u64::from_ne_bytes([b'/'; 8]);
    const LOW: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    loop {
        let (word, len) = word_at(path, at);
        // The lowest set bit marks the first slash; those above it may be false.
        let differs = word ^ SLASHES;
        let slash = differs.wrapping_sub(LOW) & !differs & HIGH;
        let until = (slash.trailing_zeros() as usize / 8).min(len);
        let kept = match until {
            8 => word,
            _ => word & ((1 << (8 * until)) - 1),
        };
        // A path has no zero byte, so what pads a word is told from what is in it.
        state = fold(state ^ kept, 0x9e37_79b9_7f4a_7c15);
        at += until;
        if until < 8 {
            return (fold(state ^ 0x2f, 0xd6e8_feb8_6659_fd93), at);
        }
    }
}

/// Up to eight bytes from `at` on, the first of them lowest; and how many.
#[inline(always)]
fn word_at(path: &[u8], at: usize) -> (u64, usize) {
    if let Some(Some(bytes)) = path.get(at..).map(<[u8]>::first_chunk::<8>) {
        return (u64::from_le_bytes(*bytes), 8);
    }
    let len = path.len().saturating_sub(at);
    // The last eight bytes of the path, those before `at` shifted out.
    let word = match path.last_chunk::<8>() {
        Some(_) if len == 0 => 0,
        Some(bytes) => u64::from_le_bytes(*bytes) >> (8 * (8 - len)),
        None => path
            .get(at..)
            .unwrap_or_default()
            .iter()
            .rev()
            .fold(0, |word, &byte| word << 8 | u64::from(byte)),
    };
    (word, len)
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
                    of_prefix.deepest(),
                    (heads.tags[depth], heads.hashes[depth]),
                    "{prefix}"
                );
                assert_eq!(depth_of(heads.tags[depth]), depth);
            }
            for depth in heads.deepest + 1..DEPTHS {
                assert_ne!(
                    depth_of(heads.tags[depth]),
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
            .map(|path| Heads::of(path.as_bytes(), key).deepest().1)
            .collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), all.len());
    }
}
