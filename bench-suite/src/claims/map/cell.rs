//! One value, and one whole map, replaced at once.

use super::keys::{Hasher, Keys, Size, start};
use crate::{Contest, Invalid, Row, Task, Worker};
use rcu_map::{RcuCell, SnapshotMap};
use std::collections::HashMap;
use std::hint::black_box;
#[cfg(feature = "peers")]
use std::sync::Arc;

fn look_up(
    worker: &mut Worker<'_>,
    keys: &Keys<u64>,
    mut get: impl FnMut(&u64) -> u64,
) -> Result<(), Invalid> {
    let from = start(worker.index);
    let mut asked = 0;
    let sum = worker.measure(|n| {
        asked = n;
        (from..from + n).fold(0u64, |sum, i| sum.wrapping_add(get(keys.at(i))))
    });
    keys.verify(from, asked, sum)
}

pub(super) fn snapshot_get(task: &Task<'_>) -> Result<Row, Invalid> {
    let keys = Keys::<u64>::zipf(Size::THOUSAND);
    let plain: HashMap<u64, u64, Hasher> = keys.entries().collect();
    let map = SnapshotMap::from(plain.clone());
    #[cfg(feature = "peers")]
    let swap = arc_swap::ArcSwap::from_pointee(plain.clone());
    let mut contest = Contest::new(task);
    contest.ours("SnapshotMap::reader", 1, |w| {
        let mut reader = map.reader();
        look_up(w, &keys, |k| reader.get(k).copied().unwrap_or(0))
    });
    contest.ours("SnapshotMap::reader, shared handle", 1, |w| {
        let reader = map.reader();
        look_up(w, &keys, |k| reader.with(k, |v| *v).unwrap_or(0))
    });
    contest.ours("SnapshotMap::with", 1, |w| {
        look_up(w, &keys, |k| map.with(k, |v| *v).unwrap_or(0))
    });
    contest.floor("HashMap", 1, |w| {
        look_up(w, &keys, |k| plain.get(k).copied().unwrap_or(0))
    });
    #[cfg(feature = "peers")]
    contest.peer("arc_swap::Cache", 1, |w| {
        let mut cache = arc_swap::Cache::new(&swap);
        look_up(w, &keys, |k| cache.load().get(k).copied().unwrap_or(0))
    });
    contest.at_most(1.2, "arc_swap::Cache");
    contest.run()
}

pub(super) fn snapshot_write(task: &Task<'_>) -> Result<Row, Invalid> {
    let keys = Keys::<u64>::uniform(Size::THOUSAND);
    let plain: HashMap<u64, u64, Hasher> = keys.entries().collect();
    let map = SnapshotMap::from(plain.clone());
    let writes = if task.plan.quick { 200 } else { 2_000 };
    let mut contest = Contest::new(task);
    contest.fixed_ops(writes * 1_000);
    contest.ours("SnapshotMap::insert", 1, |w| {
        w.measure(|_| (0..writes).for_each(|i| _ = map.insert(*keys.at(i), i)));
        Ok(())
    });
    contest.floor("HashMap::clone", 1, |w| {
        w.measure(|_| (0..writes).for_each(|_| _ = black_box(plain.clone())));
        Ok(())
    });
    contest.at_most(2.0, "HashMap::clone");
    contest.note("O(n): this is the cost of one write divided by the entries it copies");
    contest.run()
}

/// Reads `n` times and checks that each read was of the one version there is.
fn read(worker: &mut Worker<'_>, mut read: impl FnMut() -> u64) -> Result<(), Invalid> {
    let mut asked = 0;
    let sum = worker.measure(|n| {
        asked = n;
        (0..n).fold(0u64, |sum, _| sum.wrapping_add(black_box(read())))
    });
    if sum != asked.wrapping_mul(VALUE) {
        return Err(Invalid("a read gave another value".into()));
    }
    Ok(())
}

const VALUE: u64 = 41;

pub(super) fn by_reader(task: &Task<'_>) -> Result<Row, Invalid> {
    let cell = RcuCell::new(VALUE);
    #[cfg(feature = "peers")]
    let swap = arc_swap::ArcSwap::from_pointee(VALUE);
    let mut contest = Contest::new(task);
    contest.ours("CellReader::get", 1, |w| {
        let mut reader = cell.reader();
        read(w, || *reader.get())
    });
    contest.ours("CellReader::load", 1, |w| {
        let reader = cell.reader();
        read(w, || *reader.load())
    });
    #[cfg(feature = "peers")]
    contest.peer("arc_swap::Cache", 1, |w| {
        let mut cache = arc_swap::Cache::new(&swap);
        read(w, || **cache.load())
    });
    contest.at_most(1.2, "arc_swap::Cache");
    contest.run()
}

pub(super) fn shared(task: &Task<'_>) -> Result<Row, Invalid> {
    let cell = RcuCell::new(VALUE);
    #[cfg(feature = "peers")]
    let swap = arc_swap::ArcSwap::from_pointee(VALUE);
    let lock = std::sync::RwLock::new(VALUE);
    let mut contest = Contest::new(task);
    contest.ours("RcuCell::load", 1, |w| read(w, || *cell.load()));
    contest.ours("RcuCell::load_full", 1, |w| read(w, || *cell.load_full()));
    #[cfg(feature = "peers")]
    {
        contest.peer("ArcSwap::load", 1, |w| read(w, || **swap.load()));
        contest.peer("ArcSwap::load_full", 1, |w| {
            read(w, || *Arc::clone(&swap.load_full()))
        });
    }
    contest.peer("RwLock", 1, |w| read(w, || lock.read().map_or(0, |v| *v)));
    contest.faster_than(3.0, "ArcSwap::load");
    contest.run()
}
