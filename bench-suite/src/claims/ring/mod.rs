//! Claims about the ring: what our safety costs beside a bare `io-uring` loop with the same set-up and the same batches, and
//! beside runtimes that do the same work.

mod allocs;
mod echo;
mod nop;
#[cfg(feature = "peers")]
mod peers;
mod read;
mod shared;
mod threads;
mod wrap;

pub(super) use read::{BLOCK, block_of, futures_of, is_block, numbered_file};

use crate::{Claim, Invalid};
use io_uring::{IoUring, squeue};
use std::time::Duration;
use uring_core::{LocalRing, Options};

pub(super) const CLAIMS: &[Claim] = &[
    Claim {
        id: "ring.nop",
        krate: "uring-core",
        what: "submit a NOP to its callback, QD128, 32 a batch, stats on",
        unit: "ns",
        cores: 1,
        run: nop::to_callback,
    },
    Claim {
        id: "ring.read.token",
        krate: "uring-core",
        what: "cached 4 KiB random read by token, QD128, stats on",
        unit: "ns",
        cores: 1,
        run: read::token,
    },
    Claim {
        id: "ring.read.callback",
        krate: "uring-core",
        what: "cached 4 KiB random read by callback, QD128, stats on",
        unit: "ns",
        cores: 1,
        run: read::callback,
    },
    Claim {
        id: "ring.read.future",
        krate: "uring-core",
        what: "cached 4 KiB random read by future, QD128, stats on",
        unit: "ns",
        cores: 1,
        run: read::future,
    },
    Claim {
        id: "ring.enter.128",
        krate: "uring-core",
        what: "io_uring_enter per NOP at QD128, 32 a batch",
        unit: "calls",
        cores: 1,
        run: nop::enter_128,
    },
    Claim {
        id: "ring.enter.1",
        krate: "uring-core",
        what: "io_uring_enter per NOP at QD1",
        unit: "calls",
        cores: 1,
        run: nop::enter_1,
    },
    Claim {
        id: "ring.allocs",
        krate: "uring-core",
        what: "heap allocations per operation by token, callback and future, QD128",
        unit: "allocations",
        cores: 1,
        run: allocs::each_style,
    },
    Claim {
        id: "batch.wrap.read",
        krate: "uring-core",
        what: "one cached 4 KiB read, alone in the ring",
        unit: "ns",
        cores: 1,
        run: wrap::read,
    },
    Claim {
        id: "batch.wrap.echo",
        krate: "uring-core",
        what: "one 1 KiB echo over a socket pair, one operation after the other",
        unit: "ns",
        cores: 1,
        run: wrap::echo,
    },
    Claim {
        id: "ring.threads",
        krate: "uring-core",
        what: "CPU per 64-byte message through a socket pair: a ring for each thread, a ring that moved, work sent to its thread",
        unit: "ns",
        cores: 2,
        run: threads::patterns,
    },
    Claim {
        id: "comb.ring",
        krate: "uring-core",
        what: "CPU per uncached 4 KiB read, 8 threads with one in flight each on one ring",
        unit: "ns",
        cores: 2,
        run: shared::cpu,
    },
    Claim {
        id: "comb.ring.p99",
        krate: "uring-core",
        what: "slowest hundredth of uncached 4 KiB reads, 8 threads with one in flight each, the slowest thread's",
        unit: "ns",
        cores: 2,
        run: shared::p99,
    },
    Claim {
        id: "comb.ring.enters",
        krate: "uring-core",
        what: "io_uring_enter per uncached 4 KiB read, 8 threads with one in flight each",
        unit: "calls",
        cores: 2,
        run: shared::enters,
    },
    Claim {
        id: "comb.ring.timer",
        krate: "uring-core",
        what: "CPU per timer of 50 us, 8 threads with one each on one ring",
        unit: "ns",
        cores: 2,
        run: shared::timer_cpu,
    },
    Claim {
        id: "comb.ring.timer.p99",
        krate: "uring-core",
        what: "slowest hundredth of timers of 50 us, 8 threads with one each, the slowest thread's",
        unit: "ns",
        cores: 2,
        run: shared::timer_p99,
    },
    Claim {
        id: "comb.ring.cached",
        krate: "uring-core",
        what: "CPU per cached 4 KiB read, which is over at once, 8 threads on one ring",
        unit: "ns",
        cores: 2,
        run: shared::cached_cpu,
    },
    Claim {
        id: "comb.ring.cached.p99",
        krate: "uring-core",
        what: "slowest hundredth of cached 4 KiB reads, 8 threads on one ring, the slowest thread's",
        unit: "ns",
        cores: 2,
        run: shared::cached_p99,
    },
    Claim {
        id: "comb.ring.cached.enters",
        krate: "uring-core",
        what: "io_uring_enter per cached 4 KiB read, 8 threads on one ring",
        unit: "calls",
        cores: 2,
        run: shared::cached_enters,
    },
    Claim {
        id: "echo.cpu",
        krate: "uring-core",
        what: "server CPU per 1 KiB message echoed over TCP, 64 connections",
        unit: "ns",
        cores: 2,
        run: echo::cpu,
    },
];

pub(super) const DEPTH: u32 = 128;
pub(super) const BATCH: u64 = 32;
pub(super) const LONG: Duration = Duration::from_secs(10);

/// The runtimes that the claims are measured against.
const RUNTIMES: [&str; 4] = ["monoio", "compio", "tokio-uring", "glommio"];

pub(super) fn invalid(what: impl std::fmt::Display) -> Invalid {
    Invalid(what.to_string())
}

pub(super) fn ours(depth: u32) -> Result<LocalRing, Invalid> {
    LocalRing::with(&Options::new().depth(depth)).map_err(invalid)
}

/// The raw ring: the flags of our best rung, the same queues.
pub(super) fn raw() -> Result<IoUring, Invalid> {
    let mut builder = IoUring::builder();
    builder
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .setup_submit_all()
        .setup_cqsize(DEPTH * 2);
    Ok(builder.build(DEPTH * 2)?)
}

/// Drives a raw ring: `entry(i)` makes the i-th entry for a free index, `seen(index, result)` takes its completion.
pub(super) fn drive_raw(
    ring: &mut IoUring,
    n: u64,
    mut entry: impl FnMut(u64) -> squeue::Entry,
    mut seen: impl FnMut(u64, i32) -> bool,
) -> Result<u64, Invalid> {
    let (mut submitter, mut sq, mut cq) = ring.split();
    submitter.register_ring_fd()?;
    let mut free: Vec<u64> = (0..u64::from(DEPTH)).collect();
    let (mut sent, mut done, mut bad) = (0, 0, 0);
    while done < n {
        while sent < n {
            let Some(index) = free.pop() else { break };
            let entry = entry(index).user_data(index);
            // SAFETY: what the entry names outlives the loop, which ends with nothing in flight.
            unsafe { sq.push(&entry) }.map_err(invalid)?;
            sent += 1;
        }
        sq.sync();
        submitter.submit_and_wait(BATCH.min(n - done) as usize)?;
        sq.sync();
        cq.sync();
        for cqe in &mut cq {
            bad += u64::from(!seen(cqe.user_data(), cqe.result()));
            free.push(cqe.user_data());
            done += 1;
        }
        cq.sync();
    }
    submitter.unregister_ring_fd()?;
    Ok(bad)
}

pub(super) fn verdict(bad: u64) -> Result<(), Invalid> {
    if bad > 0 {
        Err(Invalid(format!("{bad} operations failed or came back wrong")))
    } else {
        Ok(())
    }
}
