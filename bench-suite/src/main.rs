//! `claims`: measures the claims of the workspace and says which hold.

use anyhow::Context;
use bench_suite::report::{About, about_file};
use bench_suite::{
    Claim, CountingAllocator, Invalid, Plan, Row, Task, Verdict, claims, measure_alone, online_cpus,
    render_table, scaling,
};
use clap::Parser;
use serde::Serialize;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Counts calls, for the claims that say "no allocation"; every lane pays the same for it.
#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Measures every claim against its peers and its floor in one run.
#[derive(Debug, Parser)]
#[command(name = "claims")]
struct Arguments {
    /// Print the claims and measure nothing.
    #[arg(long)]
    list: bool,
    /// Measure only claims whose id starts with this.
    #[arg(long, value_name = "PREFIX")]
    only: Option<String>,
    /// Write the rows as JSON after each claim, so that an interrupted run keeps what it has, and beside them, in
    /// NAME.about.json, the machine and the versions.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// A quick look: under a minute a crate, wider spread.
    #[arg(long)]
    quick: bool,
    /// Only the claims that need more than two cores.
    #[arg(long)]
    many_core: bool,
    /// Measure curves over the number of threads instead, where more threads than CPUs are marked.
    #[arg(long, conflicts_with_all = ["list", "many_core"])]
    scaling: bool,
    /// Take the figures of this claim and print them bare: what the program asks of itself in a process of its own.
    #[arg(long, value_name = "ID", hide = true)]
    alone: Option<String>,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(id) = &arguments.alone {
        let figures = measure_alone(id)?;
        figures.iter().for_each(|figure| println!("{figure}"));
        return Ok(ExitCode::SUCCESS);
    }
    let plan = if arguments.quick {
        Plan::quick()
    } else {
        Plan::full()
    };
    if arguments.scaling {
        return measure_curves(&arguments, &plan);
    }
    let wanted = |claim: &Claim| {
        arguments
            .only
            .as_ref()
            .is_none_or(|prefix| claim.id.starts_with(prefix.as_str()))
            && (!arguments.many_core || claim.cores > 2)
    };
    let chosen: Vec<Claim> = claims::all().into_iter().filter(wanted).collect();
    if chosen.is_empty() {
        anyhow::bail!("no claim matches; `--list` shows them all");
    }
    if arguments.list {
        for claim in &chosen {
            println!("{:<22} {:<14} {}", claim.id, claim.krate, claim.what);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let (rows, invalid) = measure_all(&chosen, &plan, arguments.json.as_deref())?;
    print!("{}", render_table(&rows));
    let count = |verdict| rows.iter().filter(|row| row.holds == verdict).count();
    println!(
        "\n{} claims: {} hold, {} do not, {} undecided, {} not here, {} invalid",
        chosen.len(),
        count(Verdict::Yes),
        count(Verdict::No),
        count(Verdict::Undecided),
        count(Verdict::NotHere),
        invalid.len(),
    );
    for (id, why) in &invalid {
        eprintln!("invalid: {id}: {why}");
    }
    Ok(if invalid.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

/// Measures the curves and prints every point.
fn measure_curves(arguments: &Arguments, plan: &Plan) -> anyhow::Result<ExitCode> {
    let live = std::io::stderr().is_terminal();
    let only = arguments.only.as_deref().unwrap_or("");
    let points = scaling(plan, only, |curve, threads| {
        if live {
            eprint!("\r\x1b[K{} {threads} threads", curve.claim.id);
        }
    })?;
    if points.is_empty() {
        let ids: Vec<_> = claims::curves().iter().map(|curve| curve.claim.id).collect();
        anyhow::bail!("no curve begins with `{only}`; there are {}", ids.join(", "));
    }
    if live {
        eprint!("\r\x1b[K");
    }
    for point in &points {
        let mark = if point.oversubscribed {
            " (oversubscribed)"
        } else {
            ""
        };
        let ours = point.row.ours.unwrap_or(f64::NAN);
        print!(
            "{:<10} {:>2} threads{mark}: ours {ours} ns",
            point.row.id, point.threads
        );
        point
            .row
            .peers
            .iter()
            .for_each(|(name, ns)| print!(", {name} {ns}"));
        println!();
    }
    if let Some(file) = &arguments.json {
        save(&about_file(file), &About::here(plan.quick))?;
        save(file, &points)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What to say of the time left, once a claim or more are done: claims take about as long as each other.
fn time_left(elapsed: Duration, done: usize, all: usize) -> String {
    if done == 0 {
        return String::new();
    }
    let left = elapsed.as_secs_f64() / done as f64 * (all - done) as f64;
    format!(", about {left:.0} s left:")
}

/// Replaces a file whole, so that whoever interrupts finds the old one or the new one.
fn save(file: &Path, value: &impl Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(value)? + "\n";
    let beside = file.with_extension("part");
    std::fs::write(&beside, text)
        .and_then(|()| std::fs::rename(&beside, file))
        .with_context(|| format!("cannot write {}", file.display()))
}

type Invalids = Vec<(&'static str, Invalid)>;

/// Measures one after the other, writing the JSON after each so that an interrupted run keeps what it has.
fn measure_all(chosen: &[Claim], plan: &Plan, json: Option<&Path>) -> anyhow::Result<(Vec<Row>, Invalids)> {
    let (mut rows, mut invalid) = (Vec::new(), Vec::new());
    let live = std::io::stderr().is_terminal();
    let start = Instant::now();
    if let Some(file) = json {
        save(&about_file(file), &About::here(plan.quick))?;
    }
    for (at, claim) in chosen.iter().enumerate() {
        if live {
            let left = time_left(start.elapsed(), at, chosen.len());
            eprint!(
                "\r\x1b[K{}/{}{left} {} {}",
                at + 1,
                chosen.len(),
                claim.id,
                claim.what
            );
        }
        let cores = online_cpus().len();
        if claim.cores > cores {
            let note = format!("needs {} cores, this machine has {cores}", claim.cores);
            rows.push(Row::unmeasured(claim, Verdict::NotHere, note));
        } else {
            match (claim.run)(&Task { claim, plan }) {
                Ok(row) => rows.push(row),
                Err(why) => invalid.push((claim.id, why)),
            }
        }
        if let Some(file) = json {
            save(file, &rows)?;
        }
    }
    if live {
        eprint!("\r\x1b[K");
    }
    Ok((rows, invalid))
}
