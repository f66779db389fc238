//! Eight threads with one operation in flight each on one ring: ours that they share, one behind a mutex held from submission to
//! end, and a ring for each as the floor. The same flags for all.

use super::read::{BLOCK, numbered_file};
use super::{LONG, invalid, verdict};
use crate::{Contest, Invalid, Row, Task, Worker};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use uring_core::buffer::{IoBuf, IoBufMut};
use uring_core::op::{Read, Timeout};
use uring_core::{Operation, Options, Ring, Rung, SharedRing};

const THREADS: usize = 8;
/// The time of an operation that is nothing but time.
const NAP: Duration = Duration::from_micros(50);

fn options() -> Options {
    Options::new().depth(64).highest_rung(Rung::SubmitAll)
}

/// One operation of a thread, and whether it gave what it should.
trait Work: Sync {
    type Op: Operation;
    fn op(&self) -> Self::Op;
    fn is_good(&self, output: <Self::Op as Operation>::Output) -> bool;
}

struct Naps;

impl Work for Naps {
    type Op = Timeout;
    fn op(&self) -> Timeout {
        Timeout::after(NAP)
    }
    fn is_good(&self, output: Result<(), uring_core::Error>) -> bool {
        output.is_ok()
    }
}

/// 4 KiB reads of one file.
struct Reads(Arc<std::fs::File>);

impl Work for Reads {
    type Op = Read<Page, Arc<std::fs::File>>;
    fn op(&self) -> Self::Op {
        Read::new(Arc::clone(&self.0), Page(Box::new(Aligned([0; BLOCK])))).at(BLOCK as u64)
    }
    fn is_good(&self, (read, page): (Result<usize, uring_core::Error>, Page)) -> bool {
        read == Ok(BLOCK) && page.0.0[..8] == 1u64.to_ne_bytes()
    }
}

#[repr(align(4096))]
struct Aligned([u8; BLOCK]);

struct Page(Box<Aligned>);

// SAFETY: the box's block stays where it is and has one owner.
unsafe impl IoBuf for Page {
    fn stable_ptr(&self) -> *const u8 {
        self.0.0.as_ptr()
    }
    fn bytes_init(&self) -> usize {
        BLOCK
    }
}

// SAFETY: as above.
unsafe impl IoBufMut for Page {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.0.0.as_mut_ptr()
    }
    fn bytes_total(&self) -> usize {
        BLOCK
    }
    unsafe fn set_init(&mut self, _: usize) {}
}

/// What the lanes report.
#[derive(Clone, Copy)]
enum Figure {
    Cpu,
    P99,
}

/// Runs `one` for each operation; reports its slowest hundredth where that is what is asked.
fn run(
    w: &mut Worker<'_>,
    figure: Figure,
    mut one: impl FnMut() -> Result<bool, Invalid>,
) -> Result<(), Invalid> {
    let mut bad = 0;
    let mut latency_ns = Vec::new();
    w.measure(|n| {
        latency_ns.reserve(n as usize);
        for _ in 0..n {
            let began = Instant::now();
            bad += u64::from(!one()?);
            latency_ns.push(began.elapsed().as_nanos() as u64);
        }
        Ok::<_, Invalid>(())
    })?;
    if let Figure::P99 = figure {
        latency_ns.sort_unstable();
        w.report(latency_ns[latency_ns.len() * 99 / 100] as f64);
    }
    verdict(bad)
}

fn behind_mutex<W: Work>(ring: &Mutex<Ring>, work: &W) -> Result<bool, Invalid> {
    let op = work.op();
    let output = {
        let ring = ring.lock().unwrap_or_else(PoisonError::into_inner);
        let token = ring.submit(op).map_err(invalid)?;
        ring.finish(token, LONG).map_err(|(_, error)| invalid(error))?
    };
    Ok(work.is_good(output))
}

fn shared<W: Work>(ring: &SharedRing, work: &W) -> Result<bool, Invalid> {
    let ticket = ring.submit(work.op()).map_err(invalid)?;
    let output = ticket.wait_timeout(LONG).map_err(|(_, error)| invalid(error))?;
    Ok(work.is_good(output))
}

fn contest<W: Work>(task: &Task<'_>, figure: Figure, work: &W) -> Result<Row, Invalid> {
    let ours = SharedRing::with(&options()).map_err(invalid)?;
    let locked = Mutex::new(Ring::with(&options()).map_err(invalid)?);
    let mut contest = Contest::new(task);
    contest.ours("shared", THREADS, |w| run(w, figure, || shared(&ours, work)));
    contest.floor("a ring for each thread", THREADS, |w| {
        let own = Mutex::new(Ring::with(&options()).map_err(invalid)?);
        run(w, figure, || behind_mutex(&own, work))
    });
    contest.peer("behind a mutex", THREADS, |w| {
        run(w, figure, || behind_mutex(&locked, work))
    });
    contest.at_most(1.0, "behind a mutex");
    contest.run()
}

/// A file that is read past the page cache, or as it is where its filesystem has no such thing.
fn uncached() -> Result<Reads, Invalid> {
    let file = numbered_file()?;
    file.sync_all()?;
    let again = std::fs::File::options()
        .read(true)
        .custom_flags(libc::O_DIRECT)
        .open(format!("/proc/self/fd/{}", file.as_raw_fd()));
    Ok(Reads(Arc::new(again.unwrap_or(file))))
}

pub(super) fn cpu(task: &Task<'_>) -> Result<Row, Invalid> {
    contest(task, Figure::Cpu, &uncached()?)
}

pub(super) fn p99(task: &Task<'_>) -> Result<Row, Invalid> {
    contest(task, Figure::P99, &uncached()?)
}

pub(super) fn timer_cpu(task: &Task<'_>) -> Result<Row, Invalid> {
    contest(task, Figure::Cpu, &Naps)
}

pub(super) fn timer_p99(task: &Task<'_>) -> Result<Row, Invalid> {
    contest(task, Figure::P99, &Naps)
}

pub(super) fn cached_cpu(task: &Task<'_>) -> Result<Row, Invalid> {
    contest(task, Figure::Cpu, &Reads(Arc::new(numbered_file()?)))
}

pub(super) fn cached_p99(task: &Task<'_>) -> Result<Row, Invalid> {
    contest(task, Figure::P99, &Reads(Arc::new(numbered_file()?)))
}

/// System calls per operation, read from the ring's own published counts.
fn calls<W: Work>(task: &Task<'_>, work: &W, ops: usize) -> Result<Row, Invalid> {
    let ring = SharedRing::with(&options()).map_err(invalid)?;
    let bad: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|at| {
                let (ring, cpus) = (&ring, &task.plan.cpus);
                scope.spawn(move || {
                    crate::machine::pin_to(cpus[at % cpus.len()]);
                    let one = |_| shared(ring, work).map(|good| u64::from(!good));
                    (0..ops).map(one).sum::<Result<u64, Invalid>>()
                })
            })
            .collect();
        let ended = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread
                .join()
                .unwrap_or_else(|_| Err(invalid("a thread panicked")))
        };
        threads.into_iter().map(ended).sum::<Result<u64, Invalid>>()
    })?;
    verdict(bad)?;
    let counts = ring.stats().counts();
    let tally = ring.tally();
    Ok(Row::absolute(
        task.claim,
        crate::row::round3(counts.enters as f64 / counts.completed as f64),
        0.5,
        format!(
            "{:.2} operations a lot; waits are polls of the ring's descriptor, not counted",
            tally.mean_lot()
        ),
    ))
}

pub(super) fn enters(task: &Task<'_>) -> Result<Row, Invalid> {
    calls(task, &uncached()?, 2_000)
}

pub(super) fn cached_enters(task: &Task<'_>) -> Result<Row, Invalid> {
    calls(task, &Reads(Arc::new(numbered_file()?)), 10_000)
}
