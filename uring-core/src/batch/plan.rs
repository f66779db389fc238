//! From a graph to chains: a pure function.
//!
//! A *segment* is a run of operations that the kernel gets as one chain. Each operation is in exactly one. An edge is either
//! a link inside a segment, which the kernel sees to, or it is kept, and seen to when the completion of its source comes.
//!
//! - **P1** each edge is a link or kept, or follows from others: it is left out only if a path of [`Wait::Success`] edges leads
//!   from its source to its target, so that the target starts only after everything on that path succeeded.
//! - **P2** only the first operation of a segment has kept edges into it: any other has exactly one edge, its link.
//! - **P3** only edges of [`Wait::Success`] are links. The kernel has a link for the others (`IOSQE_IO_HARDLINK`), but when it refuses
//!   an entry it cancels the whole chain, and behind such a link that looks the same as a cancellation by the caller.
//! - **P4** segments are at most `chain_max` long, and operations that may not be linked stand alone.

use std::ops::Range;

/// For what of its predecessor an operation waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wait {
    /// For its end, whatever it was.
    End,
    /// For its success.
    Success,
}

/// One dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Edge {
    pub(crate) to: u16,
    pub(crate) from: u16,
    pub(crate) wait: Wait,
}

/// Segments, and the edges between them.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Operations, segment by segment.
    pub(super) order: Vec<u16>,
    /// Where each segment lies in `order`.
    pub(super) segments: Vec<Range<u32>>,
    /// Where each operation lies in `order`.
    pub(super) place: Vec<u32>,
    /// The segment of each operation.
    pub(super) segment: Vec<u32>,
    /// Whether each operation is linked to the one behind it in its segment.
    pub(super) linked: Vec<bool>,
    /// Kept edges by source.
    kept: Vec<(u16, Wait)>,
    kept_at: Vec<u32>,
    /// Kept edges into each operation.
    pub(super) waits: Vec<u32>,
}

impl Plan {
    /// What is linked behind an operation.
    pub(super) fn next(&self, node: u16) -> Option<u16> {
        let behind = self.place[node as usize] as usize + 1;
        self.linked[node as usize].then(|| self.order[behind])
    }

    /// The kept edges out of an operation.
    pub(super) fn kept(&self, node: u16) -> &[(u16, Wait)] {
        let at = node as usize;
        &self.kept[self.kept_at[at] as usize..self.kept_at[at + 1] as usize]
    }
}

/// Plans a graph of `nodes` operations.
///
/// # Errors
/// An operation that waits for itself by way of others.
pub(crate) fn plan(
    nodes: usize,
    edges: &[Edge],
    may_link: impl Fn(u16) -> bool,
    chain_max: usize,
) -> Result<Plan, u16> {
    let mut edges = edges.to_vec();
    // Of two edges between the same operations the stricter one, which sorts last.
    edges.sort_unstable();
    edges.reverse();
    edges.dedup_by_key(|edge| (edge.from, edge.to));
    edges.reverse();
    let topological = sort(nodes, &edges)?;
    let edges = without_implied(nodes, edges, &topological);
    let out = by_source(nodes, &edges);
    let mut indegree = vec![0u32; nodes];
    for edge in &edges {
        indegree[edge.to as usize] += 1;
    }
    let height = heights(&topological, &out);

    let mut plan = Plan {
        order: Vec::with_capacity(nodes),
        segments: Vec::new(),
        place: vec![0; nodes],
        segment: vec![u32::MAX; nodes],
        linked: vec![false; nodes],
        kept: Vec::new(),
        kept_at: Vec::with_capacity(nodes + 1),
        waits: Vec::new(),
    };
    for &head in &topological {
        if plan.segment[head as usize] != u32::MAX {
            continue;
        }
        let start = plan.order.len() as u32;
        let mut at = head;
        loop {
            plan.segment[at as usize] = plan.segments.len() as u32;
            plan.place[at as usize] = plan.order.len() as u32;
            plan.order.push(at);
            let length = plan.order.len() - start as usize;
            if length >= chain_max || !may_link(at) {
                break;
            }
            let fits = |(to, wait): &&(u16, Wait)| {
                *wait == Wait::Success && indegree[*to as usize] == 1 && may_link(*to)
            };
            let next = out[at as usize]
                .iter()
                .filter(fits)
                .max_by_key(|(to, _)| height[*to as usize]);
            let Some(&(next, _)) = next else { break };
            plan.linked[at as usize] = true;
            indegree[next as usize] = 0;
            at = next;
        }
        plan.segments.push(start..plan.order.len() as u32);
    }
    for node in 0..nodes as u16 {
        plan.kept_at.push(plan.kept.len() as u32);
        let next = plan.next(node);
        let kept = out[node as usize].iter().filter(|(to, _)| Some(*to) != next);
        plan.kept.extend(kept);
    }
    plan.kept_at.push(plan.kept.len() as u32);
    plan.waits = indegree;
    Ok(plan)
}

fn by_source(nodes: usize, edges: &[Edge]) -> Vec<Vec<(u16, Wait)>> {
    let mut out = vec![Vec::new(); nodes];
    for edge in edges {
        out[edge.from as usize].push((edge.to, edge.wait));
    }
    out
}

/// Kahn's algorithm; of operations that could come next the one added first.
fn sort(nodes: usize, edges: &[Edge]) -> Result<Vec<u16>, u16> {
    let out = by_source(nodes, edges);
    let mut missing = vec![0u32; nodes];
    for edge in edges {
        missing[edge.to as usize] += 1;
    }
    let mut free: std::collections::BinaryHeap<_> = (0..nodes as u16)
        .filter(|&n| missing[n as usize] == 0)
        .map(std::cmp::Reverse)
        .collect();
    let mut order = Vec::with_capacity(nodes);
    while let Some(std::cmp::Reverse(node)) = free.pop() {
        order.push(node);
        for &(to, _) in &out[node as usize] {
            missing[to as usize] -= 1;
            if missing[to as usize] == 0 {
                free.push(std::cmp::Reverse(to));
            }
        }
    }
    if order.len() == nodes {
        return Ok(order);
    }
    // What is left has a predecessor that is left too; going back from any of them ends up in a circle.
    let left = |node: u16| missing[node as usize] > 0;
    let mut at = (0..nodes as u16).find(|&n| left(n)).expect("not all were sorted");
    let mut seen = vec![false; nodes];
    while !std::mem::replace(&mut seen[at as usize], true) {
        at = edges
            .iter()
            .find(|edge| edge.to == at && left(edge.from))
            .map(|edge| edge.from)
            .expect("it has a predecessor that is left");
    }
    Err(at)
}

/// Leaves out what follows from other edges (P1).
fn without_implied(nodes: usize, mut edges: Vec<Edge>, topological: &[u16]) -> Vec<Edge> {
    let mut into: Vec<Vec<Edge>> = vec![Vec::new(); nodes];
    for edge in &edges {
        into[edge.to as usize].push(*edge);
    }
    if into.iter().all(|edges| edges.len() < 2) {
        return edges;
    }
    // For each operation, which succeeded if it did: a bit each.
    let words = nodes.div_ceil(64);
    let mut implied = vec![0u64; nodes * words];
    let has = |implied: &[u64], node: u16, other: u16| {
        implied[node as usize * words + other as usize / 64] >> (other % 64) & 1 == 1
    };
    for &node in topological {
        for edge in into[node as usize]
            .iter()
            .filter(|edge| edge.wait == Wait::Success)
        {
            let from = edge.from as usize;
            for word in 0..words {
                implied[node as usize * words + word] |= implied[from * words + word];
            }
            implied[node as usize * words + from / 64] |= 1 << (from % 64);
        }
    }
    edges.retain(|edge| {
        let mut others = into[edge.to as usize].iter();
        !others.any(|other| other.wait == Wait::Success && has(&implied, other.from, edge.from))
    });
    edges
}

/// The length of the longest path that begins at each operation.
fn heights(topological: &[u16], out: &[Vec<(u16, Wait)>]) -> Vec<u32> {
    let mut height = vec![1; out.len()];
    for &node in topological.iter().rev() {
        let above = out[node as usize]
            .iter()
            .map(|(to, _)| height[*to as usize])
            .max();
        height[node as usize] = 1 + above.unwrap_or(0);
    }
    height
}
