//! Running the readers, and reading what they publish meanwhile.

use super::by_ring::Handles;
use super::course::{Course, Done};
use super::figures::{Figures, Lane, Phase, Sample};
use super::progress::Progress;
use super::{by_pread, by_ring};
use crate::Stop;
use crate::failure::Failure;
use seqstats::{Histogram, HistogramSnapshot};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use sync_base::sync::Arc;
use uring_core::{LATENCY_BUCKETS, totals};

/// How often a run is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Threads of plain reading beyond which more only cost memory.
pub(super) const PREADS_MAX: usize = 512;

/// What the readers of a run publish, each figure from the one who owns it.
enum Gauge {
    /// Counts from the process's striped counters, latencies and depth from each ring's histogram and sequence lock.
    Ring { rings: Vec<Handles>, base: [u64; 3] },
    Pread {
        published: Arc<by_pread::Published>,
        latencies: Vec<by_pread::Latencies>,
    },
}

/// What was published at one moment.
#[derive(Clone, Debug)]
struct Reading {
    reads: u64,
    failed: u64,
    calls: u64,
    in_flight: u64,
    depth: u64,
    latency_ns: HistogramSnapshot<LATENCY_BUCKETS>,
}

impl Gauge {
    fn read(&self) -> Reading {
        let mut latency_ns = HistogramSnapshot::new();
        match self {
            Self::Ring { rings, base } => {
                let now = ring_counts();
                let sum = |of: &dyn Fn(&Handles) -> i64| rings.iter().map(of).sum::<i64>().unsigned_abs();
                rings
                    .iter()
                    .for_each(|(ring, _)| latency_ns.merge(&ring.latency_ns()));
                Reading {
                    reads: now[0] - base[0],
                    failed: now[1] - base[1],
                    calls: now[2] - base[2],
                    in_flight: sum(&|(ring, _)| ring.counts().in_flight),
                    depth: sum(&|(_, window)| window.stats().window),
                    latency_ns,
                }
            }
            Self::Pread { published, latencies } => {
                latencies
                    .iter()
                    .for_each(|histogram| latency_ns.merge(&histogram.snapshot()));
                let reads = published.reads.sum_unsigned();
                Reading {
                    reads,
                    failed: 0,
                    calls: reads,
                    in_flight: latencies.len() as u64,
                    depth: latencies.len() as u64,
                    latency_ns,
                }
            }
        }
    }
}

fn ring_counts() -> [u64; 3] {
    let totals = totals();
    [&totals.completed, &totals.failed, &totals.enters].map(|counter| counter.sum_unsigned())
}

/// How many readers a lane has in a phase: as many reads in flight for both, where one read takes a thread.
pub(super) fn readers(lane: Lane, phase: Phase, cores: usize, depth: u32) -> usize {
    match (lane, phase) {
        (Lane::Ring, _) | (Lane::Pread, Phase::Cached) => cores,
        (Lane::Pread, Phase::Direct) => (cores * depth as usize).min(PREADS_MAX.max(cores)),
    }
}

/// How many reads a lane may have in flight in a phase.
pub(super) fn allowed(lane: Lane, phase: Phase, cores: usize, depth: u32) -> usize {
    match lane {
        Lane::Ring => cores * depth as usize,
        Lane::Pread => readers(lane, phase, cores, depth),
    }
}

/// Runs one lane for a while and adds what it did to `figures`.
///
/// # Errors
/// The first reader's failure, or the interruption.
pub(super) fn slice(
    course: &Course<'_>,
    figures: &mut Figures,
    length: Duration,
    stop: &Stop,
    progress: &Progress,
) -> Result<(), Failure> {
    let (lane, readers) = (figures.lane, figures.readers);
    let published = Arc::new(by_pread::Published::default());
    let latencies: Vec<by_pread::Latencies> = match lane {
        Lane::Ring => Vec::new(),
        Lane::Pread => (0..figures.readers).map(|_| Arc::new(Histogram::new())).collect(),
    };
    let base = ring_counts();
    let (send, handles) = mpsc::channel();
    let (done, last) = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..figures.readers)
            .map(|index| {
                let (send, published, latencies) = (send.clone(), &published, &latencies);
                let body = move || match lane {
                    Lane::Ring => by_ring::read(course, index, readers, send),
                    Lane::Pread => by_pread::read(course, index, readers, send, published, &latencies[index]),
                };
                let small = std::thread::Builder::new().stack_size(256 << 10);
                small.spawn_scoped(scope, body)
            })
            .collect();
        drop(send);
        let release = Release(course);
        // Over when every reader has set up, failed or panicked: each then has dropped its sender.
        let rings: Vec<Handles> = handles.iter().collect();
        let gauge = match lane {
            Lane::Ring => Gauge::Ring { rings, base },
            Lane::Pread => Gauge::Pread {
                published: Arc::clone(&published),
                latencies: latencies.clone(),
            },
        };
        let started: Vec<_> = threads.iter().flatten().collect();
        if started.len() == threads.len() {
            course.start.open();
            let over = || stop.asked() || started.iter().any(|t| t.is_finished());
            watch(course, figures, &gauge, length, &over, progress);
        }
        drop(release);
        let done: Vec<Result<Done, Failure>> = threads.into_iter().map(joined).collect();
        course.settings.resume();
        (done, gauge.read())
    });
    let done = done.into_iter().collect::<Result<Vec<_>, _>>()?;
    done.iter().for_each(|done| figures.add(done));
    // By the readers' own clocks, from the first to begin to the last to end: on a busy machine the one who measures may
    // be the last to wake. What came back after the end was asked for counts, and so does the time that it took.
    let spans = done.iter().filter_map(|done| done.span);
    if let Some((begun, ended)) = spans.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))) {
        figures.seconds += (ended - begun).as_secs_f64();
    }
    figures.reads += last.reads;
    figures.failed += last.failed;
    figures.calls += last.calls;
    figures.latency_ns.merge(&last.latency_ns);
    stop.check()
}

/// Sends home those that wait for the start and ends those that read, also when the one who measures panics.
struct Release<'a>(&'a Course<'a>);

impl Drop for Release<'_> {
    fn drop(&mut self) {
        self.0.start.abort();
        self.0.settings.stop();
    }
}

/// Looks at what is published until the time is up or it is over before that.
fn watch(
    course: &Course<'_>,
    figures: &mut Figures,
    gauge: &Gauge,
    length: Duration,
    over: &dyn Fn() -> bool,
    progress: &Progress,
) {
    let earlier = figures.seconds;
    let begun = Instant::now();
    let (mut before, mut looked) = (gauge.read(), begun);
    while begun.elapsed() < length && !over() {
        std::thread::sleep(LOOK.min(length.saturating_sub(begun.elapsed())));
        let (now, at) = (gauge.read(), Instant::now());
        let so_far = earlier + (at - begun).as_secs_f64();
        let buffers_out = course.slab.slots() - course.slab.available();
        let sample = sample(figures, &before, &now, (at - looked).as_secs_f64(), so_far);
        figures.look(sample, buffers_out);
        figures.tell(progress);
        (before, looked) = (now, at);
    }
}

fn joined(
    thread: std::io::Result<std::thread::ScopedJoinHandle<'_, Result<Done, Failure>>>,
) -> Result<Done, Failure> {
    let thread = thread.map_err(|e| {
        let cause = crate::failure::cause(&e);
        crate::failure::refused(format_args!(
            "no thread for a reader: {cause}; give a smaller --static or raise `ulimit -u`"
        ))
    })?;
    match thread.join() {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn sample(figures: &Figures, before: &Reading, now: &Reading, seconds: f64, at_s: f64) -> Sample {
    let latency = now.latency_ns.since(&before.latency_ns);
    let per_second = seqstats::ratio((now.reads - before.reads) as f64, seconds);
    Sample {
        at_s,
        per_second,
        p99_ns: latency.quantile(0.99),
        in_flight: figures.estimate(per_second, latency.mean()),
        in_kernel: now.in_flight,
        depth: now.depth,
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::args::Rw;
    use crate::bench::{Content, Depth, Gate, Part};
    use uring_core::engine::SharedSettings;
    use uring_core::file::Files;
    use uring_core::pace::WindowOptions;

    /// Runs a slice whose readers panic in their set-up: there is no processor to pin them to.
    fn slice_of_panics(lane: Lane) {
        let files = Files::new(1);
        let file = std::fs::File::open("/dev/null").unwrap();
        let course = Course {
            parts: vec![Part {
                file: files.adopt(file.into()).unwrap(),
                content: &Content::Made { seed: 1 },
                blocks: 1,
            }],
            files: &files,
            rw: Rw::RANDREAD,
            window: WindowOptions::new(),
            block: 4096,
            slab: &pooled_vec::Slab::new(2, 4096, pooled_vec::AlignedOptions::new()).unwrap(),
            settings: &SharedSettings::new(1),
            start: Gate::default(),
            cpus: &[],
        };
        let mut figures = Figures::new(Phase::Cached, lane, 2, Depth::Static(1), 2, Rw::RANDREAD);
        let ten_minutes = Duration::from_secs(600);
        let _ = slice(
            &course,
            &mut figures,
            ten_minutes,
            &Stop::default(),
            &Progress::silent(),
        );
    }

    #[test]
    fn a_panic_in_a_readers_set_up_is_passed_on_and_nobody_waits_for_it() {
        for lane in [Lane::Ring, Lane::Pread] {
            let (tell, told) = mpsc::channel();
            std::thread::spawn(move || {
                let _ = tell.send(std::panic::catch_unwind(|| slice_of_panics(lane)).is_err());
            });
            let panicked = told.recv_timeout(Duration::from_secs(60));
            assert_eq!(panicked, Ok(true), "{lane} hangs");
        }
    }
}
