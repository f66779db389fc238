//! Lane by lane: the oracle of the others, and the way of processors without them.

use super::{LANES, Line, NONE};
use crate::permit::heads::{Heads, depth_of};

/// The first of `len` lanes, from lane `from` on, that hits.
#[inline]
pub(super) fn next(lines: &[Line], len: usize, from: usize, heads: &Heads) -> usize {
    let mut skipped = from % LANES;
    for (at, line) in lines.iter().enumerate().skip(from / LANES) {
        let here = (len - at * LANES).min(LANES);
        for (lane, &tag) in line.tags[..here].iter().enumerate().skip(skipped) {
            if heads.tag(depth_of(tag)) == tag {
                return at * LANES + lane;
            }
        }
        skipped = 0;
    }
    NONE
}
