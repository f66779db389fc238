//! Curves over the number of threads: what one more thread brings, or takes.

use crate::{Curve, Invalid, Plan, Row, Task, claims, online_cpus};
use serde::{Deserialize, Serialize};

/// Threads at which a curve is measured.
const THREADS: [usize; 5] = [1, 2, 4, 8, 16];

/// One point of one curve: the row of its lanes, at so many threads.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Point {
    /// Threads of each lane.
    pub threads: usize,
    /// More threads than CPUs: they took turns, and the point says nothing about scaling.
    pub oversubscribed: bool,
    /// Wall time per operation of all threads together, lane by lane.
    pub row: Row,
}

/// Measures every curve whose id begins with `only`, up to twice the CPUs there are; `told` hears of each point before
/// it is measured.
///
/// # Errors
/// The first lane that gave a wrong result.
pub fn scaling(plan: &Plan, only: &str, mut told: impl FnMut(&Curve, usize)) -> Result<Vec<Point>, Invalid> {
    let cpus = online_cpus().len();
    let plan = Plan {
        wall: true,
        ..plan.clone()
    };
    let mut points = Vec::new();
    for curve in claims::curves() {
        if !curve.claim.id.starts_with(only) {
            continue;
        }
        for threads in THREADS.into_iter().filter(|threads| *threads <= 2 * cpus) {
            told(&curve, threads);
            let task = Task {
                claim: &curve.claim,
                plan: &plan,
            };
            points.push(Point {
                threads,
                oversubscribed: threads > cpus,
                row: (curve.run)(&task, threads)?,
            });
        }
    }
    Ok(points)
}
