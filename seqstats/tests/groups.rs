//! Groups of statistics: declared once, read as of one moment, shown in every form.
#![cfg(not(any(loom, shuttle)))]

use prometheus_parse::{Scrape, Value};
use seqstats::groups::{JitStats, MemoryStats, ProcessStats, SocketStats};
use seqstats::{
    Exposition, ExpositionError, Group, GroupInterval, Histogram, Interval, Labels, Recorder, Stats, Updater,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

seqstats::stats! {
    /// What an event pipeline did.
    pub struct PipelineStats("pipeline") {
        /// Events delivered.
        counter events,
        /// Nanoseconds of CPU time of the worker.
        counter worker_cpu_ns,
        /// Events dropped \ on "overrun".
        counter overruns,
        /// Nanoseconds spent in callbacks.
        counter callback_ns,
        /// Events waiting now.
        gauge waiting,
    }
}

impl PipelineStats {
    fn mean_callback_ns(&self) -> f64 {
        seqstats::ratio(self.callback_ns as f64, self.events as f64)
    }
}

#[test]
fn a14_means_over_zero_events_are_zero() {
    assert_eq!(PipelineStats::default().mean_callback_ns(), 0.0);
    assert_eq!(JitStats::default().hit_rate(), 0.0);
    assert_eq!(JitStats::default().mean_compile_ns(), 0.0);
    assert_eq!(SocketStats::default().mean_message_bytes(), 0.0);
    assert_eq!(MemoryStats::default().mean_bytes(), 0.0);
    assert_eq!(ProcessStats::default().mean_request_ns(), 0.0);
}

#[test]
fn a14_get_and_reset_beside_the_updater_is_not_torn_and_loses_nothing() {
    let group = Arc::new(Group::<PipelineStats>::new());
    let latency = Arc::new(Histogram::<1216>::new());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let mut updater = Updater::try_claim(Arc::clone(&group)).expect("the only updater");
            let mut recorder = Recorder::try_claim(Arc::clone(&latency)).expect("the only recorder");
            // Relaxed: only an end is signalled.
            while !stop.load(Ordering::Relaxed) {
                updater.update(|s| {
                    s.events += 1;
                    s.callback_ns += 3;
                    s.waiting -= 1;
                });
                recorder.record(1_000);
            }
            updater.get().events
        });
        let mut interval = GroupInterval::new();
        let mut latencies = Interval::new();
        let (mut events, mut recorded) = (0, 0);
        for _ in 0..20_000 {
            let taken = interval.take(&group);
            assert_eq!(taken.callback_ns, taken.events * 3, "torn: {taken}");
            events += taken.events;
            assert_eq!(taken.waiting, -(events as i64), "a gauge is as it stands");
        }
        for _ in 0..200 {
            let taken = latencies.take(&latency).summary();
            assert!(
                taken.count == 0 || (taken.p50 == taken.p999 && taken.max == 1_000),
                "{taken}"
            );
            recorded += taken.count;
        }
        // Relaxed: as above.
        stop.store(true, Ordering::Relaxed);
        let all = worker.join().expect("the worker ended");
        events += interval.take(&group).events;
        recorded += latencies.take(&latency).count();
        assert_eq!((events, recorded), (all, all));
    });
}

#[test]
fn many_updaters_under_the_lock_lose_nothing_and_a_panic_changes_nothing() {
    let group = Group::<MemoryStats>::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5_000 {
                    group.update(|s| s.allocated(64));
                    group.update(|s| s.freed(64));
                }
            });
        }
    });
    let s = group.snapshot();
    assert_eq!(
        (s.allocations, s.frees, s.bytes_used, s.mean_bytes()),
        (20_000, 20_000, 0, 64.0)
    );
    assert!((64..=256).contains(&s.bytes_peak));

    let mut updater = Updater::try_claim(&group).expect("free again");
    assert!(Updater::try_claim(&group).is_err());
    let failed = catch_unwind(AssertUnwindSafe(|| {
        updater.update(|s| {
            s.frees = 0;
            panic!("in the closure");
        })
    }));
    assert!(failed.is_err());
    updater.update(|s| s.failures += 1);
    assert_eq!(group.snapshot().frees, 20_000);
    assert_eq!(group.snapshot_bounded(1), Some(*updater.get()));
    drop(updater);
    assert_eq!(Updater::try_claim(&group).expect("free again").get().failures, 1);
    assert!(format!("{group:?}").contains("failures: 1"));
}

#[test]
fn sums_and_differences_treat_gauges_as_levels() {
    let a = ProcessStats {
        started: 5,
        alive: 3,
        ..Default::default()
    };
    let b = ProcessStats {
        started: 9,
        alive: 2,
        ..Default::default()
    };
    assert_eq!((b.since(&a).started, b.since(&a).alive), (4, 2));
    assert_eq!((a.plus(&b).started, a.plus(&b).alive), (14, 5));
    assert_eq!(
        a.to_string(),
        "started=5 exited=0 killed=0 requests=0 cpu_ns=0 alive=3"
    );
}

fn scrape(text: &str) -> Scrape {
    Scrape::parse(text.lines().map(|l| Ok(l.to_string()))).expect("a real parser reads it")
}

fn sample<'a>(scrape: &'a Scrape, metric: &str, labels: &[(&str, &str)]) -> &'a Value {
    let found = scrape.samples.iter().find(|s| {
        s.metric == metric
            && labels.iter().all(|(k, v)| s.labels.get(k) == Some(v))
            && s.labels.len() == labels.len()
    });
    &found
        .unwrap_or_else(|| panic!("no {metric} {labels:?} in {scrape:?}"))
        .value
}

#[test]
fn exposition_is_read_back_by_a_real_parser() {
    let one = PipelineStats {
        events: 7,
        waiting: -2,
        overruns: u64::from(u32::MAX),
        ..Default::default()
    };
    let two = PipelineStats {
        events: 9,
        ..Default::default()
    };
    let histogram = Box::new(Histogram::<1920>::new());
    Recorder::try_claim(&*histogram)
        .expect("the only recorder")
        .record_many(50, 4);
    let snapshot = histogram.snapshot();

    let mut text = String::new();
    let mut exposition = Exposition::new(&mut text);
    exposition
        .group(&[(&[("core", "0")], one), (&[("core", "1")], two)])
        .expect("allowed names");
    exposition
        .histogram("latency_ns", "How long\nit took.", &[(&[], &snapshot)])
        .expect("allowed names");
    exposition
        .group(&[(
            &[],
            JitStats {
                hits: 3,
                ..Default::default()
            },
        )])
        .expect("allowed names");

    let read = scrape(&text);
    assert_eq!(
        sample(&read, "pipeline_events_total", &[("core", "0")]),
        &Value::Counter(7.0)
    );
    assert_eq!(
        sample(&read, "pipeline_events_total", &[("core", "1")]),
        &Value::Counter(9.0)
    );
    assert_eq!(
        sample(&read, "pipeline_waiting", &[("core", "0")]),
        &Value::Gauge(-2.0)
    );
    assert_eq!(sample(&read, "jit_hits_total", &[]), &Value::Counter(3.0));
    let Value::Summary(quantiles) = sample(&read, "latency_ns", &[]) else {
        panic!("a summary: {read:?}")
    };
    assert!(
        quantiles.iter().all(|q| q.count == 50.0) && quantiles.len() == 5,
        "{quantiles:?}"
    );
    for line in [
        "# HELP latency_ns How long\\nit took.",
        "latency_ns_sum 200",
        "latency_ns_count 4",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} in {text}");
    }
    assert!(
        text.contains("# HELP pipeline_overruns_total Events dropped \\\\ on \"overrun\".\n"),
        "{text}"
    );
    // A family comes once.
    assert_eq!(text.matches("# TYPE pipeline_events_total counter").count(), 1);
}

#[test]
fn label_values_are_escaped_and_bad_names_refused() {
    let stats = SocketStats::default();
    let mut text = String::new();
    Exposition::new(&mut text)
        .group(&[(&[("path", "C:\\\"x\"\ny")], stats)])
        .expect("any value goes");
    assert!(text.contains(r#"socket_open{path="C:\\\"x\"\ny"} 0"#), "{text}");
    for bad in ["", "1st", "a-b", "ü"] {
        let refused = Exposition::new(String::new()).group(&[(&[(bad, "v")], stats)]);
        assert_eq!(refused, Err(ExpositionError::Name(bad.into())));
        let histogram = Histogram::<8>::new().snapshot();
        assert!(
            Exposition::new(String::new())
                .histogram(bad, "", &[(&[], &histogram)])
                .is_err()
        );
    }
}

#[cfg(feature = "serde")]
#[test]
fn groups_travel_as_json() {
    let stats = PipelineStats {
        events: u64::MAX,
        waiting: i64::MIN,
        ..Default::default()
    };
    let json = serde_json::to_string(&stats).expect("it serializes");
    assert_eq!(
        serde_json::from_str::<PipelineStats>(&json).expect("it comes back"),
        stats
    );
    let other: PipelineStats =
        serde_json::from_str(r#"{"events":1,"of_a_later_version":[{}]}"#).expect("lenient");
    assert_eq!(
        other,
        PipelineStats {
            events: 1,
            ..Default::default()
        }
    );
    assert!(serde_json::from_str::<PipelineStats>(r#"{"events":-1}"#).is_err());
    let summary = serde_json::to_value(seqstats::Summary::default()).expect("it serializes");
    assert_eq!(summary["p999"], 0);
}

#[test]
fn an_exposition_that_a_scraper_would_refuse_is_refused_whole() {
    let stats = SocketStats::default();
    let histogram = Histogram::<8>::new().snapshot();
    let refused = |labels: Labels<'_>, summary: bool| {
        let mut text = String::new();
        let mut exposition = Exposition::new(&mut text);
        let refused = if summary {
            exposition.histogram("latency_ns", "", &[(labels, &histogram)])
        } else {
            exposition.group(&[(&[("core", "1")], stats), (labels, stats)])
        };
        assert_eq!(text, "", "half a line costs the scraper the whole page");
        refused.expect_err("not Prometheus").to_string()
    };
    for (labels, summary, said) in [
        (
            &[("good", ""), ("not-good", "")][..],
            false,
            "\"not-good\" is not a Prometheus name",
        ),
        (
            &[("__name__", "x")],
            false,
            "\"__name__\" is not a Prometheus name",
        ),
        (
            &[("a", "1"), ("b", "1"), ("a", "2")],
            false,
            "label \"a\" is there twice",
        ),
        (&[("quantile", "x")], true, "label \"quantile\" is there twice"),
        (
            &[("core", "1")],
            false,
            "two samples of socket_accepted_total have the same labels",
        ),
    ] {
        let message = refused(labels, summary);
        assert!(message.contains(said), "{message}");
    }
    // `quantile` is a summary's own, and any label will do for a group.
    assert!(
        Exposition::new(String::new())
            .group(&[(&[("quantile", "x")], stats)])
            .is_ok()
    );
}

#[test]
fn a_metric_family_is_written_once() {
    let (stats, histogram) = (SocketStats::default(), Histogram::<8>::new().snapshot());
    let mut text = String::new();
    let mut exposition = Exposition::new(&mut text);
    exposition.group(&[(&[], stats)]).expect("the first time");
    exposition
        .histogram("open", "", &[(&[], &histogram)])
        .expect("another name");
    for again in [
        exposition.group(&[(&[("core", "1")], stats)]),
        exposition.histogram("socket_open", "", &[(&[], &histogram)]),
        exposition.histogram("open", "", &[(&[], &histogram)]),
        exposition.histogram("open_sum", "", &[(&[], &histogram)]),
    ] {
        assert!(matches!(again, Err(ExpositionError::Family(_))), "{again:?}");
    }
    assert_eq!(text.matches("# TYPE socket_open gauge").count(), 1);
    scrape(&text);
}

#[test]
fn a_raw_identifier_goes_by_its_plain_name() {
    seqstats::stats! {
        /// A thing with a type.
        struct Thing("thing") {
            /// What it is.
            gauge r#type,
        }
    }
    let thing = Thing { r#type: -3 };
    assert_eq!(thing.to_string(), "type=-3");
    let mut text = String::new();
    Exposition::new(&mut text)
        .group(&[(&[], thing)])
        .expect("an allowed name");
    assert!(text.contains("\nthing_type -3\n"), "{text}");
    #[cfg(feature = "serde")]
    {
        let json = serde_json::to_string(&thing).expect("it serializes");
        assert_eq!(json, r#"{"type":-3}"#);
        assert_eq!(
            serde_json::from_str::<Thing>(&json).expect("it comes back"),
            thing
        );
    }
}

#[cfg(feature = "serde")]
#[test]
fn a_summary_comes_back_from_json() {
    let histogram = Histogram::<1920>::new();
    Recorder::try_claim(&histogram)
        .expect("the only recorder")
        .record_many(50, 4);
    let summary = histogram.snapshot().summary();
    let json = serde_json::to_string(&summary).expect("it serializes");
    assert_eq!(
        serde_json::from_str::<seqstats::Summary>(&json).expect("it comes back"),
        summary
    );
    let other: seqstats::Summary =
        serde_json::from_str(r#"{"p50":1,"of_a_later_version":[{}]}"#).expect("lenient");
    assert_eq!((other.p50, other.count), (1, 0));
}

#[test]
fn counting_memory_wraps_as_every_counter_does() {
    let mut memory = MemoryStats::default();
    memory.allocated(5);
    memory.allocated(u64::MAX);
    memory.freed(u64::MAX);
    memory.freed(10);
    assert_eq!((memory.bytes_allocated, memory.bytes_used), (4, -5));
}

#[test]
fn statistics_may_be_used_where_a_panic_is_caught() {
    fn caught<T: std::panic::UnwindSafe + std::panic::RefUnwindSafe>() {}
    caught::<seqstats::SeqLock<u64>>();
    caught::<seqstats::Latch<u64>>();
    caught::<Histogram>();
    caught::<Group<SocketStats>>();
    caught::<Updater<&Group<SocketStats>, SocketStats>>();
    caught::<Recorder<&Histogram>>();
}
