//! From micro to macro: a syscall layer in user space, made of locks and made of the primitives, in one program.
//!
//! Both twins answer the same calls (read, write, open and close, permission checks, statistics, errors; nine of ten only
//! read what is shared) with the same answers, which is checked before anything is measured. What differs is what
//! they are made of: process map, descriptor tables, rules, memory budget, result buffers, statistics, errors.

use crate::alone::{in_fresh_process, under_cachegrind};
use crate::machine::wall_ns;
use crate::row::round3;
use crate::{Claim, Contest, Invalid, Row, Task, Verdict, Worker, allocations_on_this_thread};
use calls::{Copies, Twin, answer_alike, call};
use locked::Locked;
use ours::Ours;
use seqstats::{Histogram, Recorder};
use std::hint::black_box;

mod calls;
mod locked;
mod ours;

pub(super) const CLAIMS: &[Claim] = &[
    Claim {
        id: "workload.time",
        krate: "uring-core",
        what: "CPU of a call of the syscall-like mix, two threads",
        unit: "CPU ns",
        cores: 2,
        run: time,
    },
    Claim {
        id: "workload.p99",
        krate: "uring-core",
        what: "p99 of a call of the mix, two threads",
        unit: "ns",
        cores: 2,
        run: p99,
    },
    Claim {
        id: "workload.allocs",
        krate: "uring-core",
        what: "allocator calls per call of the mix",
        unit: "calls",
        cores: 1,
        run: allocations,
    },
    Claim {
        id: "workload.misses",
        krate: "uring-core",
        what: "misses of the first-level data cache per call of the mix, simulated by cachegrind",
        unit: "misses",
        cores: 1,
        run: misses,
    },
];

const THREADS: usize = 2;
const LOCKS: &str = "locks";
const COPIES: &str = "copies";

/// Makes `n` calls and gives the sum of their answers, so that none can be left out.
fn calls<T: Twin>(twin: &T, session: &mut T::Session<'_>, thread: usize, n: u64) -> u64 {
    (0..n).fold(0u64, |sum, at| {
        sum.wrapping_add(twin.call(session, black_box(call(thread, at))))
    })
}

fn twins() -> Result<(Ours, Locked), Invalid> {
    let (ours, locked) = (Ours::new(), Locked::new());
    answer_alike(&ours, &locked)?;
    Ok((ours, locked))
}

fn timed<T: Twin>(w: &mut Worker<'_>, twin: &T) -> Result<(), Invalid> {
    let thread = w.index;
    let mut session = twin.session();
    w.measure(|n| calls(twin, &mut session, thread, n));
    Ok(())
}

fn time(task: &Task<'_>) -> Result<Row, Invalid> {
    let (ours, locked) = twins()?;
    let mut contest = Contest::new(task);
    contest.ours("primitives", THREADS, |w| timed(w, &ours));
    contest.peer(LOCKS, THREADS, |w| timed(w, &locked));
    contest.faster_than(1.3, LOCKS);
    contest.run()
}

/// Times each call by itself; the clock costs both twins the same.
fn slowest<T: Twin>(w: &mut Worker<'_>, twin: &T) -> Result<(), Invalid> {
    let thread = w.index;
    let mut session = twin.session();
    let latencies = <Histogram>::new();
    let mut recorder = Recorder::try_claim(&latencies).map_err(|_| Invalid("one recorder".into()))?;
    w.measure(|n| {
        let mut sum = 0u64;
        for at in 0..n {
            let before = wall_ns();
            sum = sum.wrapping_add(twin.call(&mut session, call(thread, at)));
            recorder.record(wall_ns() - before);
        }
        sum
    });
    w.report(latencies.snapshot().quantile(0.99) as f64);
    Ok(())
}

fn p99(task: &Task<'_>) -> Result<Row, Invalid> {
    let (ours, locked) = twins()?;
    let mut contest = Contest::new(task);
    contest.ours("primitives", THREADS, |w| slowest(w, &ours));
    contest.peer(LOCKS, THREADS, |w| slowest(w, &locked));
    contest.at_most(0.8, LOCKS);
    contest.note("two clock readings are in every call");
    contest.run()
}

fn counted<T: Twin>(w: &mut Worker<'_>, twin: &T) -> Result<(), Invalid> {
    let mut session = twin.session();
    calls(twin, &mut session, 0, 1_000);
    let before = allocations_on_this_thread();
    w.measure(|n| calls(twin, &mut session, 0, n));
    w.report((allocations_on_this_thread() - before) as f64 / w.ops() as f64);
    Ok(())
}

fn allocations(task: &Task<'_>) -> Result<Row, Invalid> {
    let (ours, locked) = twins()?;
    let mut contest = Contest::new(task);
    contest.fixed_ops(20_000);
    contest.ours("primitives", 1, |w| counted(w, &ours));
    contest.peer(LOCKS, 1, |w| counted(w, &locked));
    contest.at_most(0.5, LOCKS);
    contest.run()
}

const SHORT: u64 = 5_000;
const LONG: u64 = 25_000;

/// Runs one twin alone for `workload.misses/TWIN/CALLS`; the answers' sum, so that the work is done.
pub(crate) fn alone(which: &str) -> Result<Vec<u64>, Invalid> {
    let (twin, n) = which
        .split_once('/')
        .and_then(|(twin, n)| Some((twin, n.parse().ok()?)))
        .ok_or_else(|| Invalid(format!("`{which}` names no twin and number of calls")))?;
    let sum = match twin {
        "primitives" => {
            let twin = Ours::new();
            let mut session = twin.session();
            calls(&twin, &mut session, 0, n)
        }
        LOCKS => calls(&Locked::new(), &mut (), 0, n),
        COPIES => calls(&Copies::new(), &mut Vec::new(), 0, n),
        _ => return Err(Invalid(format!("there is no twin `{twin}`"))),
    };
    Ok(vec![sum])
}

/// Misses a call: those of a long run less those of a short one, so that neither start nor end counts.
fn misses_of(twin: &str) -> Result<Option<f64>, Invalid> {
    let counted = |n: u64| under_cachegrind(&format!("workload.misses/{twin}/{n}"));
    let (Some(short), Some(long)) = (counted(SHORT)?, counted(LONG)?) else {
        return Ok(None);
    };
    Ok(Some(long.saturating_sub(short) as f64 / (LONG - SHORT) as f64))
}

fn misses(task: &Task<'_>) -> Result<Row, Invalid> {
    // Both do the same work, or the misses would say nothing.
    let sums = ["primitives", LOCKS].map(|twin| in_fresh_process(&format!("workload.misses/{twin}/{SHORT}")));
    let [Ok(a), Ok(b)] = &sums else {
        return Err(Invalid(format!("a twin failed: {sums:?}")));
    };
    if a != b {
        return Err(Invalid(format!("the twins answered {a:?} and {b:?}")));
    }
    let lanes = ["primitives", LOCKS, COPIES].map(misses_of);
    let [Ok(Some(ours)), Ok(Some(locks)), Ok(Some(copies))] = lanes else {
        if let Some(Err(why)) = lanes.into_iter().find(Result::is_err) {
            return Err(why);
        }
        let why = "valgrind is not installed";
        return Ok(Row::unmeasured(task.claim, Verdict::Undecided, why));
    };
    let mut row = Row::absolute(task.claim, ours / locks, 0.75, "");
    row.target = format!("<= 0.75x {LOCKS}");
    (row.ours, row.floor, row.ratio) = (
        Some(round3(ours)),
        Some(round3(copies)),
        Some(round3(ours / locks)),
    );
    row.peers.insert(LOCKS.into(), round3(locks));
    row.note = "the floor is the copies of file bytes alone, which every twin makes".into();
    Ok(row)
}
