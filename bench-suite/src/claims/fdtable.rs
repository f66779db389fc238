//! Claims about the descriptor table.

use crate::{Claim, Contest, Curve, Invalid, Row, Task, Worker};
use epoch_fdtable::{Asymmetric, FdTable};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use sync_base::{CachePadded, Domain};

#[cfg(feature = "peers")]
mod peers;

pub(super) const CLAIMS: &[Claim] = &[
    Claim {
        id: "fdt.get.1t",
        krate: "epoch-fdtable",
        what: "borrowed look-up among 1,024 descriptors in random order, a section entered for each, one thread",
        unit: "ns",
        cores: 1,
        run: |task| get(task, 1),
    },
    Claim {
        id: "fdt.get.2t",
        krate: "epoch-fdtable",
        what: "borrowed look-up among 1,024 descriptors in random order, a section entered for each, two threads",
        unit: "ns",
        cores: 2,
        run: |task| get(task, 2),
    },
    Claim {
        id: "fdt.churn.lowest.2t",
        krate: "epoch-fdtable",
        what: "insert at the lowest free number and remove, 512 open below, two threads on one table",
        unit: "ns",
        cores: 2,
        run: lowest,
    },
    Claim {
        id: "fdt.churn.any.2t",
        krate: "epoch-fdtable",
        what: "insert_any and remove, two threads on one table",
        unit: "ns",
        cores: 2,
        run: any,
    },
];

pub(super) const CURVES: &[Curve] = &[Curve {
    claim: Claim {
        id: "fdt.get",
        krate: "epoch-fdtable",
        what: "borrowed look-up among 1,024 descriptors",
        unit: "ns",
        cores: 1,
        run: |task| get(task, 1),
    },
    run: get,
}];

const OPEN: u32 = 1024;
const BELOW: u32 = 512;

/// What a descriptor names: the value is its number, so that every look-up is checked.
type Value = u64;

/// Numbers to look up, in an order that no prefetcher guesses; the same for every lane.
fn order() -> Vec<u32> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % u64::from(OPEN)) as u32
    };
    (0..4096).map(|_| next()).collect()
}

/// Looks up every number of the order in turn and checks the sum.
fn look_up(w: &mut Worker<'_>, order: &[u32], get: impl Fn(u32) -> Value) -> Result<(), Invalid> {
    let found = w.measure(|n| (0..n).fold(0, |sum, i| sum + get(order[i as usize % order.len()])));
    let expected = (0..w.ops()).fold(0, |sum, i| sum + Value::from(order[i as usize % order.len()]));
    if found == expected {
        return Ok(());
    }
    Err(Invalid(format!(
        "look-ups added up to {found} instead of {expected}"
    )))
}

fn get(task: &Task<'_>, threads: usize) -> Result<Row, Invalid> {
    let order = &order();
    let table: FdTable<Value> = FdTable::with_limits(OPEN, OPEN);
    for n in 0..OPEN {
        table.insert(Value::from(n)).map_err(|e| Invalid(e.to_string()))?;
    }
    let floor: Vec<Arc<Value>> = (0..OPEN).map(|n| Arc::new(Value::from(n))).collect();
    let mut contest = Contest::new(task);
    contest.ours("FdTable", threads, |w| {
        look_up(w, order, |n| table.pin().get(n).copied().unwrap_or(0))
    });
    contest.floor("Vec<Arc>", threads, |w| {
        look_up(w, order, |n| *black_box(&floor)[n as usize])
    });
    contest.at_most(1.3, "Vec<Arc>");
    #[cfg(feature = "peers")]
    peers::get(&mut contest, threads, order);
    for peer in ["crossbeam-epoch", "dashmap", "sharded-slab"] {
        contest.faster_than(4.0, peer);
    }
    contest.run()
}

/// Opens and closes, checking that each number is ours while we have it.
fn churn<N: Copy>(
    w: &mut Worker<'_>,
    insert: impl Fn(Value) -> Option<N>,
    remove: impl Fn(N) -> Option<Value>,
) -> Result<(), Invalid> {
    let failed = w.measure(|n| {
        (0..n)
            .filter(|i| insert(*i).and_then(&remove) != Some(*i))
            .count()
    });
    match failed {
        0 => Ok(()),
        n => Err(Invalid(format!("{n} inserts or removes went wrong"))),
    }
}

fn ours() -> Result<FdTable<Value>, Invalid> {
    filled(Domain::new())
}

/// The same where each 128 removed values pay for a heavy barrier.
fn eager() -> Result<FdTable<Value>, Invalid> {
    filled(Domain::builder().batch(128).build())
}

fn filled(domain: Domain) -> Result<FdTable<Value>, Invalid> {
    let table = FdTable::with_reclaim(OPEN, OPEN, Asymmetric::new(domain));
    for n in 0..BELOW {
        table.insert(Value::from(n)).map_err(|e| Invalid(e.to_string()))?;
    }
    Ok(table)
}

fn lowest(task: &Task<'_>) -> Result<Row, Invalid> {
    let (bare, locked) = (&Bare::new(), &Mutex::new(Locked::new()));
    let tables = [
        ("FdTable::insert", ours()?),
        ("FdTable, a barrier each 128", eager()?),
    ];
    let mut contest = Contest::new(task);
    for (name, table) in &tables {
        contest.ours(name, 2, move |w| {
            churn(
                w,
                |v| table.insert(v).ok(),
                |fd| table.remove(fd.number()).map(|old| *old),
            )
        });
    }
    contest.floor("bitmap + slot + allocation", 2, |w| {
        churn(w, |v| bare.insert(v), |n| bare.remove(n))
    });
    contest.peer("Mutex", 2, |w| {
        churn(
            w,
            |v| locked.lock().ok()?.insert(Arc::new(v)),
            |n| locked.lock().ok()?.remove(n).map(|old| *old),
        )
    });
    contest
        .at_most(1.5, "bitmap + slot + allocation")
        .faster_than(1.0, "Mutex");
    #[cfg(feature = "peers")]
    peers::lowest(&mut contest);
    contest.faster_than(1.0, "crossbeam-epoch");
    contest.note("the floor frees at once what a reader may still see; the mutexed table lends nothing");
    contest.run()
}

fn any(task: &Task<'_>) -> Result<Row, Invalid> {
    let (alone, shared, eager) = (&ours()?, &ours()?, &eager()?);
    fn run(w: &mut Worker<'_>, table: &FdTable<Value>) -> Result<(), Invalid> {
        churn(
            w,
            |v| table.insert_any(v).ok(),
            |fd| table.remove(fd.number()).map(|old| *old),
        )
    }
    let mut contest = Contest::new(task);
    contest.ours("FdTable::insert_any", 2, |w| run(w, shared));
    contest.ours("FdTable, a barrier each 128", 2, |w| run(w, eager));
    contest.floor("one thread", 1, |w| run(w, alone));
    contest.at_most(1.35, "one thread");
    #[cfg(feature = "peers")]
    peers::any(&mut contest);
    contest.faster_than(3.0, "crossbeam-epoch");
    contest.note("each crossbeam-epoch thread has a bitmap word of its own, as ours does");
    contest.run()
}

/// The floor of lowest-free: no reclamation, no generation, no limit, no count.
struct Bare {
    words: Vec<CachePadded<AtomicU64>>,
    slots: Vec<AtomicPtr<[u64; 3]>>,
}

impl Bare {
    fn new() -> Self {
        let word = |at: u32| CachePadded::new(AtomicU64::new(if at < BELOW / 64 { u64::MAX } else { 0 }));
        Self {
            words: (0..OPEN / 64).map(word).collect(),
            slots: (0..OPEN).map(|_| AtomicPtr::default()).collect(),
        }
    }

    fn insert(&self, value: Value) -> Option<u32> {
        let node = Box::into_raw(Box::new([value, 0, 0]));
        let word = (BELOW / 64) as usize;
        let mut seen = self.words[word].load(Ordering::Relaxed);
        loop {
            let bit = seen.trailing_ones();
            let taken = seen | 1 << bit;
            match self.words[word].compare_exchange(seen, taken, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => {
                    self.slots[(BELOW + bit) as usize].store(node, Ordering::Release);
                    return Some(BELOW + bit);
                }
                Err(now) => seen = now,
            }
        }
    }

    fn remove(&self, number: u32) -> Option<Value> {
        let node = self.slots[number as usize].swap(std::ptr::null_mut(), Ordering::AcqRel);
        let word = &self.words[(number / 64) as usize];
        word.fetch_and(!(1 << (number % 64)), Ordering::Release);
        // SAFETY: made by `insert`, and the swap gave it to this thread alone; nobody reads here.
        (!node.is_null()).then(|| unsafe { Box::from_raw(node) }[0])
    }
}

/// The table that one writes first: a lock around a vector and a bitmap.
struct Locked {
    words: Vec<u64>,
    slots: Vec<Option<Arc<Value>>>,
}

impl Locked {
    fn new() -> Self {
        let words = (0..OPEN / 64).map(|at| if at < BELOW / 64 { u64::MAX } else { 0 });
        Self {
            words: words.collect(),
            slots: vec![None; OPEN as usize],
        }
    }

    fn insert(&mut self, value: Arc<Value>) -> Option<u32> {
        let word = self.words.iter().position(|word| *word != u64::MAX)?;
        let bit = self.words[word].trailing_ones();
        self.words[word] |= 1 << bit;
        let number = word as u32 * 64 + bit;
        self.slots[number as usize] = Some(value);
        Some(number)
    }

    fn remove(&mut self, number: u32) -> Option<Arc<Value>> {
        let value = self.slots[number as usize].take()?;
        self.words[(number / 64) as usize] &= !(1 << (number % 64));
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use epoch_fdtable::Flags;

    #[test]
    fn the_floor_and_the_mutexed_table_do_what_the_table_does() {
        let (bare, mut locked, table) = (Bare::new(), Locked::new(), ours().unwrap());
        for v in 0..3 {
            let expected = table.insert_from(0, v, Flags::NONE).unwrap().number();
            assert_eq!(bare.insert(v), Some(expected));
            assert_eq!(locked.insert(Arc::new(v)), Some(expected));
        }
        assert_eq!(
            (bare.remove(513), locked.remove(513).as_deref()),
            (Some(1), Some(&1))
        );
        assert_eq!(
            (bare.insert(9), locked.insert(Arc::new(9))),
            (Some(513), Some(513))
        );
    }
}
