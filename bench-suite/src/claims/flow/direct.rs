//! Reads past the page cache, 64 in flight, beside raw rings that sleep and that spin.

use super::disk::{BLOCK, Disk, Lane, Slice, Walk, on_disk};
use crate::claims::ring::invalid;
use crate::machine::wall_ns;
use crate::row::{Judged, quartiles};
use crate::{Invalid, Row, Task, Verdict, thread_cpu_ns};
use io_uring::{IoUring, opcode, types};
use pooled_vec::{AlignedOptions, Slab, SlabBuf};
use std::os::fd::AsRawFd;
use std::time::Duration;
use uring_core::pace::{Control, Waiting, WindowOptions};

const DEPTH: u32 = 64;
/// Completions that a raw wait asks for, as ours does.
const WANT: usize = 16;
/// Ours, two raw rings, and ours made to spin, which is judged by nothing.
const LANES: usize = 4;
/// `IORING_ENTER_GETEVENTS`.
const GETEVENTS: u32 = 1;
/// How much of the better raw ring's throughput, how much of the sleeping one's CPU, and what spinning must win to excuse more.
const SHARE: f64 = 0.95;
const CPU: f64 = 1.2;
const WORTH: f64 = 1.05;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    Sleep,
    Spin,
}

/// A raw ring with the flags of our best rung, and its buffers.
struct Raw {
    ring: IoUring,
    bufs: Vec<SlabBuf>,
    numbers: Vec<u64>,
    free: Vec<usize>,
    walk: Walk,
    wait: Wait,
}

impl Raw {
    fn new(disk: &Disk, seed: u64, wait: Wait) -> Result<Self, Invalid> {
        let mut builder = IoUring::builder();
        builder
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(DEPTH * 2);
        let ring: IoUring = builder.build(DEPTH * 2)?;
        ring.submitter().register_files(&[disk.file.as_raw_fd()])?;
        let slab = Slab::new(DEPTH as usize, BLOCK, AlignedOptions::new()).map_err(invalid)?;
        Ok(Self {
            ring,
            bufs: std::iter::from_fn(|| slab.claim()).collect(),
            numbers: vec![0; DEPTH as usize],
            free: (0..DEPTH as usize).collect(),
            walk: Walk::new(seed, disk.blocks),
            wait,
        })
    }

    fn slice(&mut self, length: Duration) -> Result<Slice, Invalid> {
        let (wall, cpu) = (wall_ns(), thread_cpu_ns());
        let until = wall + length.as_nanos() as u64;
        let (mut done, mut bad) = (0u64, 0u64);
        let (mut in_time, mut ended) = (0, wall);
        while self.free.len() < DEPTH as usize || ended < until {
            ended = wall_ns();
            if ended < until {
                in_time = done;
                self.submit()?;
            }
            let in_flight = DEPTH as usize - self.free.len();
            if in_flight == 0 {
                break;
            }
            self.turn(WANT.min(in_flight))?;
            let mut completions = self.ring.completion();
            for cqe in &mut completions {
                let at = cqe.user_data() as usize;
                let right =
                    cqe.result() == BLOCK as i32 && self.bufs[at][..8] == self.numbers[at].to_ne_bytes();
                bad += u64::from(!right);
                self.free.push(at);
                done += 1;
            }
        }
        if bad > 0 {
            return Err(Invalid(format!("{bad} reads failed or brought another block")));
        }
        Ok(Slice {
            per_second: in_time as f64 * 1e9 / length.as_nanos() as f64,
            cpu_ns: (thread_cpu_ns() - cpu) as f64 / done.max(1) as f64,
            p99_ns: 0.0,
        })
    }

    fn submit(&mut self) -> Result<(), Invalid> {
        while let Some(at) = self.free.pop() {
            let number = self.walk.step();
            self.numbers[at] = number;
            let entry = opcode::Read::new(types::Fixed(0), self.bufs[at].as_mut_ptr(), BLOCK as u32)
                .offset(number * BLOCK as u64)
                .build()
                .user_data(at as u64);
            // SAFETY: the buffer stays where it is until its read is over, which the end of each slice waits for.
            unsafe { self.ring.submission().push(&entry) }.map_err(invalid)?;
        }
        Ok(())
    }

    fn turn(&mut self, want: usize) -> Result<(), Invalid> {
        if self.wait == Wait::Sleep {
            self.ring.submit_and_wait(want)?;
            return Ok(());
        }
        let mut submit = self.ring.submission().len() as u32;
        while self.ring.completion().is_empty() {
            // SAFETY: no argument is passed, and what was queued is valid as above.
            unsafe {
                self.ring
                    .submitter()
                    .enter::<libc::sigset_t>(submit, 0, GETEVENTS, None)
            }?;
            submit = 0;
        }
        Ok(())
    }
}

impl Drop for Raw {
    /// After a failure reads may still be in flight: their buffers are left to the kernel for good.
    fn drop(&mut self) {
        if self.free.len() < DEPTH as usize {
            std::mem::forget(std::mem::take(&mut self.bufs));
        }
    }
}

pub(super) fn beside_raw(task: &Task<'_>, cpu: usize) -> Result<Row, Invalid> {
    on_disk(task.claim, task.plan.quick, task.plan.cpus[cpu], |disk| {
        let mut ours = Lane::new(disk, 1, &WindowOptions::new().control(Control::Fixed(DEPTH)))?;
        let spin = WindowOptions::new()
            .control(Control::Fixed(DEPTH))
            .waiting(Waiting::Spin);
        let mut made_to_spin = Lane::new(disk, 4, &spin)?;
        let mut sleeping = Raw::new(disk, 2, Wait::Sleep)?;
        let mut spinning = Raw::new(disk, 3, Wait::Spin)?;
        let length = Duration::from_millis(if task.plan.quick { 60 } else { 300 });
        // Ours tries spinning first, and decides.
        ours.slice(Duration::from_millis(200))?;
        let mut slices: [Vec<Slice>; LANES] = Default::default();
        let mut spun = 0;
        for round in 0..task.plan.rounds {
            for turn in 0..LANES {
                match (round + turn) % LANES {
                    0 => slices[0].push(ours.slice(length)?),
                    1 => slices[1].push(sleeping.slice(length)?),
                    2 => slices[2].push(spinning.slice(length)?),
                    _ => slices[3].push(made_to_spin.slice(length)?),
                }
            }
            spun += ours.window.handle().stats().spinning;
        }
        Ok(judged(task, &slices, spun))
    })
}

fn judged(task: &Task<'_>, slices: &[Vec<Slice>; LANES], spun: i64) -> Row {
    let median =
        |lane: usize, of: fn(&Slice) -> f64| quartiles(&slices[lane].iter().map(of).collect::<Vec<_>>()).1;
    let rate = |lane| median(lane, |s| s.per_second);
    let better = if rate(2) > rate(1) { 2 } else { 1 };
    let ratio = |lane: usize, of: fn(&Slice, &Slice) -> f64| -> Vec<f64> {
        slices[0]
            .iter()
            .zip(&slices[lane])
            .map(|(ours, theirs)| of(ours, theirs))
            .collect()
    };
    let mut bounds = vec![Judged {
        ratios: ratio(better, |ours, theirs| theirs.per_second / ours.per_second),
        at_most: 1.0 / SHARE,
    }];
    let paid = rate(2) > rate(1) * WORTH;
    if !paid {
        bounds.push(Judged {
            ratios: ratio(1, |ours, theirs| ours.cpu_ns / theirs.cpu_ns),
            at_most: CPU,
        });
    }
    let mut row = Row::unmeasured(task.claim, Verdict::Undecided, "");
    row.rounds = task.plan.rounds;
    row.ours = Some(rate(0).round());
    for (lane, name) in [
        (1, "raw, sleeping"),
        (2, "raw, spinning"),
        (3, "ours, made to spin"),
    ] {
        row.peers.insert(name.into(), rate(lane).round());
    }
    row.target = format!(
        "the better raw ring: at most 1/{SHARE} of ours; CPU a read <= {CPU}x the sleeping one's unless spinning won by 5 %"
    );
    row.note = format!(
        "CPU ns a read: ours {:.0}, sleeping {:.0}, spinning {:.0}, ours made to spin {:.0}; ours was spinning after {spun} of {} rounds",
        median(0, |s| s.cpu_ns),
        median(1, |s| s.cpu_ns),
        median(2, |s| s.cpu_ns),
        median(3, |s| s.cpu_ns),
        task.plan.rounds
    );
    row.judge(&bounds, false);
    row
}
