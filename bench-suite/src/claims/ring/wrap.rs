//! One operation at a time: nothing hides what a wrapper costs.

use super::read::{BLOCK, Buf, block_of, is_block, numbered_file};
use super::{LONG, invalid, ours, raw, verdict};
use crate::{Contest, Invalid, Row, Task, Worker};
use io_uring::{CompletionQueue, IoUring, SubmissionQueue, Submitter, opcode, squeue, types};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use uring_core::op::{Read, Recv, Send};
use uring_core::{LocalRing, Operation};

const MESSAGE: usize = 1024;

/// The ends of a raw ring, entered by its registered index as ours is.
struct Ends<'r> {
    submitter: Submitter<'r>,
    sq: SubmissionQueue<'r>,
    cq: CompletionQueue<'r>,
}

impl<'r> Ends<'r> {
    fn of(ring: &'r mut IoUring) -> Result<Self, Invalid> {
        let (mut submitter, sq, cq) = ring.split();
        submitter.register_ring_fd()?;
        Ok(Self { submitter, sq, cq })
    }

    /// Submits one entry, waits for it and gives its result.
    fn one(&mut self, entry: &squeue::Entry) -> Result<i32, Invalid> {
        // SAFETY: what the entry names outlives this call, which ends with nothing in flight.
        unsafe { self.sq.push(entry) }.map_err(invalid)?;
        self.sq.sync();
        self.submitter.submit_and_wait(1)?;
        self.sq.sync();
        self.cq.sync();
        let cqe = self.cq.next().ok_or_else(|| invalid("no completion"))?;
        self.cq.sync();
        Ok(cqe.result())
    }
}

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        // The registration is a reference to the ring.
        let _ = self.submitter.unregister_ring_fd();
    }
}

/// The same by the safe ring: a token, waited for.
fn finish<O: Operation>(ring: &LocalRing, op: O) -> Result<O::Output, Invalid> {
    let token = ring.submit(op).map_err(invalid)?;
    ring.finish(token, LONG).map_err(|(_, error)| invalid(error))
}

fn our_reads(w: &mut Worker<'_>, file: &File) -> Result<(), Invalid> {
    let ring = ours(1)?;
    let fixed = ring.register_file(file).map_err(invalid)?;
    let mut buf: Buf = vec![0; BLOCK].into();
    let bad = w.measure(|n| -> Result<u64, Invalid> {
        let mut bad = 0;
        for turn in 0..n {
            let number = block_of(turn);
            let (read, back) = finish(&ring, Read::new(fixed, buf).at(number * BLOCK as u64))?;
            bad += u64::from(read != Ok(BLOCK) || !is_block(&back, number));
            buf = back;
        }
        Ok(bad)
    });
    verdict(bad?)
}

fn raw_reads(w: &mut Worker<'_>, file: &File) -> Result<(), Invalid> {
    let mut ring = raw()?;
    ring.submitter().register_files(&[file.as_raw_fd()])?;
    let mut ends = Ends::of(&mut ring)?;
    let mut buf = vec![0u8; BLOCK];
    let bad = w.measure(|n| -> Result<u64, Invalid> {
        let mut bad = 0;
        for turn in 0..n {
            let number = block_of(turn);
            let read = opcode::Read::new(types::Fixed(0), buf.as_mut_ptr(), BLOCK as u32);
            let read = ends.one(&read.offset(number * BLOCK as u64).build())?;
            bad += u64::from(read != BLOCK as i32 || !is_block(&buf, number));
        }
        Ok(bad)
    });
    verdict(bad?)
}

pub(super) fn read(task: &Task<'_>) -> Result<Row, Invalid> {
    let file = &numbered_file()?;
    let mut contest = Contest::new(task);
    contest.ours("submit and finish", 1, move |w| our_reads(w, file));
    contest.floor("raw io-uring", 1, move |w| raw_reads(w, file));
    contest.at_most(1.1, "raw io-uring");
    contest.note("registered file, registered ring descriptor on both sides");
    contest.run()
}

/// There and back: send, receive, send, receive.
fn our_echo(w: &mut Worker<'_>) -> Result<(), Invalid> {
    let ring = ours(1)?;
    let (near, far) = UnixStream::pair()?;
    let (near, far) = (Arc::new(near), Arc::new(far));
    let mut message: Buf = vec![0; MESSAGE].into();
    let mut heard: Buf = vec![0; MESSAGE].into();
    let bad = w.measure(|n| -> Result<u64, Invalid> {
        let mut bad = 0;
        for turn in 0..n {
            message[..8].copy_from_slice(&turn.to_ne_bytes());
            for (from, to) in [(&near, &far), (&far, &near)] {
                let (sent, back) = finish(&ring, Send::new(Arc::clone(from), message))?;
                let (received, got) = finish(&ring, Recv::new(Arc::clone(to), heard))?;
                bad += u64::from(sent != Ok(MESSAGE) || received != Ok(MESSAGE));
                // What came is what goes back.
                (message, heard) = (got, back);
            }
            bad += u64::from(message[..8] != turn.to_ne_bytes());
        }
        Ok(bad)
    });
    verdict(bad?)
}

fn raw_echo(w: &mut Worker<'_>) -> Result<(), Invalid> {
    let mut ring = raw()?;
    let mut ends = Ends::of(&mut ring)?;
    let (near, far) = UnixStream::pair()?;
    let (near, far) = (types::Fd(near.as_raw_fd()), types::Fd(far.as_raw_fd()));
    let mut message = vec![0u8; MESSAGE];
    let mut heard = vec![0u8; MESSAGE];
    let bad = w.measure(|n| -> Result<u64, Invalid> {
        let mut bad = 0;
        for turn in 0..n {
            message[..8].copy_from_slice(&turn.to_ne_bytes());
            for (from, to) in [(near, far), (far, near)] {
                let send = opcode::Send::new(from, message.as_ptr(), MESSAGE as u32);
                let sent = ends.one(&send.flags(libc::MSG_NOSIGNAL).build())?;
                let receive = opcode::Recv::new(to, heard.as_mut_ptr(), MESSAGE as u32);
                let received = ends.one(&receive.build())?;
                bad += u64::from((sent, received) != (MESSAGE as i32, MESSAGE as i32));
                std::mem::swap(&mut message, &mut heard);
            }
            bad += u64::from(message[..8] != turn.to_ne_bytes());
        }
        Ok(bad)
    });
    verdict(bad?)
}

pub(super) fn echo(task: &Task<'_>) -> Result<Row, Invalid> {
    let mut contest = Contest::new(task);
    contest.ours("submit and finish", 1, our_echo);
    contest.floor("raw io-uring", 1, raw_echo);
    contest.at_most(1.1, "raw io-uring");
    contest.note("two sends and two receives an echo");
    contest.run()
}
