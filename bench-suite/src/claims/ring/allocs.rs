//! Heap allocations of an operation.

use super::read::{Style, buffers, by_callback, by_future, by_token, numbered_file};
use super::{DEPTH, invalid, ours, verdict};
use crate::{Contest, Invalid, Row, Task, allocations_on_this_thread};

pub(super) fn each_style(task: &Task<'_>) -> Result<Row, Invalid> {
    const FEW: u64 = 256;
    const MANY: u64 = 8192;
    let file = &numbered_file()?;
    let mut contest = Contest::new(task);
    contest.fixed_ops(MANY);
    contest.ours("allocations", 1, move |w| {
        let ring = ours(DEPTH)?;
        let fixed = ring.register_file(file).map_err(invalid)?;
        let mut bufs = buffers();
        let mut made = 0;
        for style in [by_token as Style, by_callback, by_future] {
            let mut count = |n| -> Result<u64, Invalid> {
                let before = allocations_on_this_thread();
                verdict(style(&ring, fixed, &mut bufs, n)?)?;
                Ok(allocations_on_this_thread() - before)
            };
            // What a style's own loop allocates at its start is the same for any number of operations.
            let few = count(FEW)?;
            made += count(FEW + MANY)?.saturating_sub(few);
        }
        w.measure(|_| ());
        w.report(made as f64 / (3 * MANY) as f64);
        Ok(())
    });
    contest.floor("one in 10,000", 1, |w| {
        w.measure(|_| ());
        w.report(0.0001);
        Ok(())
    });
    contest.at_most(1.0, "one in 10,000");
    contest.run()
}
