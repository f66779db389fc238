//! The window left to itself, beside static depths, in paired slices.

use super::disk::{Disk, Lane, Slice, on_disk};
use crate::row::{Judged, quartiles, round3};
use crate::{Invalid, Row, Task, Verdict};
use std::time::Duration;
use uring_core::pace::{Control, Waiting, WindowOptions};

const TARGET: Duration = Duration::from_millis(2);

/// Static depths, the deepest last.
fn depths(quick: bool) -> &'static [u32] {
    match quick {
        true => &[4, 8, 16, 32, 64, 128],
        false => &[1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128],
    }
}

/// The slices of every lane: ours first, then the static depths.
struct Sweep {
    depths: &'static [u32],
    lanes: Vec<Vec<Slice>>,
    windows: Vec<i64>,
    unreachable: bool,
}

impl Sweep {
    /// Lets the lanes take turns. Ours has had time to settle; every lane sleeps, so that depth is all that differs.
    fn run(disk: &Disk, options: &WindowOptions, task: &Task<'_>) -> Result<Self, Invalid> {
        let quick = task.plan.quick;
        let depths = depths(quick);
        let ours = options.waiting(Waiting::Sleep);
        let fixed = |depth: &u32| {
            WindowOptions::new()
                .control(Control::Fixed(*depth))
                .waiting(Waiting::Sleep)
        };
        let all: Vec<WindowOptions> = [ours].into_iter().chain(depths.iter().map(fixed)).collect();
        let mut lanes = Vec::new();
        for (seed, options) in (1..).zip(&all) {
            lanes.push(Lane::new(disk, seed, options)?);
        }
        let (warm_up, length) = match quick {
            true => (Duration::from_millis(1_000), Duration::from_millis(50)),
            false => (Duration::from_millis(3_000), Duration::from_millis(200)),
        };
        lanes[0].slice(warm_up)?;
        let mut slices = vec![Vec::new(); lanes.len()];
        let mut windows = Vec::new();
        for round in 0..task.plan.rounds {
            for turn in 0..lanes.len() {
                let at = (round + turn) % lanes.len();
                slices[at].push(lanes[at].slice(length)?);
            }
            windows.push(lanes[0].window.handle().stats().window);
        }
        let unreachable = lanes[0].window.handle().stats().target_unreachable == 1;
        Ok(Self {
            depths,
            lanes: slices,
            windows,
            unreachable,
        })
    }

    fn median(&self, lane: usize, of: impl Fn(&Slice) -> f64) -> f64 {
        quartiles(&self.lanes[lane].iter().map(of).collect::<Vec<_>>()).1
    }

    /// The static lane with the greatest median throughput among those whose median p99 is at most so much.
    fn best(&self, p99_ns: f64) -> Option<usize> {
        (1..self.lanes.len())
            .filter(|&lane| self.median(lane, |s| s.p99_ns) <= p99_ns)
            .max_by(|&a, &b| {
                let rate = |lane| self.median(lane, |s| s.per_second);
                rate(a).total_cmp(&rate(b))
            })
    }

    /// In each round, how many times as much that lane did as ours.
    fn behind(&self, lane: usize, share: f64) -> Judged {
        let pairs = self.lanes[lane].iter().zip(&self.lanes[0]);
        Judged {
            ratios: pairs
                .map(|(theirs, ours)| theirs.per_second / ours.per_second)
                .collect(),
            at_most: 1.0 / share,
        }
    }

    fn row(&self, task: &Task<'_>) -> Row {
        let mut row = Row::unmeasured(task.claim, Verdict::Undecided, "");
        row.rounds = task.plan.rounds;
        row.ours = Some(self.median(0, |s| s.per_second).round());
        for (lane, depth) in (1..).zip(self.depths) {
            let rate = self.median(lane, |s| s.per_second).round();
            row.peers.insert(format!("depth {depth:>3}"), rate);
        }
        let (mut windows, us) = (self.windows.clone(), |lane| self.median(lane, |s| s.p99_ns) / 1e3);
        windows.sort_unstable();
        row.note = format!(
            "windows {} to {}, median {}; p99 {:.0} us, at a depth of 128 {:.0} us",
            windows[0],
            windows[windows.len() - 1],
            windows[windows.len() / 2],
            us(0),
            us(self.lanes.len() - 1)
        );
        row
    }
}

/// Ours from defaults against the best depth of all, and against the best whose tail is short.
pub(super) fn auto(task: &Task<'_>, cpu: usize) -> Result<Row, Invalid> {
    on_disk(task.claim, task.plan.quick, task.plan.cpus[cpu], |disk| {
        let sweep = Sweep::run(disk, &WindowOptions::new(), task)?;
        let deep_p99 = sweep.median(sweep.lanes.len() - 1, |s| s.p99_ns);
        let best = sweep.best(f64::INFINITY).ok_or(Invalid("no lane ran".into()))?;
        let mut bounds = vec![sweep.behind(best, 0.85)];
        let mut row = sweep.row(task);
        row.target = format!(
            "best of all, depth {}: at most 1/0.85 of ours",
            sweep.depths[best - 1]
        );
        if let Some(short) = sweep.best(deep_p99 * 0.6) {
            bounds.push(sweep.behind(short, 0.95));
            row.target += &format!(
                "; best with p99 <= 0.6 of depth 128's, depth {}: 1/0.95",
                sweep.depths[short - 1]
            );
        }
        row.judge(&bounds, false);
        Ok(row)
    })
}

/// Ours with a target, against the best depth that meets it; where none does, the target is a tenth over the least p99 of the
/// sweep.
pub(super) fn target(task: &Task<'_>, cpu: usize) -> Result<Row, Invalid> {
    on_disk(task.claim, task.plan.quick, task.plan.cpus[cpu], |disk| {
        let sweep = Sweep::run(disk, &WindowOptions::new().target_p99(TARGET), task)?;
        let asked = TARGET.as_nanos() as f64;
        let least = (1..sweep.lanes.len())
            .map(|lane| sweep.median(lane, |s| s.p99_ns))
            .fold(f64::INFINITY, f64::min);
        let infeasible = least > asked;
        let judged = if infeasible { least * 1.1 } else { asked };
        let best = sweep.best(judged).ok_or(Invalid("no lane ran".into()))?;
        let late = sweep.lanes[0]
            .iter()
            .filter(|slice| slice.p99_ns > judged)
            .count();
        let late = late as f64 / sweep.lanes[0].len() as f64;
        let mut row = sweep.row(task);
        // A share of all slices is one figure, not one a round.
        let violating = Judged {
            ratios: vec![late],
            at_most: 0.10,
        };
        row.judge(&[sweep.behind(best, 0.80), violating], false);
        row.target = format!(
            "depth {}, the best that meets it: at most 1/0.8 of ours; at most 0.1 of the slices over",
            sweep.depths[best - 1]
        );
        row.note += &format!(
            "; {} of the slices over {:.2} ms{}{}",
            round3(late),
            judged / 1e6,
            if infeasible {
                ", for no depth keeps 2 ms"
            } else {
                ""
            },
            if sweep.unreachable {
                "; the window says so: target unreachable"
            } else {
                ""
            },
        );
        Ok(row)
    })
}
