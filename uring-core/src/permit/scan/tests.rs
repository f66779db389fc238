//! The ways agree, lane by lane, and read nothing that is not theirs.

use super::super::guard::Guarded;
use super::super::heads::{DEPTHS, Key};
use super::*;
use proptest::prelude::*;

fn ways() -> Vec<Finder> {
    let found: Vec<_> = [Some(Finder::SCALAR), Finder::sse2(), Finder::avx2()]
        .into_iter()
        .flatten()
        .collect();
    #[cfg(target_arch = "x86_64")]
    assert!(found.len() >= 2, "every x86-64 has SSE2");
    found
}

/// A path's tags: `deepest` of them there, each one of four values of its depth; as [`Heads::of`] makes them, the others as well.
fn heads(deepest: usize, bits: u16) -> Heads {
    let path = ["/a"; DEPTHS].concat();
    let mut heads = Heads::of(&path.as_bytes()[..(2 * deepest).max(1)], Key::random());
    (0..=deepest).for_each(|depth| heads.put_tag(depth, tag(depth, bits >> (2 * depth))));
    heads
}

fn tag(depth: usize, bits: u16) -> u16 {
    (bits & 3) << 14 | depth as u16
}

/// The lanes that hit, in the order in which they are found, from lane `from` on.
fn found(way: Finder, lines: &[Line], len: usize, heads: &Heads, from: usize) -> Vec<usize> {
    let next = |from| way.next(lines, len, from, heads);
    std::iter::successors(next(from), |&lane| next(lane + 1)).collect()
}

proptest! {
    #[test]
    fn c8_every_way_of_scanning_offers_the_lanes_that_the_scalar_one_offers(
        lanes in proptest::collection::vec((0..DEPTHS, any::<u16>()), 0..100),
        deepest in 0..DEPTHS,
        bits: u16,
        from in 0usize..110,
        every in 1usize..12,
    ) {
        let tags: Vec<u16> = lanes.iter().map(|&(depth, bits)| tag(depth, bits)).collect();
        let (lanes, heads) = (Lanes::new(&tags), heads(deepest, bits));
        let hit = |lane: &usize| depth_of(tags[*lane]) <= deepest && heads.tag(depth_of(tags[*lane])) == tags[*lane];
        let hits: Vec<usize> = (0..tags.len()).filter(hit).collect();
        let later: Vec<usize> = hits.iter().copied().filter(|&lane| lane >= from).collect();
        for way in ways() {
            prop_assert_eq!(&found(way, &lanes.lines, lanes.len, &heads, from), &later, "{:?}", way);
            let mut offered = Vec::new();
            let first = way.first(&lanes, &heads, |lane| {
                offered.push(lane);
                offered.len() == every
            });
            prop_assert_eq!(first, hits.get(every - 1).copied());
            prop_assert_eq!(&offered[..], &hits[..every.min(hits.len())]);
        }
    }
}

#[test]
fn c8_no_way_reads_past_the_last_lane_or_counts_what_pads_it() {
    for len in 0..=67 {
        let lanes = Lanes::new(&vec![tag(1, 2); len]);
        let lines = Guarded::new(&lanes.lines);
        // What pads a line has tag 0: a path with such a tag hits lanes that are none.
        let mut heads = heads(1, 2 << 2);
        assert_eq!((heads.tag(0), heads.tag(1)), (0, tag(1, 2)));
        let all: Vec<usize> = (0..len).collect();
        for way in ways() {
            let heads = Guarded::new(std::slice::from_ref(&heads));
            assert_eq!(found(way, &lines, len, &heads[0], 0), all, "{way:?}");
        }
        heads.put_tag(1, tag(1, 3));
        for way in ways() {
            assert_eq!(found(way, &lines, len, &heads, 0), [], "{way:?}");
        }
    }
}
