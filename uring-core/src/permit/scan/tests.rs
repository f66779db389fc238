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
    for depth in 0..=deepest {
        heads.tags[depth] = tag(depth, bits >> (2 * depth));
    }
    heads
}

fn tag(depth: usize, bits: u16) -> u16 {
    (bits & 3) << 14 | depth as u16
}

/// Lanes in the order in which they were offered; every `every`th of them was accepted, which ends it.
fn offered(
    way: Finder,
    lines: &[Line],
    len: usize,
    heads: &Heads,
    every: usize,
) -> (Vec<usize>, Option<usize>) {
    let mut lanes = Vec::new();
    let first = way.first_of(lines, len, heads, |lane| {
        lanes.push(lane);
        lanes.len() == every
    });
    (lanes, first)
}

proptest! {
    #[test]
    fn c8_every_way_of_scanning_offers_the_lanes_that_the_scalar_one_offers(
        lanes in proptest::collection::vec((0..DEPTHS, any::<u16>()), 0..100),
        deepest in 0..DEPTHS,
        bits: u16,
        every in 1usize..12,
    ) {
        let tags: Vec<u16> = lanes.iter().map(|&(depth, bits)| tag(depth, bits)).collect();
        let (lanes, heads) = (Lanes::new(&tags), heads(deepest, bits));
        let hit = |lane: &usize| depth_of(tags[*lane]) <= deepest && heads.tags[depth_of(tags[*lane])] == tags[*lane];
        let hits: Vec<usize> = (0..tags.len()).filter(hit).take(every).collect();
        let last = (hits.len() == every).then(|| hits[every - 1]);
        for way in ways() {
            let got = offered(way, &lanes.lines, lanes.len, &heads, every);
            prop_assert_eq!(&got, &(hits.clone(), last), "{:?}", way);
        }
    }
}

#[test]
fn c8_no_way_reads_past_the_last_lane_or_counts_what_pads_it() {
    for len in 0..=67 {
        let tags = vec![tag(1, 2); len];
        let lanes = Lanes::new(&tags);
        let lines = Guarded::new(&lanes.lines);
        // What pads a line has tag 0: a head that equals it would offer lanes that are none.
        let mut heads = heads(1, 2 << 2);
        assert_eq!((heads.tags[0], heads.tags[1]), (0, tag(1, 2)));
        let of_all: Vec<usize> = (0..len).collect();
        for way in ways() {
            let heads = Guarded::new(std::slice::from_ref(&heads));
            let got = offered(way, &lines, len, &heads[0], usize::MAX);
            assert_eq!(got, (of_all.clone(), None), "{way:?}");
        }
        heads.tags[1] = tag(1, 3);
        for way in ways() {
            assert_eq!(
                offered(way, &lines, len, &heads, usize::MAX).0,
                Vec::<usize>::new(),
                "{way:?}"
            );
        }
    }
}
