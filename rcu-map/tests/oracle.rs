//! The maps against `std`'s `HashMap`: any sequence of operations gives the same answers.
#![cfg(not(any(loom, shuttle)))]

use proptest::prelude::*;
use rcu_map::{Action, Outcome, RcuMap, SnapshotMap};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// The worst hasher there is: every key collides, so each probe walks through every other entry.
#[derive(Clone, Default)]
struct Constant;
impl Hasher for Constant {
    fn finish(&self) -> u64 {
        7
    }
    fn write(&mut self, _: &[u8]) {}
}

/// A hasher that changes nothing, as some take for integer keys.
#[derive(Clone, Default)]
struct Identity(u64);
impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0 << 8 | u64::from(byte);
        }
    }
    fn write_u16(&mut self, n: u16) {
        self.0 = u64::from(n);
    }
}

#[derive(Clone, Debug)]
enum Op {
    Insert(u16, u32),
    Remove(u16),
    Get(u16),
    Update(u16),
    GetOrInsert(u16, u32),
    Compute(u16, u8),
    CompareExchange(u16, Option<u32>, Option<u32>),
    Retain(u32),
    Extend(Vec<(u16, u32)>),
    Snapshot,
    Iterate,
    Clear,
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0u16..48;
    let value = 0u32..6;
    prop_oneof![
        12 => (key.clone(), value.clone()).prop_map(|(k, v)| Op::Insert(k, v)),
        8 => key.clone().prop_map(Op::Remove),
        6 => key.clone().prop_map(Op::Get),
        4 => key.clone().prop_map(Op::Update),
        4 => (key.clone(), value.clone()).prop_map(|(k, v)| Op::GetOrInsert(k, v)),
        4 => (key.clone(), 0u8..3).prop_map(|(k, a)| Op::Compute(k, a)),
        4 => (key.clone(), proptest::option::of(value.clone()), proptest::option::of(value.clone()))
            .prop_map(|(k, e, n)| Op::CompareExchange(k, e, n)),
        1 => value.clone().prop_map(Op::Retain),
        2 => proptest::collection::vec((key, value), 0..20).prop_map(Op::Extend),
        1 => Just(Op::Snapshot),
        1 => Just(Op::Iterate),
        1 => Just(Op::Clear),
    ]
}

fn same(map: &RcuMap<u16, u32, impl std::hash::BuildHasher>, oracle: &HashMap<u16, u32>) {
    assert_eq!(map.len(), oracle.len());
    let walked: Vec<_> = map.pin().iter().map(|(k, v)| (*k, *v)).collect();
    assert_eq!(walked.len(), oracle.len(), "an entry visited twice or not at all");
    assert_eq!(&walked.into_iter().collect::<HashMap<_, _>>(), oracle);
}

fn run<H: Hasher + Default + Clone>(shards: usize, ops: Vec<Op>) {
    let hasher = BuildHasherDefault::<H>::default();
    let map = RcuMap::<u16, u32>::builder()
        .shards(shards)
        .hasher(hasher)
        .build();
    let mut oracle: HashMap<u16, u32> = HashMap::new();
    for op in ops {
        match op {
            Op::Insert(k, v) => assert_eq!(map.insert(k, v).as_deref().copied(), oracle.insert(k, v)),
            Op::Remove(k) => assert_eq!(map.remove(&k).as_deref().copied(), oracle.remove(&k)),
            Op::Get(k) => {
                assert_eq!(map.pin().get(&k), oracle.get(&k));
                assert_eq!(map.reader().get(&k).as_deref(), oracle.get(&k));
                assert_eq!(map.get_entry(&k).as_deref(), oracle.get(&k));
                assert_eq!(map.contains_key(&k), oracle.contains_key(&k));
            }
            Op::Update(k) => {
                let former = map.update(&k, |v| v + 1).as_deref().copied();
                assert_eq!(former, oracle.get(&k).copied());
                oracle.entry(k).and_modify(|v| *v += 1);
            }
            Op::GetOrInsert(k, v) => {
                assert_eq!(*map.get_or_insert_with(k, || v), *oracle.entry(k).or_insert(v));
            }
            Op::Compute(k, action) => {
                let outcome = map.compute(k, |_| match action {
                    0 => Action::Keep,
                    1 => Action::Put(99),
                    _ => Action::Remove,
                });
                let former = match action {
                    0 => None,
                    1 => oracle.insert(k, 99),
                    _ => oracle.remove(&k),
                };
                match (outcome, action, former) {
                    (Outcome::Kept, 0, _) | (Outcome::Inserted, 1, None) | (Outcome::Kept, 2, None) => {}
                    (Outcome::Replaced(v), 1, Some(f)) | (Outcome::Removed(v), 2, Some(f)) => {
                        assert_eq!(*v, f)
                    }
                    other => panic!("{other:?}"),
                }
            }
            Op::CompareExchange(k, expected, new) => {
                let before = oracle.get(&k).copied();
                let result = map.compare_exchange(k, expected.as_ref(), new);
                if before == expected {
                    assert_eq!(result.unwrap().as_deref().copied(), before);
                    match new {
                        Some(v) => drop(oracle.insert(k, v)),
                        None => drop(oracle.remove(&k)),
                    }
                } else {
                    let refused = result.unwrap_err();
                    assert_eq!((refused.current.as_deref().copied(), refused.new), (before, new));
                }
            }
            Op::Retain(least) => {
                let before = oracle.len();
                oracle.retain(|_, v| *v >= least);
                assert_eq!(map.retain(|_, v| *v >= least), before - oracle.len());
            }
            Op::Extend(entries) => {
                map.extend(entries.iter().copied());
                oracle.extend(entries);
            }
            Op::Snapshot => {
                let snapshot = map.snapshot();
                assert_eq!(snapshot.len(), oracle.len());
                assert_eq!(
                    &snapshot.iter().map(|(k, v)| (*k, *v)).collect::<HashMap<_, _>>(),
                    &oracle
                );
                for k in 0..48 {
                    assert_eq!(snapshot.get(&k), oracle.get(&k));
                }
            }
            Op::Iterate => same(&map, &oracle),
            Op::Clear => {
                map.clear();
                oracle.clear();
            }
        }
    }
    same(&map, &oracle);
}

fn run_snapshot(ops: Vec<Op>) {
    let map: SnapshotMap<u16, u32> = SnapshotMap::new();
    let reader = map.reader();
    let mut oracle: HashMap<u16, u32> = HashMap::new();
    for op in ops {
        match op {
            Op::Insert(k, v) | Op::GetOrInsert(k, v) => assert_eq!(map.insert(k, v), oracle.insert(k, v)),
            Op::Remove(k) => assert_eq!(map.remove(&k), oracle.remove(&k)),
            Op::Update(k) => {
                assert_eq!(map.update(&k, |v| v + 1), oracle.contains_key(&k));
                oracle.entry(k).and_modify(|v| *v += 1);
            }
            Op::Retain(least) => {
                map.retain(|_, v| *v >= least);
                oracle.retain(|_, v| *v >= least);
            }
            Op::Extend(entries) => {
                map.extend(entries.iter().copied());
                oracle.extend(entries);
            }
            Op::Clear => {
                map.clear();
                oracle.clear();
            }
            Op::Compute(k, _) => map.batch(|batch| {
                for i in k..k + 3 {
                    assert_eq!(batch.get(&i), oracle.get(&i));
                    assert_eq!(batch.insert(i, 1), oracle.insert(i, 1));
                }
                assert_eq!(batch.remove(&k), oracle.remove(&k));
            }),
            Op::Get(_) | Op::CompareExchange(..) | Op::Snapshot | Op::Iterate => {}
        }
        assert_eq!(*map.snapshot(), oracle);
        assert_eq!(*reader.load(), oracle);
        assert_eq!(*map.load(), oracle);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn c1_rcu_map_answers_as_a_hash_map(ops in proptest::collection::vec(op(), 0..250)) {
        run::<std::hash::DefaultHasher>(4, ops);
    }

    #[test]
    fn c1_rcu_map_answers_as_a_hash_map_when_every_key_collides(ops in proptest::collection::vec(op(), 0..250)) {
        run::<Constant>(1, ops);
    }

    #[test]
    fn c1_rcu_map_answers_as_a_hash_map_under_an_identity_hasher(ops in proptest::collection::vec(op(), 0..250)) {
        run::<Identity>(64, ops);
    }

    #[test]
    fn c1_snapshot_map_answers_as_a_hash_map(ops in proptest::collection::vec(op(), 0..120)) {
        run_snapshot(ops);
    }
}

#[test]
fn slots_are_used_again_so_that_churn_does_not_grow_the_table() {
    let map = RcuMap::<u64, u64>::builder().shards(1).build();
    for i in 0..200_000u64 {
        map.insert(i, i);
        if i >= 8 {
            assert_eq!(map.remove(&(i - 8)).as_deref(), Some(&(i - 8)));
        }
    }
    assert_eq!(map.len(), 8);
    assert_eq!(map.pin().iter().count(), 8);
}

/// A table of colliding hashes cannot be split: it grows past the length at which others are, and its lines lose count
/// of what went past them.
#[test]
fn a_thousand_colliding_keys_come_and_go() {
    let map = RcuMap::<u16, u32>::builder()
        .hasher(BuildHasherDefault::<Constant>::default())
        .build();
    let all = 0..1_200u16;
    for key in all.clone() {
        assert!(map.insert(key, u32::from(key)).is_none());
    }
    let pinned = map.pin();
    assert!(all.clone().all(|key| pinned.get(&key) == Some(&u32::from(key))));
    assert_eq!((pinned.iter().count(), pinned.get(&1_200)), (1_200, None));
    for key in all.clone().filter(|key| key % 3 != 0) {
        assert_eq!(map.remove(&key).as_deref(), Some(&u32::from(key)));
    }
    assert!(all.clone().all(|key| map.contains_key(&key) == (key % 3 == 0)));
    for key in all.clone() {
        map.insert(key, 7);
    }
    assert_eq!(map.len(), 1_200);
    assert!(all.clone().all(|key| map.remove(&key).as_deref() == Some(&7)));
    assert!(map.is_empty() && !map.contains_key(&0));
}

#[test]
fn a_hundred_thousand_entries_come_and_go() {
    let map: RcuMap<u64, u64> = (0..100_000).map(|i| (i, i * 2)).collect();
    assert_eq!(map.len(), 100_000);
    let pinned = map.pin();
    assert!((0..100_000).all(|i| pinned.get(&i) == Some(&(i * 2))));
    assert_eq!(pinned.iter().count(), 100_000);
    assert!((100_000..101_000).all(|i| !map.contains_key(&i)));
    assert!((0..100_000).all(|i| map.remove(&i).is_some()));
    assert!(map.is_empty() && map.pin().iter().next().is_none());
}
