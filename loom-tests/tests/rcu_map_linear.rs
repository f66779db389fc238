//! rcu-map's map is linearizable: random schedules of several threads, judged by stateright's tester.
#![cfg(shuttle)]

#[path = "rcu/linear.rs"]
mod linear;

use linear::{Subject, linearizable};
use rcu_map::{Action, Outcome, RcuMap};
use stateright::semantics::SequentialSpec;
use std::collections::BTreeMap;
use std::hash::{BuildHasherDefault, Hasher};
use sync_base::Domain;

/// All keys collide: every operation meets the slots of every other.
#[derive(Default)]
struct Colliding;
impl Hasher for Colliding {
    fn finish(&self) -> u64 {
        0
    }
    fn write(&mut self, _: &[u8]) {}
}

/// Keys spread over the shards.
#[derive(Default)]
struct Spreading(u64);
impl Hasher for Spreading {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        self.0 = u64::from(bytes[0]);
    }
}

type Map<H> = RcuMap<u8, u8, BuildHasherDefault<H>>;

#[derive(Clone, Debug, PartialEq)]
enum Op {
    Get(u8),
    Insert(u8, u8),
    Remove(u8),
    Add(u8),
    GetOrInsert(u8, u8),
    Toggle(u8, u8),
    Exchange(u8, Option<u8>, Option<u8>),
    Clear,
    Snapshot,
}

#[derive(Clone, Debug, PartialEq)]
enum Ret {
    Value(Option<u8>),
    Done,
    Whole(BTreeMap<u8, u8>),
}

/// What the map should be.
#[derive(Clone, Debug, Default)]
struct Oracle(BTreeMap<u8, u8>);

impl SequentialSpec for Oracle {
    type Op = Op;
    type Ret = Ret;
    fn invoke(&mut self, op: &Op) -> Ret {
        match *op {
            Op::Get(k) => Ret::Value(self.0.get(&k).copied()),
            Op::Insert(k, v) => Ret::Value(self.0.insert(k, v)),
            Op::Remove(k) => Ret::Value(self.0.remove(&k)),
            Op::Add(k) => Ret::Value(self.0.get_mut(&k).map(|v| {
                *v = v.wrapping_add(1);
                v.wrapping_sub(1)
            })),
            Op::GetOrInsert(k, v) => Ret::Value(Some(*self.0.entry(k).or_insert(v))),
            Op::Toggle(k, v) => Ret::Value(match self.0.remove(&k) {
                Some(former) => Some(former),
                None => {
                    self.0.insert(k, v);
                    None
                }
            }),
            Op::Exchange(k, expected, new) => {
                let current = self.0.get(&k).copied();
                if current == expected {
                    match new {
                        Some(v) => drop(self.0.insert(k, v)),
                        None => drop(self.0.remove(&k)),
                    }
                }
                Ret::Value(current)
            }
            Op::Clear => {
                self.0.clear();
                Ret::Done
            }
            Op::Snapshot => Ret::Whole(self.0.clone()),
        }
    }
}

fn perform<H: Hasher + Default>(map: &Map<H>, op: &Op) -> Ret {
    match *op {
        Op::Get(k) => Ret::Value(map.pin().get(&k).copied()),
        Op::Insert(k, v) => Ret::Value(map.insert(k, v).as_deref().copied()),
        Op::Remove(k) => Ret::Value(map.remove(&k).as_deref().copied()),
        Op::Add(k) => Ret::Value(map.update(&k, |v| v.wrapping_add(1)).as_deref().copied()),
        Op::GetOrInsert(k, v) => Ret::Value(Some(*map.get_or_insert_with(k, || v))),
        Op::Toggle(k, v) => {
            let outcome = map.compute(k, |old| match old {
                Some(_) => Action::Remove,
                None => Action::Put(v),
            });
            Ret::Value(match outcome {
                Outcome::Removed(former) => Some(*former),
                Outcome::Inserted => None,
                other => panic!("{other:?}"),
            })
        }
        Op::Exchange(k, expected, new) => Ret::Value(match map.compare_exchange(k, expected.as_ref(), new) {
            Ok(former) => former.as_deref().copied(),
            Err(refused) => refused.current.as_deref().copied(),
        }),
        Op::Clear => {
            map.clear();
            Ret::Done
        }
        Op::Snapshot => Ret::Whole(map.snapshot().iter().map(|(k, v)| (*k, *v)).collect()),
    }
}

fn random_op(roll: u64, n: u8) -> Op {
    let key = (roll >> 8) as u8 % 3;
    let expected = (!roll.is_multiple_of(5)).then_some((roll >> 16) as u8 % 4);
    match roll % 16 {
        0..=3 => Op::Get(key),
        4 | 5 => Op::Insert(key, n),
        6 | 7 => Op::Remove(key),
        8 => Op::Add(key),
        9 => Op::GetOrInsert(key, n),
        10 | 11 => Op::Toggle(key, n),
        12 => Op::Exchange(key, expected, Some(n)),
        13 => Op::Exchange(key, expected, None),
        14 => Op::Snapshot,
        _ => Op::Clear,
    }
}

/// A map of some shards under a hasher.
struct Sharded<H, const SHARDS: usize>(Map<H>);

impl<H: Hasher + Default + 'static, const SHARDS: usize> Subject for Sharded<H, SHARDS> {
    type Oracle = Oracle;

    fn make() -> Self {
        let map = RcuMap::<u8, u8>::builder()
            .shards(SHARDS)
            .hasher(BuildHasherDefault::default())
            .domain(Domain::builder().batch(2).build());
        Self(map.build())
    }

    fn op(roll: u64, n: u8) -> Op {
        random_op(roll, n)
    }

    fn perform(&self, op: &Op) -> Ret {
        perform(&self.0, op)
    }
}

#[test]
fn c1_map_is_linearizable_with_three_threads() {
    linearizable::<Sharded<Colliding, 1>>(3, 6);
}

#[test]
fn c1_map_is_linearizable_with_four_threads() {
    linearizable::<Sharded<Colliding, 1>>(4, 5);
}

#[test]
fn c1_map_is_linearizable_with_five_threads() {
    linearizable::<Sharded<Colliding, 1>>(5, 4);
}

/// Snapshots and clears concern every shard; they too take place at one moment.
#[test]
fn c1_map_is_linearizable_across_shards() {
    linearizable::<Sharded<Spreading, 4>>(4, 5);
}
