//! Anchors in order, found by a path's prefixes: by a scan of lanes while they are few, by a hash map from [`MAP_FROM`] on.
//!
//! An entry's *anchor* is the path that whatever it matches must have as a prefix: all of an exact path or prefix, the
//! components of a glob before its first wildcard; of these the first seven. The table offers the entries whose anchor may be a
//! prefix of the path, and nothing but the caller's comparison with the path decides (`accept`).

use super::heads::{Heads, Key};
use super::scan::{Finder, Lanes};

/// Entries from which the map is faster than the widest scan. A scan takes a fiftieth of a nanosecond an entry on top of some 5.5, the
/// map some 20 whatever their number (claims `scan.rules.*`).
const MAP_FROM: usize = 768;

/// How a table is searched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Search {
    /// The fastest for its size on this processor.
    #[default]
    Auto,
    /// A scan, lane by lane.
    Scalar,
    /// A scan by SSE2, eight lanes at a time.
    Sse2,
    /// A scan by AVX2, sixteen lanes at a time.
    Avx2,
    /// A hash map, probed for each prefix of the path.
    Map,
}

impl Search {
    /// Whether this processor can; where it cannot, a table asked for it is scanned lane by lane.
    pub fn is_available(self) -> bool {
        match self {
            Search::Sse2 => Finder::sse2().is_some(),
            Search::Avx2 => Finder::avx2().is_some(),
            Search::Auto | Search::Scalar | Search::Map => true,
        }
    }
}

/// Anchors under one key.
#[derive(Clone, Debug)]
pub(super) struct Table {
    key: Key,
    by: By,
}

#[derive(Clone, Debug)]
enum By {
    Scan(Finder, Lanes),
    Map(Map),
}

impl Table {
    /// Takes the anchors of entries in their order; each a normal path.
    pub(super) fn new<'a>(anchors: impl Iterator<Item = &'a [u8]>, key: Key, search: Search) -> Self {
        let heads: Vec<(u16, u64)> = anchors.map(|anchor| Heads::of(anchor, key).last()).collect();
        let finder = match search {
            Search::Auto if heads.len() >= MAP_FROM => None,
            Search::Map => None,
            Search::Auto => Some(Finder::best()),
            Search::Scalar => Some(Finder::SCALAR),
            Search::Sse2 => Some(Finder::sse2().unwrap_or(Finder::SCALAR)),
            Search::Avx2 => Some(Finder::avx2().unwrap_or(Finder::SCALAR)),
        };
        let by = match finder {
            Some(finder) => {
                let tags: Vec<u16> = heads.iter().map(|&(tag, _)| tag).collect();
                By::Scan(finder, Lanes::new(&tags))
            }
            None => By::Map(Map::new(heads.iter().map(|&(_, hash)| hash))),
        };
        Self { key, by }
    }

    /// Hashes a normal path for this table.
    #[inline]
    pub(super) fn heads(&self, path: &[u8]) -> Heads {
        Heads::of(path, self.key)
    }

    /// The first entry, in their order, whose anchor may be a prefix and that is accepted.
    #[inline(always)]
    pub(super) fn first(&self, heads: &Heads, mut accept: impl FnMut(usize) -> bool) -> Option<usize> {
        match &self.by {
            By::Scan(finder, lanes) => finder.first(lanes, heads, accept),
            By::Map(map) => map.first(heads, &mut accept),
        }
    }
}

/// Entries by the hash of their anchor: open addressing, at most half full, never changed.
#[derive(Clone, Debug)]
struct Map {
    /// A power of two of them.
    places: Box<[Place]>,
    /// Entries, in order within each place's share.
    order: Box<[u32]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    hash: u64,
    /// Where its share of `order` begins.
    from: u32,
    /// How many it has; 0 for a place that is free.
    count: u32,
}

impl Map {
    fn new(hashes: impl Iterator<Item = u64>) -> Self {
        // Stable: entries of one hash stay in their order.
        let mut entries: Vec<(u64, u32)> = hashes.zip(0..).collect();
        entries.sort_by_key(|&(hash, _)| hash);
        let size = (2 * entries.len()).next_power_of_two().max(2);
        let mut map = Self {
            places: vec![Place::default(); size].into(),
            order: entries.iter().map(|&(_, entry)| entry).collect(),
        };
        let mut from = 0;
        for share in entries.chunk_by(|a, b| a.0 == b.0) {
            let hash = share[0].0;
            let count = share.len() as u32;
            let at = map.place(hash);
            map.places[at] = Place { hash, from, count };
            from += count;
        }
        map
    }

    /// The place of a hash, or the free one where it would stand. Ends: at most half are taken.
    #[inline(always)]
    fn place(&self, hash: u64) -> usize {
        let last = self.places.len() - 1;
        let mut at = hash as usize & last;
        while self.places[at].count != 0 && self.places[at].hash != hash {
            at = (at + 1) & last;
        }
        at
    }

    /// Apart from the scan, which then has the comparison in line.
    #[inline(never)]
    fn first(&self, heads: &Heads, accept: &mut dyn FnMut(usize) -> bool) -> Option<usize> {
        let mut first = None;
        for &hash in heads.hashes() {
            let Place { from, count, .. } = self.places[self.place(hash)];
            for &entry in &self.order[from as usize..][..count as usize] {
                let entry = entry as usize;
                if first.is_some_and(|first| entry >= first) {
                    break;
                }
                if accept(entry) {
                    first = Some(entry);
                    break;
                }
            }
        }
        first
    }
}
