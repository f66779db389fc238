//! What is published, beside a recorder outside of the ring; how it is told.
#![cfg(not(any(loom, shuttle)))]

use seqstats::{Histogram, HistogramSnapshot, Recorder};
use std::cell::RefCell;
use std::fs::File;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use uring_core::op::{Nop, Open, Read, Timeout, Write};
use uring_core::pace::{Control, Window, WindowOptions};
use uring_core::sim::Simulation;
use uring_core::stats::{Snapshot, Sources};
use uring_core::{Carrier, LATENCY_BUCKETS, LocalRing, Options};

const LONG: Duration = Duration::from_secs(10);

/// A ring in simulated time, and somebody who reads that clock around each operation.
struct Watched {
    ring: LocalRing,
    simulation: Simulation,
    file: Arc<File>,
    outside: Rc<RefCell<Recorder<Arc<Histogram<LATENCY_BUCKETS>>>>>,
}

impl Watched {
    fn new() -> Self {
        let simulation = Simulation::new(5);
        let options = Options::new().depth(64).simulated(&simulation);
        Self {
            ring: LocalRing::with(&options).unwrap(),
            simulation,
            file: Arc::new(File::open("/proc/self/exe").unwrap()),
            outside: Rc::new(RefCell::new(
                Recorder::try_claim(Arc::new(Histogram::new())).unwrap(),
            )),
        }
    }

    fn submit(&self) {
        let (began, simulation) = (self.simulation.now(), self.simulation.clone());
        let outside = Rc::clone(&self.outside);
        let read = Read::new(Arc::clone(&self.file), vec![0; 64]).at(0);
        let submitted = self.ring.submit_with(read, move |_| {
            let took = simulation.now() - began;
            outside.borrow_mut().record(took.as_nanos() as u64);
        });
        assert!(submitted.is_ok());
    }

    fn pass(&self, time: Duration) {
        let timer = self.ring.submit(Timeout::after(time)).unwrap();
        assert!(self.ring.finish(timer, LONG * 1_000).is_ok());
    }

    fn outside(&self) -> HistogramSnapshot<LATENCY_BUCKETS> {
        self.outside.borrow().histogram().snapshot()
    }
}

/// Runs a phase, and compares what the ring says of it with what was seen outside.
fn agrees(watched: &Watched, name: &str, phase: impl FnOnce(&Watched)) {
    let (before, outside) = (watched.ring.stats().latency_ns(), watched.outside());
    let (counts, began) = (watched.ring.stats().by_kind(), watched.simulation.now());
    phase(watched);
    let spent = (watched.simulation.now() - began).as_secs_f64().max(1e-9);
    let inside = watched.ring.stats().latency_ns().since(&before);
    let outside = watched.outside().since(&outside);
    let reads = |list: Vec<(&str, uring_core::OpStats)>| {
        list.iter()
            .find(|(kind, _)| *kind == "READ")
            .map_or(0, |(_, stats)| stats.completed)
    };
    let completed = reads(watched.ring.stats().by_kind()) - reads(counts);
    let (ours, theirs) = (completed as f64 / spent, outside.count() as f64 / spent);
    assert!(
        (ours - theirs).abs() <= theirs * 0.01,
        "{name}: {ours} and {theirs} a second"
    );
    if outside.is_empty() {
        assert_eq!(completed, 0, "{name}");
        return;
    }
    // The timers that let time pass are the ring's too: only reads are compared, which no timer is as short as.
    let (ours, theirs) = (quantile(&inside, &outside), outside.quantile(0.99) as f64);
    assert!(
        (ours - theirs).abs() <= theirs * 0.03,
        "{name}: p99 {ours} and {theirs}"
    );
}

/// The ring's p99 over as many of its operations as were watched: the others, timers, are the longest.
fn quantile(
    inside: &HistogramSnapshot<LATENCY_BUCKETS>,
    outside: &HistogramSnapshot<LATENCY_BUCKETS>,
) -> f64 {
    let share = outside.count() as f64 * 0.99 / inside.count() as f64;
    inside.quantile(share) as f64
}

#[test]
fn e9_statistics_agree_with_a_recorder_outside_in_every_phase_of_load() {
    let watched = Watched::new();
    agrees(&watched, "low", |w| {
        for _ in 0..500 {
            w.submit();
            while w.ring.wait(1, LONG).unwrap() == 0 {}
            w.pass(Duration::from_millis(5));
        }
    });
    agrees(&watched, "saturated", |w| {
        for _ in 0..5_000 {
            while w.ring.held() < 64 {
                w.submit();
            }
            w.ring.wait(8, LONG).unwrap();
        }
        while w.ring.held() > 0 {
            w.ring.wait(1, LONG).unwrap();
        }
    });
    agrees(&watched, "burst", |w| {
        for _ in 0..100 {
            (0..60).for_each(|_| w.submit());
            while w.ring.held() > 0 {
                w.ring.wait(1, LONG).unwrap();
            }
            w.pass(Duration::from_millis(50));
        }
    });
    agrees(&watched, "idle", |w| {
        let before = w.ring.stats().counts();
        w.ring.wait(1, Duration::from_secs(3_600)).unwrap();
        assert_eq!(
            w.ring.stats().counts(),
            before,
            "nothing is counted where nothing happens"
        );
    });
}

#[test]
fn every_kind_of_operation_is_counted_with_its_errors_and_bytes() {
    let ring = LocalRing::with(&Options::new().depth(8).carrier(Carrier::Sim)).unwrap();
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("file");
    std::fs::write(&path, [7; 100]).unwrap();
    let file = Arc::new(File::options().read(true).write(true).open(&path).unwrap());
    ring.block_on(async {
        for _ in 0..3 {
            let (read, _) = ring.run(Read::new(Arc::clone(&file), vec![0; 40]).at(0)).await;
            assert_eq!(read, Ok(40));
        }
        let (written, _) = ring.run(Write::new(Arc::clone(&file), vec![1; 30]).at(0)).await;
        assert_eq!(written, Ok(30));
        let (read, _) = ring
            .run(Read::new(File::options().write(true).open(&path).unwrap(), vec![0; 8]).at(0))
            .await;
        assert!(read.is_err());
        ring.run(Nop::new()).await.unwrap();
        let missing = Open::new("/definitely/not/here", libc::O_RDONLY).unwrap();
        assert!(ring.run(missing).await.is_err());
    })
    .unwrap();
    let kinds = ring.stats().by_kind();
    let of = |name: &str| {
        let found = kinds
            .iter()
            .find(|(kind, _)| *kind == name)
            .map(|(_, stats)| stats);
        found.map(|stats| (stats.completed, stats.failed, stats.bytes))
    };
    assert_eq!(
        of("READ").map(|(n, failed, bytes)| (n >= 4, failed, bytes >= 120)),
        Some((true, 1, true)),
        "{kinds:?}"
    );
    assert_eq!(of("WRITE"), Some((1, 0, 30)));
    assert_eq!(of("NOP"), Some((1, 0, 0)));
    let sum: u64 = kinds.iter().map(|(_, stats)| stats.completed).sum();
    assert_eq!(
        sum,
        ring.stats().counts().completed,
        "the kinds add up to the ring"
    );
}

fn snapshot() -> (LocalRing, Sources, Snapshot) {
    let ring = LocalRing::with(&Options::new().depth(8).carrier(Carrier::Sim)).unwrap();
    let mut sources = Sources::new();
    {
        let window = Window::new(&ring, &WindowOptions::new().control(Control::Fixed(2))).unwrap();
        sources
            .ring("core0", ring.stats())
            .window("core0", window.handle());
        let file = Arc::new(File::open("/proc/self/exe").unwrap());
        for _ in 0..10 {
            let read = Read::new(Arc::clone(&file), vec![0; 16]).at(0);
            assert!(window.enter(|| ring.submit_with(read, |_| ())).is_some());
            while window.wait(LONG).unwrap() == 0 {}
        }
    }
    let now = sources.read();
    (ring, sources, now)
}

#[test]
fn a_snapshot_prints_and_is_scraped_and_counts_from_another_on() {
    let (ring, sources, first) = snapshot();
    let text = first.to_string();
    for word in [
        "core0: submitted=10 completed=10",
        "core0 READ: completed=10",
        "bytes=160",
        "core0 window: admitted=10",
        "p99=",
    ] {
        assert!(text.contains(word), "`{word}` is not in:\n{text}");
    }
    let scraped = first.to_prometheus().unwrap();
    for line in [
        "uring_ring_completed_total{ring=\"core0\"} 10\n",
        "uring_op_bytes_total{ring=\"core0\",op=\"READ\"} 160\n",
        "uring_window_admitted_total{ring=\"core0\"} 10\n",
        "uring_latency_ns_count{ring=\"core0\"} 10\n",
        "uring_window_caller_ns_count{ring=\"core0\"} 10\n",
    ] {
        assert!(scraped.contains(line), "`{line}` is not in:\n{scraped}");
    }
    let families: Vec<&str> = scraped
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .collect();
    let mut once = families.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), families.len(), "a family comes in one piece");
    ring.block_on(ring.run(Nop::new())).unwrap().unwrap();
    let later = sources.read().since(&first);
    let ring = &later.rings["core0"];
    assert_eq!(
        (ring.kinds["NOP"].completed, ring.kinds["READ"].completed),
        (1, 0)
    );
    assert_eq!(ring.stats.completed, ring.latency_ns.count());
}

#[cfg(feature = "serde")]
#[test]
fn a_snapshot_is_data() {
    let (_ring, _, now) = snapshot();
    let data = serde_json::to_value(&now).unwrap();
    assert_eq!(data["rings"]["core0"]["kinds"]["READ"]["bytes"], 160);
    assert_eq!(data["rings"]["core0"]["window"]["stats"]["window"], 2);
    assert_eq!(data["rings"]["core0"]["latency_ns"]["count"], 10);
}

#[cfg(feature = "metrics")]
#[test]
fn a_snapshot_goes_to_the_recorder_of_the_program() {
    use metrics::{
        Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, SharedString, Unit,
    };
    use std::sync::Mutex;

    type Told = Arc<Mutex<Vec<(String, f64)>>>;
    struct Note(String, Told);
    impl CounterFn for Note {
        fn increment(&self, _: u64) {}
        fn absolute(&self, value: u64) {
            self.1.lock().unwrap().push((self.0.clone(), value as f64));
        }
    }
    impl GaugeFn for Note {
        fn increment(&self, _: f64) {}
        fn decrement(&self, _: f64) {}
        fn set(&self, value: f64) {
            self.1.lock().unwrap().push((self.0.clone(), value));
        }
    }
    struct Recorder(Told);
    impl metrics::Recorder for Recorder {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(Arc::new(Note(key.to_string(), Arc::clone(&self.0))))
        }
        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(Arc::new(Note(key.to_string(), Arc::clone(&self.0))))
        }
        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }
    let told = Told::default();
    let (_ring, _, now) = snapshot();
    metrics::with_local_recorder(&Recorder(Arc::clone(&told)), || now.record());
    let told = told.lock().unwrap();
    let of = |part: &str, label: &str| {
        let found = told
            .iter()
            .find(|(key, _)| key.contains(part) && key.contains(label));
        found.map(|(_, value)| *value)
    };
    assert_eq!(of("uring_ring_completed_total", "core0"), Some(10.0), "{told:?}");
    assert_eq!(of("uring_op_bytes_total", "READ"), Some(160.0), "{told:?}");
    assert_eq!(of("uring_window_window", "core0"), Some(2.0), "{told:?}");
}

#[cfg(feature = "tracing")]
#[test]
fn a_snapshot_is_events() {
    use std::sync::atomic::{AtomicU32, Ordering};
    use tracing::{Event, Metadata, Subscriber, span};

    struct Count(Arc<AtomicU32>);
    impl Subscriber for Count {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target() == "uring_core::stats"
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn event(&self, event: &Event<'_>) {
            assert!(
                event.metadata().fields().field("p99_ns").is_some()
                    || event.metadata().fields().field("places").is_some()
            );
            // Relaxed: one thread.
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }
    let count = Arc::new(AtomicU32::new(0));
    let (_ring, _, now) = snapshot();
    tracing::subscriber::with_default(Count(Arc::clone(&count)), || now.trace());
    // Relaxed: one thread.
    assert_eq!(count.load(Ordering::Relaxed), 2, "a ring and its window");
}
