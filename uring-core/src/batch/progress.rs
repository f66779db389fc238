//! The way through a plan: what ended goes in, what to submit next comes out. No clock and no I/O.
//!
//! ```text
//!            all it waits for is over              submitted              ended
//!   Waiting ─────────────────────────► Ready ────────────────► InFlight ───────► Settled
//!      │                                 ▲                        │                 ▲
//!      │                                 └──────── alone ──────── Held ─────────────┤
//!      └────────────── never to run: a dependency failed, or the batch stops ───────┘
//! ```
//!
//! `Held`: the kernel cancelled it with its chain, and it is not known yet why. Either a link before it broke, and it is
//! skipped; or the kernel refused the chain for the sake of one entry in it, and those before that entry run alone.
//!
//! - **G1** an operation is handed out to be submitted only when every kept edge into it is over, and succeeded where it must.
//! - **G2** the operations of one chain are handed out together and in order, or not at all.
//! - **G3** each operation is settled once; the batch is over when all are.
//! - **G4** an operation is tried alone at most once, so that the batch ends.

use super::fate::{Cause, Fate, Verdict};
use super::plan::{Plan, Wait};
use crate::error::{Error, ErrorKind};
use std::collections::VecDeque;
use std::ops::Range;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Waiting,
    Ready,
    InFlight,
    Held,
    Settled,
}

/// Where a batch is.
#[derive(Debug)]
pub(super) struct Progress {
    plan: Plan,
    phase: Vec<Phase>,
    fate: Vec<Fate>,
    /// Was handed out alone after its chain had been cancelled.
    alone: Vec<bool>,
    /// Kept edges into each operation that are not over.
    waits: Vec<u32>,
    /// What to submit, each a piece of `plan.order` within one segment.
    ready: VecDeque<Range<u32>>,
    /// Fates to be written down; empty between calls.
    settling: Vec<(u16, Fate)>,
    settled: usize,
    in_flight: usize,
    fail_fast: bool,
    stop: Option<Cause>,
}

impl Progress {
    pub(super) fn new(plan: Plan, fail_fast: bool) -> Self {
        let nodes = plan.place.len();
        let mut progress = Self {
            phase: vec![Phase::Waiting; nodes],
            fate: vec![Fate::Skipped(Cause::Cancelled); nodes],
            alone: vec![false; nodes],
            waits: plan.waits.clone(),
            // Each operation is in one piece at most, and may be settled once by each edge: none of this grows later.
            ready: VecDeque::with_capacity(nodes),
            settling: Vec::with_capacity(nodes),
            settled: 0,
            in_flight: 0,
            fail_fast,
            stop: None,
            plan,
        };
        for at in 0..progress.plan.segments.len() {
            let segment = progress.plan.segments[at].clone();
            if progress.waits[progress.plan.order[segment.start as usize] as usize] == 0 {
                progress.make_ready(segment);
            }
        }
        progress
    }

    pub(super) fn is_over(&self) -> bool {
        self.settled == self.phase.len()
    }

    /// Operations submitted and not yet ended.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// The batch takes no new start; what is in flight should be cancelled.
    pub(super) fn is_stopping(&self) -> bool {
        self.stop.is_some()
    }

    /// The fates, once it is over.
    pub(super) fn take_fates(&mut self) -> Vec<Fate> {
        debug_assert!(self.is_over());
        std::mem::take(&mut self.fate)
    }

    /// The next chain to submit.
    pub(super) fn next(&self) -> Option<&[u16]> {
        self.ready.front().map(|piece| self.nodes(piece))
    }

    fn nodes(&self, piece: &Range<u32>) -> &[u16] {
        &self.plan.order[piece.start as usize..piece.end as usize]
    }

    /// The chain that [`next`](Self::next) gave was submitted.
    pub(super) fn submitted(&mut self) {
        let piece = self.ready.pop_front().expect("next() gave it");
        for at in piece {
            let node = self.plan.order[at as usize] as usize;
            debug_assert_eq!(self.phase[node], Phase::Ready);
            self.phase[node] = Phase::InFlight;
            self.in_flight += 1;
        }
    }

    /// Has the next chain submitted in two parts, the first so long: the ring may never have room for all of it. The second part
    /// waits for the first as for any dependency.
    pub(super) fn cut(&mut self, length: usize) {
        let piece = self.ready.front_mut().expect("next() gave it");
        debug_assert!(0 < length && length < piece.len());
        let behind = piece.start + length as u32..piece.end;
        piece.end = behind.start;
        for at in behind {
            self.phase[self.plan.order[at as usize] as usize] = Phase::Waiting;
        }
    }

    /// An operation in flight ended.
    pub(super) fn ended(&mut self, node: u16, verdict: Verdict) {
        debug_assert_eq!(self.phase[node as usize], Phase::InFlight);
        self.in_flight -= 1;
        let stop = self.stop.map(Fate::Skipped);
        match verdict {
            // What a thread of the kernel was busy with is interrupted to be cancelled.
            Verdict::Is(Fate::Failed(error)) if error.errno() == libc::EINTR && stop.is_some() => {
                self.settle(node, stop.unwrap_or(Fate::Failed(error)));
            }
            Verdict::Is(fate) => self.settle(node, fate),
            Verdict::Cancelled => match stop {
                Some(skipped) => self.settle(node, skipped),
                None => self.phase[node as usize] = Phase::Held,
            },
        }
        self.judge(self.plan.segment[node as usize]);
    }

    /// Nothing more starts; what was not submitted is skipped.
    pub(super) fn stop(&mut self, cause: Cause) {
        self.stop_with(cause, Fate::Skipped(cause));
    }

    /// Nothing more can start: what was not submitted failed for this reason.
    pub(super) fn refuse(&mut self, error: Error) {
        self.stop_with(Cause::Cancelled, Fate::Failed(error));
    }

    fn stop_with(&mut self, cause: Cause, rest: Fate) {
        if self.stop.is_some() {
            return;
        }
        self.stop = Some(cause);
        self.ready.clear();
        for node in 0..self.phase.len() {
            if !matches!(self.phase[node], Phase::InFlight | Phase::Settled) {
                self.phase[node] = Phase::Settled;
                self.fate[node] = rest;
                self.settled += 1;
            }
        }
    }

    /// Decides about the operations of a segment that were cancelled, as far as can be known.
    fn judge(&mut self, segment: u32) {
        let piece = self.plan.segments[segment as usize].clone();
        let mut before: Option<u16> = None;
        for at in piece.clone() {
            let node = self.plan.order[at as usize];
            let phase = self.phase[node as usize];
            if phase == Phase::Held {
                let broken = before.filter(|&b| !self.fate[b as usize].is_success());
                if let Some(before) = broken {
                    self.settle(node, Fate::Skipped(Cause::Dependency(before as usize)));
                } else if self.was_refused(at + 1..piece.end) && !self.alone[node as usize] {
                    self.alone[node as usize] = true;
                    self.make_ready(at..at + 1);
                    return;
                } else if self.is_back(at + 1..piece.end) {
                    // Nobody in the batch is the cause: the caller cancelled it, by its descriptor or all at once.
                    let cancelled = Fate::Failed(Error::of(ErrorKind::Cancelled));
                    self.settle(node, cancelled);
                } else {
                    return;
                }
            } else if phase != Phase::Settled {
                return;
            }
            before = Some(node);
        }
    }

    /// Whether one of these failed by itself although it needs one that was cancelled: it cannot have run, so the kernel
    /// refused its entry, and with it the chain.
    fn was_refused(&self, piece: Range<u32>) -> bool {
        piece.into_iter().any(|at| {
            let (before, node) = (self.plan.order[at as usize - 1], self.plan.order[at as usize]);
            self.phase[before as usize] == Phase::Held
                && self.phase[node as usize] == Phase::Settled
                && matches!(self.fate[node as usize], Fate::Failed(_))
        })
    }

    /// Whether all of these came back from the kernel, or were never there.
    fn is_back(&self, piece: Range<u32>) -> bool {
        let mut nodes = piece.map(|at| self.plan.order[at as usize] as usize);
        nodes.all(|node| self.phase[node] != Phase::InFlight)
    }

    fn make_ready(&mut self, piece: Range<u32>) {
        for at in piece.clone() {
            self.phase[self.plan.order[at as usize] as usize] = Phase::Ready;
        }
        self.ready.push_back(piece);
    }

    /// Writes a fate down and follows what hangs on it.
    fn settle(&mut self, node: u16, fate: Fate) {
        self.settling.push((node, fate));
        while let Some((node, fate)) = self.settling.pop() {
            let at = node as usize;
            if self.phase[at] == Phase::Settled {
                continue;
            }
            self.phase[at] = Phase::Settled;
            self.fate[at] = fate;
            self.settled += 1;
            let failed = matches!(fate, Fate::Failed(_) | Fate::Short { .. });
            if failed && self.fail_fast {
                self.stop(Cause::FailFast(at));
            }
            if self.stop.is_some() {
                continue;
            }
            let skipped = Fate::Skipped(Cause::Dependency(at));
            for next in 0..self.plan.kept(node).len() {
                let (to, wait) = self.plan.kept(node)[next];
                if self.phase[to as usize] != Phase::Waiting {
                    continue;
                }
                self.waits[to as usize] -= 1;
                if wait == Wait::Success && !fate.is_success() {
                    // It never becomes ready, however many of the others end before it is settled below.
                    self.waits[to as usize] = u32::MAX;
                    self.settling.push((to, skipped));
                } else if self.waits[to as usize] == 0 {
                    let segment = self.plan.segment[to as usize];
                    self.make_ready(self.plan.segments[segment as usize].clone());
                }
            }
            // What is linked behind it and went with it is the kernel's to start; what did not go is ours.
            if let Some(next) = self.plan.next(node)
                && self.phase[next as usize] == Phase::Waiting
            {
                if fate.is_success() {
                    let end = self.plan.segments[self.plan.segment[at] as usize].end;
                    self.make_ready(self.plan.place[at] + 1..end);
                } else {
                    self.settling.push((next, skipped));
                }
            }
        }
    }
}
