//! Claims about the ring: what our safety costs beside a bare `io-uring` loop with the same set-up and the same batches.

use crate::{Claim, Contest, Invalid, Row, Task, Worker, allocations_on_this_thread};
use io_uring::{IoUring, opcode, squeue, types};
use std::cell::Cell;
use std::fs::File;
use std::future::Future;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use uring_core::op::{FixedFd, Nop, Read};
use uring_core::{LocalRing, Op, Options};

pub(super) const CLAIMS: &[Claim] = &[
    Claim {
        id: "ring.nop",
        krate: "uring-core",
        what: "submit a NOP to its callback, QD128, 32 a batch, stats on",
        unit: "ns",
        cores: 1,
        run: nop,
    },
    Claim {
        id: "ring.read.token",
        krate: "uring-core",
        what: "cached 4 KiB random read by token, QD128, stats on",
        unit: "ns",
        cores: 1,
        run: read_token,
    },
    Claim {
        id: "ring.read.callback",
        krate: "uring-core",
        what: "cached 4 KiB random read by callback, QD128, stats on",
        unit: "ns",
        cores: 1,
        run: read_callback,
    },
    Claim {
        id: "ring.read.future",
        krate: "uring-core",
        what: "cached 4 KiB random read by future, QD128, stats on",
        unit: "ns",
        cores: 1,
        run: read_future,
    },
    Claim {
        id: "ring.enter.128",
        krate: "uring-core",
        what: "io_uring_enter per NOP at QD128, 32 a batch",
        unit: "calls",
        cores: 1,
        run: enter_128,
    },
    Claim {
        id: "ring.enter.1",
        krate: "uring-core",
        what: "io_uring_enter per NOP at QD1",
        unit: "calls",
        cores: 1,
        run: enter_1,
    },
    Claim {
        id: "ring.allocs",
        krate: "uring-core",
        what: "heap allocations per operation by token, callback and future, QD128",
        unit: "allocations",
        cores: 1,
        run: allocs,
    },
];

pub(super) const DEPTH: u32 = 128;
pub(super) const BATCH: u64 = 32;
pub(super) const BLOCK: usize = 4096;
const FILE_BLOCKS: u64 = 4096;
pub(super) const LONG: Duration = Duration::from_secs(10);

type Buf = Box<[u8]>;
type FileRead = Read<Buf, FixedFd>;

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

fn nop(task: &Task<'_>) -> Result<Row, Invalid> {
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

fn enter_128(task: &Task<'_>) -> Result<Row, Invalid> {
    enters(task, DEPTH, BATCH, 0.05)
}

fn enter_1(task: &Task<'_>) -> Result<Row, Invalid> {
    enters(task, 1, 1, 1.0)
}

/// A file in the page cache whose every block begins with its number.
pub(super) fn numbered_file() -> Result<File, Invalid> {
    let mut file = tempfile::tempfile()?;
    let mut block = vec![0u8; BLOCK];
    for number in 0..FILE_BLOCKS {
        block[..8].copy_from_slice(&number.to_ne_bytes());
        file.write_all(&block)?;
    }
    Ok(file)
}

/// A multiplicative walk: every lane reads the same blocks.
pub(super) fn block_of(turn: u64) -> u64 {
    (turn.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) % FILE_BLOCKS
}

pub(super) fn is_block(buf: &[u8], number: u64) -> bool {
    buf[..8] == number.to_ne_bytes()
}

fn buffers() -> Vec<Buf> {
    (0..DEPTH).map(|_| vec![0; BLOCK].into_boxed_slice()).collect()
}

fn raw_reads(w: &mut Worker<'_>, file: &File) -> Result<(), Invalid> {
    let mut ring = raw()?;
    ring.submitter().register_files(&[file.as_raw_fd()])?;
    let mut bufs = buffers();
    let starts: Vec<*mut u8> = bufs.iter_mut().map(|b| b.as_mut_ptr()).collect();
    let turn = Cell::new(0);
    let mut numbers = vec![0u64; DEPTH as usize];
    let numbers = Cell::from_mut(&mut numbers[..]).as_slice_of_cells();
    let bad = w.measure(|n| {
        drive_raw(
            &mut ring,
            n,
            |index| {
                let number = block_of(turn.replace(turn.get() + 1));
                numbers[index as usize].set(number);
                opcode::Read::new(types::Fixed(0), starts[index as usize], BLOCK as u32)
                    .offset(number * BLOCK as u64)
                    .build()
            },
            |index, result| {
                // SAFETY: the read of this buffer is over.
                let buf = unsafe { std::slice::from_raw_parts(starts[index as usize], BLOCK) };
                result == BLOCK as i32 && is_block(buf, numbers[index as usize].get())
            },
        )
    });
    verdict(bad?)
}

fn reads(task: &Task<'_>, factor: f64, style: Style) -> Result<Row, Invalid> {
    let file = &numbered_file()?;
    let mut contest = Contest::new(task);
    contest.ours("ours", 1, move |w| {
        let ring = ours(DEPTH)?;
        let fixed = ring.register_file(file).map_err(invalid)?;
        let mut bufs = buffers();
        let bad = w.measure(|n| style(&ring, fixed, &mut bufs, n));
        verdict(bad?)
    });
    contest.floor("raw io-uring", 1, move |w| raw_reads(w, file));
    contest.at_most(factor, "raw io-uring");
    contest.note("registered file, plain buffers on both sides");
    contest.run()
}

fn read_token(task: &Task<'_>) -> Result<Row, Invalid> {
    reads(task, 1.08, by_token)
}

fn read_callback(task: &Task<'_>) -> Result<Row, Invalid> {
    reads(task, 1.10, by_callback)
}

fn read_future(task: &Task<'_>) -> Result<Row, Invalid> {
    reads(task, 1.20, by_future)
}

fn read_of(file: FixedFd, buf: Buf, number: u64) -> FileRead {
    Read::new(file, buf).at(number * BLOCK as u64)
}

/// Reads `n` blocks with the buffers given, all of which are back at the end; returns how many came back wrong.
type Style = fn(&LocalRing, FixedFd, &mut Vec<Buf>, u64) -> Result<u64, Invalid>;

fn by_token(ring: &LocalRing, file: FixedFd, free: &mut Vec<Buf>, n: u64) -> Result<u64, Invalid> {
    let mut numbers = vec![0u64; DEPTH as usize];
    let (mut sent, mut done, mut bad) = (0, 0, 0);
    while done < n {
        while sent < n {
            let Some(buf) = free.pop() else { break };
            let number = block_of(sent);
            let token = ring.submit(read_of(file, buf, number)).map_err(invalid)?;
            numbers[token.id().slot()] = number;
            sent += 1;
        }
        ring.wait(BATCH.min(n - done) as usize, LONG).map_err(invalid)?;
        ring.reap(|completed| {
            let number = numbers[completed.id().slot()];
            let (read, buf) = completed.take::<FileRead>().expect("only reads are in flight");
            bad += u64::from(read != Ok(BLOCK) || !is_block(&buf, number));
            free.push(buf);
            done += 1;
        });
    }
    Ok(bad)
}

struct Shared {
    free: Cell<Vec<Buf>>,
    done: Cell<u64>,
    bad: Cell<u64>,
}

fn by_callback(ring: &LocalRing, file: FixedFd, bufs: &mut Vec<Buf>, n: u64) -> Result<u64, Invalid> {
    let shared = Rc::new(Shared {
        free: Cell::new(std::mem::take(bufs)),
        done: Cell::new(0),
        bad: Cell::new(0),
    });
    let mut sent = 0;
    while shared.done.get() < n {
        let mut free = shared.free.take();
        while sent < n {
            let Some(buf) = free.pop() else { break };
            let (number, mine) = (block_of(sent), Rc::clone(&shared));
            ring.submit_with(read_of(file, buf, number), move |(read, buf)| {
                mine.bad
                    .set(mine.bad.get() + u64::from(read != Ok(BLOCK) || !is_block(&buf, number)));
                mine.done.set(mine.done.get() + 1);
                let mut free = mine.free.take();
                free.push(buf);
                mine.free.set(free);
            })
            .map_err(invalid)?;
            sent += 1;
        }
        shared.free.set(free);
        ring.wait(BATCH.min(n - shared.done.get()) as usize, LONG)
            .map_err(invalid)?;
    }
    *bufs = shared.free.take();
    Ok(shared.bad.get())
}

/// Rung by the waker of one flight.
struct Bell(AtomicBool);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Relaxed: one thread.
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One of as many futures in flight as the ring is deep.
struct Flight<'r> {
    bell: Arc<Bell>,
    waker: Waker,
    read: Option<(Op<'r, FileRead>, u64)>,
}

fn by_future(ring: &LocalRing, file: FixedFd, spare: &mut Vec<Buf>, n: u64) -> Result<u64, Invalid> {
    let flight = |_| {
        let bell = Arc::new(Bell(AtomicBool::new(true)));
        Flight {
            waker: Waker::from(Arc::clone(&bell)),
            bell,
            read: None,
        }
    };
    let mut flights: Vec<Flight<'_>> = (0..DEPTH).map(flight).collect();
    let (mut sent, mut done, mut bad) = (0, 0, 0);
    while done < n {
        for flight in &mut flights {
            // Relaxed: one thread.
            if !flight.bell.0.swap(false, Ordering::Relaxed) {
                continue;
            }
            let mut cx = Context::from_waker(&flight.waker);
            if let Some((op, number)) = &mut flight.read
                && let Poll::Ready((read, buf)) = Pin::new(op).poll(&mut cx)
            {
                bad += u64::from(read != Ok(BLOCK) || !is_block(&buf, *number));
                spare.push(buf);
                done += 1;
                flight.read = None;
            }
            if flight.read.is_none()
                && sent < n
                && let Some(buf) = spare.pop()
            {
                let number = block_of(sent);
                let mut op = ring.run(read_of(file, buf, number));
                if Pin::new(&mut op).poll(&mut cx).is_ready() {
                    return Err(Invalid("a read was refused".into()));
                }
                flight.read = Some((op, number));
                sent += 1;
            }
        }
        if done < n {
            ring.wait(BATCH.min(n - done) as usize, LONG).map_err(invalid)?;
        }
    }
    Ok(bad)
}

fn allocs(task: &Task<'_>) -> Result<Row, Invalid> {
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
