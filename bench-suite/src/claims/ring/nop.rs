//! NOPs: the ring's own cost, and how many system calls it makes.

use super::{BATCH, DEPTH, LONG, drive_raw, invalid, ours, raw, verdict};
use crate::{Contest, Invalid, Row, Task, Worker};
use io_uring::opcode;
use std::cell::Cell;
use std::rc::Rc;
use uring_core::LocalRing;
use uring_core::op::Nop;

fn raw_nops(w: &mut Worker<'_>) -> Result<(), Invalid> {
    let mut ring = raw()?;
    let bad = w.measure(|n| {
        drive_raw(
            &mut ring,
            n,
            |_| opcode::Nop::new().build(),
            |_, result| result == 0,
        )
    });
    verdict(bad?)
}

/// NOPs by callback, `depth` in flight, each wait for `batch`.
fn our_nops(ring: &LocalRing, n: u64, depth: u64, batch: u64) -> Result<u64, Invalid> {
    let done = Rc::new(Cell::new(0u64));
    let mut sent = 0;
    while done.get() < n {
        while sent < n && sent - done.get() < depth {
            let seen = Rc::clone(&done);
            ring.submit_with(Nop::new(), move |result| {
                seen.set(seen.get() + u64::from(result.is_ok()))
            })
            .map_err(invalid)?;
            sent += 1;
        }
        ring.wait(batch.min(n - done.get()) as usize, LONG)
            .map_err(invalid)?;
    }
    Ok(n - done.get())
}

pub(super) fn to_callback(task: &Task<'_>) -> Result<Row, Invalid> {
    let mut contest = Contest::new(task);
    contest.ours("callback", 1, |w| {
        let ring = ours(DEPTH)?;
        let bad = w.measure(|n| our_nops(&ring, n, u64::from(DEPTH), BATCH));
        verdict(bad?)
    });
    contest.floor("raw io-uring", 1, raw_nops);
    contest.at_most(2.0, "raw io-uring");
    contest.run()
}

/// Enters per operation, read from the ring's own published counts.
fn enters(task: &Task<'_>, depth: u32, batch: u64, target: f64) -> Result<Row, Invalid> {
    let mut contest = Contest::new(task);
    contest.fixed_ops(65_536);
    contest.ours("enters", 1, move |w| {
        let ring = ours(depth)?;
        let bad = w.measure(|n| our_nops(&ring, n, u64::from(depth), batch));
        let counts = ring.stats().counts();
        w.report(counts.enters as f64 / counts.completed as f64);
        verdict(bad?)
    });
    contest.floor("target", 1, move |w| {
        w.measure(|_| ());
        w.report(target);
        Ok(())
    });
    contest.at_most(1.0, "target");
    contest.run()
}

pub(super) fn enter_128(task: &Task<'_>) -> Result<Row, Invalid> {
    enters(task, DEPTH, BATCH, 0.05)
}

pub(super) fn enter_1(task: &Task<'_>) -> Result<Row, Invalid> {
    enters(task, 1, 1, 1.0)
}
