//! The ladder on every device model, beside static windows and the textbook controller.

use crate::row::round3;
use crate::{Invalid, Row, Task, Verdict};
use uring_core::flow::simulate::{Device, Outcome, Static, run};
use uring_core::flow::{Aimd, Ladder, LadderOptions};

const SECOND: u64 = 1_000_000_000;
const CALLERS: u32 = 256;
/// Below, at and above every model's knee; the last is the deep one whose tail is the measure.
const WINDOWS: [u32; 7] = [8, 12, 16, 24, 32, 48, 128];
const P99: f64 = 0.7;

/// Name, model, seconds, and the share of the best static throughput that is asked for.
fn rows() -> [(&'static str, Device, u64, f64); 10] {
    let step = |capacity, latency| Device::sata_ssd().changing(6 * SECOND, capacity, latency);
    [
        ("NVMe with stalls", Device::nvme(), 12, 0.92),
        ("SATA SSD", Device::sata_ssd(), 12, 0.92),
        ("spinning disk", Device::spinning_disk(), 600, 0.92),
        ("throttled volume", Device::throttled_volume(), 20, 0.92),
        ("network that collapses", Device::collapsing_network(), 12, 0.92),
        ("noisy neighbour", Device::noisy_neighbour(), 30, 0.80),
        ("capacity /4", step(0.25, 1.0), 12, 0.92),
        ("capacity x4", step(4.0, 1.0), 12, 0.92),
        ("latency x5", step(1.0, 5.0), 12, 0.92),
        ("latency /5", step(1.0, 0.2), 12, 0.92),
    ]
}

/// What one controller did, against the best static window and the deep one.
struct Standing {
    share: f64,
    p99: f64,
}

fn standing(outcome: &Outcome, fixed: &[Outcome]) -> Standing {
    let best = fixed.iter().map(|o| o.per_second).fold(0.0, f64::max);
    let deep = fixed.last().map_or(1, |o| o.p99_ns.max(1));
    Standing {
        share: outcome.per_second / best,
        p99: outcome.p99_ns as f64 / deep as f64,
    }
}

/// A seed of this run, for a second look at devices nobody tuned for.
fn fresh() -> u64 {
    std::time::UNIX_EPOCH.elapsed().map_or(1, |t| t.as_nanos() as u64)
}

pub(super) fn every_row(task: &Task<'_>) -> Result<Row, Invalid> {
    let fresh = fresh();
    let mut row = Row::unmeasured(task.claim, Verdict::Yes, "");
    let (mut least, mut missed, mut seeds) = (f64::INFINITY, Vec::new(), 0);
    for seed in [11, fresh] {
        seeds += 1;
        for (name, device, seconds, asked) in rows() {
            let length = seconds * SECOND;
            let with = |controller: &mut dyn uring_core::flow::Controller| {
                run(controller, &device, CALLERS, length, seed)
            };
            let fixed = WINDOWS.map(|window| with(&mut Static(window)));
            let options = LadderOptions {
                max: CALLERS,
                target_p99_ns: None,
            };
            let ladder = standing(&with(&mut Ladder::new(options)), &fixed);
            let aimd = standing(&with(&mut Aimd::new(10_000_000, CALLERS)), &fixed);
            let aimd_loses = aimd.share < asked || aimd.p99 > P99;
            let ahead = !aimd_loses || ladder.share > aimd.share || ladder.p99 < aimd.p99;
            least = least.min(ladder.share / asked);
            let seen = |of: fn(&Standing) -> f64, who: &Standing| round3(of(who));
            let told = row.peers.entry(name.into()).or_insert(f64::INFINITY);
            *told = told.min(seen(|s| s.share, &ladder));
            if ladder.share < asked || ladder.p99 > P99 || !ahead {
                missed.push(format!(
                    "{name}, seed {seed}: share {:.3}, p99 {:.2} of depth 128's, textbook {:.3} and {:.2}",
                    ladder.share, ladder.p99, aimd.share, aimd.p99
                ));
            }
        }
    }
    row.ours = row.peers.values().copied().reduce(f64::min);
    row.ratio = Some(round3(least));
    row.rounds = seeds;
    row.target = format!(
        "share >= 0.92 (noisy neighbour 0.80), p99 <= {P99} of depth 128's, ahead of the textbook controller wherever that misses"
    );
    row.note = format!("fresh seed {fresh}; the peers are the models, each with our share");
    if !missed.is_empty() {
        row.holds = Verdict::No;
        row.note += &format!("; missed: {}", missed.join("; "));
    }
    Ok(row)
}
