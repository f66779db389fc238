//! The results as text, JSON and page.

use super::content::FULL_EVERY;
use super::figures::{Figures, Lane, Phase};
use super::run::PREADS_MAX;
use super::{Results, Sample};
use crate::report::{Axis, Page, Plot, Series, Style, Table};
use seqstats::HistogramSnapshot;
use serde_json::{Value, json};
use std::fmt::Write;
use uring_core::{LATENCY_BUCKETS, Limits};

/// The results for a terminal or a pipe.
pub fn text(results: &Results) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{}\nfile: {}", machine(results), results.place);
    if is_fallback(results) {
        let _ = writeln!(out, "{ON_FALLBACK}");
    }
    let _ = writeln!(
        out,
        "{:<24}{:>11}{:>10}{:>10}{:>10}{:>11}{:>10}{:>11}",
        "", "op/s", "p50 us", "p99 us", "p99.9 us", "CPU ns/op", "calls/op", "~in flight"
    );
    for row in &results.rows {
        let [p50, p99, p999] = row.quantiles_us();
        let _ = writeln!(
            out,
            "{:<11} {:<12}{:>11.0}{:>10.1}{:>10.1}{:>10.1}{:>11.0}{:>10.3}{:>11.1}",
            row.phase,
            row.name(),
            row.per_second(),
            p50,
            p99,
            p999,
            row.cpu_ns_per_read(),
            row.calls_per_read(),
            row.in_flight()
        );
    }
    if let Some(why) = &results.no_direct {
        let _ = writeln!(out, "O_DIRECT left out: {why}");
    }
    for line in [note(results)].into_iter().chain(verdicts(results)) {
        let _ = writeln!(out, "{line}");
    }
    let _ = write!(out, "{}", checked(results));
    out
}

/// What the rows would otherwise hide.
const ON_FALLBACK: &str = "io_uring is refused here: what is called io_uring below is a ring on the fallback (epoll and threads), \
                           of whose system calls only the waits are counted";

/// Whether the rings went without io_uring.
fn is_fallback(results: &Results) -> bool {
    let rings = results.rows.iter().filter_map(|row| row.ring.as_deref());
    rings.into_iter().any(|ring| ring.starts_with("fallback"))
}

/// The results as data.
pub fn json(results: &Results) -> Value {
    let rows: Vec<_> = results.rows.iter().map(row).collect();
    json!({
        "schema": "uring-bench/1",
        "machine": machine(results),
        "file": results.place,
        "block_bytes": results.block,
        "depth_per_core": results.depth,
        "buffers": results.buffers,
        "o_direct_left_out": results.no_direct,
        "rows": rows,
    })
}

fn row(row: &Figures) -> Value {
    let [p50, p99, p999] = row.quantiles_us();
    let samples: Vec<_> = row
        .samples
        .iter()
        .map(|s| {
            json!({
                "at_s": s.at_s,
                "ops_per_s": s.per_second,
                "p99_us": s.p99_ns as f64 / 1e3,
                "in_flight": s.in_flight,
                "in_kernel": s.in_kernel,
            })
        })
        .collect();
    let histogram: Vec<_> = row
        .latency_ns
        .filled()
        .map(|(ns, count)| json!([ns, count]))
        .collect();
    json!({
        "phase": row.phase.to_string(),
        "lane": row.lane.to_string(),
        "readers": row.readers,
        "seconds": row.seconds,
        "ops": row.reads,
        "ops_per_s": row.per_second(),
        "p50_us": p50,
        "p99_us": p99,
        "p999_us": p999,
        "cpu_ns_per_op": row.cpu_ns_per_read(),
        "syscalls": row.calls,
        "syscalls_per_op": row.calls_per_read(),
        "in_flight": row.in_flight(),
        "buffers_out_max": row.buffers_out,
        "in_flight_allowed": row.allowed,
        "failed": row.failed,
        "wrong": row.wrong(),
        "verified": row.checked,
        "verified_in_full": row.checked_in_full,
        "registered_slot": row.slot,
        "ring": row.ring,
        "samples": samples,
        "latency_histogram_ns": histogram,
    })
}

/// The results as a page.
pub fn page(results: &Results) -> Page {
    let mut page = Page::new("uring bench");
    page.text(machine(results))
        .text(format!("File: {}", results.place));
    if is_fallback(results) {
        page.text(ON_FALLBACK);
    }
    page.table(table(results));
    page.text(note(results));
    for line in verdicts(results).into_iter().chain([checked(results)]) {
        page.text(line);
    }
    if let Some(why) = &results.no_direct {
        page.text(format!("O_DIRECT left out: {why}"));
    }
    for phase in [Phase::Cached, Phase::Direct] {
        let rows: Vec<_> = results.rows.iter().filter(|row| row.phase == phase).collect();
        if rows.is_empty() {
            continue;
        }
        page.heading(phase.to_string());
        let over_time = |title: &str, unit: &str, y: fn(&Sample) -> f64| {
            let mut plot = Plot::new(title, Axis::new("seconds"), Axis::new(unit).from_zero());
            for row in &rows {
                let points = row.samples.iter().map(|s| (s.at_s, y(s))).collect();
                plot.add(Series::new(row.name(), points));
            }
            plot
        };
        page.plot(over_time("Throughput over time", "reads a second", |s| {
            s.per_second
        }));
        page.plot(over_time("p99 latency over time", "microseconds", |s| {
            s.p99_ns as f64 / 1e3
        }));
        page.plot(over_time("Reads in flight over time, estimated", "reads", |s| {
            s.in_flight
        }));
        page.plot(latencies(
            &rows,
            "Latency histogram",
            "% of reads per doubling of latency",
            histogram,
        ));
        page.plot(latencies(
            &rows,
            "Latency distribution",
            "share of reads that took at most so long, %",
            distribution,
        ));
    }
    page
}

type Latencies = HistogramSnapshot<LATENCY_BUCKETS>;

fn latencies(rows: &[&Figures], title: &str, share: &str, of: fn(&Latencies) -> Vec<(f64, f64)>) -> Plot {
    let axis = Axis::new("latency, microseconds").logarithmic();
    let mut plot = Plot::new(title, axis, Axis::new(share).from_zero());
    plot.style(Style::Steps);
    for row in rows {
        plot.add(Series::new(row.name(), of(&row.latency_ns)));
    }
    plot
}

/// How many reads took how long: four bars an octave, whose ends are ends of buckets. The bars of an octave are of unlike
/// widths on a logarithmic axis, so each is as high as its share divided by its width.
fn histogram(latency_ns: &Latencies) -> Vec<(f64, f64)> {
    let all = latency_ns.count().max(1) as f64;
    let edges = (3..63).flat_map(|octave| (4..8).map(move |quarter| quarter << (octave - 2)));
    let edges: Vec<u64> = edges.collect();
    let mut bars = Vec::new();
    let mut below = latency_ns.count_at_most(edges[0] - 1);
    for pair in edges.windows(2) {
        let until = latency_ns.count_at_most(pair[1] - 1);
        let octaves = (pair[1] as f64 / pair[0] as f64).log2();
        let share = (until - below) as f64 * 100.0 / all;
        bars.push((pair[0] as f64 / 1e3, share / octaves));
        below = until;
    }
    // From the last empty bar before the reads to the first behind them.
    let filled = |bar: &(f64, f64)| bar.1 > 0.0;
    let Some(first) = bars.iter().position(filled) else {
        return Vec::new();
    };
    let last = bars.iter().rposition(filled).unwrap_or(first);
    bars[first.saturating_sub(1)..(last + 2).min(bars.len())].to_vec()
}

/// How many reads took at most so long.
fn distribution(latency_ns: &Latencies) -> Vec<(f64, f64)> {
    let all = latency_ns.count().max(1) as f64;
    let mut so_far = 0;
    let points = latency_ns.filled().map(|(ns, count)| {
        so_far += count;
        (ns as f64 / 1e3, so_far as f64 * 100.0 / all)
    });
    points.collect()
}

fn table(results: &Results) -> Table {
    let names = [
        "",
        "reader",
        "op/s",
        "p50 us",
        "p99 us",
        "p99.9 us",
        "CPU ns/op",
        "calls/op",
        "in flight, estimated",
    ];
    let mut table = Table::new("Figures of the whole run", &names);
    for row in &results.rows {
        let [p50, p99, p999] = row.quantiles_us();
        table.row([
            row.phase.to_string(),
            row.name(),
            format!("{:.0}", row.per_second()),
            format!("{p50:.1}"),
            format!("{p99:.1}"),
            format!("{p999:.1}"),
            format!("{:.0}", row.cpu_ns_per_read()),
            format!("{:.3}", row.calls_per_read()),
            format!("{:.1}", row.in_flight()),
        ]);
    }
    table
}

fn machine(results: &Results) -> String {
    let limits = Limits::read();
    let kernel = limits.kernel.as_deref().unwrap_or("of unknown release");
    let ring = results
        .rows
        .iter()
        .find_map(|row| row.ring.as_deref())
        .unwrap_or("no ring");
    let slot = results.rows.iter().find_map(|row| row.slot);
    let slot = slot.map_or(String::new(), |slot| format!(", file in slot {slot}"));
    let (buffers, block) = (results.buffers, results.block);
    format!("Linux {kernel}; a ring a core: {ring}{slot}; {buffers} buffers of {block} bytes")
}

fn checked(results: &Results) -> String {
    let sum = |of: fn(&Figures) -> u64| results.rows.iter().map(of).sum::<u64>();
    format!(
        "verified: {} reads by first and last word, {} of them (1 in {FULL_EVERY}) word by word; {} failed, {} wrong",
        sum(|row| row.checked),
        sum(|row| row.checked_in_full),
        sum(|row| row.failed),
        sum(Figures::wrong)
    )
}

/// What the table cannot say by itself.
fn note(results: &Results) -> String {
    let cached = match results.depth {
        1 => String::new(),
        depth => format!(
            ": on the page cache a ring holds {depth} a core and pread 1, so their latencies are not comparable"
        ),
    };
    format!(
        "latency is to within 1.6 % and at the reads in flight of its row (~ estimated: rate times mean latency){cached}"
    )
}

/// How the ring compares with plain reading, phase by phase.
fn verdicts(results: &Results) -> Vec<String> {
    let find = |phase, lane| {
        results
            .rows
            .iter()
            .find(|row| row.phase == phase && row.lane == lane)
    };
    [Phase::Cached, Phase::Direct]
        .into_iter()
        .filter_map(|phase| {
            let (ring, pread) = (find(phase, Lane::Ring)?, find(phase, Lane::Pread)?);
            let carrier = if is_fallback(results) { "the fallback" } else { "io_uring" };
            Some(format!(
                "{phase}: {carrier} does {:.2}x the reads of pread at {:.2}x the CPU each and {:.3}x the system calls{}",
                seqstats::ratio(ring.per_second(), pread.per_second()),
                seqstats::ratio(ring.cpu_ns_per_read(), pread.cpu_ns_per_read()),
                seqstats::ratio(ring.calls_per_read(), pread.calls_per_read()),
                unequal(ring, pread)
            ))
        })
        .collect()
}

/// Says so where the lanes could not have equally many reads in flight although they should.
fn unequal(ring: &Figures, pread: &Figures) -> String {
    if ring.phase == Phase::Cached || ring.allowed == pread.allowed {
        return String::new();
    }
    format!(
        " (not at equal reads in flight: {} against {}, for pread is capped at {PREADS_MAX} threads)",
        ring.allowed, pread.allowed
    )
}
