//! Eight lanes at a time. SSE2 cannot pick a tag by the lane's depth, so each half of a line is compared with every tag
//! that the path has: a tag holds its depth, so none equals a lane of another.

use super::{LANES, Line, NONE};
use crate::permit::heads::{DEPTHS, Heads};
use std::arch::x86_64::{
    __m128i, _mm_cmpeq_epi16, _mm_load_si128, _mm_movemask_epi8, _mm_or_si128, _mm_packs_epi16,
    _mm_set1_epi16, _mm_setzero_si128,
};

/// The first lane, from lane `from` on, that hits; what pads the last line counts as lanes.
#[target_feature(enable = "sse2")]
pub(super) fn next(lines: &[Line], from: usize, heads: &Heads) -> usize {
    let wanted: [__m128i; DEPTHS] =
        std::array::from_fn(|depth| _mm_set1_epi16(heads.tag(depth).cast_signed()));
    let wanted = &wanted[..=heads.deepest()];
    let mut counted = u32::MAX << (from % LANES);
    for (at, line) in lines.iter().enumerate().skip(from / LANES) {
        let tags: *const __m128i = line.tags.as_ptr().cast();
        // SAFETY: 32 bytes that a line begins with, aligned to 64.
        let (low, high) = unsafe { (_mm_load_si128(tags), _mm_load_si128(tags.add(1))) };
        let (mut in_low, mut in_high) = (_mm_setzero_si128(), _mm_setzero_si128());
        for &wanted in wanted {
            in_low = _mm_or_si128(in_low, _mm_cmpeq_epi16(low, wanted));
            in_high = _mm_or_si128(in_high, _mm_cmpeq_epi16(high, wanted));
        }
        // One bit a lane: a full word saturates to a full byte.
        let hits = _mm_movemask_epi8(_mm_packs_epi16(in_low, in_high)).cast_unsigned() & counted;
        if hits != 0 {
            return at * LANES + hits.trailing_zeros() as usize;
        }
        counted = u32::MAX;
    }
    NONE
}
