//! Batches on simulated rings under every fault, against what a dependency promises.
//!
//! `URING_SIM_BATCHES=100000` sets how many (400 unless said otherwise); a failure names its seed, and
//! `URING_SIM_SEED=N` runs that one alone.
#![cfg(not(any(loom, shuttle)))]

mod counted;

use counted::{CountedRing, settle};
use std::fs::File;
use std::future::Future;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use uring_core::batch::{Batch, Cause, Fate, Node, Results, Run};
use uring_core::op::{Nop, Read, Write};
use uring_core::sim::{Fault, Faults, Simulation};
use uring_core::{ErrorKind, Options};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// An operation of a batch.
#[derive(Clone, Copy)]
enum Member {
    /// Writes its number to the log: what was done, in the order in which it was done.
    Logs(Node<Write<Vec<u8>, Arc<UnixStream>>>),
    /// Reads a file, perhaps in part.
    Reads(Node<Read<Vec<u8>, Arc<File>>>),
    /// Reads what never comes.
    Hangs(Node<Read<Vec<u8>, Arc<UnixStream>>>),
    Nothing(Node<Nop>),
}

/// What waits for what: from, to, and whether for its success.
type Edge = (usize, usize, bool);

/// Calls `$batch.$tie(later, earlier)` for operations of any kind.
macro_rules! tie {
    ($batch:ident.$tie:ident($later:expr, $earlier:expr)) => {
        match $later {
            Member::Logs(later) => tie!(@ $batch.$tie, later, $earlier),
            Member::Reads(later) => tie!(@ $batch.$tie, later, $earlier),
            Member::Hangs(later) => tie!(@ $batch.$tie, later, $earlier),
            Member::Nothing(later) => tie!(@ $batch.$tie, later, $earlier),
        }
    };
    (@ $batch:ident.$tie:ident, $later:ident, $earlier:expr) => {
        match $earlier {
            Member::Logs(earlier) => $batch.$tie($later, earlier),
            Member::Reads(earlier) => $batch.$tie($later, earlier),
            Member::Hangs(earlier) => $batch.$tie($later, earlier),
            Member::Nothing(earlier) => $batch.$tie($later, earlier),
        }
    };
}

/// How a batch is brought to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Awaited,
    Cancelled,
    Dropped,
}

/// One batch, and what is known of it.
struct Case {
    members: Vec<Member>,
    edges: Vec<Edge>,
    fail_fast: bool,
    deadline: Option<Duration>,
    end: End,
}

impl Case {
    fn draw(
        random: &mut Random,
        log: &Arc<UnixStream>,
        file: &Arc<File>,
        silent: &Arc<UnixStream>,
    ) -> (Self, Batch) {
        let mut batch = Batch::new();
        let end = [End::Awaited, End::Awaited, End::Cancelled, End::Dropped][random.below(4) as usize];
        let deadline = random.one_in(3).then(|| Duration::from_micros(random.below(200)));
        let fail_fast = random.one_in(4);
        if fail_fast {
            batch.fail_fast();
        }
        if let Some(limit) = deadline {
            batch.deadline(limit);
        }
        let may_hang = end != End::Awaited || deadline.is_some();
        let members: Vec<_> = (0..1 + random.below(24))
            .map(|at| match random.below(8) {
                0 if may_hang => Member::Hangs(batch.add(Read::new(Arc::clone(silent), vec![0; 8])).unwrap()),
                0 | 1 => Member::Reads(batch.add(Read::new(Arc::clone(file), vec![0; 8]).at(0)).unwrap()),
                2 | 3 => Member::Nothing(batch.add(Nop::new()).unwrap()),
                _ => Member::Logs(batch.add(Write::new(Arc::clone(log), vec![at as u8])).unwrap()),
            })
            .collect();
        let count = members.len() as u64;
        let mut edges = Vec::new();
        for to in 1..count {
            // Mostly chains, so that links are long; some edges across.
            for from in [to - 1, random.below(to)] {
                if random.one_in(2) {
                    edges.push((from as usize, to as usize, !random.one_in(4)));
                }
            }
        }
        for &(from, to, needs) in &edges {
            let tied = match needs {
                true => tie!(batch.needs(members[to], members[from])),
                false => tie!(batch.follows(members[to], members[from])),
            };
            tied.unwrap();
        }
        let case = Self {
            members,
            edges,
            fail_fast,
            deadline,
            end,
        };
        (case, batch)
    }

    fn logs(&self, at: usize) -> bool {
        matches!(self.members[at], Member::Logs(_))
    }

    /// Each operation was done at most once, and behind what it depends on.
    fn check_log(&self, log: &[u8]) -> Result<(), String> {
        let place = |at: usize| log.iter().position(|&byte| usize::from(byte) == at);
        for at in 0..self.members.len() {
            if log.iter().filter(|&&byte| usize::from(byte) == at).count() > 1 {
                return Err(format!("{at} was done twice"));
            }
        }
        for &(from, to, needs) in &self.edges {
            if !self.logs(from) || !self.logs(to) {
                continue;
            }
            match (place(from), place(to)) {
                (Some(earlier), Some(later)) if later < earlier => {
                    return Err(format!("{to} was done before {from}"));
                }
                (None, Some(_)) if needs || self.fail_fast => {
                    return Err(format!("{to} was done without {from}"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Each fate follows from those of what it depends on.
    fn check_fates(&self, fates: &[Fate], log: &[u8]) -> Result<(), String> {
        for (at, &fate) in fates.iter().enumerate() {
            let mut needed = self
                .edges
                .iter()
                .filter(|edge| edge.1 == at && (edge.2 || self.fail_fast));
            let fails = |on: usize| matches!(fates[on], Fate::Failed(_) | Fate::Short { .. });
            let right = match fate {
                Fate::Skipped(Cause::Dependency(on)) => {
                    needed.any(|edge| edge.0 == on) && !fates[on].is_success()
                }
                Fate::Skipped(Cause::FailFast(on)) => self.fail_fast && fails(on),
                Fate::Skipped(Cause::Deadline) => self.deadline.is_some(),
                Fate::Skipped(Cause::Cancelled) => self.end == End::Cancelled,
                Fate::Failed(error) if error.kind() == ErrorKind::Cancelled => false,
                Fate::Done(_) | Fate::Short { .. } | Fate::Failed(_) => {
                    needed.all(|edge| fates[edge.0].is_success())
                }
            };
            if !right {
                return Err(format!(
                    "{at} cannot be {fate:?} in {fates:?} with {:?}",
                    self.edges
                ));
            }
            let logged = log.iter().any(|&byte| usize::from(byte) == at);
            if self.logs(at) && logged != fate.is_success() {
                return Err(format!("{at} is {fate:?}, and in the log: {logged}"));
            }
        }
        Ok(())
    }
}

/// Runs the batch of a seed to whatever end it has.
fn storm(seed: u64) -> Result<Simulation, String> {
    let mut random = Random(seed);
    let simulation = Simulation::new(seed).faults(Faults::storm());
    let options = Options::new()
        .depth(2 + random.below(20) as u32)
        .sq_entries(4 << random.below(3))
        .simulated(&simulation);
    let ring = CountedRing::with(&options);
    let (log, mut told) = UnixStream::pair().unwrap();
    let (silent, _far) = UnixStream::pair().unwrap();
    let (log, silent) = (Arc::new(log), Arc::new(silent));
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"eight...").unwrap();
    let file = Arc::new(file);
    let (case, batch) = Case::draw(&mut random, &log, &file, &silent);
    let mut run = ring.run_batch(batch).unwrap();
    let mut results = None;
    if case.end != End::Awaited {
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..random.below(8) {
            if let Poll::Ready(early) = Pin::new(&mut run).poll(&mut cx) {
                results = Some(early);
                break;
            }
            turn(&ring, Duration::from_micros(random.below(50)));
        }
    }
    if results.is_none() && case.end != End::Dropped {
        if case.end == End::Cancelled {
            run.cancel();
        }
        results = finished(&ring, &mut run);
    }
    let state = format!("{run:?}");
    drop(run);
    let _calm = simulation.clone().faults(Faults::none());
    settle(&ring);
    told.set_nonblocking(true).unwrap();
    let mut done = Vec::new();
    let _ = told.read_to_end(&mut done);
    if results.is_none() && case.end != End::Dropped {
        return Err(format!("it never ends: {state}, {:?}", case.edges));
    }
    case.check_log(&done)?;
    if let Some(results) = &results {
        case.check_fates(results.fates(), &done)?;
    }
    drop(results);
    if (
        Arc::strong_count(&log),
        Arc::strong_count(&silent),
        Arc::strong_count(&file),
    ) != (1, 1, 1)
    {
        return Err("an operation holds a descriptor".into());
    }
    match simulation.report().violations {
        0 => Ok(simulation),
        n => Err(format!("{n} times memory was touched in flight")),
    }
}

/// Names the seed of whatever panics.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {0} (URING_SIM_SEED={0})", self.0);
        }
    }
}

#[test]
fn d2_simulated_storm_of_batches_runs_nothing_early_twice_or_without_what_it_needs() {
    let number = |name| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let seeds = match number("URING_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("URING_SIM_BATCHES").unwrap_or(400),
    };
    let several = seeds.end - seeds.start >= 400;
    let mut counts = [0; Fault::ALL.len()];
    for seed in seeds {
        let _named = Named(seed);
        let simulation =
            storm(seed).unwrap_or_else(|why| panic!("seed {seed} (URING_SIM_SEED={seed}): {why}"));
        for (count, fault) in counts.iter_mut().zip(Fault::ALL) {
            *count += simulation.report().count(fault);
        }
    }
    for (fault, count) in Fault::ALL.iter().zip(counts) {
        println!("{fault:<24} {count:>12}");
        let never = matches!(
            fault,
            Fault::Stuck
                | Fault::Duplicate
                | Fault::Dropped
                | Fault::Abandoned
                | Fault::ShortWrite
                | Fault::NoBuffers
                | Fault::Reuse
        );
        assert!(!several || never || count > 0, "{fault} never happened");
    }
}

/// One turn; the kernel may have refused to take anything before completions were reaped.
fn turn(ring: &CountedRing, limit: Duration) {
    if let Err(error) = ring.wait(1, limit) {
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    }
}

/// Turns the ring until a batch is over, within bounds.
fn finished(ring: &CountedRing, run: &mut Run<'_>) -> Option<Results> {
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..2000 {
        if let Poll::Ready(results) = Pin::new(&mut *run).poll(&mut cx) {
            return Some(results);
        }
        turn(ring, Duration::from_millis(50));
    }
    None
}

/// A chain is cancelled in the moment between the end of one link and the beginning of the next, however long that is:
/// a cancellation finds nothing then, and one that is not repeated would leave the next link in flight for ever.
#[test]
fn d2_cancelled_between_two_links_ends_what_had_not_begun() {
    for seed in 0..200 {
        let simulation = Simulation::new(seed).faults(Faults::none().one_in(Fault::Late, 2));
        let ring = CountedRing::with(&Options::new().depth(8).simulated(&simulation));
        let (near, far) = UnixStream::pair().unwrap();
        let mut batch = Batch::new();
        let first = batch.add(Nop::new()).unwrap();
        let hangs = batch.add(Read::new(near, vec![0; 8])).unwrap();
        batch.needs(hangs, first).unwrap();
        let mut run = ring.run_batch(batch).unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut run).poll(&mut cx).is_pending());
        ring.wait(1, Duration::from_secs(1)).unwrap();
        assert_eq!(ring.held(), 1, "the first is over");
        if seed % 2 == 0 {
            drop(run);
            settle(&ring);
        } else {
            run.cancel();
            let results = finished(&ring, &mut run).unwrap_or_else(|| panic!("seed {seed} never ends"));
            assert!(!results.is_success());
        }
        drop(far);
    }
}
