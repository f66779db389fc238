//! Lane by lane: the oracle of the others, and the way of processors without them.

use super::{LANES, Line};
use crate::permit::heads::{Heads, depth_of};

/// The first of `len` lanes that hits and is accepted.
#[inline]
pub(super) fn first(
    lines: &[Line],
    len: usize,
    heads: &Heads,
    mut accept: impl FnMut(usize) -> bool,
) -> Option<usize> {
    for (at, line) in lines.iter().enumerate() {
        let rest = (len - at * LANES).min(LANES);
        for (lane, &tag) in line.tags[..rest].iter().enumerate() {
            if heads.tags[depth_of(tag)] == tag && accept(at * LANES + lane) {
                return Some(at * LANES + lane);
            }
        }
    }
    None
}
