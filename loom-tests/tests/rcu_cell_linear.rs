//! rcu-map's cell and snapshot map: every operation takes place at one moment, with three to five threads, judged by
//! stateright's tester.
#![cfg(shuttle)]

#[path = "rcu/linear.rs"]
mod linear;

use linear::{Subject, linearizable};
use rcu_map::{RcuCell, SnapshotMap};
use stateright::semantics::SequentialSpec;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};
use sync_base::Domain;
use sync_base::sync::Arc;

#[derive(Clone, Debug)]
enum CellOp {
    Load,
    LoadFull,
    Store(u8),
    Swap(u8),
    Add(u8),
}

#[derive(Clone, Debug, Default)]
struct Word(u8);

impl SequentialSpec for Word {
    type Op = CellOp;
    type Ret = u8;
    fn invoke(&mut self, op: &CellOp) -> u8 {
        let former = self.0;
        match *op {
            CellOp::Load | CellOp::LoadFull => {}
            CellOp::Store(v) => {
                self.0 = v;
                return 0;
            }
            CellOp::Swap(v) => self.0 = v,
            CellOp::Add(v) => self.0 = former.wrapping_add(v),
        }
        former
    }
}

impl Subject for RcuCell<u8> {
    type Oracle = Word;

    fn make() -> Self {
        Self::in_domain(Arc::new(0), Domain::builder().batch(2).build())
    }

    fn op(roll: u64, n: u8) -> CellOp {
        match roll % 6 {
            0 => CellOp::Load,
            1 => CellOp::LoadFull,
            2 => CellOp::Store(n),
            3 => CellOp::Swap(n + 50),
            _ => CellOp::Add(n + 1),
        }
    }

    fn perform(&self, op: &CellOp) -> u8 {
        match *op {
            CellOp::Load => *self.load(),
            CellOp::LoadFull => *self.load_full(),
            CellOp::Store(v) => {
                self.store(v);
                0
            }
            CellOp::Swap(v) => *self.swap(Arc::new(v)),
            CellOp::Add(v) => *self.rcu(|old| old.wrapping_add(v)),
        }
    }
}

#[test]
fn c1_cell_is_linearizable_with_three_threads() {
    linearizable::<RcuCell<u8>>(3, 6);
}

#[test]
fn c1_cell_is_linearizable_with_five_threads() {
    linearizable::<RcuCell<u8>>(5, 4);
}

#[derive(Clone, Debug)]
enum MapOp {
    Get(u8),
    Insert(u8, u8),
    Remove(u8),
    Add(u8),
    /// Both keys get the value at once.
    Both(u8),
    Clear,
    Snapshot,
}

#[derive(Clone, Debug, PartialEq)]
enum MapRet {
    Value(Option<u8>),
    Present(bool),
    Done,
    Whole(BTreeMap<u8, u8>),
}

#[derive(Clone, Debug, Default)]
struct Whole(BTreeMap<u8, u8>);

impl SequentialSpec for Whole {
    type Op = MapOp;
    type Ret = MapRet;
    fn invoke(&mut self, op: &MapOp) -> MapRet {
        match *op {
            MapOp::Get(k) => MapRet::Value(self.0.get(&k).copied()),
            MapOp::Insert(k, v) => MapRet::Value(self.0.insert(k, v)),
            MapOp::Remove(k) => MapRet::Value(self.0.remove(&k)),
            MapOp::Add(k) => MapRet::Present(self.0.get_mut(&k).map(|v| *v = v.wrapping_add(1)).is_some()),
            MapOp::Both(v) => {
                self.0.extend([(0, v), (1, v)]);
                MapRet::Done
            }
            MapOp::Clear => {
                self.0.clear();
                MapRet::Done
            }
            MapOp::Snapshot => MapRet::Whole(self.0.clone()),
        }
    }
}

type Map = SnapshotMap<u8, u8, BuildHasherDefault<DefaultHasher>>;

impl Subject for Map {
    type Oracle = Whole;

    fn make() -> Self {
        Self::in_domain(HashMap::default(), Domain::builder().batch(2).build())
    }

    fn op(roll: u64, n: u8) -> MapOp {
        let key = (roll >> 8) as u8 % 3;
        match roll % 10 {
            0 | 1 => MapOp::Get(key),
            2 | 3 => MapOp::Insert(key, n),
            4 => MapOp::Remove(key),
            5 => MapOp::Add(key),
            6 | 7 => MapOp::Both(n + 50),
            8 => MapOp::Clear,
            _ => MapOp::Snapshot,
        }
    }

    fn perform(&self, op: &MapOp) -> MapRet {
        match *op {
            MapOp::Get(k) => MapRet::Value(self.get_cloned(&k)),
            MapOp::Insert(k, v) => MapRet::Value(self.insert(k, v)),
            MapOp::Remove(k) => MapRet::Value(self.remove(&k)),
            MapOp::Add(k) => MapRet::Present(self.update(&k, |v| v.wrapping_add(1))),
            MapOp::Both(v) => {
                self.batch(|batch| {
                    batch.insert(0, v);
                    batch.insert(1, v);
                });
                MapRet::Done
            }
            MapOp::Clear => {
                self.clear();
                MapRet::Done
            }
            MapOp::Snapshot => MapRet::Whole(self.snapshot().iter().map(|(k, v)| (*k, *v)).collect()),
        }
    }
}

#[test]
fn c1_snapshot_map_is_linearizable_with_three_threads() {
    linearizable::<Map>(3, 6);
}

#[test]
fn c1_snapshot_map_is_linearizable_with_four_threads() {
    linearizable::<Map>(4, 5);
}
