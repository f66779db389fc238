//! Look-ups of a map that nobody writes.

use super::keys::{Hasher, Key, Keys, Size, start, value};
use crate::{Contest, Invalid, Row, Task, Worker};
use rcu_map::RcuMap;
use std::collections::HashMap;
use std::sync::Arc;

/// The bounds of one size: over the unsynchronised map, and how many times faster than papaya.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    floor: f64,
    papaya: f64,
}

pub(super) const SMALL: Bounds = Bounds {
    floor: 1.8,
    papaya: 1.8,
};
pub(super) const LARGE: Bounds = Bounds {
    floor: 1.6,
    papaya: 1.5,
};
pub(super) const STRING: Bounds = Bounds {
    floor: 1.5,
    papaya: 1.0,
};

const FLOOR: &str = "HashMap<K, Arc<V>>, one thread owns it";

/// Looks `n` keys up, on the clock, and checks the values.
fn look_up<'k, K: Key>(
    worker: &mut Worker<'_>,
    keys: &'k Keys<K>,
    mut get: impl FnMut(&'k K) -> u64,
) -> Result<(), Invalid> {
    let from = start(worker.index);
    let mut asked = 0;
    let sum = worker.measure(|n| {
        asked = n;
        (from..from + n).fold(0u64, |sum, i| sum.wrapping_add(get(keys.at(i))))
    });
    keys.verify(from, asked, sum)
}

fn ours<K: Key>(keys: &Keys<K>) -> RcuMap<K, u64, Hasher> {
    let map = RcuMap::<K, u64>::builder()
        .capacity(keys.keys.len())
        .hasher(Hasher::default())
        .build();
    map.extend(keys.entries());
    map
}

#[cfg(feature = "peers")]
fn papaya<K: Key>(keys: &Keys<K>) -> papaya::HashMap<K, u64, Hasher> {
    let map = papaya::HashMap::with_capacity_and_hasher(keys.keys.len(), Hasher::default());
    for (key, value) in keys.entries() {
        map.pin().insert(key, value);
    }
    map
}

/// A borrowed look-up by each thread's own reader.
pub(super) fn by_reader<K: Key>(
    task: &Task<'_>,
    size: Size,
    threads: usize,
    bounds: Bounds,
) -> Result<Row, Invalid> {
    let keys = Keys::<K>::zipf(size);
    let map = ours(&keys);
    let floor: HashMap<K, Arc<u64>, Hasher> = keys.entries().map(|(k, v)| (k, Arc::new(v))).collect();
    #[cfg(feature = "peers")]
    let (peer, dash, index) = (papaya(&keys), dashmap(&keys), scc(&keys));
    let mut contest = Contest::new(task);
    contest.ours("RcuMap, a section each", threads, |w| {
        let reader = map.reader();
        look_up(w, &keys, |k| reader.with(k, |v| *v).unwrap_or(0))
    });
    contest.floor(FLOOR, threads, |w| {
        look_up(w, &keys, |k| floor.get(k).map_or(0, |v| **v))
    });
    contest.ours("RcuMap, one section for all", threads, |w| {
        let reader = map.reader();
        let pinned = reader.pin();
        look_up(w, &keys, |k| pinned.get(k).copied().unwrap_or(0))
    });
    #[cfg(feature = "peers")]
    {
        contest.peer("papaya, a guard each", threads, |w| {
            look_up(w, &keys, |k| peer.pin().get(k).copied().unwrap_or(0))
        });
        contest.peer("papaya, one guard for all", threads, |w| {
            let pinned = peer.pin();
            look_up(w, &keys, |k| pinned.get(k).copied().unwrap_or(0))
        });
        contest.peer("dashmap", threads, |w| {
            look_up(w, &keys, |k| dash.get(k).map_or(0, |v| *v))
        });
        contest.peer("scc::HashIndex", threads, |w| {
            look_up(w, &keys, |k| index.peek_with(k, |_, v| *v).unwrap_or(0))
        });
    }
    contest.at_most(bounds.floor, FLOOR);
    contest.faster_than(bounds.papaya, "papaya, a guard each");
    contest.run()
}

#[cfg(feature = "peers")]
fn dashmap<K: Key>(keys: &Keys<K>) -> dashmap::DashMap<K, u64, Hasher> {
    let map = dashmap::DashMap::with_capacity_and_hasher(keys.keys.len(), Hasher::default());
    for (key, value) in keys.entries() {
        map.insert(key, value);
    }
    map
}

#[cfg(feature = "peers")]
fn scc<K: Key>(keys: &Keys<K>) -> scc::HashIndex<K, u64, Hasher> {
    let map = scc::HashIndex::with_capacity_and_hasher(keys.keys.len(), Hasher::default());
    for (key, value) in keys.entries() {
        let _ = map.insert_sync(key, value);
    }
    map
}

/// A look-up through `&map`: the thread's record is found anew each time.
pub(super) fn shared(task: &Task<'_>) -> Result<Row, Invalid> {
    let keys = Keys::<u64>::zipf(Size::THOUSAND);
    let map = ours(&keys);
    debug_assert!(map.with(&keys.keys[0], |v| *v) == Some(value(0)));
    #[cfg(feature = "peers")]
    let peer = papaya(&keys);
    let mut contest = Contest::new(task);
    contest.ours("RcuMap::with", 1, |w| {
        look_up(w, &keys, |k| map.with(k, |v| *v).unwrap_or(0))
    });
    #[cfg(feature = "peers")]
    contest.peer("papaya, a guard each", 1, |w| {
        look_up(w, &keys, |k| peer.pin().get(k).copied().unwrap_or(0))
    });
    contest.faster_than(1.3, "papaya, a guard each");
    contest.run()
}
