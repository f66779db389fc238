//! Whether telling the compiler what is likely pays, on stable Rust: by `#[cold]` on what is not.

use crate::{Contest, Invalid, Row, Task, Worker};
use std::hint::black_box;

const CACHED: usize = 256;

/// A cache of verdicts before a full check, as the document's permission check has one.
struct Checks {
    seen: Vec<u64>,
    rules: Vec<u64>,
}

impl Checks {
    fn new() -> Self {
        Self {
            seen: (0..CACHED as u64).collect(),
            rules: (0..64).map(|n| n * 3).collect(),
        }
    }

    fn full(&self, id: u64) -> bool {
        self.rules.iter().any(|rule| rule.wrapping_mul(31) ^ 5 == id)
    }

    #[cold]
    #[inline(never)]
    fn full_cold(&self, id: u64) -> bool {
        self.full(id)
    }

    #[inline(always)]
    fn hit(&self, id: u64) -> bool {
        self.seen[id as usize % CACHED] == id
    }
}

fn checks(w: &mut Worker<'_>, check: impl Fn(u64) -> bool) -> Result<(), Invalid> {
    let passed = w.measure(|n| (0..n).filter(|i| check(black_box(i % CACHED as u64))).count());
    if passed as u64 == w.ops() {
        return Ok(());
    }
    Err(Invalid(format!("{passed} of {} checks passed", w.ops())))
}

pub(super) fn cold(task: &Task<'_>) -> Result<Row, Invalid> {
    let cache = Checks::new();
    let mut contest = Contest::new(task);
    contest.ours("the miss cold", 1, |w| {
        checks(w, |id| cache.hit(id) || cache.full_cold(id))
    });
    contest.peer("no hint", 1, |w| checks(w, |id| cache.hit(id) || cache.full(id)));
    contest.at_most(0.95, "no hint");
    contest.run()
}
