//! Claims about what a ring knows beforehand: files by slot, memory by slab, and sends from the memory itself.

use super::ring::{
    BATCH, BLOCK, DEPTH, LONG, block_of, drive_raw, futures_of, invalid, is_block, numbered_file, ours, raw,
    verdict,
};
use crate::{Claim, Contest, Invalid, Row, Task, Worker};
use io_uring::{opcode, types};
use pooled_vec::{AlignedOptions, Slab};
use std::cell::Cell;
use std::fs::File;
use std::hint::black_box;
use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::Arc;
use uring_core::LocalRing;
use uring_core::buffer::FixedBuf;
use uring_core::file::Files;
use uring_core::op::{FixedFd, Read, Send, ZERO_COPY_FROM};

pub(super) const CLAIMS: &[Claim] = &[
    Claim {
        id: "file.lookup",
        krate: "uring-core",
        what: "registered-file slot by descriptor, 4,096 files in random order",
        unit: "ns",
        cores: 1,
        run: lookup,
    },
    Claim {
        id: "ring.read.fixed.token",
        krate: "uring-core",
        what: "cached 4 KiB random read by token into registered buffers, QD128, stats on",
        unit: "ns",
        cores: 1,
        run: |task| fixed(task, 1.08, by_token),
    },
    Claim {
        id: "ring.read.fixed.callback",
        krate: "uring-core",
        what: "cached 4 KiB random read by callback into registered buffers, QD128, stats on",
        unit: "ns",
        cores: 1,
        run: |task| fixed(task, 1.10, by_callback),
    },
    Claim {
        id: "ring.read.fixed.future",
        krate: "uring-core",
        what: "cached 4 KiB random read by future into registered buffers, QD128, stats on",
        unit: "ns",
        cores: 1,
        run: |task| fixed(task, 1.20, |ring, file, bufs, n| futures_of(ring, &file, bufs, n)),
    },
    Claim {
        id: "send.zc.4k",
        krate: "uring-core",
        what: "send 4 KiB over loopback until the buffer is back, zero-copy by size, sender's CPU",
        unit: "ns",
        cores: 1,
        run: |task| zero_copy(task, 4 << 10),
    },
    Claim {
        id: "send.zc.16k",
        krate: "uring-core",
        what: "send 16 KiB over loopback until the buffer is back, zero-copy by size, sender's CPU",
        unit: "ns",
        cores: 1,
        run: |task| zero_copy(task, 16 << 10),
    },
    Claim {
        id: "send.zc.24k",
        krate: "uring-core",
        what: "send 24 KiB over loopback until the buffer is back, zero-copy by size, sender's CPU",
        unit: "ns",
        cores: 1,
        run: |task| zero_copy(task, 24 << 10),
    },
    Claim {
        id: "send.zc.32k",
        krate: "uring-core",
        what: "send 32 KiB over loopback until the buffer is back, zero-copy by size, sender's CPU",
        unit: "ns",
        cores: 1,
        run: |task| zero_copy(task, 32 << 10),
    },
    Claim {
        id: "send.zc.48k",
        krate: "uring-core",
        what: "send 48 KiB over loopback until the buffer is back, zero-copy by size, sender's CPU",
        unit: "ns",
        cores: 1,
        run: |task| zero_copy(task, 48 << 10),
    },
    Claim {
        id: "send.zc.64k",
        krate: "uring-core",
        what: "send 64 KiB over loopback until the buffer is back, zero-copy by size, sender's CPU",
        unit: "ns",
        cores: 1,
        run: |task| zero_copy(task, 64 << 10),
    },
    Claim {
        id: "send.zc.256k",
        krate: "uring-core",
        what: "send 256 KiB over loopback until the buffer is back, zero-copy by size, sender's CPU",
        unit: "ns",
        cores: 1,
        run: |task| zero_copy(task, 256 << 10),
    },
];

const FILES: usize = 4096;

/// A full walk over the files in an order that no prefetcher guesses.
fn order() -> Vec<usize> {
    (0..FILES).map(|i| (i * 2477 + 1013) % FILES).collect()
}

fn look_up(w: &mut Worker<'_>, order: &[usize], slot: impl Fn(usize) -> u32) -> Result<(), Invalid> {
    let sum = w.measure(|n| (0..n).fold(0u64, |sum, i| sum + u64::from(slot(order[i as usize % FILES]))));
    let expected = (0..w.ops()).fold(0u64, |sum, i| sum + order[i as usize % FILES] as u64);
    match sum == expected {
        true => Ok(()),
        false => Err(Invalid(format!("slots added up to {sum} instead of {expected}"))),
    }
}

fn lookup(task: &Task<'_>) -> Result<Row, Invalid> {
    let (order, files) = (&order(), &Files::new(FILES as u32));
    let options = uring_core::Options::new().registered_files(FILES as u32);
    let ring = LocalRing::with(&options).map_err(invalid)?;
    let null = File::open("/dev/null")?;
    let mut handles = Vec::with_capacity(FILES);
    for at in 0..FILES {
        let handle = files
            .adopt(null.try_clone()?.into())
            .map_err(|(error, _)| invalid(error))?;
        let fixed = ring.register_shared(files, handle).map_err(invalid)?;
        if fixed.slot() as usize != at {
            return Err(Invalid(format!("file {at} got slot {}", fixed.slot())));
        }
        handles.push(handle);
    }
    let (handles, array) = (&handles, &(0..FILES as u32).collect::<Vec<_>>());
    let numbers = handles.iter().map(|handle| handle.number() as usize + 1);
    let mut by_number = vec![u32::MAX; numbers.max().unwrap_or(0)];
    for (at, handle) in handles.iter().enumerate() {
        by_number[handle.number() as usize] = at as u32;
    }
    let by_number = &by_number;
    let mut contest = Contest::new(task);
    contest.ours("Files::slot", 1, |w| {
        look_up(w, order, |at| files.slot(handles[at]).unwrap_or(u32::MAX))
    });
    contest.floor("array index", 1, |w| look_up(w, order, |at| black_box(array)[at]));
    contest.peer("array index by the number in a handle", 1, |w| {
        look_up(w, order, |at| black_box(by_number)[handles[at].number() as usize])
    });
    contest.at_most(1.5, "array index");
    contest.note("ours is given a handle of 16 bytes, whose generation it checks");
    contest.run()
}

fn slab() -> Result<Slab, Invalid> {
    Slab::new(DEPTH as usize, BLOCK, AlignedOptions::new()).map_err(invalid)
}

/// Reads `n` blocks with the buffers given, all of which are back at the end; returns how many came back wrong.
type Style = fn(&LocalRing, FixedFd, &mut Vec<FixedBuf>, u64) -> Result<u64, Invalid>;

fn by_token(ring: &LocalRing, file: FixedFd, free: &mut Vec<FixedBuf>, n: u64) -> Result<u64, Invalid> {
    let mut numbers = vec![0u64; DEPTH as usize];
    let (mut sent, mut done, mut bad) = (0, 0, 0);
    while done < n {
        while sent < n {
            let Some(buf) = free.pop() else { break };
            let number = block_of(sent);
            let read = Read::new(file, buf).at(number * BLOCK as u64);
            let token = ring.submit(read).map_err(invalid)?;
            numbers[token.id().slot()] = number;
            sent += 1;
        }
        ring.wait(BATCH.min(n - done) as usize, LONG).map_err(invalid)?;
        ring.reap(|completed| {
            let number = numbers[completed.id().slot()];
            let taken = completed.take::<Read<FixedBuf, FixedFd>>();
            let (read, buf) = taken.expect("only reads are in flight");
            bad += u64::from(read != Ok(BLOCK) || !is_block(&buf, number));
            free.push(buf);
            done += 1;
        });
    }
    Ok(bad)
}

#[derive(Default)]
struct Tally {
    free: Cell<Vec<FixedBuf>>,
    done: Cell<u64>,
    bad: Cell<u64>,
}

fn by_callback(ring: &LocalRing, file: FixedFd, bufs: &mut Vec<FixedBuf>, n: u64) -> Result<u64, Invalid> {
    let tally = Rc::new(Tally::default());
    tally.free.set(std::mem::take(bufs));
    let mut sent = 0;
    while tally.done.get() < n {
        let mut free = tally.free.take();
        while sent < n {
            let Some(buf) = free.pop() else { break };
            let (number, mine) = (block_of(sent), Rc::clone(&tally));
            let read = Read::new(file, buf).at(number * BLOCK as u64);
            let submitted = ring.submit_with(read, move |(read, buf)| {
                let wrong = read != Ok(BLOCK) || !is_block(&buf, number);
                mine.bad.set(mine.bad.get() + u64::from(wrong));
                mine.done.set(mine.done.get() + 1);
                let mut free = mine.free.take();
                free.push(buf);
                mine.free.set(free);
            });
            submitted.map_err(invalid)?;
            sent += 1;
        }
        tally.free.set(free);
        let want = BATCH.min(n - tally.done.get()) as usize;
        ring.wait(want, LONG).map_err(invalid)?;
    }
    *bufs = tally.free.take();
    Ok(tally.bad.get())
}

/// The raw loop with the same registration.
fn raw_fixed(w: &mut Worker<'_>, file: &File) -> Result<(), Invalid> {
    let mut ring = raw()?;
    ring.submitter().register_files(&[file.as_raw_fd()])?;
    let slab = slab()?;
    let (region, len) = slab.region();
    let range = libc::iovec {
        iov_base: region.as_ptr().cast(),
        iov_len: len,
    };
    // SAFETY: the slab outlives the ring's last read, since the loop ends with nothing in flight.
    unsafe { ring.submitter().register_buffers(&[range]) }?;
    let leases: Vec<_> = (0..DEPTH).filter_map(|_| slab.claim()).collect();
    let starts: Vec<*mut u8> = leases.iter().map(|lease| lease.as_non_null().as_ptr()).collect();
    let turn = Cell::new(0);
    let numbers: Vec<Cell<u64>> = (0..DEPTH).map(|_| Cell::new(0)).collect();
    let bad = w.measure(|n| {
        drive_raw(
            &mut ring,
            n,
            |index| {
                let number = block_of(turn.replace(turn.get() + 1));
                numbers[index as usize].set(number);
                opcode::ReadFixed::new(types::Fixed(0), starts[index as usize], BLOCK as u32, 0)
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

fn fixed(task: &Task<'_>, factor: f64, style: Style) -> Result<Row, Invalid> {
    let file = &numbered_file()?;
    let mut contest = Contest::new(task);
    contest.ours("ours", 1, move |w| {
        let ring = ours(DEPTH)?;
        let fixed = ring.register_file(file).map_err(invalid)?;
        let registered = ring.register_slab(slab()?).map_err(invalid)?;
        let mut bufs: Vec<_> = (0..DEPTH).filter_map(|_| registered.lease()).collect();
        let bad = w.measure(|n| style(&ring, fixed, &mut bufs, n));
        verdict(bad?)
    });
    contest.floor("raw io-uring", 1, move |w| raw_fixed(w, file));
    contest.at_most(factor, "raw io-uring");
    contest.note("registered file and registered buffers on both sides");
    contest.run()
}

/// Sends one buffer after another over loopback; a thread of its own takes the data out.
fn sends(w: &mut Worker<'_>, bytes: usize, from: usize) -> Result<(), Invalid> {
    let ring = ours(4)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let near = Arc::new(TcpStream::connect(listener.local_addr()?)?);
    let (mut far, _) = listener.accept()?;
    let sink = std::thread::spawn(move || {
        let (mut room, mut total) = (vec![0; 1 << 20], 0u64);
        while let Ok(count @ 1..) = far.read(&mut room) {
            total += count as u64;
        }
        total
    });
    let mut spare = Some(vec![7u8; bytes]);
    let sent = w.measure(|n| -> Result<u64, Invalid> {
        let mut total = 0;
        for _ in 0..n {
            let buf = spare.take().ok_or(Invalid("a buffer was lost".into()))?;
            let send = Send::new(Arc::clone(&near), buf).zero_copy_from(from);
            let (sent, buf) = ring.block_on(ring.run(send)).map_err(invalid)?;
            total += sent.map_err(invalid)? as u64;
            spare = Some(buf);
        }
        Ok(total)
    })?;
    drop((ring, near));
    match sink.join() {
        Ok(got) if got == sent => Ok(()),
        got => Err(Invalid(format!("{sent} bytes sent, {got:?} received"))),
    }
}

fn zero_copy(task: &Task<'_>, bytes: usize) -> Result<Row, Invalid> {
    let mut contest = Contest::new(task);
    contest.ours("chosen by size", 1, move |w| sends(w, bytes, ZERO_COPY_FROM));
    contest.floor("with a copy", 1, move |w| sends(w, bytes, usize::MAX));
    contest.peer("from the buffer itself", 1, move |w| sends(w, bytes, 0));
    contest.at_most(1.1, "with a copy");
    contest.at_most(1.1, "from the buffer itself");
    contest.note("loopback; a network card differs");
    contest.run()
}
