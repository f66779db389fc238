//! rcu-map's directory: a present key is met while tables are split and the directory doubles, a walk meets it once, and
//! an emptied map is empty at once.
#![cfg(loom)]

#[path = "rcu/value.rs"]
mod value;

use loom_tests::check;
use rcu_map::RcuMap;
use std::hash::{BuildHasherDefault, Hasher};
use sync_base::Domain;
use sync_base::sync::Arc;
use value::{Value, bounds, join, spawn};

/// Hashes a key to itself, which the map spreads: the first bits are those of the key times the golden ratio.
#[derive(Default)]
struct Identity(u64);
impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are words");
    }
    fn write_u32(&mut self, key: u32) {
        self.0 = u64::from(key);
    }
}

/// The first two bits of the hash of a key.
fn prefix(key: u32) -> u64 {
    u64::from(key).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 62
}

/// The first keys with one of these prefixes.
fn keys<const N: usize>(prefixes: &[u64]) -> [u32; N] {
    let mut fit = (1..).filter(|key| prefixes.contains(&prefix(*key)));
    std::array::from_fn(|_| fit.next().unwrap())
}

type Map = RcuMap<u32, Value, BuildHasherDefault<Identity>>;

/// A map of one shard in a domain that collects at each retirement. A table holds three entries at most.
fn map(keys: &[u32]) -> Arc<Map> {
    let map = RcuMap::<u32, Value>::builder()
        .shards(1)
        .hasher(BuildHasherDefault::default())
        .domain(Domain::builder().batch(1).build())
        .build();
    for &key in keys {
        map.insert(key, Value::new(key));
    }
    Arc::new(map)
}

fn meets(map: &Map, key: u32) -> bool {
    map.pin().get(&key).map(Value::get) == Some(key)
}

#[test]
fn a_present_key_is_met_while_the_directory_doubles() {
    check("map.get_beside_doubling", bounds(3, 2), || {
        let map = map(&keys::<3>(&[0, 1, 2, 3]));
        let [one, _, _, four] = keys::<4>(&[0, 1, 2, 3]);
        let reader = spawn(&map, move |map| {
            assert!(meets(map, one));
            let pinned = map.pin();
            assert!(pinned.get(&four).is_none_or(|v| v.get() == four));
        });
        let writer = spawn(&map, move |map| drop(map.insert(four, Value::new(four))));
        join([reader, writer]);
        assert!(map.len() == 4 && meets(&map, one) && meets(&map, four));
    });
}

/// Keys whose hashes begin with a clear bit, two with each second bit; and the same with a set bit.
fn halves() -> ([u32; 4], [u32; 4]) {
    let half = |first: u64| {
        let ([a, b], [c, d]) = (keys::<2>(&[2 * first]), keys::<2>(&[2 * first + 1]));
        [a, c, b, d]
    };
    (half(0), half(1))
}

/// A directory of four: the lower half's table has been split, the upper half's is full and serves two entries. With the
/// upper half's keys, of which the last is not in the map.
fn half_split() -> (Arc<Map>, [u32; 4]) {
    let (lower, upper) = halves();
    // The fourth entry splits the one table there is, the fifth its lower half.
    let map = map(&[
        upper[0], lower[0], lower[1], lower[2], lower[3], upper[1], upper[2],
    ]);
    (map, upper)
}

#[test]
fn a_present_key_is_met_while_a_table_is_split_in_the_directory_that_is() {
    check("map.get_beside_split", bounds(3, 2), || {
        let (map, [one, _, three, four]) = half_split();
        let reader = spawn(&map, move |map| {
            assert!(meets(map, one));
            assert!(meets(map, three));
        });
        let writer = spawn(&map, move |map| drop(map.insert(four, Value::new(four))));
        join([reader, writer]);
        assert!(map.len() == 8 && meets(&map, one) && meets(&map, four));
    });
}

#[test]
fn a_walk_meets_each_entry_once_while_a_table_is_split() {
    check("map.iterate_beside_split", bounds(3, 2), || {
        let (map, uppers) = half_split();
        let reader = spawn(&map, move |map| {
            let mut met: Vec<u32> = map
                .pin()
                .iter()
                .map(|(key, value)| {
                    assert_eq!(value.get(), *key);
                    *key
                })
                .collect();
            met.sort_unstable();
            let all = met.len();
            met.dedup();
            assert_eq!(met.len(), all, "met twice: {met:?}");
            let stay = halves().0.into_iter().chain(uppers[..3].iter().copied());
            assert!(stay.into_iter().all(|key| met.contains(&key)), "not met: {met:?}");
        });
        let writer = spawn(&map, move |map| {
            drop(map.insert(uppers[3], Value::new(uppers[3])))
        });
        join([reader, writer]);
    });
}

#[test]
fn two_tables_split_at_once_lose_nothing() {
    check("map.split_beside_split", bounds(3, 2), || {
        // Two shards, a full table each: both double the directory, one after the other.
        let map = RcuMap::<u32, Value>::builder()
            .shards(2)
            .hasher(BuildHasherDefault::<Identity>::default())
            .domain(Domain::builder().batch(1).build())
            .build();
        let map = Arc::new(map);
        let (lower, upper) = halves();
        for key in lower[..3].iter().chain(&upper[..3]) {
            map.insert(*key, Value::new(*key));
        }
        let one = spawn(&map, move |map| drop(map.insert(lower[3], Value::new(lower[3]))));
        let other = spawn(&map, move |map| drop(map.insert(upper[3], Value::new(upper[3]))));
        join([one, other]);
        assert_eq!(map.len(), 8);
        assert!(lower.iter().chain(&upper).all(|key| meets(&map, *key)));
    });
}

#[test]
fn an_emptied_map_is_empty_at_once() {
    check("map.clear_is_atomic", bounds(3, 2), || {
        // In two tables: whoever finds one empty finds the other empty.
        let (map, [one, ..]) = half_split();
        let other = halves().0[0];
        let reader = spawn(&map, move |map| {
            if !meets(map, other) {
                assert!(!meets(map, one), "half emptied");
            }
            if !meets(map, one) {
                assert!(!meets(map, other), "half emptied");
            }
        });
        let writer = spawn(&map, Map::clear);
        join([reader, writer]);
        assert!(map.is_empty());
    });
}
