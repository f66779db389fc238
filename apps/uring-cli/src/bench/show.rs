//! The results as text, JSON and page.

use super::content::FULL_EVERY;
use super::figures::{Depth, Figures, Lane, Phase};
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
    let _ = writeln!(
        out,
        "{}\nfile: {}; {}",
        machine(results),
        results.place,
        results.rw
    );
    if is_fallback(results) {
        let _ = writeln!(out, "{ON_FALLBACK}");
    }
    let _ = writeln!(
        out,
        "{:<28}{:>11}{:>10}{:>10}{:>10}{:>11}{:>10}{:>11}",
        "", "op/s", "p50 us", "p99 us", "p99.9 us", "CPU ns/op", "calls/op", "~in flight"
    );
    for row in &results.rows {
        let [p50, p99, p999] = row.quantiles_us();
        let _ = writeln!(
            out,
            "{:<11} {:<16}{:>11.0}{:>10.1}{:>10.1}{:>10.1}{:>11.0}{:>10.3}{:>11.1}",
            row.phase,
            row.full_name(),
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
    for line in [note(results)]
        .into_iter()
        .chain(found(results))
        .chain(share_of_best(results))
        .chain(verdicts(results))
    {
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
        "target_p99_ms": results.target_p99_ms,
        "work": results.rw.to_string(),
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
                "depth": s.depth,
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
        "depth": match row.depth {
            Depth::Static(depth) => json!(depth),
            Depth::Auto => json!("auto"),
        },
        "depth_settled": row.settled(),
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
        .text(format!("File: {}; {}", results.place, results.rw));
    if is_fallback(results) {
        page.text(ON_FALLBACK);
    }
    page.table(table(results));
    page.text(note(results));
    for line in found(results)
        .into_iter()
        .chain(share_of_best(results))
        .chain(verdicts(results))
        .chain([checked(results)])
    {
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
        if results.sweep {
            for plot in sweep(&rows) {
                page.plot(plot);
            }
        }
        // Of a sweep's lanes the one that found its depth, and the static one that it is to be held against.
        let best = best_static(&rows).map(|row| row.full_name());
        let shown =
            |row: &&&Figures| !results.sweep || row.depth == Depth::Auto || Some(row.full_name()) == best;
        let rows: Vec<_> = rows.iter().filter(shown).copied().collect();
        let over_time = |title: &str, unit: &str, y: fn(&Sample) -> f64| {
            let mut plot = Plot::new(title, Axis::new("seconds"), Axis::new(unit).from_zero());
            for row in &rows {
                let points = row.samples.iter().map(|s| (s.at_s, y(s))).collect();
                plot.add(Series::new(row.full_name(), points));
            }
            plot
        };
        page.plot(over_time("Depth over time, all cores", "operations", |s| {
            s.depth as f64
        }));
        page.plot(over_time("Throughput over time", "operations a second", |s| {
            s.per_second
        }));
        page.plot(over_time("p99 latency over time", "microseconds", |s| {
            s.p99_ns as f64 / 1e3
        }));
        let noun = match results.rw.noun() {
            "reads" => "Reads",
            "writes" => "Writes",
            _ => "Operations",
        };
        page.plot(over_time(
            &format!("{noun} in flight over time, estimated"),
            "operations",
            |s| s.in_flight,
        ));
        page.plot(latencies(
            &rows,
            "Latency histogram",
            &format!("% of {} per doubling of latency", results.rw.noun()),
            histogram,
        ));
        page.plot(latencies(
            &rows,
            "Latency distribution",
            &format!("share of {} that took at most so long, %", results.rw.noun()),
            distribution,
        ));
    }
    page
}

/// The static lane of a phase that did most.
fn best_static<'a>(rows: &[&'a Figures]) -> Option<&'a Figures> {
    let fixed = rows
        .iter()
        .filter(|row| row.lane == Lane::Ring && row.depth != Depth::Auto);
    fixed
        .copied()
        .max_by(|a, b| a.per_second().total_cmp(&b.per_second()))
}

/// Throughput and tail by depth: the static lanes as a curve, the one that found its depth as a point on it.
fn sweep(rows: &[&Figures]) -> [Plot; 2] {
    let plot = |title: &str, unit: &str, y: fn(&Figures) -> f64| {
        let depth = Axis::new("depth, all cores").logarithmic();
        let mut plot = Plot::new(title, depth, Axis::new(unit).from_zero());
        let (found, fixed): (Vec<&Figures>, Vec<&Figures>) =
            rows.iter().copied().partition(|row| row.depth == Depth::Auto);
        let points = fixed.iter().map(|row| (row.allowed as f64, y(row))).collect();
        plot.add(Series::new("static", points));
        for row in found {
            // A point has no length: two ends beside it make it seen.
            let (at, y) = (row.settled() as f64, y(row));
            plot.add(Series::new(
                "found by itself",
                vec![(at * 0.95, y), (at * 1.05, y)],
            ));
        }
        plot
    };
    [
        plot("Throughput by depth", "operations a second", Figures::per_second),
        plot("p99 latency by depth", "microseconds", |row| {
            row.quantiles_us()[1]
        }),
    ]
}

/// Which depth was found, where none was given.
fn found(results: &Results) -> Vec<String> {
    let autos = results.rows.iter().filter(|row| row.depth == Depth::Auto);
    let tell = |row: &Figures| {
        let (settled, rings) = (row.settled(), row.readers as u64);
        let target = match results.target_p99_ms {
            Some(ms) => format!(" under a p99 of {ms} ms"),
            None => String::new(),
        };
        format!(
            "{}: the depth found its place{target} at {settled}, on {rings} rings",
            row.phase
        )
    };
    autos.map(tell).collect()
}

/// How much of the best static depth the found one reaches.
fn share_of_best(results: &Results) -> Vec<String> {
    if !results.sweep {
        return Vec::new();
    }
    let phases = [Phase::Cached, Phase::Direct];
    let told = phases.into_iter().filter_map(|phase| {
        let rows: Vec<_> = results.rows.iter().filter(|row| row.phase == phase).collect();
        let (best, auto) = (
            best_static(&rows)?,
            rows.iter().find(|row| row.depth == Depth::Auto)?,
        );
        let deepest = rows.iter().rfind(|row| row.depth != Depth::Auto)?;
        Some(format!(
            "{phase}: {:.1} % of the best static depth, {}, at {:.2}x its p99 and {:.2}x that of {}",
            seqstats::ratio(auto.per_second() * 100.0, best.per_second()),
            best.full_name(),
            seqstats::ratio(auto.quantiles_us()[1], best.quantiles_us()[1]),
            seqstats::ratio(auto.quantiles_us()[1], deepest.quantiles_us()[1]),
            deepest.full_name()
        ))
    });
    told.collect()
}

type Latencies = HistogramSnapshot<LATENCY_BUCKETS>;

fn latencies(rows: &[&Figures], title: &str, share: &str, of: fn(&Latencies) -> Vec<(f64, f64)>) -> Plot {
    let axis = Axis::new("latency, microseconds").logarithmic();
    let mut plot = Plot::new(title, axis, Axis::new(share).from_zero());
    plot.style(Style::Steps);
    for row in rows {
        plot.add(Series::new(row.full_name(), of(&row.latency_ns)));
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
            row.full_name(),
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
        .rev()
        .find_map(|row| row.ring.as_deref())
        .unwrap_or("no ring");
    let slot = results.rows.iter().find_map(|row| row.slot);
    let slot = slot.map_or(String::new(), |slot| format!(", file in slot {slot}"));
    let (buffers, block) = (results.buffers, results.block);
    format!("Linux {kernel}; a ring a core: {ring}{slot}; {buffers} buffers of {block} bytes")
}

fn checked(results: &Results) -> String {
    let sum = |of: fn(&Figures) -> u64| results.rows.iter().map(of).sum::<u64>();
    let written = match results.rw.writes() {
        true => " (of a write its buffer; some blocks read back at the end)",
        false => "",
    };
    format!(
        "verified: {} {} by first and last word, {} of them (1 in {FULL_EVERY}) word by word{written}; {} failed, {} wrong",
        sum(|row| row.checked),
        results.rw.noun(),
        sum(|row| row.checked_in_full),
        sum(|row| row.failed),
        sum(Figures::wrong)
    )
}

/// What the table cannot say by itself.
fn note(results: &Results) -> String {
    let cached = match results.depth {
        Some(1) => String::new(),
        depth => {
            let depth = depth.map_or("many".to_owned(), |depth| depth.to_string());
            format!(
                ": on the page cache a ring holds {depth} a core and {} 1, so their latencies are not comparable",
                results.rw.calls()
            )
        }
    };
    format!(
        "latency is to within 1.6 % and at the {} in flight of its row (~ estimated: rate times mean latency){cached}",
        results.rw.noun()
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
                "{phase}: {carrier} does {:.2}x the {} of {} at {:.2}x the CPU each and {:.3}x the system calls{}",
                seqstats::ratio(ring.per_second(), pread.per_second()),
                results.rw.noun(),
                results.rw.calls(),
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
    let (noun, calls) = (ring.rw.noun(), ring.rw.calls());
    if ring.depth == Depth::Auto {
        return format!(
            " (not at equal {noun} in flight: {:.0} against {:.0}, since the ring found its own)",
            ring.in_flight(),
            pread.in_flight()
        );
    }
    format!(
        " (not at equal {noun} in flight: {} against {}, for {calls} is capped at {PREADS_MAX} threads)",
        ring.allowed, pread.allowed
    )
}
