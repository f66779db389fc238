//! Claims about queues: one `u64` from a producer's core to a consumer's.

use crate::{Claim, Contest, Invalid, Row, Task, Worker};
use std::sync::Mutex;
use sync_base::queue::{Overrun, mpmc, mpsc, spsc};
use sync_base::{Backoff, Step};

pub(super) const CLAIMS: &[Claim] = &[
    Claim {
        id: "queue.spsc",
        krate: "sync-base",
        what: "transfer one u64, one producer, one consumer, 1024 slots",
        unit: "ns",
        cores: 2,
        run: one_to_one,
    },
    Claim {
        id: "queue.mpsc",
        krate: "sync-base",
        what: "transfer one u64 through an MPSC queue, 1024 slots",
        unit: "ns",
        cores: 2,
        run: many_to_one,
    },
];

pub(super) const SLOTS: usize = 1024;

/// Thread 0 pushes 0, 1, 2 ... with one end, thread 1 pops with the other and checks the order. The ends outlive the
/// round: each thread takes its own out of `ends` and puts it back.
pub(super) fn transfer<P, C>(
    w: &mut Worker<'_>,
    ends: &(Mutex<Option<P>>, Mutex<Option<C>>),
    push: impl Fn(&mut P, u64) -> bool,
    pop: impl Fn(&mut C) -> Option<u64>,
) -> Result<(), Invalid> {
    if w.index == 0 {
        let mut end = take(&ends.0);
        w.measure(|n| {
            for i in 0..n {
                let mut backoff = Backoff::new();
                while !push(&mut end, i) {
                    wait(&mut backoff);
                }
            }
        });
        *ends.0.lock().expect("nobody panics") = Some(end);
        return Ok(());
    }
    let mut end = take(&ends.1);
    let wrong = w.measure(|n| {
        let mut wrong = 0u64;
        for i in 0..n {
            let mut backoff = Backoff::new();
            let got = loop {
                match pop(&mut end) {
                    Some(v) => break v,
                    None => wait(&mut backoff),
                }
            };
            wrong += u64::from(got != i);
        }
        wrong
    });
    *ends.1.lock().expect("nobody panics") = Some(end);
    if wrong > 0 {
        return Err(Invalid(format!("{wrong} values came out of order")));
    }
    Ok(())
}

/// Every lane waits alike: polling without pause takes the line that is polled away from the other side.
fn wait(backoff: &mut Backoff) {
    if backoff.step() == Step::Park {
        std::thread::yield_now();
    }
}

fn take<E>(end: &Mutex<Option<E>>) -> E {
    end.lock()
        .expect("nobody panics")
        .take()
        .expect("the last round put it back")
}

pub(super) fn hold<P, C>((producer, consumer): (P, C)) -> (Mutex<Option<P>>, Mutex<Option<C>>) {
    (Mutex::new(Some(producer)), Mutex::new(Some(consumer)))
}

#[cfg(feature = "peers")]
fn peers_of_many(contest: &mut Contest<'_>) {
    use std::sync::Arc;
    let queue = Arc::new(crossbeam_queue::ArrayQueue::new(SLOTS));
    let ends = hold((Arc::clone(&queue), queue));
    contest.peer("crossbeam-queue", 2, move |w| {
        transfer(w, &ends, |q, v| q.push(v).is_ok(), |q| q.pop())
    });
    let ends = hold(crossbeam_channel::bounded(SLOTS));
    contest.peer("crossbeam-channel", 2, move |w| {
        transfer(w, &ends, |s, v| s.try_send(v).is_ok(), |r| r.try_recv().ok())
    });
}

fn one_to_one(task: &Task<'_>) -> Result<Row, Invalid> {
    let mut contest = Contest::new(task);
    contest.by_wall_clock();
    let ends = hold(spsc::channel(SLOTS, Overrun::DropNewest));
    contest.ours("spsc", 2, move |w| {
        transfer(w, &ends, |p, v| p.try_push(v).is_ok(), |c| c.try_pop().ok())
    });
    let ends = hold(spsc::channel(SLOTS, Overrun::Block));
    contest.peer("our spsc, sleeping ends", 2, move |w| {
        transfer(w, &ends, |p, v| p.push(v).is_ok(), |c| c.pop())
    });
    let ends = hold(spsc::channel(SLOTS, Overrun::DropOldest));
    contest.peer("our spsc, DropOldest", 2, move |w| {
        transfer(w, &ends, |p, v| p.try_push(v).is_ok(), |c| c.try_pop().ok())
    });
    #[cfg(feature = "peers")]
    {
        use ringbuf::traits::{Consumer as _, Producer as _, Split as _};
        let ends = hold(ringbuf::HeapRb::<u64>::new(SLOTS).split());
        contest.peer("ringbuf", 2, move |w| {
            transfer(w, &ends, |p, v| p.try_push(v).is_ok(), |c| c.try_pop())
        });
        let ends = hold(rtrb::RingBuffer::<u64>::new(SLOTS));
        contest.peer("rtrb", 2, move |w| {
            transfer(w, &ends, |p, v| p.push(v).is_ok(), |c| c.pop().ok())
        });
        peers_of_many(&mut contest);
    }
    contest.at_most(1.2, "ringbuf").at_most(1.0, "crossbeam-queue");
    contest.run()
}

fn many_to_one(task: &Task<'_>) -> Result<Row, Invalid> {
    let mut contest = Contest::new(task);
    contest.by_wall_clock();
    let ends = hold(mpsc::channel(SLOTS, Overrun::DropNewest));
    contest.ours("mpsc", 2, move |w| {
        transfer(w, &ends, |s, v| s.try_push(v).is_ok(), |r| r.try_pop().ok())
    });
    let queue = std::sync::Arc::new(mpmc::Queue::new(SLOTS, Overrun::DropNewest));
    let ends = hold((std::sync::Arc::clone(&queue), queue));
    contest.peer("our mpmc", 2, move |w| {
        transfer(w, &ends, |q, v| q.try_push(v).is_ok(), |q| q.try_pop().ok())
    });
    #[cfg(feature = "peers")]
    peers_of_many(&mut contest);
    contest.at_most(1.0, "crossbeam-queue");
    contest.note("one of the producers at work: two cores cannot show more without taking turns");
    contest.run()
}
