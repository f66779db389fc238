//! Cached 4 KiB random reads, 128 in flight, in each style.

use super::{BATCH, DEPTH, LONG, drive_raw, invalid, ours, raw, verdict};
use crate::{Contest, Invalid, Row, Task, Worker};
use io_uring::{opcode, types};
use std::cell::Cell;
use std::fs::File;
use std::future::Future;
use std::io::Write;
use std::ops::Deref;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use uring_core::buffer::IoBufMut;
use uring_core::op::{FixedFd, IoFd, Read};
use uring_core::{LocalRing, Op};

pub(in crate::claims) const BLOCK: usize = 4096;
const FILE_BLOCKS: u64 = 4096;

pub(super) type Buf = Box<[u8]>;
type FileRead = Read<Buf, FixedFd>;

/// A file in the page cache whose every block begins with its number.
pub(in crate::claims) fn numbered_file() -> Result<File, Invalid> {
    let mut file = tempfile::tempfile()?;
    let mut block = vec![0u8; BLOCK];
    for number in 0..FILE_BLOCKS {
        block[..8].copy_from_slice(&number.to_ne_bytes());
        file.write_all(&block)?;
    }
    Ok(file)
}

/// A multiplicative walk: every lane reads the same blocks.
pub(in crate::claims) fn block_of(turn: u64) -> u64 {
    (turn.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) % FILE_BLOCKS
}

pub(in crate::claims) fn is_block(buf: &[u8], number: u64) -> bool {
    buf[..8] == number.to_ne_bytes()
}

pub(super) fn buffers() -> Vec<Buf> {
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

/// A lane of ours.
fn by(style: Style, file: &File) -> impl Fn(&mut Worker<'_>) -> Result<(), Invalid> + Sync {
    move |w| {
        let ring = ours(DEPTH)?;
        let fixed = ring.register_file(file).map_err(invalid)?;
        let mut bufs = buffers();
        let bad = w.measure(|n| style(&ring, fixed, &mut bufs, n));
        verdict(bad?)
    }
}

fn reads(task: &Task<'_>, factor: f64, style: Style) -> Result<Row, Invalid> {
    let file = &numbered_file()?;
    let mut contest = Contest::new(task);
    contest.ours("ours", 1, by(style, file));
    contest.floor("raw io-uring", 1, move |w| raw_reads(w, file));
    contest.at_most(factor, "raw io-uring");
    contest.note("registered file, plain buffers on both sides");
    contest.run()
}

/// Futures beside the runtimes: theirs read a plain descriptor, for want of registered ones, and so does a lane of ours.
pub(super) fn future(task: &Task<'_>) -> Result<Row, Invalid> {
    let file = &numbered_file()?;
    let mut contest = Contest::new(task);
    contest.ours("ours", 1, by(by_future, file));
    contest.ours("ours, plain descriptor", 1, move |w| {
        let ring = ours(DEPTH)?;
        let file = Arc::new(file.try_clone()?);
        let mut bufs = buffers();
        let bad = w.measure(|n| futures_of(&ring, &file, &mut bufs, n));
        verdict(bad?)
    });
    contest.floor("raw io-uring", 1, move |w| raw_reads(w, file));
    contest.at_most(1.2, "raw io-uring");
    #[cfg(feature = "peers")]
    super::peers::add_reads(&mut contest, file);
    for peer in super::RUNTIMES {
        contest.faster_than(1.15, peer);
    }
    contest.note("ours and raw: registered file, plain buffers; tokio-uring and glommio are unmaintained");
    contest.run()
}

pub(super) fn token(task: &Task<'_>) -> Result<Row, Invalid> {
    reads(task, 1.08, by_token)
}

pub(super) fn callback(task: &Task<'_>) -> Result<Row, Invalid> {
    reads(task, 1.10, by_callback)
}

fn read_of<B, D: IoFd>(file: D, buf: B, number: u64) -> Read<B, D>
where
    B: IoBufMut,
{
    Read::new(file, buf).at(number * BLOCK as u64)
}

/// Reads `n` blocks with the buffers given, all of which are back at the end; returns how many came back wrong.
pub(super) type Style = fn(&LocalRing, FixedFd, &mut Vec<Buf>, u64) -> Result<u64, Invalid>;

pub(super) fn by_token(ring: &LocalRing, file: FixedFd, free: &mut Vec<Buf>, n: u64) -> Result<u64, Invalid> {
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

pub(super) fn by_callback(
    ring: &LocalRing,
    file: FixedFd,
    bufs: &mut Vec<Buf>,
    n: u64,
) -> Result<u64, Invalid> {
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
struct Flight<'r, B: IoBufMut, D: IoFd> {
    bell: Arc<Bell>,
    waker: Waker,
    read: Option<(Op<'r, Read<B, D>>, u64)>,
}

pub(super) fn by_future(
    ring: &LocalRing,
    file: FixedFd,
    spare: &mut Vec<Buf>,
    n: u64,
) -> Result<u64, Invalid> {
    futures_of(ring, &file, spare, n)
}

/// Reads `n` blocks, with whatever buffers are given, all of which are back at the end; returns how many came back wrong.
pub(in crate::claims) fn futures_of<B, D>(
    ring: &LocalRing,
    file: &D,
    spare: &mut Vec<B>,
    n: u64,
) -> Result<u64, Invalid>
where
    B: IoBufMut + Deref<Target = [u8]>,
    D: IoFd + Clone,
{
    let flight = |_| {
        let bell = Arc::new(Bell(AtomicBool::new(true)));
        Flight {
            waker: Waker::from(Arc::clone(&bell)),
            bell,
            read: None,
        }
    };
    let mut flights: Vec<Flight<'_, B, D>> = (0..DEPTH).map(flight).collect();
    let (mut sent, mut done, mut bad) = (0, 0, 0);
    while done < n {
        for flight in &mut flights {
            // Relaxed: one thread. A look, and no exchange: most of the flights that are passed by are silent.
            if !flight.bell.0.load(Ordering::Relaxed) {
                continue;
            }
            // Relaxed: as above.
            flight.bell.0.store(false, Ordering::Relaxed);
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
                let mut op = ring.run(read_of(file.clone(), buf, number));
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
