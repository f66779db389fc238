//! Every figure moves, and is read from the primitive that owns it.
#![cfg(not(any(loom, shuttle)))]

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard};
use uring_cli::args::{BenchArgs, Bytes, Rw};
use uring_cli::bench::{Content, DataFile, Lane, Phase, Progress, Results, measure, page, run, text};
use uring_cli::{FailureKind, Stop};
use uring_core::totals;

/// The counts of the engine are the process's: one test at a time.
fn alone() -> Option<MutexGuard<'static, ()>> {
    static TURN: Mutex<()> = Mutex::new(());
    if let Some(errno) = uring_core::probe().refused {
        eprintln!("skipped: io_uring is refused here (error {errno})");
        return None;
    }
    Some(TURN.lock().unwrap_or_else(|e| e.into_inner()))
}

fn args(depth: u32, cores: usize) -> BenchArgs {
    BenchArgs {
        file: Vec::new(),
        dir: None,
        size: Bytes(4 << 20),
        bs: Bytes(4096),
        rw: Rw::RANDREAD,
        direct: false,
        seconds: 0.2,
        depth: Some(depth),
        target_p99: None,
        sweep: false,
        cores: Some(cores),
        json: None,
        report: None,
    }
}

fn results(depth: u32) -> Results {
    run(&args(depth, 1), &Stop::default(), &Progress::silent()).unwrap()
}

#[test]
fn operations_and_system_calls_are_those_of_the_striped_counters() {
    let Some(_alone) = alone() else { return };
    let before = (totals().completed.sum_unsigned(), totals().enters.sum_unsigned());
    let results = results(16);
    let moved = (
        totals().completed.sum_unsigned() - before.0,
        totals().enters.sum_unsigned() - before.1,
    );
    let rings: Vec<_> = results.rows.iter().filter(|row| row.lane == Lane::Ring).collect();
    let told = (
        rings.iter().map(|r| r.reads).sum::<u64>(),
        rings.iter().map(|r| r.calls).sum::<u64>(),
    );
    assert!(told.0 > 0 && told.1 > 0);
    assert_eq!(told.0, moved.0);
    // The ring that is dropped at the end of a turn may enter once more.
    assert!(
        told.1 <= moved.1 && moved.1 - told.1 <= 8 * rings.len() as u64,
        "{told:?} of {moved:?}"
    );
    for row in results.rows.iter().filter(|row| row.lane == Lane::Pread) {
        assert!(row.reads > 0 && row.calls == row.reads);
    }
}

#[test]
fn latencies_are_those_of_the_histograms_that_rings_publish() {
    let Some(_alone) = alone() else { return };
    for row in results(16).rows {
        assert_eq!(row.latency_ns.count(), row.reads, "one latency a read");
        let [p50, p99, p999] = row.quantiles_us();
        assert!(0.0 < p50 && p50 <= p99 && p99 <= p999);
        let most = if row.lane == Lane::Ring { 16 } else { row.readers };
        assert_eq!(row.allowed, most);
        let estimates = row.samples.iter().map(|s| s.in_flight).chain([row.in_flight()]);
        for in_flight in estimates {
            assert!((0.0..=most as f64).contains(&in_flight), "{in_flight} of {most}");
        }
        assert_eq!(
            (row.checked, row.wrong()),
            (row.reads, 0),
            "every read is checked"
        );
        assert!(row.cpu_ns_per_read() > 0.0 && row.per_second() > 0.0);
        assert!(!row.samples.is_empty());
    }
}

#[test]
fn what_cannot_be_compared_is_said_under_the_table() {
    let Some(_alone) = alone() else { return };
    let mut results = results(4);
    let told = text(&results);
    assert!(
        told.contains("a ring holds 4 a core and pread 1, so their latencies are not comparable")
            && told.contains("1.6 %")
            && !told.contains("not at equal reads in flight"),
        "{told}"
    );
    // As if there had been so many cores that pread was capped.
    if let Some(ring) = results
        .rows
        .iter_mut()
        .find(|row| (row.lane, row.phase) == (Lane::Ring, Phase::Direct))
    {
        ring.allowed = 1024;
        let told = text(&results);
        assert!(
            told.contains(
                "(not at equal reads in flight: 1024 against 4, for pread is capped at 512 threads)"
            ),
            "{told}"
        );
    }
}

#[test]
fn wrong_reads_are_counted() {
    let Some(_alone) = alone() else { return };
    let mut results = results(4);
    results.rows[0].checked -= 3;
    assert!(text(&results).contains("0 failed, 3 wrong"));
}

#[test]
fn the_latency_plot_rises_to_all_reads() {
    let Some(_alone) = alone() else { return };
    let page = page(&results(16)).to_json();
    let plots = page["parts"].as_array().unwrap().iter().map(|part| &part["plot"]);
    let plots: Vec<_> = plots
        .filter(|plot| plot["title"] == "Latency distribution")
        .collect();
    assert!(!plots.is_empty());
    for series in plots.iter().flat_map(|plot| plot["series"].as_array().unwrap()) {
        let points = series["points"].as_array().unwrap();
        let shares: Vec<f64> = points.iter().map(|point| point[1].as_f64().unwrap()).collect();
        assert!(shares.is_sorted(), "no saw: {shares:?}");
        assert_eq!(shares.last(), Some(&100.0));
    }
}

#[test]
fn the_latency_histogram_holds_every_read_under_its_bars() {
    let Some(_alone) = alone() else { return };
    let results = results(16);
    let page = page(&results).to_json();
    let plots = page["parts"].as_array().unwrap().iter().map(|part| &part["plot"]);
    let series: Vec<_> = plots
        .filter(|plot| plot["title"] == "Latency histogram")
        .flat_map(|plot| plot["series"].as_array().unwrap())
        .collect();
    assert_eq!(series.len(), results.rows.len());
    for (series, row) in series.iter().zip(&results.rows) {
        let points: Vec<[f64; 2]> = serde_json::from_value(series["points"].clone()).unwrap();
        let area: f64 = points
            .windows(2)
            .map(|pair| pair[0][1] * (pair[1][0] / pair[0][0]).log2())
            .sum();
        assert!((area - 100.0).abs() < 1e-6, "{area} % under {points:?}");
        // The bar of the median lies between edges around it.
        let median_us = row.quantiles_us()[0];
        assert!(points[0][0] <= median_us && median_us <= points.last().unwrap()[0]);
    }
}

#[test]
fn depth_is_what_the_published_settings_say() {
    let Some(_alone) = alone() else { return };
    let ring = |depth| {
        results(depth)
            .rows
            .into_iter()
            .find(|row| row.lane == Lane::Ring)
            .unwrap()
    };
    let (one, many) = (ring(1), ring(32));
    assert!(
        one.calls_per_read() > 0.9 && many.calls_per_read() < 0.5,
        "batches grow with the depth"
    );
    assert!(one.in_flight() < 1.5 && many.in_flight() > one.in_flight());
    assert!(one.samples.iter().all(|s| s.in_kernel <= 1) && many.samples.iter().all(|s| s.in_kernel <= 32));
}

#[test]
fn reads_in_the_kernel_are_seen_where_the_disk_takes_its_time() {
    let Some(_alone) = alone() else { return };
    let results = results(32);
    let Some(why) = &results.no_direct else {
        let ring = results.rows.iter().rfind(|row| row.lane == Lane::Ring).unwrap();
        assert!(
            ring.samples.iter().any(|s| s.in_kernel > 0),
            "from the sequence lock of the ring"
        );
        return;
    };
    eprintln!("skipped: no O_DIRECT here: {why}");
}

#[test]
fn buffers_are_leased_from_the_slab_and_the_file_sits_in_its_slot() {
    let Some(_alone) = alone() else { return };
    let results = results(32);
    for row in &results.rows {
        let most = if row.lane == Lane::Ring { 32 } else { row.readers };
        assert!(
            (1..=most).contains(&row.buffers_out),
            "{} of {most}",
            row.buffers_out
        );
        assert_eq!(row.slot.is_some(), row.lane == Lane::Ring);
    }
    assert_eq!(results.buffers, 32);
}

/// A file of a hundred blocks, open as `open` says, that should hold what seed 5 gives.
fn data(open: &OpenOptions, truth: u64) -> (tempfile::TempDir, DataFile) {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("data");
    let mut bytes = vec![0; 100 * 4096];
    Content::fill(truth, 0, &mut bytes);
    File::create(&path).unwrap().write_all_at(&bytes, 0).unwrap();
    let cached = open.open(&path).unwrap();
    let file = DataFile {
        cached,
        direct: Err("not wanted".into()),
        content: Content::Made { seed: 5 },
        blocks: 100,
        block: 4096,
        place: "a test".into(),
    };
    (home, file)
}

#[test]
fn c9_a_failed_read_is_told_with_kind_number_and_words() {
    let Some(_alone) = alone() else { return };
    let (_home, file) = data(OpenOptions::new().write(true), 5);
    let failed_before = totals().failed.sum_unsigned();
    let failure = measure(&args(8, 1), &[file], &[0], &Stop::default(), &Progress::silent()).unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Wrong);
    assert_eq!(failure.errno(), Some(inline_error::Errno::EBADF));
    assert!(
        failure.message().contains("read") && failure.message().contains("EBADF"),
        "{failure}"
    );
    assert!(
        totals().failed.sum_unsigned() > failed_before,
        "the count of failures moves"
    );
}

#[test]
fn a_wrong_block_ends_the_run_and_names_its_offset() {
    let Some(_alone) = alone() else { return };
    let (_home, file) = data(OpenOptions::new().read(true), 6);
    let failure = measure(&args(8, 1), &[file], &[0], &Stop::default(), &Progress::silent()).unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Wrong);
    assert!(
        failure.message().contains("is not what was written there"),
        "{failure}"
    );
}

#[test]
fn a_file_cut_short_ends_the_run() {
    let Some(_alone) = alone() else { return };
    let (_home, mut file) = data(OpenOptions::new().read(true), 5);
    file.blocks = 100_000;
    let failure = measure(&args(8, 1), &[file], &[0], &Stop::default(), &Progress::silent()).unwrap_err();
    assert!(failure.message().contains("of 4096 bytes at offset"), "{failure}");
}

#[test]
fn an_asked_stop_ends_the_run() {
    let Some(_alone) = alone() else { return };
    let stop = Stop::default();
    stop.ask();
    let failure = run(&args(8, 1), &stop, &Progress::silent()).unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Interrupted);
}
