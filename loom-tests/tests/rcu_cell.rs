//! rcu-map's cell and snapshot map: one version throughout, no write lost, a batch visible whole.
#![cfg(loom)]

#[path = "rcu/value.rs"]
mod value;

use loom_tests::check;
use rcu_map::{CellReader, RcuCell, SnapshotMap};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};
use sync_base::sync::Arc;
use sync_base::{Domain, thread};
use value::{Value, bounds, join, spawn};

fn domain() -> Domain {
    Domain::builder().batch(1).build()
}

fn cell(value: u32) -> Arc<RcuCell<Value>> {
    Arc::new(RcuCell::in_domain(Arc::new(Value::new(value)), domain()))
}

#[test]
fn a_stored_version_is_whole_and_the_former_outlives_its_readers() {
    check("cell.load_beside_store", bounds(3, 2), || {
        let cell = cell(1);
        let reader = spawn(&cell, |cell| {
            let seen = cell.load();
            let value = seen.get();
            assert!(value == 1 || value == 2);
            assert_eq!(seen.get(), value, "one version throughout");
        });
        let writer = spawn(&cell, |cell| cell.store(Value::new(2)));
        join([reader, writer]);
    });
}

#[test]
fn a_swap_hands_out_the_former_version_whole() {
    check("cell.swap_beside_store", bounds(3, 2), || {
        // Nothing is collected, which would order the two.
        let domain = Domain::builder().batch(64).build();
        let cell = Arc::new(RcuCell::in_domain(Arc::new(Value::new(1)), domain));
        let storer = spawn(&cell, |cell| {
            // In the domain before the version is made, so that joining it orders nothing after.
            drop(cell.load());
            cell.store(Value::new(2));
        });
        let swapper = spawn(&cell, |cell| {
            drop(cell.load());
            let former = cell.swap(Arc::new(Value::new(3)));
            assert!(former.get() <= 2);
        });
        join([storer, swapper]);
    });
}

#[test]
fn a_kept_version_is_counted_and_freed_once() {
    check("cell.load_full_beside_swap", bounds(3, 2), || {
        let cell = cell(1);
        let reader = spawn(&cell, |cell| assert!(cell.load_full().get() <= 2));
        let writer = spawn(&cell, |cell| {
            assert_eq!(cell.swap(Arc::new(Value::new(2))).get(), 1);
        });
        join([reader, writer]);
    });
}

#[test]
fn a_reader_handle_never_goes_back_in_time() {
    check("cell.reader_beside_stores", bounds(3, 2), || {
        let cell = cell(1);
        let theirs = Arc::clone(&cell);
        let reader = thread::spawn(move || {
            let handle = CellReader::new(theirs);
            let held = handle.load();
            let first = held.get();
            assert_eq!(handle.load().get(), first, "one version while one is held");
            drop(held);
            assert!(handle.load().get() >= first);
        });
        let writer = spawn(&cell, |cell| cell.store(Value::new(2)));
        join([reader, writer]);
    });
}

#[test]
fn read_modify_writes_are_not_lost() {
    check("cell.rcu_beside_rcu", bounds(3, 2), || {
        let cell = cell(1);
        let add = |cell: &RcuCell<Value>| drop(cell.rcu(|v| Value::new(v.get() + 1)));
        join([spawn(&cell, add), spawn(&cell, add)]);
        assert_eq!(cell.load().get(), 3);
    });
}

#[test]
fn of_two_exchanges_of_one_version_one_succeeds() {
    check("cell.compare_exchange_races", bounds(3, 2), || {
        let cell = cell(1);
        let threads: Vec<_> = (2..4)
            .map(|n| {
                let cell = Arc::clone(&cell);
                thread::spawn(move || {
                    let seen = cell.load();
                    if seen.get() != 1 {
                        return false;
                    }
                    match cell.compare_exchange(&seen, Arc::new(Value::new(n))) {
                        Ok(former) => former.get() == 1,
                        Err(refused) => {
                            assert!(refused.new.get() == n && refused.current.get() != n);
                            false
                        }
                    }
                })
            })
            .collect();
        let won: Vec<_> = threads.into_iter().map(|t| t.join().unwrap()).collect();
        assert_eq!(won.iter().filter(|w| **w).count(), 1);
    });
}

type Map = SnapshotMap<u32, Value, BuildHasherDefault<DefaultHasher>>;

fn map() -> Arc<Map> {
    let map = [(1, Value::new(1)), (2, Value::new(1))]
        .into_iter()
        .collect::<HashMap<_, _, _>>();
    Arc::new(SnapshotMap::in_domain(map, domain()))
}

#[test]
fn a_batch_is_visible_whole_or_not_at_all() {
    check("snapshot_map.batch_is_atomic", bounds(3, 2), || {
        let map = map();
        let reader = spawn(&map, |map| {
            let seen = map.load();
            assert_eq!(seen[&1].get(), seen[&2].get());
        });
        let writer = spawn(&map, |map| {
            map.batch(|batch| {
                batch.insert(1, Value::new(2));
                batch.insert(2, Value::new(2));
            });
        });
        join([reader, writer]);
    });
}

#[test]
fn batches_of_two_writers_are_not_lost() {
    check("snapshot_map.batch_beside_batch", bounds(3, 2), || {
        let map = map();
        let add = |map: &Map| {
            map.update(&1, |v| Value::new(v.get() + 1));
        };
        join([spawn(&map, add), spawn(&map, add)]);
        assert_eq!(map.with(&1, Value::get), Some(3));
    });
}
