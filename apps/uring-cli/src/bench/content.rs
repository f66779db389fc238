//! What the blocks of the file must hold.
//!
//! Every read is checked by its first and last word; one in [`FULL_EVERY`] word by word. Both kinds of reader pay the
//! same for it.

use crate::failure::{Failure, cause, refused};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// One read in so many is checked in full.
pub const FULL_EVERY: u64 = 64;

/// What is known about the content.
#[derive(Debug)]
pub enum Content {
    /// Made here: each 8-byte word follows from the seed and its place in the file.
    Made {
        /// The seed.
        seed: u64,
    },
    /// Another's file: what a first pass over it saw, block by block.
    Seen {
        /// First word, last word, digest of each block.
        blocks: Vec<[u64; 3]>,
    },
}

impl Content {
    /// Fills `bytes` as the file holds them from `offset` on. Both are multiples of 8.
    pub fn fill(seed: u64, offset: u64, bytes: &mut [u8]) {
        for (i, word) in bytes.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            *word = word_at(seed, offset / 8 + i as u64).to_le_bytes();
        }
    }

    /// Fills `bytes` with what block `number` holds; of another's file nothing is known but digests, and nothing written.
    pub fn make(&self, number: u64, bytes: &mut [u8]) {
        if let Self::Made { seed } = self {
            Self::fill(*seed, number * bytes.len() as u64, bytes);
        }
    }

    /// Reads a file once and notes what is in it. Memory: 24 bytes a block.
    ///
    /// # Errors
    /// When it cannot be read, or ends early, or there is no memory for the notes.
    pub fn survey(
        file: &File,
        blocks: u64,
        block: usize,
        step: &mut dyn FnMut(u64) -> Result<(), Failure>,
    ) -> Result<Self, Failure> {
        let mut seen = Vec::new();
        seen.try_reserve_exact(blocks as usize).map_err(|_| {
            let mebibytes = (blocks * size_of::<[u64; 3]>() as u64) >> 20;
            refused(format_args!(
                "--file: no memory to note what is in it ({mebibytes} MiB for {blocks} blocks); \
                 give a smaller --size or a greater --bs"
            ))
        })?;
        let mut bytes = vec![0; block];
        for number in 0..blocks {
            if number % 256 == 0 {
                step(number * block as u64)?;
            }
            file.read_exact_at(&mut bytes, number * block as u64)
                .map_err(|e| {
                    refused(format_args!(
                        "--file: {}; it must be a file that can be read to its end",
                        cause(&e)
                    ))
                })?;
            seen.push(marks(&bytes));
        }
        Ok(Self::Seen { blocks: seen })
    }

    /// Says whether `bytes` are those of block `number`, by first and last word, or every word if `full`.
    #[inline]
    #[must_use]
    pub fn holds(&self, number: u64, bytes: &[u8], full: bool) -> bool {
        match self {
            Self::Made { seed } => {
                let words = bytes.as_chunks::<8>().0;
                let first = number * words.len() as u64;
                let right = |i: usize| words[i] == word_at(*seed, first + i as u64).to_le_bytes();
                if full {
                    (0..words.len()).all(right)
                } else {
                    right(0) && right(words.len() - 1)
                }
            }
            Self::Seen { blocks } => {
                let expected = blocks[number as usize];
                if full {
                    marks(bytes) == expected
                } else {
                    edges(bytes) == expected[..2]
                }
            }
        }
    }
}

/// The word of a file of random data at a place: a bijective mix of the place (splitmix64's finaliser).
#[inline]
fn word_at(seed: u64, place: u64) -> u64 {
    let mut word = seed.wrapping_add(place.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[inline]
fn edges(bytes: &[u8]) -> [u64; 2] {
    let first = bytes.first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
    let last = bytes.last_chunk().map_or(0, |word| u64::from_le_bytes(*word));
    [first, last]
}

fn marks(bytes: &[u8]) -> [u64; 3] {
    let words = bytes.as_chunks::<8>().0;
    let digest = words.iter().fold(0, |digest: u64, word| {
        (digest.rotate_left(5) ^ u64::from_le_bytes(*word)).wrapping_mul(0x517c_c1b7_2722_0a95)
    });
    let [first, last] = edges(bytes);
    [first, last, digest]
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn every_wrong_word_is_seen_by_a_full_check_and_a_wrong_block_by_every_check() {
        let mut file = vec![0; 3 * 4096];
        Content::fill(9, 0, &mut file);
        let made = Content::Made { seed: 9 };
        let seen = Content::Seen {
            blocks: file.chunks(4096).map(marks).collect(),
        };
        for content in [made, seen] {
            for number in 0..3 {
                let block = &file[number * 4096..][..4096];
                assert!(
                    content.holds(number as u64, block, false) && content.holds(number as u64, block, true)
                );
                for other in (0..3).filter(|&other| other != number) {
                    assert!(!content.holds(other as u64, block, false));
                }
                for word in [0, 1, 255, 510, 511] {
                    let mut bad = block.to_vec();
                    bad[word * 8 + 3] ^= 1;
                    assert!(!content.holds(number as u64, &bad, true), "word {word}");
                }
            }
        }
    }

    #[test]
    fn a_block_can_be_made_alone() {
        let (mut whole, mut part) = (vec![0; 8192], vec![0; 4096]);
        Content::fill(3, 0, &mut whole);
        Content::fill(3, 4096, &mut part);
        assert_eq!(whole[4096..], part);
    }
}
