//! Three ways to use a ring in a program of several threads, by the same work: messages of 64 bytes through a socket pair, 32
//! receives under way, each completed by the send that follows it.

use super::{LONG, invalid, verdict};
use crate::machine::thread_cpu_ns;
use crate::{Contest, Invalid, Row, Task, Worker};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use uring_core::op::{Recv, Send};
use uring_core::{Core, LocalRing, Options, Ring};

const PAIRS: usize = 32;
const BYTES: usize = 64;

type Buf = Box<[u8]>;

/// A socket pair, and the buffers of its two directions between rounds.
struct Pair {
    from: Arc<UnixStream>,
    to: Arc<UnixStream>,
    message: Buf,
    heard: Buf,
}

fn pairs() -> Result<Vec<Pair>, Invalid> {
    let pair = |_| {
        let (from, to) = UnixStream::pair()?;
        Ok(Pair {
            from: Arc::new(from),
            to: Arc::new(to),
            message: vec![7; BYTES].into(),
            heard: vec![0; BYTES].into(),
        })
    };
    (0..PAIRS).map(pair).collect()
}

fn options() -> Options {
    Options::new().depth(2 * PAIRS as u32)
}

/// One message through each pair; gives how many came back wrong.
fn round(ring: &Core, pairs: Vec<Pair>, round: u64) -> Result<(Vec<Pair>, u64), Invalid> {
    let mut bad = 0;
    let mut tokens = Vec::with_capacity(PAIRS);
    for mut pair in pairs {
        pair.message[..8].copy_from_slice(&round.to_ne_bytes());
        let heard = ring
            .submit(Recv::new(Arc::clone(&pair.to), pair.heard))
            .map_err(invalid)?;
        let sent = ring
            .submit(Send::new(Arc::clone(&pair.from), pair.message))
            .map_err(invalid)?;
        tokens.push((pair.from, pair.to, heard, sent));
    }
    let mut back = Vec::with_capacity(PAIRS);
    for (from, to, heard, sent) in tokens {
        let (received, heard) = ring.finish(heard, LONG).map_err(|(_, error)| invalid(error))?;
        let (sent, message) = ring.finish(sent, LONG).map_err(|(_, error)| invalid(error))?;
        bad += u64::from(sent != Ok(BYTES) || received != Ok(BYTES) || heard[..8] != round.to_ne_bytes());
        back.push(Pair {
            from,
            to,
            message,
            heard,
        });
    }
    Ok((back, bad))
}

fn rounds(ring: &Core, n: u64) -> Result<u64, Invalid> {
    let (mut pairs, mut bad) = (pairs()?, 0);
    for at in 0..n.div_ceil(PAIRS as u64) {
        let (back, wrong) = round(ring, pairs, at)?;
        (pairs, bad) = (back, bad + wrong);
    }
    Ok(bad)
}

/// By channel: the thread with the work and the one with the ring send each other every message. The owner of the ring
/// reports its CPU time, since the lane is charged the other's.
fn by_channel(w: &mut Worker<'_>) -> Result<(), Invalid> {
    let (work, inbox) = sync_channel::<Pair>(PAIRS);
    let (answer, answers) = sync_channel::<Pair>(PAIRS);
    let owner = std::thread::spawn(move || {
        let ring = LocalRing::with(&options()).map_err(invalid)?;
        let began = thread_cpu_ns();
        let (mut at, mut bad) = (0, 0);
        loop {
            let work: Vec<Pair> = inbox.iter().take(PAIRS).collect();
            if work.is_empty() {
                return Ok::<_, Invalid>((bad, thread_cpu_ns() - began));
            }
            let (back, wrong) = round(&ring, work, at)?;
            (at, bad) = (at + 1, bad + wrong);
            back.into_iter().for_each(|pair| drop(answer.send(pair)));
        }
    });
    let mut pairs = pairs()?;
    let (lost, mine, n) = w.measure(|n| {
        let began = thread_cpu_ns();
        let mut lost = 0;
        for _ in 0..n.div_ceil(PAIRS as u64) {
            pairs.drain(..).for_each(|pair| drop(work.send(pair)));
            pairs.extend(answers.iter().take(PAIRS));
            lost += (PAIRS - pairs.len()) as u64;
        }
        (
            lost,
            thread_cpu_ns() - began,
            n.div_ceil(PAIRS as u64) * PAIRS as u64,
        )
    });
    drop(work);
    let (bad, theirs) = owner
        .join()
        .map_err(|_| invalid("the ring's thread panicked"))??;
    w.report((mine + theirs) as f64 / n as f64);
    verdict(lost + bad)
}

pub(super) fn patterns(task: &Task<'_>) -> Result<Row, Invalid> {
    let mut contest = Contest::new(task);
    contest.ours("a ring for each thread", 1, |w| {
        let ring = LocalRing::with(&options()).map_err(invalid)?;
        let bad = w.measure(|n| rounds(&ring, n));
        verdict(bad?)
    });
    contest.peer("moved", 1, |w| {
        let ring = Ring::with(&options()).map_err(invalid)?;
        // It was another thread's once.
        let ring = std::thread::spawn(move || ring)
            .join()
            .map_err(|_| invalid("lost"))?;
        let bad = w.measure(|n| rounds(&ring, n));
        verdict(bad?)
    });
    contest.peer("channel", 1, by_channel);
    contest.at_most(1.0, "moved");
    contest.at_most(1.0, "channel");
    contest.note("a message is a send and a receive");
    contest.run()
}
