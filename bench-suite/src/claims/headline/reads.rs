//! What the documents read: processes, descriptors, statistics, words.

use crate::{Contest, Invalid, Row, Task, Worker};
use epoch_fdtable::FdTable;
use flat_combine::AdaptiveCell;
use rcu_map::SnapshotMap;
use seqstats::SeqLock;
use std::collections::HashMap;
use std::hint::black_box;
use std::sync::{Arc, Mutex, RwLock};

const PROCESSES: u32 = 1_000;

/// What a process or a file is to the documents: something behind a counted pointer.
struct Handle {
    id: u64,
}

fn handle(id: u32) -> Arc<Handle> {
    Arc::new(Handle { id: u64::from(id) })
}

/// Asks for ids in an order that no prefetcher guesses, and checks the sum of what is found.
fn ask(w: &mut Worker<'_>, mut find: impl FnMut(u32) -> u64) -> Result<(), Invalid> {
    let nth = |n: u64| (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as u32 % PROCESSES;
    let found = w.measure(|n| (0..n).fold(0u64, |sum, i| sum + find(nth(i))));
    let expected = (0..w.ops()).fold(0u64, |sum, i| sum + u64::from(nth(i)));
    if found == expected {
        return Ok(());
    }
    Err(Invalid(format!("ids added up to {found}, not {expected}")))
}

pub(super) fn processes(task: &Task<'_>, threads: usize) -> Result<Row, Invalid> {
    let map = SnapshotMap::new();
    map.batch(|b| (0..PROCESSES).for_each(|pid| drop(b.insert(pid, handle(pid)))));
    let locked: RwLock<HashMap<u32, Arc<Handle>>> =
        RwLock::new((0..PROCESSES).map(|pid| (pid, handle(pid))).collect());
    let mut contest = Contest::new(task);
    contest.ours("SnapshotMap, borrowed", threads, |w| {
        let reader = map.reader();
        ask(w, |pid| reader.with(&pid, |p| p.id).unwrap_or(u64::MAX))
    });
    contest.peer("SnapshotMap, handle cloned", threads, |w| {
        ask(w, |pid| map.get_cloned(&pid).map_or(u64::MAX, |p| p.id))
    });
    contest.peer("RwLock<HashMap>", threads, |w| {
        ask(w, |pid| {
            let map = locked.read().expect("nobody panics");
            map.get(&pid).cloned().map_or(u64::MAX, |p| p.id)
        })
    });
    #[cfg(feature = "peers")]
    {
        let sharded: Arc<dashmap::DashMap<u32, Arc<Handle>>> =
            Arc::new((0..PROCESSES).map(|pid| (pid, handle(pid))).collect());
        contest.peer("DashMap", threads, move |w| {
            ask(w, |pid| sharded.get(&pid).map_or(u64::MAX, |p| Arc::clone(&p).id))
        });
        let whole: HashMap<u32, Arc<Handle>> = (0..PROCESSES).map(|pid| (pid, handle(pid))).collect();
        let whole = Arc::new(arc_swap::ArcSwap::from_pointee(whole));
        contest.peer(
            "the document's ArcSwap and Cache, handle cloned",
            threads,
            move |w| {
                let mut cache = arc_swap::Cache::new(Arc::clone(&whole));
                ask(w, |pid| {
                    cache.load().get(&pid).cloned().map_or(u64::MAX, |p| p.id)
                })
            },
        );
    }
    contest.faster_than(10.0, "DashMap");
    contest
        .note("the document clones the handle at each look-up: that lane shows what the count alone costs");
    contest.run()
}

/// The document's table, with its two slips mended: an index out of range, and nothing destroyed where nothing was.
#[cfg(feature = "peers")]
mod epoch_table {
    use super::Handle;
    use crossbeam_epoch::{self as epoch, Atomic};
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    pub(super) struct EpochTable(pub(super) Vec<Atomic<Arc<Handle>>>);

    impl EpochTable {
        pub(super) fn get(&self, fd: u32) -> Option<Arc<Handle>> {
            let guard = epoch::pin();
            let entry = self.0.get(fd as usize)?.load(Ordering::Acquire, &guard);
            // SAFETY: entries are replaced by nobody while the table is measured, and freed when it is dropped.
            unsafe { entry.as_ref() }.cloned()
        }
    }

    impl Drop for EpochTable {
        fn drop(&mut self) {
            for entry in &mut self.0 {
                let entry = std::mem::take(entry);
                // SAFETY: nobody else has the table, and each entry was made by `Atomic::new`.
                drop(unsafe { entry.try_into_owned() });
            }
        }
    }
}

pub(super) fn descriptors(task: &Task<'_>) -> Result<Row, Invalid> {
    let table: FdTable<Handle> = FdTable::with_limits(PROCESSES, PROCESSES);
    for id in 0..PROCESSES {
        let inserted = table.insert(Handle { id: u64::from(id) });
        inserted.map_err(|error| Invalid(error.to_string()))?;
    }
    let mut contest = Contest::new(task);
    contest.ours("FdTable, handle cloned", 2, |w| {
        ask(w, |fd| table.get_cloned(fd).map_or(u64::MAX, |h| h.id))
    });
    contest.peer("FdTable, borrowed", 2, |w| {
        ask(w, |fd| table.pin().get(fd).map_or(u64::MAX, |h| h.id))
    });
    #[cfg(feature = "peers")]
    {
        let sharded: dashmap::DashMap<u32, Arc<Handle>> = (0..PROCESSES).map(|fd| (fd, handle(fd))).collect();
        contest.peer("DashMap", 2, move |w| {
            ask(w, |fd| sharded.get(&fd).map_or(u64::MAX, |h| Arc::clone(&h).id))
        });
        let entries = (0..PROCESSES).map(|fd| crossbeam_epoch::Atomic::new(handle(fd)));
        let theirs = epoch_table::EpochTable(entries.collect());
        contest.peer("the document's table of crossbeam-epoch", 2, move |w| {
            ask(w, |fd| theirs.get(fd).map_or(u64::MAX, |h| h.id))
        });
    }
    contest.at_most(0.7, "DashMap");
    contest.run()
}

type Statistics = [u64; 8];

fn copies(w: &mut Worker<'_>, read: impl Fn() -> Statistics) -> Result<(), Invalid> {
    let sum = w.measure(|n| (0..n).fold(0u64, |sum, _| sum.wrapping_add(black_box(read())[7])));
    if sum == w.ops().wrapping_mul(7) {
        return Ok(());
    }
    Err(Invalid(format!("the last words added up to {sum}")))
}

pub(super) fn statistics(task: &Task<'_>) -> Result<Row, Invalid> {
    let start: Statistics = [0, 1, 2, 3, 4, 5, 6, 7];
    let lock = SeqLock::new(start);
    let locked = RwLock::new(start);
    let bare = start;
    let mut contest = Contest::new(task);
    contest.ours("SeqLock", 1, |w| copies(w, || lock.read()));
    contest.floor("a copy", 1, |w| copies(w, || *black_box(&bare)));
    contest.peer("RwLock", 1, |w| {
        copies(w, || *locked.read().expect("nobody panics"))
    });
    #[cfg(feature = "peers")]
    {
        let theirs = seqlock::SeqLock::new(start);
        contest.peer("the document's seqlock", 1, move |w| copies(w, || theirs.read()));
    }
    contest.at_most(1.1, "a copy");
    contest.run()
}

pub(super) fn word(task: &Task<'_>) -> Result<Row, Invalid> {
    let cell = AdaptiveCell::new(7u64);
    let locked = Mutex::new(7u64);
    let read = |w: &mut Worker<'_>, read: &dyn Fn() -> u64| {
        let sum = w.measure(|n| (0..n).fold(0u64, |sum, _| sum + read()));
        if sum == w.ops() * 7 {
            return Ok(());
        }
        Err(Invalid(format!("the words added up to {sum}")))
    };
    let mut contest = Contest::new(task);
    contest.ours("AdaptiveCell", 1, |w| read(w, &|| black_box(&cell).load()));
    contest.peer("std Mutex", 1, |w| {
        read(w, &|| *black_box(&locked).lock().expect("nobody panics"))
    });
    #[cfg(feature = "peers")]
    {
        let theirs = parking_lot::Mutex::new(7u64);
        contest.peer("parking_lot Mutex", 1, move |w| {
            read(w, &|| *black_box(&theirs).lock())
        });
    }
    contest.faster_than(10.0, "parking_lot Mutex");
    contest.note("every lane calls its read through a pointer, which costs more than the read of a word");
    contest.run()
}
