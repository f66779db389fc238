//! What the window costs: nothing when idle, next to nothing when busy.

use super::disk::{Lane, on_disk};
use crate::claims::ring::invalid;
use crate::row::{Judged, quartiles, round3};
use crate::{Invalid, Row, Task, Verdict, thread_cpu_ns};
use std::hint::black_box;
use std::time::Duration;
use uring_core::flow::{Completed, Controller, Ladder, LadderOptions};
use uring_core::pace::{Waiting, Window, WindowOptions};
use uring_core::{LocalRing, Options};

/// Share of the CPU that the controller may take.
const SHARE: f64 = 0.01;
const COMPLETIONS: u64 = 200_000;
const IDLE: Duration = Duration::from_millis(300);

/// CPU nanoseconds the controller takes for one completion, at a disk's pace and with a backlog.
fn controller_ns() -> f64 {
    let mut ladder = Ladder::new(LadderOptions::default());
    let begun = thread_cpu_ns();
    for n in 0..COMPLETIONS {
        let window = ladder.window();
        ladder.completed(black_box(Completed {
            now_ns: n * 12_000,
            latency_ns: u64::from(window) * 12_000,
            in_flight: window,
            backlog: true,
            inline: false,
        }));
    }
    (thread_cpu_ns() - begun) as f64 / COMPLETIONS as f64
}

/// Times this thread went to sleep and was woken.
fn wake_ups() -> i64 {
    // SAFETY: all zeroes is a valid `rusage`.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: writes one `rusage`.
    unsafe { libc::getrusage(libc::RUSAGE_THREAD, &mut usage) };
    usage.ru_nvcsw
}

/// Wake-ups in an idle wait, beyond the one that ends it.
fn woken_idle() -> Result<i64, Invalid> {
    let ring = LocalRing::with(&Options::new().depth(64)).map_err(invalid)?;
    let window = Window::new(&ring, &WindowOptions::new().waiting(Waiting::Spin)).map_err(invalid)?;
    // Something is in flight that is not the window's, so that the ring has a reason to sleep in the kernel.
    let timer = uring_core::op::Timeout::after(IDLE);
    ring.submit_with(timer, |_| ()).map_err(invalid)?;
    let (enters, before) = (ring.stats().counts().enters, wake_ups());
    window.wait(Duration::from_secs(10)).map_err(invalid)?;
    let enters = ring.stats().counts().enters - enters;
    Ok((wake_ups() - before).max(i64::try_from(enters).unwrap_or(i64::MAX)) - 1)
}

pub(super) fn cost(task: &Task<'_>) -> Result<Row, Invalid> {
    let woken = woken_idle()?;
    on_disk(task.claim, task.plan.quick, task.plan.cpus[0], |disk| {
        let mut lane = Lane::new(disk, 1, &WindowOptions::new().waiting(Waiting::Sleep))?;
        let length = if task.plan.quick { 30 } else { 200 };
        let (mut shares, mut reads, mut parts) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..task.plan.rounds {
            let (read, part) = (lane.slice(Duration::from_millis(length))?.cpu_ns, controller_ns());
            shares.push(part / read);
            reads.push(read);
            parts.push(part);
        }
        let mut row = Row::unmeasured(task.claim, Verdict::Undecided, "");
        row.rounds = task.plan.rounds;
        row.ours = Some(round3(quartiles(&shares).1));
        row.target = format!("<= {SHARE} of the CPU; no wake-up");
        row.note = format!(
            "{:.0} ns of {:.0} a read; {woken} wake-ups in an idle {} ms",
            quartiles(&parts).1,
            quartiles(&reads).1,
            IDLE.as_millis()
        );
        let busy = Judged {
            ratios: shares,
            at_most: SHARE,
        };
        let idle = Judged {
            ratios: vec![woken as f64],
            at_most: 0.0,
        };
        row.judge(&[busy, idle], false);
        // The idle figure is a count: what the row shows is the share.
        row.ratio = row.ours;
        Ok(row)
    })
}
