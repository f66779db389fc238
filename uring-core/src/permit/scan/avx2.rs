//! Sixteen lanes at a time: the path's tags lie in one register, from which each lane picks that of its depth.

use super::{LANES, Line};
use crate::permit::heads::Heads;
use std::arch::x86_64::{
    __m256i, _mm_load_si128, _mm256_broadcastsi128_si256, _mm256_cmpeq_epi16, _mm256_load_si256,
    _mm256_movemask_epi8, _mm256_shuffle_epi8,
};

/// The first of `len` lanes that hits and is accepted.
#[target_feature(enable = "avx2")]
pub(super) fn first(
    lines: &[Line],
    len: usize,
    heads: &Heads,
    mut accept: impl FnMut(usize) -> bool,
) -> Option<usize> {
    // SAFETY: 16 bytes, which `Heads` aligns to 16.
    let tags = _mm256_broadcastsi128_si256(unsafe { _mm_load_si128(heads.tags.as_ptr().cast()) });
    for (at, line) in lines.iter().enumerate() {
        let line: *const __m256i = std::ptr::from_ref(line).cast();
        // SAFETY: the 64 bytes of a line, aligned to 64: the lanes, then what they pick.
        let (lanes, picks) = unsafe { (_mm256_load_si256(line), _mm256_load_si256(line.add(1))) };
        // Two bits a lane.
        let hits = _mm256_movemask_epi8(_mm256_cmpeq_epi16(_mm256_shuffle_epi8(tags, picks), lanes));
        let mut hits = hits.cast_unsigned() & 0x5555_5555;
        while hits != 0 {
            let lane = at * LANES + hits.trailing_zeros() as usize / 2;
            if lane < len && accept(lane) {
                return Some(lane);
            }
            hits &= hits - 1;
        }
    }
    None
}
