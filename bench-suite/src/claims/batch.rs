//! Claims about batches: finding the operation that a completion is for.

use crate::{Claim, Contest, Invalid, Row, Task, Worker};
use std::collections::HashMap;
use uring_core::Matching;

macro_rules! matched {
    ($($id:literal $operations:literal $linear:literal),*) => {
        pub(super) const CLAIMS: &[Claim] = &[$(Claim {
            id: $id,
            krate: "uring-core",
            what: concat!("match a completion with its operation, ", $operations, " in flight, in random order, kernel excluded"),
            unit: "CPU ns",
            cores: 1,
            run: |task| matching(task, $operations, $linear),
        }),*];
    };
}
// How much faster than a search the source document says a map is, which is to be reached without one.
matched! {
    "batch.match.10" 10 2.5, "batch.match.50" 50 8.3, "batch.match.100" 100 12.5,
    "batch.match.500" 500 31.0, "batch.match.1000" 1000 42.0
}

/// Completions come in an order of their own. Fixed seed, so that every lane gets the same.
fn shuffled(ids: &[u64]) -> Vec<u64> {
    let mut order = ids.to_vec();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for at in (1..order.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        order.swap(at, (state % (at as u64 + 1)) as usize);
    }
    order
}

/// Matches batch after batch and writes each result down in its place.
fn run(
    worker: &mut Worker<'_>,
    ids: &[u64],
    mut place: impl FnMut(u64) -> Option<usize>,
) -> Result<(), Invalid> {
    let order = shuffled(ids);
    let mut results = vec![0u64; ids.len()];
    for &id in &order {
        let place = place(id).ok_or_else(|| Invalid("a completion was not matched".into()))?;
        results[place] = id;
    }
    if results != ids {
        return Err(Invalid("a completion was matched with another operation".into()));
    }
    worker.measure(|n| {
        let mut coming = order.iter().cycle();
        for _ in 0..n {
            let id = std::hint::black_box(*coming.next().expect("it has no end"));
            if let Some(place) = place(id) {
                results[place] = id;
            }
        }
    });
    Ok(())
}

fn matching(task: &Task<'_>, operations: u32, over_linear: f64) -> Result<Row, Invalid> {
    let mut contest = Contest::new(task);
    contest.ours("slot and generation", 1, move |worker| {
        let (mut table, ids) = Matching::new(operations);
        run(worker, &ids, |id| table.place(id).map(|place| place as usize))
    });
    contest.floor("an index and nothing checked", 1, move |worker| {
        let ids: Vec<u64> = (0..u64::from(operations)).collect();
        run(worker, &ids, |id| Some(id as usize))
    });
    // The source document's own designs, before and after its change.
    contest.peer("linear search", 1, move |worker| {
        let ids: Vec<u64> = (1..=u64::from(operations)).collect();
        let known: Vec<Option<u64>> = ids.iter().copied().map(Some).collect();
        run(worker, &ids, |id| {
            known.iter().position(|&other| other == Some(id))
        })
    });
    contest.peer("HashMap", 1, move |worker| {
        let ids: Vec<u64> = (1..=u64::from(operations)).collect();
        let known: HashMap<u64, usize> = ids.iter().copied().zip(0..).collect();
        run(worker, &ids, |id| known.get(&id).copied())
    });
    contest
        .faster_than(over_linear, "linear search")
        .faster_than(3.0, "HashMap");
    contest.run()
}
