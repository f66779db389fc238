//! Claims about counters, combining.

use crate::{Claim, Contest, Curve, Invalid, Row, Task, Worker};
use flat_combine::{Combiner, Combining, Counter, StripedCounter, Way};
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicU64, Ordering};

pub(super) const CLAIMS: &[Claim] = &[
    Claim {
        id: "ctr.add.1t",
        krate: "flat-combine",
        what: "statistical add, 64 live counters used in turn, 10 threads already gone, 1 thread",
        unit: "CPU ns/add",
        cores: 1,
        run: |task| striped_add(task, 1, 3.5),
    },
    Claim {
        id: "ctr.add.2t",
        krate: "flat-combine",
        what: "statistical add, 64 live counters used in turn, 10 threads already gone, 2 threads",
        unit: "CPU ns/add",
        cores: 2,
        run: |task| striped_add(task, 2, 10.0),
    },
    Claim {
        id: "ctr.exact.1t",
        krate: "flat-combine",
        what: "exact add with its previous value, 1 thread",
        unit: "CPU ns/add",
        cores: 1,
        run: |task| exact_add(task, 1, 1.15),
    },
    Claim {
        id: "ctr.exact.2t",
        krate: "flat-combine",
        what: "exact add with its previous value, 2 threads",
        unit: "CPU ns/add",
        cores: 2,
        run: |task| exact_add(task, 2, 1.15),
    },
    Claim {
        id: "ctr.exact.8t",
        krate: "flat-combine",
        what: "exact add with its previous value, 8 threads on the cores there are",
        unit: "CPU ns/add",
        cores: 2,
        run: |task| exact_add(task, 8, 1.15),
    },
    Claim {
        id: "ctr.exact.16c",
        krate: "flat-combine",
        what: "exact add with its previous value, 16 threads on 16 cores",
        unit: "CPU ns/add",
        cores: 16,
        run: |task| exact_add(task, 16, 0.5),
    },
    Claim {
        id: "comb.heap.2t",
        krate: "flat-combine",
        what: "push + pop on a heap of 4096 elements, 2 threads",
        unit: "wall ns/op",
        cores: 2,
        run: |task| heap(task, 2, 1.1),
    },
    Claim {
        id: "comb.heap.8t",
        krate: "flat-combine",
        what: "push + pop on a heap of 4096 elements, 8 threads",
        unit: "wall ns/op",
        cores: 2,
        run: |task| heap(task, 8, 1.1),
    },
    Claim {
        id: "comb.heap.8c",
        krate: "flat-combine",
        what: "push + pop on a heap of 4096 elements, 8 threads on 8 cores",
        unit: "wall ns/op",
        cores: 8,
        run: |task| heap(task, 8, 1.0 / 1.3),
    },
];

pub(super) const CURVES: &[Curve] = &[
    Curve {
        claim: Claim {
            id: "ctr.add",
            krate: "flat-combine",
            what: "statistical add, 64 live counters used in turn",
            unit: "ns",
            cores: 1,
            run: |task| striped_add(task, 1, 1.0),
        },
        run: |task, threads| striped_add(task, threads, 1.0),
    },
    Curve {
        claim: Claim {
            id: "ctr.exact",
            krate: "flat-combine",
            what: "exact add with its previous value",
            unit: "ns",
            cores: 1,
            run: |task| exact_add(task, 1, 1.0),
        },
        run: |task, threads| exact_add(task, threads, 1.0),
    },
    Curve {
        claim: Claim {
            id: "comb.heap",
            krate: "flat-combine",
            what: "push + pop on a heap of 4096 elements",
            unit: "ns",
            cores: 1,
            run: |task| heap(task, 1, 1.0),
        },
        run: |task, threads| heap(task, threads, 1.0),
    },
];

const COUNTERS: usize = 64;

/// Adds to each of 64 counters in turn; checks that nothing was lost.
fn striped_add(task: &Task<'_>, threads: usize, factor: f64) -> Result<Row, Invalid> {
    let ours: Vec<StripedCounter> = (0..COUNTERS).map(|_| StripedCounter::new()).collect();
    let alone = StripedCounter::new();
    let atomics: Vec<AtomicU64> = (0..COUNTERS).map(|_| AtomicU64::new(0)).collect();
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| ours.iter().for_each(|counter| counter.add(0)));
        }
    });
    let asked = AtomicU64::new(0);
    let mut contest = Contest::new(task);
    contest.ours("StripedCounter", threads, |w| {
        w.measure(|n| (0..n as usize).for_each(|i| ours[i % COUNTERS].add(1)));
        // Relaxed: read after the contest.
        asked.fetch_add(w.ops(), Ordering::Relaxed);
        Ok(())
    });
    contest.floor("private array", threads, |w| {
        let mut mine = vec![0u64; COUNTERS];
        w.measure(|n| {
            for i in 0..n as usize {
                let cell = std::hint::black_box(&mut mine[i % COUNTERS]);
                *cell += 1;
            }
        });
        Ok(())
    });
    contest.peer("fetch_add", threads, |w| {
        w.measure(|n| {
            for i in 0..n as usize {
                // Relaxed: what is being measured.
                atomics[i % COUNTERS].fetch_add(1, Ordering::Relaxed);
            }
        });
        Ok(())
    });
    contest.peer("our counter, one used alone", threads, |w| {
        w.measure(|n| (0..n).for_each(|_| std::hint::black_box(&alone).add(1)));
        Ok(())
    });
    contest
        .faster_than(factor, "fetch_add")
        .at_most(1.2, "our counter, one used alone");
    let row = contest.run()?;
    drop(contest);
    let sum: u64 = ours.iter().map(StripedCounter::sum_unsigned).sum();
    // Relaxed: every worker was joined.
    let asked = asked.load(Ordering::Relaxed);
    if sum != asked {
        return Err(Invalid(format!("{asked} adds, sum {sum}")));
    }
    Ok(row)
}

/// Adds to one counter; checks that the values found, summed, are those of a permutation.
fn exact_add(task: &Task<'_>, threads: usize, factor: f64) -> Result<Row, Invalid> {
    let adaptive = Counter::new(0);
    let (plain, funnel) = (Counter::new(0), Counter::new(0));
    plain.set_way(Way::Plain);
    funnel.set_way(Way::Funnel);
    let atomic = AtomicU64::new(0);
    let found = AtomicU64::new(0);
    let mut contest = Contest::new(task);
    contest.ours("Counter", threads, |w| {
        let sum = w.measure(|n| (0..n).fold(0u64, |sum, _| sum.wrapping_add(adaptive.fetch_add(1))));
        // Relaxed: read after the contest.
        found.fetch_add(sum, Ordering::Relaxed);
        Ok(())
    });
    for (name, counter) in [("plain way alone", &plain), ("funnel alone", &funnel)] {
        contest.ours(name, threads, move |w| {
            w.measure(|n| (0..n).fold(0u64, |sum, _| sum.wrapping_add(counter.fetch_add(1))));
            Ok(())
        });
    }
    contest.peer("fetch_add", threads, |w| {
        // AcqRel: the ordering that ours promises.
        w.measure(|n| {
            (0..n).fold(0u64, |sum, _| {
                sum.wrapping_add(atomic.fetch_add(1, Ordering::AcqRel))
            })
        });
        Ok(())
    });
    contest.at_most(factor, "fetch_add");
    let mut row = contest.run()?;
    drop(contest);
    let total = adaptive.load();
    let expected = (u128::from(total) * u128::from(total.saturating_sub(1)) / 2) as u64;
    // Relaxed: every worker was joined.
    if found.load(Ordering::Relaxed) != expected {
        return Err(Invalid(format!(
            "{total} adds, but the values found are no permutation"
        )));
    }
    let switches = adaptive.switches();
    row.note.push_str(&format!(
        "{} trials of the funnel, {} ended",
        switches.to_funnel, switches.to_plain
    ));
    Ok(row)
}

/// A heap of a fixed size, its keys drawn by a generator kept beside it.
struct Heap {
    items: BinaryHeap<u64>,
    ops: u64,
}

const HEAP: usize = 4096;

impl Heap {
    fn new() -> Self {
        let mut seed = 1;
        Self {
            items: (0..HEAP).map(|_| random(&mut seed)).collect(),
            ops: 0,
        }
    }

    fn push_pop(&mut self, key: u64) -> u64 {
        self.ops += 1;
        self.items.push(key);
        self.items.pop().unwrap_or(0)
    }

    fn check(&self) -> Result<(), Invalid> {
        if self.items.len() == HEAP {
            Ok(())
        } else {
            Err(Invalid(format!("{} of {HEAP} elements left", self.items.len())))
        }
    }
}

/// xorshift64.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn drive(w: &mut Worker<'_>, mut op: impl FnMut(u64) -> u64) {
    let mut seed = w.index as u64 * 0x9E37_79B9 + 7;
    w.measure(|n| (0..n).fold(0u64, |sum, _| sum.wrapping_add(op(random(&mut seed)))));
}

fn heap(task: &Task<'_>, threads: usize, factor: f64) -> Result<Row, Invalid> {
    let adaptive = Combiner::new(Heap::new());
    let forced = Combiner::new(Heap::new()).combining(Combining::Always);
    let std_mutex = std::sync::Mutex::new(Heap::new());
    #[cfg(feature = "peers")]
    let parking_lot = parking_lot::Mutex::new(Heap::new());
    let mut contest = Contest::new(task);
    contest.by_wall_clock();
    contest.ours("Combiner", threads, |w| {
        drive(w, |key| adaptive.with(|heap| heap.push_pop(key)));
        Ok(())
    });
    contest.ours("forced combining", threads, |w| {
        drive(w, |key| forced.with(|heap| heap.push_pop(key)));
        Ok(())
    });
    contest.floor("one thread alone", 1, |w| {
        let mut heap = Heap::new();
        drive(w, |key| heap.push_pop(key));
        heap.check()
    });
    contest.peer("std Mutex", threads, |w| {
        drive(w, |key| std_mutex.lock().expect("no panic in it").push_pop(key));
        Ok(())
    });
    #[cfg(feature = "peers")]
    contest.peer("parking_lot Mutex", threads, |w| {
        drive(w, |key| parking_lot.lock().push_pop(key));
        Ok(())
    });
    contest.at_most(factor, "parking_lot Mutex");
    let mut row = contest.run()?;
    drop(contest);
    for (name, combiner) in [("adaptive", &adaptive), ("forced", &forced)] {
        combiner.with(|heap| heap.check())?;
        let (ops, tally) = (combiner.with(|heap| heap.ops), combiner.tally());
        row.note.push_str(&format!(
            "{}{name}: {:.1} % of operations combined, mean lot {:.2}, {:.2} % unparked",
            if row.note.is_empty() { "" } else { "; " },
            100.0 * tally.combined as f64 / ops as f64,
            tally.mean_lot(),
            100.0 * tally.unparked as f64 / ops as f64,
        ));
    }
    Ok(row)
}
