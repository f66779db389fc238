//! A claim: a stable id and the function that measures it.

use crate::Row;
use std::fmt;
use std::time::Duration;

/// How much of everything one run of the claims does.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Rounds, each running every lane once; odd, so that the median was measured.
    pub rounds: usize,
    /// CPU time aimed at for one lane in one round.
    pub lane_time: Duration,
    /// CPUs to pin to, thread `i` to `cpus[i % cpus.len()]`.
    pub cpus: Vec<usize>,
    /// A quick look instead of the figures that stand in BENCHMARKS.md.
    pub quick: bool,
    /// Charge wall time whatever a claim would charge: for curves over threads, where waiting is the point.
    pub wall: bool,
    /// Hand the lanes over instead of measuring them.
    pub sink: Option<Sink>,
}

/// Takes a lane: the claim's id, the lane's name, and how to run it for so many operations and learn the time they took.
pub type Sink = fn(&str, &str, &dyn Fn(u64) -> Result<Duration, Invalid>) -> Result<(), Invalid>;

impl Plan {
    /// The plan behind published figures: 11 rounds of 60 ms a lane.
    pub fn full() -> Self {
        Self {
            rounds: 11,
            lane_time: Duration::from_millis(60),
            cpus: crate::online_cpus(),
            quick: false,
            wall: false,
            sink: None,
        }
    }

    /// A plan under a minute a crate: 9 rounds of 8 ms a lane.
    pub fn quick() -> Self {
        Self {
            rounds: 9,
            lane_time: Duration::from_millis(8),
            cpus: crate::online_cpus(),
            quick: true,
            wall: false,
            sink: None,
        }
    }
}

/// Why a measurement counts for nothing: a wrong result, a failed operation, a lane that could not be set up.
#[derive(Clone, Debug)]
pub struct Invalid(pub String);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Invalid {}

impl From<String> for Invalid {
    fn from(why: String) -> Self {
        Self(why)
    }
}

impl From<std::io::Error> for Invalid {
    fn from(why: std::io::Error) -> Self {
        Self(why.to_string())
    }
}

/// One line of the table of claims.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// The stable id that every performance sentence in any document names.
    pub id: &'static str,
    /// The crate that makes the claim.
    pub krate: &'static str,
    /// What is measured, with sizes.
    pub what: &'static str,
    /// The unit of `ours`, `floor` and `peers`.
    pub unit: &'static str,
    /// Cores that the claim needs; on a machine with fewer it is `not here`.
    pub cores: usize,
    /// Measures it.
    pub run: fn(&Task<'_>) -> Result<Row, Invalid>,
}

/// What a measuring function is given: the claim that it measures and the plan to follow.
#[derive(Clone, Copy, Debug)]
pub struct Task<'a> {
    /// The claim being measured.
    pub claim: &'a Claim,
    /// How much of everything to do.
    pub plan: &'a Plan,
}

/// A figure over the number of threads.
#[derive(Clone, Copy, Debug)]
pub struct Curve {
    /// The claim whose lanes are run.
    pub claim: Claim,
    /// Measures one point.
    pub run: fn(&Task<'_>, usize) -> Result<Row, Invalid>,
}
