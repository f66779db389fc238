//! How long a new ring takes to find its window.

use super::disk::{Lane, on_disk};
use crate::machine::wall_ns;
use crate::row::{Judged, quartiles, round3};
use crate::{Invalid, Row, Task, Verdict};
use std::time::Duration;
use uring_core::pace::{Waiting, WindowOptions};

/// Most that it may take.
const SECONDS: f64 = 1.0;

pub(super) fn from_new(task: &Task<'_>) -> Result<Row, Invalid> {
    on_disk(task.claim, task.plan.quick, task.plan.cpus[0], |disk| {
        let (mut took, mut windows, mut rates) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..task.plan.rounds {
            let mut lane = Lane::new(
                disk,
                round as u64 + 1,
                &WindowOptions::new().waiting(Waiting::Sleep),
            )?;
            let begun = wall_ns();
            let slice = lane.run(Duration::from_secs(5), |window| {
                window.handle().stats().settled == 1
            })?;
            took.push((wall_ns() - begun) as f64 / 1e9);
            windows.push(lane.window.handle().stats().window as f64);
            rates.push(slice.per_second);
        }
        let mut row = Row::unmeasured(task.claim, Verdict::Undecided, "");
        row.rounds = task.plan.rounds;
        row.ours = Some(round3(quartiles(&took).1));
        row.target = format!("<= {SECONDS} s, above 5,000 reads a second");
        let (low, median, high) = quartiles(&windows);
        row.note = format!(
            "settled at {low} to {high}, median {median}; the longest took {:.2} s; {:.0} reads a second meanwhile",
            took.iter().copied().fold(0.0, f64::max),
            quartiles(&rates).1
        );
        let bound = Judged {
            ratios: took.iter().map(|s| s / SECONDS).collect(),
            at_most: 1.0,
        };
        row.judge(&[bound], false);
        Ok(row)
    })
}
