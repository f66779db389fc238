//! Sixteen lanes at a time: the path's tags lie in one register, from which each lane picks that of its depth.

use super::{LANES, Line, NONE};
use std::arch::x86_64::{
    __m256i, _mm_set_epi64x, _mm256_broadcastsi128_si256, _mm256_cmpeq_epi16, _mm256_load_si256,
    _mm256_movemask_epi8, _mm256_or_si256, _mm256_shuffle_epi8,
};

/// The first lane, from lane `from` on, that hits; what pads the last line counts as lanes.
///
/// The tags come by value, in two registers: they were stored as two words, and a load of both at once would wait for that.
#[target_feature(enable = "avx2")]
pub(super) fn next(lines: &[Line], from: usize, low: u64, high: u64) -> usize {
    let tags = _mm_set_epi64x(high.cast_signed(), low.cast_signed());
    let tags = _mm256_broadcastsi128_si256(tags);
    let equal = |line: &Line| {
        let line: *const __m256i = std::ptr::from_ref(line).cast();
        // SAFETY: the 64 bytes of a line, aligned to 64: the lanes, then what they pick.
        let (lanes, picks) = unsafe { (_mm256_load_si256(line), _mm256_load_si256(line.add(1))) };
        _mm256_cmpeq_epi16(_mm256_shuffle_epi8(tags, picks), lanes)
    };
    // Two bits a lane.
    let hits = |equal| _mm256_movemask_epi8(equal).cast_unsigned();
    let lane_of = |line: usize, hits: u32| line * LANES + hits.trailing_zeros() as usize / 2;
    let mut at = from / LANES;
    let mut counted = u32::MAX << (2 * (from % LANES));
    while let Some(line) = lines.get(at) {
        let here = hits(equal(line)) & counted;
        if here != 0 {
            return lane_of(at, here);
        }
        at += 1;
        counted = u32::MAX;
        // Most fours have no hit: one look at all of them.
        while let Some(Some(four)) = lines.get(at..).map(<[Line]>::first_chunk::<4>) {
            let [a, b, c, d] = four.each_ref().map(equal);
            if hits(_mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, d))) != 0 {
                break;
            }
            at += 4;
        }
    }
    NONE
}
