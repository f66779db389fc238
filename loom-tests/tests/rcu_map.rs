//! rcu-map's map: a present key is never missed, an entry is never torn, nothing is freed under a reader.
#![cfg(loom)]

#[path = "rcu/value.rs"]
mod value;

use loom_tests::check;
use rcu_map::{Entry, RcuMap};
use std::hash::{BuildHasherDefault, Hasher};
use sync_base::sync::Arc;
use sync_base::{Domain, thread};
use value::{Value, bounds, join, spawn};

/// All keys collide: probes cross one another's slots.
#[derive(Default)]
struct Colliding;
impl Hasher for Colliding {
    fn finish(&self) -> u64 {
        0
    }
    fn write(&mut self, _: &[u8]) {}
}

type Map = RcuMap<u32, Value, BuildHasherDefault<Colliding>>;

/// A map of one shard in a domain that collects at each retirement.
fn map(keys: &[u32]) -> Arc<Map> {
    roomy(keys, 0)
}

/// As [`map`], with room for `capacity` entries.
fn roomy(keys: &[u32], capacity: usize) -> Arc<Map> {
    let map = RcuMap::<u32, Value>::builder()
        .shards(1)
        .capacity(capacity)
        .hasher(BuildHasherDefault::default())
        .domain(Domain::builder().batch(1).build())
        .build();
    for &key in keys {
        map.insert(key, Value::new(key * 10));
    }
    Arc::new(map)
}

#[test]
fn a_replaced_key_is_never_absent_and_never_torn() {
    check("map.get_beside_replace", bounds(3, 2), || {
        let map = map(&[1]);
        let reader = spawn(&map, |map| {
            let seen = map.pin().get(&1).map(Value::get);
            assert!(matches!(seen, Some(10 | 11)), "{seen:?}");
        });
        let writer = spawn(&map, |map| drop(map.insert(1, Value::new(11))));
        join([reader, writer]);
        assert_eq!(map.pin().get(&1).map(Value::get), Some(11));
    });
}

#[test]
fn a_first_insert_publishes_its_entry_whole() {
    check("map.get_beside_first_insert", bounds(3, 2), || {
        // A table with room, and nothing to retire: the slot alone carries the new entry over.
        let map = roomy(&[1], 3);
        let reader = spawn(&map, |map| {
            let seen = map.pin().get(&4).map(Value::get);
            assert!(matches!(seen, None | Some(40)), "{seen:?}");
        });
        let writer = spawn(&map, |map| {
            // In the domain before the entry is made, so that joining it orders nothing after.
            drop(map.pin());
            map.insert(4, Value::new(40));
        });
        join([reader, writer]);
    });
}

#[test]
fn a_removed_value_outlives_the_readers_that_met_it() {
    check("map.get_beside_remove", bounds(3, 2), || {
        let map = map(&[1]);
        let reader = spawn(&map, |map| {
            let pinned = map.pin();
            if let Some(value) = pinned.get(&1) {
                assert_eq!(value.get(), 10);
                assert_eq!(value.get(), 10);
            }
        });
        let writer = spawn(&map, |map| assert_eq!(map.remove(&1).map(|v| v.get()), Some(10)));
        join([reader, writer]);
        assert!(map.pin().get(&1).is_none());
    });
}

#[test]
fn a_present_key_is_met_through_a_rebuild() {
    check("map.get_beside_rebuild", bounds(3, 2), || {
        let map = map(&[1]);
        let reader = spawn(&map, |map| {
            let pinned = map.pin();
            assert_eq!(pinned.get(&1).map(Value::get), Some(10));
            if let Some(value) = pinned.get(&2) {
                assert_eq!(value.get(), 20);
            }
        });
        // A table of two slots holds one entry: the second is linked in a longer one.
        let writer = spawn(&map, |map| drop(map.insert(2, Value::new(20))));
        join([reader, writer]);
        assert_eq!(map.len(), 2);
    });
}

#[test]
fn a_present_key_is_met_while_a_slot_before_it_is_given_up_and_taken() {
    check("map.get_beside_reuse", bounds(3, 2), || {
        // Three colliding keys, two to a line: the reader's probe for 3 goes past the line of 1 and 2.
        let map = roomy(&[1, 2, 3], 6);
        let reader = spawn(&map, |map| {
            assert_eq!(map.pin().get(&3).map(Value::get), Some(30));
        });
        let writer = spawn(&map, |map| {
            map.remove(&1);
            map.insert(4, Value::new(40));
        });
        join([reader, writer]);
        assert_eq!(map.len(), 3);
    });
}

#[test]
fn a_present_key_is_met_while_others_go_past_its_line_and_come_back() {
    check("map.get_beside_passing", bounds(3, 2), || {
        let map = roomy(&[1, 2, 3], 6);
        let reader = spawn(&map, |map| {
            assert_eq!(map.pin().get(&3).map(Value::get), Some(30));
            assert!(map.pin().get(&9).is_none());
        });
        let writer = spawn(&map, |map| {
            map.insert(4, Value::new(40));
            map.remove(&4);
        });
        join([reader, writer]);
        assert_eq!(map.len(), 3);
    });
}

#[test]
fn a_walk_meets_each_entry_that_stays_once() {
    check("map.iterate_beside_rebuild", bounds(3, 2), || {
        let map = map(&[1]);
        let reader = spawn(&map, |map| {
            let pinned = map.pin();
            let met: Vec<_> = pinned.iter().map(|(k, v)| (*k, v.get())).collect();
            assert_eq!(met.iter().filter(|e| **e == (1, 10)).count(), 1, "{met:?}");
            assert!(met.len() <= 2);
        });
        let writer = spawn(&map, |map| drop(map.insert(2, Value::new(20))));
        join([reader, writer]);
    });
}

#[test]
fn a_reader_in_its_section_keeps_what_clear_unlinks() {
    check("map.get_beside_clear", bounds(3, 2), || {
        let map = map(&[1]);
        let reader = spawn(&map, |map| {
            if let Some(value) = map.pin().get(&1) {
                assert_eq!(value.get(), 10);
            }
        });
        let writer = spawn(&map, Map::clear);
        join([reader, writer]);
        assert!(map.is_empty());
    });
}

#[test]
fn an_entry_handle_outlives_removal_and_is_freed_once() {
    check("map.entry_beside_remove", bounds(3, 2), || {
        let map = map(&[1]);
        let reader = spawn(&map, |map| {
            let entry: Option<Entry<u32, Value>> = map.get_entry(&1);
            if let Some(entry) = entry {
                assert_eq!(entry.get(), 10);
            }
        });
        let writer = spawn(&map, |map| drop(map.remove(&1)));
        join([reader, writer]);
    });
}

#[test]
fn the_last_handle_takes_the_entry_apart() {
    check("map.take_apart_beside_drop", bounds(3, 2), || {
        let map = map(&[1]);
        let handles = [map.get_entry(&1).unwrap(), map.get_entry(&1).unwrap()];
        drop(map.remove(&1));
        map.domain().collect();
        let [one, other] = handles.map(|entry| {
            thread::spawn(move || {
                assert_eq!(entry.get(), 10);
                // What was taken apart is ours: dropping it writes.
                entry.try_into_parts().map(drop).is_ok()
            })
        });
        assert!(!(one.join().unwrap() && other.join().unwrap()));
    });
}

#[test]
fn updates_of_one_key_are_not_lost() {
    check("map.update_beside_update", bounds(3, 2), || {
        let map = map(&[1]);
        let add = |map: &Map| drop(map.update(&1, |v| Value::new(v.get() + 1)).unwrap());
        let threads = [spawn(&map, add), spawn(&map, add)];
        join(threads);
        assert_eq!(map.pin().get(&1).map(Value::get), Some(12));
    });
}

#[test]
fn two_that_insert_an_absent_key_get_the_same_entry() {
    check("map.get_or_insert_races", bounds(3, 2), || {
        let map = map(&[]);
        let threads: Vec<_> = (1..3)
            .map(|n| {
                let map = Arc::clone(&map);
                thread::spawn(move || map.get_or_insert_with(7, || Value::new(n)).get())
            })
            .collect();
        let got: Vec<_> = threads.into_iter().map(|t| t.join().unwrap()).collect();
        assert_eq!(got[0], got[1]);
        assert_eq!(map.len(), 1);
    });
}

#[test]
fn a_snapshot_is_of_one_moment() {
    check("map.snapshot_beside_writes", bounds(3, 2), || {
        let map = map(&[1, 2]);
        let reader = spawn(&map, |map| {
            let snapshot = map.snapshot();
            let (one, two) = (snapshot.get(&1).unwrap().get(), snapshot.get(&2).unwrap().get());
            assert!(one >= two - 10, "2 was written after 1: {one} {two}");
        });
        let writer = spawn(&map, |map| {
            map.insert(1, Value::new(11));
            map.insert(2, Value::new(21));
        });
        join([reader, writer]);
    });
}
