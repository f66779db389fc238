//! Plans and progress against the simplest executor there is, by way of a kernel made of a few lines.

use super::fate::{Cause, Fate, Verdict};
use super::plan::{Edge, Plan, Wait, plan};
use super::progress::Progress;
use crate::error::Error;
use proptest::prelude::*;
use std::collections::VecDeque;

/// What an operation would do if it ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nature {
    Succeeds,
    FallsShort,
    Fails,
    /// The kernel does not even take its entry.
    IsRefused,
}

impl Nature {
    fn fate(self) -> Fate {
        match self {
            Self::Succeeds => Fate::Done(1),
            Self::FallsShort => Fate::Short { got: 1, wanted: 2 },
            Self::Fails => Fate::Failed(Error::from_errno(libc::EIO)),
            Self::IsRefused => Fate::Failed(Error::from_errno(libc::EINVAL)),
        }
    }
}

#[derive(Clone, Debug)]
struct Case {
    natures: Vec<Nature>,
    edges: Vec<Edge>,
    may_link: Vec<bool>,
    chain_max: usize,
    /// What happens next, wherever there is a choice.
    dice: Vec<u8>,
}

impl Case {
    fn plan(&self) -> Plan {
        plan(
            self.natures.len(),
            &self.edges,
            |n| self.may_link[n as usize],
            self.chain_max,
        )
        .expect("no cycle")
    }
}

fn case() -> impl Strategy<Value = Case> {
    (1usize..24).prop_flat_map(|nodes| {
        let nature = prop_oneof![
            12 => Just(Nature::Succeeds),
            1 => Just(Nature::FallsShort),
            2 => Just(Nature::Fails),
            1 => Just(Nature::IsRefused),
        ];
        let ends = (0..nodes as u16, 0..nodes as u16, any::<bool>(), any::<bool>());
        // Half of the edges join neighbours, so that there are chains.
        let edge = ends.prop_map(move |(a, b, near, success)| {
            let b = if near {
                a.saturating_add(1).min(nodes as u16 - 1)
            } else {
                b
            };
            Edge {
                from: a.min(b),
                to: a.max(b),
                wait: if success { Wait::Success } else { Wait::End },
            }
        });
        (
            prop::collection::vec(nature, nodes),
            prop::collection::vec(edge, 0..nodes * 2),
            prop::collection::vec(prop::bool::weighted(0.9), nodes),
            1usize..9,
            prop::collection::vec(any::<u8>(), 1..200),
        )
            .prop_map(|(natures, mut edges, may_link, chain_max, dice)| {
                edges.retain(|edge| edge.from != edge.to);
                Case {
                    natures,
                    edges,
                    may_link,
                    chain_max,
                    dice,
                }
            })
    })
}

/// One after the other, each when all that it waits for is over.
fn naive(case: &Case) -> Vec<Fate> {
    let mut fates: Vec<Fate> = Vec::new();
    for (node, nature) in case.natures.iter().enumerate() {
        // Edges lead from lower to higher numbers.
        let into = case.edges.iter().filter(|edge| edge.to as usize == node);
        let broken = into
            .filter(|edge| edge.wait == Wait::Success)
            .find(|edge| !fates[edge.from as usize].is_success());
        fates.push(match broken {
            Some(edge) => Fate::Skipped(Cause::Dependency(edge.from as usize)),
            None => nature.fate(),
        });
    }
    fates
}

/// Chains as `io_uring` runs them.
#[derive(Default)]
struct Kernel {
    chains: Vec<VecDeque<u16>>,
    completions: VecDeque<(u16, Verdict)>,
    clock: u32,
    /// When each operation began and ended, if it ran.
    times: Vec<Option<(u32, u32)>>,
}

impl Kernel {
    fn submit(&mut self, chain: VecDeque<u16>, natures: &[Nature]) {
        let refused = chain
            .iter()
            .any(|node| natures[*node as usize] == Nature::IsRefused);
        if refused {
            for node in chain {
                let nature = natures[node as usize];
                let own = nature == Nature::IsRefused;
                let verdict = if own {
                    Verdict::Is(nature.fate())
                } else {
                    Verdict::Cancelled
                };
                self.completions.push_back((node, verdict));
            }
            return;
        }
        self.begin(chain[0]);
        self.chains.push(chain);
    }

    fn begin(&mut self, node: u16) {
        self.clock += 1;
        self.times[node as usize] = Some((self.clock, u32::MAX));
    }

    /// The first operation of a chain ends, by itself or cancelled.
    fn end(&mut self, at: usize, nature: Option<Nature>, broken_first: bool) {
        let mut chain = self.chains.swap_remove(at);
        let node = chain.pop_front().expect("chains are never empty");
        self.clock += 1;
        let began = self.times[node as usize].expect("it began").0;
        self.times[node as usize] = Some((began, self.clock));
        let verdict = nature.map_or(Verdict::Cancelled, |nature| Verdict::Is(nature.fate()));
        let success = matches!(verdict, Verdict::Is(fate) if fate.is_success());
        let place = self.completions.len();
        if !success {
            let broken = chain.drain(..).map(|node| (node, Verdict::Cancelled));
            self.completions.extend(broken);
        }
        let place = if broken_first {
            self.completions.len()
        } else {
            place
        };
        self.completions.insert(place, (node, verdict));
        if let Some(&next) = chain.front() {
            self.begin(next);
            self.chains.push(chain);
        }
    }
}

struct Dice<'a>(std::iter::Cycle<std::slice::Iter<'a, u8>>);

impl Dice<'_> {
    fn roll(&mut self) -> usize {
        *self.0.next().expect("dice never run out") as usize
    }
}

/// Runs a case; `stop_after` so many completions the caller cancels.
fn run(case: &Case, fail_fast: bool, stop_after: Option<usize>) -> (Vec<Fate>, Kernel) {
    let mut progress = Progress::new(case.plan(), fail_fast);
    let mut kernel = Kernel {
        times: vec![None; case.natures.len()],
        ..Kernel::default()
    };
    let mut dice = Dice(case.dice.iter().cycle());
    let mut completed = 0;
    for _ in 0..100_000 {
        while let Some(chain) = progress.next() {
            assert!(!progress.is_stopping(), "nothing starts once the batch stops");
            let mut chain: VecDeque<_> = chain.iter().copied().collect();
            if chain.len() > 1 && progress.in_flight() == 0 && dice.roll() % 4 == 0 {
                let length = 1 + dice.roll() % (chain.len() - 1);
                progress.cut(length);
                chain.truncate(length);
            }
            progress.submitted();
            kernel.submit(chain, &case.natures);
        }
        if progress.is_over() {
            assert_eq!(progress.in_flight(), 0);
            assert!(kernel.chains.is_empty() && kernel.completions.is_empty());
            return (progress.take_fates(), kernel);
        }
        let deliver = !kernel.completions.is_empty() && (kernel.chains.is_empty() || dice.roll() % 2 == 0);
        if deliver {
            let (node, verdict) = kernel.completions.pop_front().expect("there is one");
            progress.ended(node, verdict);
            completed += 1;
            if stop_after == Some(completed) {
                progress.stop(Cause::Cancelled);
            }
        } else {
            assert!(!kernel.chains.is_empty(), "the batch waits for nothing");
            let at = dice.roll() % kernel.chains.len();
            let node = kernel.chains[at][0];
            let cancelled = progress.is_stopping() && dice.roll() % 4 > 0;
            let nature = (!cancelled).then(|| case.natures[node as usize]);
            kernel.end(at, nature, dice.roll() % 2 == 0);
        }
    }
    panic!("the batch does not end: {progress:?}");
}

fn kind(fate: Fate) -> Fate {
    match fate {
        Fate::Skipped(Cause::Dependency(_)) => Fate::Skipped(Cause::Dependency(0)),
        other => other,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn d2_chains_do_what_one_after_the_other_does(case in case()) {
        let (fates, kernel) = run(&case, false, None);
        for (node, (&fate, naive)) in fates.iter().zip(naive(&case)).enumerate() {
            // An entry that the kernel refuses is refused with its chain, before what it needs has failed.
            let either = case.natures[node] == Nature::IsRefused && !fate.is_success() && !naive.is_success();
            prop_assert!(either || kind(fate) == kind(naive), "{node}: {fate:?}, not {naive:?} in {fates:?}");
        }
        for edge in &case.edges {
            if let (Some(before), Some(after)) = (kernel.times[edge.from as usize], kernel.times[edge.to as usize]) {
                prop_assert!(before.1 < after.0, "{edge:?}: {before:?} {after:?}");
            }
        }
    }

    #[test]
    fn d2_a_batch_cancelled_half_way_ends_and_every_operation_has_a_fate(case in case(), after in 1usize..24) {
        let (fates, kernel) = run(&case, false, Some(after));
        prop_assert_eq!(fates.len(), case.natures.len());
        for (node, fate) in fates.iter().enumerate() {
            let ran = kernel.times[node].is_some();
            prop_assert!(ran || matches!(fate, Fate::Skipped(_)) || case.natures[node] == Nature::IsRefused);
        }
    }

    #[test]
    fn d2_fail_fast_starts_nothing_behind_a_failure(case in case()) {
        let mut case = case;
        case.edges.iter_mut().for_each(|edge| edge.wait = Wait::Success);
        let (fates, _) = run(&case, true, None);
        let failed = fates.iter().any(|fate| matches!(fate, Fate::Failed(_) | Fate::Short { .. }));
        let skipped = fates.iter().any(|fate| matches!(fate, Fate::Skipped(_)));
        prop_assert!(failed || (!skipped && fates.iter().all(|fate| fate.is_success())));
        for edge in &case.edges {
            prop_assert!(fates[edge.from as usize].is_success() || !fates[edge.to as usize].is_success());
        }
    }

    /// P1 to P4, and every operation in one place.
    #[test]
    fn d2_a_plan_keeps_its_rules(case in case()) {
        let plan = case.plan();
        let mut seen = vec![false; case.natures.len()];
        for segment in &plan.segments {
            let chain = &plan.order[segment.start as usize..segment.end as usize];
            prop_assert!(!chain.is_empty() && chain.len() <= case.chain_max);
            for (at, &node) in chain.iter().enumerate() {
                prop_assert!(!std::mem::replace(&mut seen[node as usize], true));
                prop_assert!(chain.len() == 1 || case.may_link[node as usize]);
                prop_assert!(at == 0 || plan.waits[node as usize] == 0);
                prop_assert_eq!(plan.next(node), chain.get(at + 1).copied());
            }
        }
        prop_assert!(seen.into_iter().all(|seen| seen));
        let linked = plan.order.iter().filter_map(|&node| plan.next(node).map(|next| (node, next)));
        for (from, to) in linked {
            let edge = needs(from, to);
            prop_assert!(case.edges.contains(&edge));
        }
        let kept: u32 = plan.waits.iter().sum();
        let listed: usize = (0..case.natures.len() as u16).map(|node| plan.kept(node).len()).sum();
        prop_assert_eq!(kept as usize, listed);
    }
}

fn needs(from: u16, to: u16) -> Edge {
    Edge {
        from,
        to,
        wait: Wait::Success,
    }
}

#[test]
fn d2_a_cycle_is_an_error_that_names_an_operation_of_it() {
    let edges = [needs(0, 1), needs(1, 2), needs(2, 3), needs(3, 1), needs(3, 4)];
    let on = plan(5, &edges, |_| true, 8).expect_err("1, 2 and 3 wait for each other");
    assert!((1..=3).contains(&on), "{on}");
    assert!(plan(2, &[needs(0, 1), needs(1, 0)], |_| true, 8).is_err());
}

#[test]
fn d2_an_edge_that_follows_from_others_does_not_break_a_chain() {
    let edges = [needs(0, 1), needs(1, 2), needs(0, 2)];
    let plan = plan(3, &edges, |_| true, 8).expect("no cycle");
    assert_eq!(
        (plan.order.as_slice(), plan.segments.len()),
        ([0, 1, 2].as_slice(), 1)
    );
}

#[test]
fn d2_a_long_chain_is_cut_where_the_ring_ends() {
    let edges: Vec<_> = (0..9).map(|n| needs(n, n + 1)).collect();
    let plan = plan(10, &edges, |_| true, 4).expect("no cycle");
    let lengths: Vec<_> = plan.segments.iter().map(ExactSizeIterator::len).collect();
    assert_eq!(lengths, [4, 4, 2]);
}
