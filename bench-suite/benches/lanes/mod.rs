//! The lanes of claims under criterion: distributions and history of what the claims compare by their medians.
//!
//! Nothing is measured here that is not a lane of a claim, so that both speak of the same code. Build with
//! `--features peers` to have the peers beside ours.

use bench_suite::{Invalid, Plan, Task, claims, online_cpus};
use criterion::{BenchmarkId, Criterion};
use std::cell::RefCell;
use std::time::Duration;

thread_local! {
    static CRITERION: RefCell<Option<Criterion>> = const { RefCell::new(None) };
}

/// Hands one lane to criterion.
fn bench(claim: &str, lane: &str, run: &dyn Fn(u64) -> Result<Duration, Invalid>) -> Result<(), Invalid> {
    let mut failed = None;
    CRITERION.with_borrow_mut(|criterion| {
        let mut group = criterion
            .as_mut()
            .expect("set before any lane")
            .benchmark_group(claim);
        group.bench_function(BenchmarkId::from_parameter(lane), |bencher| {
            bencher.iter_custom(|iterations| {
                run(iterations).unwrap_or_else(|why| {
                    failed = Some(why);
                    Duration::from_nanos(iterations)
                })
            });
        });
        group.finish();
    });
    failed.map_or(Ok(()), Err)
}

/// Runs the lanes of every claim whose id begins with one of `families`.
pub(crate) fn run(families: &[&str]) {
    let criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    CRITERION.set(Some(criterion));
    let mut plan = Plan::quick();
    plan.sink = Some(bench);
    let cpus = online_cpus().len();
    for claim in claims::all() {
        let wanted = families.iter().any(|family| claim.id.starts_with(family));
        if !wanted || claim.cores > cpus {
            continue;
        }
        if let Err(why) = (claim.run)(&Task {
            claim: &claim,
            plan: &plan,
        }) {
            eprintln!("{}: {why}", claim.id);
            std::process::exit(1);
        }
    }
    if let Some(criterion) = CRITERION.take() {
        criterion.final_summary();
    }
}
