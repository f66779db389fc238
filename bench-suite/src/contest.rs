//! A contest: lanes run in rotating order, round after round, judged by the ratios within each round.

use crate::claim::{Invalid, Plan, Sink, Task};
use crate::machine::{pin_to, steal_ticks, thread_cpu_ns, wall_ns};
use crate::row::{Judged, Row, Verdict, quartiles, round3};
use std::sync::Barrier;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Ours,
    Floor,
    Peer,
}

/// Which clock an operation is charged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clock {
    Cpu,
    Wall,
}

/// One thread of one lane in one round.
#[derive(Debug)]
pub struct Worker<'a> {
    /// Which thread of the lane this is, from 0.
    pub index: usize,
    ops: u64,
    start: &'a Barrier,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, Default)]
struct Outcome {
    ops: u64,
    cpu_ns: u64,
    wall_ns: u64,
    own_figure: Option<f64>,
}

impl Worker<'_> {
    /// Runs `body` with the number of operations to do, on the clock. All threads of the lane start together; what a
    /// worker does before this call is set-up and is not charged. Call it once.
    pub fn measure<R>(&mut self, body: impl FnOnce(u64) -> R) -> R {
        self.start.wait();
        let (wall, cpu) = (wall_ns(), thread_cpu_ns());
        let result = std::hint::black_box(body(std::hint::black_box(self.ops)));
        self.outcome.cpu_ns = thread_cpu_ns() - cpu;
        self.outcome.wall_ns = wall_ns() - wall;
        self.outcome.ops = self.ops;
        result
    }

    /// Replaces the time per operation by a figure of the lane's own, a percentile for instance; with several threads
    /// the greatest counts.
    pub fn report(&mut self, figure: f64) {
        self.outcome.own_figure = Some(figure);
    }

    /// Operations that this round asks for, for set-up that needs to know.
    pub fn ops(&self) -> u64 {
        self.ops
    }
}

/// What one run of a lane gave.
struct Ran {
    /// The lane's own figure, or its time per operation.
    figure: f64,
    ns_per_op: f64,
    /// The longest that a thread was busy.
    busy_ns: u64,
}

type Body<'a> = Box<dyn Fn(&mut Worker<'_>) -> Result<(), Invalid> + Sync + 'a>;

struct Lane<'a> {
    name: String,
    role: Role,
    threads: usize,
    ops: u64,
    body: Body<'a>,
    figures: Vec<f64>,
}

struct Bound {
    lane: String,
    at_most: f64,
    words: String,
}

/// Lanes and bounds of one claim.
///
/// ```
/// use bench_suite::{Claim, Contest, Plan, Task, Verdict};
/// fn adds(task: &Task<'_>) -> Result<bench_suite::Row, bench_suite::Invalid> {
///     let mut contest = Contest::new(task);
///     contest.ours("one add", 1, |w| {
///         w.measure(|n| (0..n).fold(0u64, |a, i| std::hint::black_box(a + i)));
///         Ok(())
///     });
///     contest.floor("the same", 1, |w| {
///         w.measure(|n| (0..n).fold(0u64, |a, i| std::hint::black_box(a + i)));
///         Ok(())
///     });
///     contest.at_most(3.0, "the same");
///     contest.run()
/// }
/// let claim = Claim { id: "x", krate: "y", what: "z", unit: "ns", cores: 1, run: adds };
/// let row = adds(&Task { claim: &claim, plan: &Plan::quick() }).unwrap();
/// assert_eq!(row.holds, Verdict::Yes);
/// ```
pub struct Contest<'a> {
    plan: &'a Plan,
    row: Row,
    lanes: Vec<Lane<'a>>,
    bounds: Vec<Bound>,
    clock: Clock,
    fixed_ops: Option<u64>,
}

impl std::fmt::Debug for Contest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contest")
            .field("row", &self.row)
            .field("lanes", &self.lanes.len())
            .finish()
    }
}

impl<'a> Contest<'a> {
    /// Begins a contest for the task's claim.
    pub fn new(task: &Task<'a>) -> Self {
        Self {
            plan: task.plan,
            row: Row::unmeasured(task.claim, Verdict::Undecided, ""),
            lanes: Vec::new(),
            bounds: Vec::new(),
            clock: if task.plan.wall { Clock::Wall } else { Clock::Cpu },
            fixed_ops: None,
        }
    }

    /// Charges wall time per operation of a whole lane instead of CPU time: for transfers between threads.
    pub fn by_wall_clock(&mut self) -> &mut Self {
        self.clock = Clock::Wall;
        self
    }

    /// Fixes the operations of a thread in a round instead of calibrating them.
    pub fn fixed_ops(&mut self, ops: u64) -> &mut Self {
        self.fixed_ops = Some(ops);
        self
    }

    /// Adds our lane; the first is the one that bounds judge.
    pub fn ours(
        &mut self,
        name: &str,
        threads: usize,
        body: impl Fn(&mut Worker<'_>) -> Result<(), Invalid> + Sync + 'a,
    ) -> &mut Self {
        self.lane(Role::Ours, name, threads, Box::new(body))
    }

    /// Adds the floor: the least that any implementation would cost.
    pub fn floor(
        &mut self,
        name: &str,
        threads: usize,
        body: impl Fn(&mut Worker<'_>) -> Result<(), Invalid> + Sync + 'a,
    ) -> &mut Self {
        self.lane(Role::Floor, name, threads, Box::new(body))
    }

    /// Adds a peer.
    pub fn peer(
        &mut self,
        name: &str,
        threads: usize,
        body: impl Fn(&mut Worker<'_>) -> Result<(), Invalid> + Sync + 'a,
    ) -> &mut Self {
        self.lane(Role::Peer, name, threads, Box::new(body))
    }

    fn lane(&mut self, role: Role, name: &str, threads: usize, body: Body<'a>) -> &mut Self {
        self.lanes.push(Lane {
            name: name.into(),
            role,
            threads,
            ops: 0,
            body,
            figures: Vec::new(),
        });
        self
    }

    /// Requires `ours <= factor * lane`. Naming a lane that was not built in leaves the claim undecided.
    pub fn at_most(&mut self, factor: f64, lane: &str) -> &mut Self {
        let words = format!("<= {factor}x {lane}");
        self.bounds.push(Bound {
            lane: lane.into(),
            at_most: factor,
            words,
        });
        self
    }

    /// Requires `ours` to be `factor` times faster than `lane`.
    pub fn faster_than(&mut self, factor: f64, lane: &str) -> &mut Self {
        let words = format!(">= {factor}x faster than {lane}");
        self.bounds.push(Bound {
            lane: lane.into(),
            at_most: 1.0 / factor,
            words,
        });
        self
    }

    /// Adds a remark that readers of the figures need.
    pub fn note(&mut self, note: &str) -> &mut Self {
        if !self.row.note.is_empty() {
            self.row.note.push_str("; ");
        }
        self.row.note.push_str(note);
        self
    }

    /// Runs every lane in every round and judges.
    ///
    /// # Errors
    /// The first lane's failure: one wrong result makes the whole claim invalid.
    pub fn run(&mut self) -> Result<Row, Invalid> {
        if let Some(sink) = self.plan.sink {
            return self.hand_over(sink);
        }
        let stolen = steal_ticks();
        for at in 0..self.lanes.len() {
            self.lanes[at].ops = match self.fixed_ops {
                Some(ops) => ops,
                None => self.calibrate(at)?,
            };
        }
        let count = self.lanes.len();
        for round in 0..self.plan.rounds {
            for turn in 0..count {
                let at = (round + turn) % count;
                let figure = self.run_lane(at, self.lanes[at].ops)?.figure;
                self.lanes[at].figures.push(figure);
            }
        }
        if let (Some((s0, t0)), Some((s1, t1))) = (stolen, steal_ticks()) {
            let share = (s1 - s0) as f64 / (t1 - t0).max(1) as f64;
            if share > 0.01 {
                self.note(&format!(
                    "{:.0} % of CPU time was stolen by the host",
                    share * 100.0
                ));
            }
        }
        Ok(self.finish())
    }

    fn hand_over(&self, sink: Sink) -> Result<Row, Invalid> {
        for (at, lane) in self.lanes.iter().enumerate() {
            sink(&self.row.id, &lane.name, &|ops| {
                let ran = self.run_lane(at, ops)?;
                Ok(Duration::from_nanos((ran.ns_per_op * ops as f64) as u64))
            })?;
        }
        Ok(self.row.clone())
    }

    /// Finds operations per round so that a thread of the lane runs for the plan's lane time.
    fn calibrate(&self, at: usize) -> Result<u64, Invalid> {
        let aim = self.plan.lane_time.as_nanos() as f64;
        let mut ops = 64u64;
        loop {
            let busy_ns = self.run_lane(at, ops)?.busy_ns;
            if busy_ns as f64 >= aim / 16.0 {
                return Ok(((ops as f64 * aim / busy_ns as f64) as u64).max(1));
            }
            ops = ops.saturating_mul(if busy_ns as f64 >= aim / 256.0 { 4 } else { 16 });
        }
    }

    /// Runs one lane once.
    fn run_lane(&self, at: usize, ops: u64) -> Result<Ran, Invalid> {
        let lane = &self.lanes[at];
        let barrier = Barrier::new(lane.threads);
        let outcomes: Vec<Result<Outcome, Invalid>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..lane.threads)
                .map(|index| {
                    let (barrier, cpus) = (&barrier, &self.plan.cpus);
                    scope.spawn(move || {
                        pin_to(cpus[index % cpus.len()]);
                        let mut worker = Worker {
                            index,
                            ops,
                            start: barrier,
                            outcome: Outcome::default(),
                        };
                        (lane.body)(&mut worker)?;
                        Ok(worker.outcome)
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|t| {
                    t.join()
                        .unwrap_or_else(|_| Err(Invalid(format!("lane {} panicked", lane.name))))
                })
                .collect()
        });
        let outcomes = outcomes.into_iter().collect::<Result<Vec<_>, Invalid>>();
        let outcomes = outcomes.map_err(|why| Invalid(format!("lane {}: {why}", lane.name)))?;
        let done: u64 = outcomes.iter().map(|o| o.ops).sum();
        if done == 0 {
            return Err(Invalid(format!("lane {} measured nothing", lane.name)));
        }
        let longest = |ns: fn(&Outcome) -> u64| outcomes.iter().map(ns).max().unwrap_or(0);
        let time = match self.clock {
            Clock::Cpu => outcomes.iter().map(|o| o.cpu_ns).sum::<u64>() as f64,
            Clock::Wall => longest(|o| o.wall_ns) as f64,
        };
        let own = outcomes.iter().filter_map(|o| o.own_figure).reduce(f64::max);
        let ns_per_op = time / done as f64;
        Ok(Ran {
            figure: own.unwrap_or(ns_per_op),
            ns_per_op,
            busy_ns: longest(|o| if o.cpu_ns > 0 { o.cpu_ns } else { o.wall_ns }).max(1),
        })
    }

    fn finish(&mut self) -> Row {
        let median = |lane: &Lane<'_>| round3(quartiles(&lane.figures).1);
        for lane in &self.lanes {
            match lane.role {
                Role::Ours if self.row.ours.is_none() => self.row.ours = Some(median(lane)),
                Role::Floor if self.row.floor.is_none() => self.row.floor = Some(median(lane)),
                _ => drop(self.row.peers.insert(lane.name.clone(), median(lane))),
            }
        }
        let ours = self.lanes.iter().find(|lane| lane.role == Role::Ours);
        let mut judged = Vec::new();
        let mut missing = ours.is_none();
        for bound in &self.bounds {
            match (ours, self.lanes.iter().find(|lane| lane.name == bound.lane)) {
                (Some(ours), Some(other)) => judged.push(Judged {
                    ratios: ours
                        .figures
                        .iter()
                        .zip(&other.figures)
                        .map(|(a, b)| a / b)
                        .collect(),
                    at_most: bound.at_most,
                }),
                _ => missing = true,
            }
        }
        self.row.judge(&judged, missing);
        if missing {
            self.note("a lane that a bound names is missing: build with feature `peers`");
        }
        self.row.target = self
            .bounds
            .iter()
            .map(|b| b.words.as_str())
            .collect::<Vec<_>>()
            .join("; ");
        self.row.rounds = self.plan.rounds;
        self.row.clone()
    }
}
