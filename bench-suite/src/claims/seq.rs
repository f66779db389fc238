//! Claims about sequence locks, latches, histograms.

use crate::{Claim, Contest, Invalid, Row, Task, Worker, pin_to};
use seqstats::{Histogram, Latch, LatchWriter, Recorder, SeqLock, Writer};
use std::hint::black_box;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub(super) const CLAIMS: &[Claim] = &[
    Claim {
        id: "seq.read.64",
        krate: "seqstats",
        what: "copy 64 B out of a SeqLock, idle writer",
        unit: "ns",
        cores: 1,
        run: read_64,
    },
    Claim {
        id: "seq.read.256",
        krate: "seqstats",
        what: "copy 256 B out of a SeqLock, idle writer",
        unit: "ns",
        cores: 1,
        run: read_256,
    },
    Claim {
        id: "seq.read.hot",
        krate: "seqstats",
        what: "copy 64 B out of a SeqLock beside a flat-out writer",
        unit: "ns",
        cores: 2,
        run: read_hot,
    },
    Claim {
        id: "seq.read.hot.latch",
        krate: "seqstats",
        what: "copy 64 B out of a Latch beside a flat-out writer",
        unit: "ns",
        cores: 2,
        run: read_hot_latch,
    },
    Claim {
        id: "seq.write.64",
        krate: "seqstats",
        what: "publish 64 B by a SeqLock's only writer",
        unit: "ns",
        cores: 1,
        run: write_64,
    },
    Claim {
        id: "hist.record",
        krate: "seqstats",
        what: "record one latency, 1 ns to 1 h",
        unit: "ns",
        cores: 1,
        run: record,
    },
];

/// Reads on the clock; every copy must be one value.
fn reads<const N: usize>(w: &mut Worker<'_>, mut read: impl FnMut() -> [u64; N]) -> Result<(), Invalid> {
    let torn = w.measure(|n| {
        (0..n)
            .filter(|_| {
                let value = read();
                let value = black_box(&value);
                value[0] != value[N - 1]
            })
            .count()
    });
    if torn > 0 {
        return Err(Invalid(format!("{torn} copies were torn")));
    }
    Ok(())
}

fn read_64(task: &Task<'_>) -> Result<Row, Invalid> {
    read_idle::<8>(task, |contest| {
        contest.at_most(1.7, "volatile copy").faster_than(6.0, "RwLock");
    })
}

fn read_256(task: &Task<'_>) -> Result<Row, Invalid> {
    read_idle::<32>(task, |contest| {
        contest.faster_than(1.7, "RwLock");
    })
}

fn read_idle<const N: usize>(task: &Task<'_>, bounds: impl FnOnce(&mut Contest<'_>)) -> Result<Row, Invalid> {
    let lock = SeqLock::new([7u64; N]);
    let latch = Latch::<_, 4>::new([7u64; N]);
    let plain = [7u64; N];
    let rw = RwLock::new([7u64; N]);
    let mut contest = Contest::new(task);
    contest.ours("SeqLock", 1, |w| reads(w, || black_box(&lock).read()));
    contest.floor("volatile copy", 1, |w| {
        // SAFETY: a reference is valid for reads.
        reads(w, || unsafe { std::ptr::read_volatile(black_box(&plain)) })
    });
    contest.peer("our Latch", 1, |w| reads(w, || black_box(&latch).read()));
    contest.peer("RwLock", 1, |w| {
        reads(w, || *black_box(&rw).read().expect("nobody panics"))
    });
    #[cfg(feature = "peers")]
    {
        let theirs = seqlock::SeqLock::new([7u64; N]);
        contest.peer("seqlock", 1, move |w| reads(w, || black_box(&theirs).read()));
        let swap = arc_swap::ArcSwap::from_pointee([7u64; N]);
        contest.peer("ArcSwap", 1, move |w| reads(w, || **black_box(&swap).load()));
        let parking = parking_lot::RwLock::new([7u64; N]);
        contest.peer("parking_lot RwLock", 1, move |w| {
            reads(w, || *black_box(&parking).read())
        });
    }
    bounds(&mut contest);
    contest.run()
}

/// Reads on the clock while another thread, on another CPU, calls `write` without pause.
fn beside_a_writer<const N: usize>(
    w: &mut Worker<'_>,
    cpu: usize,
    mut write: impl FnMut(u64) + Send,
    read: impl FnMut() -> [u64; N],
) -> Result<(), Invalid> {
    let stop = AtomicBool::new(false);
    let started = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            pin_to(cpu);
            let mut i = 0;
            // Relaxed: only an end is signalled.
            while !stop.load(Ordering::Relaxed) {
                write(i);
                i += 1;
                // Relaxed: only a beginning is signalled.
                started.store(true, Ordering::Relaxed);
            }
        });
        // Relaxed: as above.
        while !started.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        let result = reads(w, read);
        // Relaxed: as above.
        stop.store(true, Ordering::Relaxed);
        result
    })
}

fn read_hot(task: &Task<'_>) -> Result<Row, Invalid> {
    hot(task, false)
}

fn read_hot_latch(task: &Task<'_>) -> Result<Row, Invalid> {
    hot(task, true)
}

fn hot(task: &Task<'_>, latch_is_ours: bool) -> Result<Row, Invalid> {
    let cpu = task.plan.cpus[1 % task.plan.cpus.len()];
    let lock = SeqLock::new([0u64; 8]);
    let short = SeqLock::new([0u64; 7]);
    let latch = Latch::<_, 4>::new([0u64; 8]);
    let on_lock = |w: &mut Worker<'_>| {
        let mut writer = Writer::try_claim(&lock).expect("one lane at a time");
        beside_a_writer(w, cpu, move |i| writer.write([i; 8]), || black_box(&lock).read())
    };
    let on_latch = |w: &mut Worker<'_>| {
        let mut writer = LatchWriter::try_claim(&latch).expect("one lane at a time");
        beside_a_writer(w, cpu, move |i| writer.write([i; 8]), || black_box(&latch).read())
    };
    let mut contest = Contest::new(task);
    if latch_is_ours {
        contest.ours("Latch", 1, on_latch);
        contest.note("a read ends after at most two copies, whatever the writer does");
    } else {
        contest.ours("SeqLock", 1, on_lock);
        contest.peer("our SeqLock, 56 B", 1, |w| {
            let mut writer = Writer::try_claim(&short).expect("one lane at a time");
            beside_a_writer(w, cpu, move |i| writer.write([i; 7]), || black_box(&short).read())
        });
        contest.note(
            "read_bounded(n) ends after n copies; see seq.read.hot.latch for reads that always succeed",
        );
    }
    #[cfg(feature = "peers")]
    {
        let theirs = std::sync::Arc::new(seqlock::SeqLock::new([0u64; 8]));
        contest.peer("seqlock", 1, move |w| {
            beside_a_writer(
                w,
                cpu,
                |i| *theirs.lock_write() = [i; 8],
                || black_box(&theirs).read(),
            )
        });
        let swap = arc_swap::ArcSwap::from_pointee([0u64; 8]);
        contest.peer("ArcSwap", 1, move |w| {
            beside_a_writer(
                w,
                cpu,
                |i| swap.store(std::sync::Arc::new([i; 8])),
                || **black_box(&swap).load(),
            )
        });
    }
    contest.at_most(2.0, "seqlock");
    contest.run()
}

fn write_64(task: &Task<'_>) -> Result<Row, Invalid> {
    fn writes(w: &mut Worker<'_>, mut write: impl FnMut([u64; 8])) {
        w.measure(|n| (0..n).for_each(|i| write(black_box([i; 8]))));
    }
    let lock = SeqLock::new([0u64; 8]);
    let latch = Latch::<_, 4>::new([0u64; 8]);
    let words: [AtomicU64; 8] = Default::default();
    let mut contest = Contest::new(task);
    contest.ours("SeqLock", 1, |w| {
        let mut writer = Writer::try_claim(&lock).expect("one lane at a time");
        writes(w, |value| writer.write(value));
        let last = [w.ops() - 1; 8];
        if lock.read() == last {
            Ok(())
        } else {
            Err(Invalid("the last write is not seen".into()))
        }
    });
    contest.peer("our SeqLock, under its lock", 1, |w| {
        writes(w, |value| lock.write(value));
        Ok(())
    });
    contest.peer("our Latch", 1, |w| {
        let mut writer = LatchWriter::try_claim(&latch).expect("one lane at a time");
        writes(w, |value| writer.write(value));
        Ok(())
    });
    contest.floor("8 relaxed stores", 1, |w| {
        writes(w, |value| {
            for (to, word) in black_box(&words).iter().zip(value) {
                // Relaxed: what is being measured.
                to.store(word, Ordering::Relaxed);
            }
        });
        Ok(())
    });
    #[cfg(feature = "peers")]
    {
        let theirs = seqlock::SeqLock::new([0u64; 8]);
        contest.peer("seqlock", 1, move |w| {
            writes(w, |value| *theirs.lock_write() = value);
            Ok(())
        });
        let swap = arc_swap::ArcSwap::from_pointee([0u64; 8]);
        contest.peer("ArcSwap", 1, move |w| {
            writes(w, |value| swap.store(std::sync::Arc::new(value)));
            Ok(())
        });
    }
    contest.faster_than(4.0, "seqlock");
    contest.run()
}

/// Latencies spread evenly over the orders of magnitude from 1 ns to 1 h, the same in every run.
fn latencies() -> Vec<u64> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    (0..4096)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let share = (state >> 11) as f64 / (1u64 << 53) as f64;
            (share * 3.6e12f64.ln()).exp() as u64
        })
        .collect()
}

fn quantiles_hold(values: &[u64]) -> Result<(), Invalid> {
    let histogram = Box::new(Histogram::<1920>::new());
    let mut recorder = Recorder::try_claim(&*histogram).expect("just made");
    values.iter().for_each(|v| recorder.record(*v));
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let snapshot = histogram.snapshot();
    for q in [0.5, 0.9, 0.95, 0.99, 0.999, 0.9999] {
        let exact = sorted[((q * sorted.len() as f64).ceil() as usize).max(1) - 1];
        let got = snapshot.quantile(q);
        if got.abs_diff(exact) as f64 > exact as f64 * 0.03 {
            return Err(Invalid(format!("quantile {q} is {got}, exactly {exact}")));
        }
    }
    Ok(())
}

fn record(task: &Task<'_>) -> Result<Row, Invalid> {
    let values = latencies();
    quantiles_hold(&values)?;
    fn records(w: &mut Worker<'_>, values: &[u64], mut record: impl FnMut(u64)) {
        w.measure(|n| (0..n).for_each(|i| record(values[i as usize % values.len()])));
    }
    let histogram = Box::new(Histogram::<1920>::new());
    let mut contest = Contest::new(task);
    contest.ours("Histogram", 1, |w| {
        let mut recorder = Recorder::try_claim(&*histogram).expect("one lane at a time");
        let before = histogram.snapshot().count();
        records(w, &values, |v| recorder.record(black_box(v)));
        let counted = histogram.snapshot().count() - before;
        if counted == w.ops() {
            Ok(())
        } else {
            Err(Invalid(format!("{counted} of {} events counted", w.ops())))
        }
    });
    #[cfg(feature = "peers")]
    {
        use hdrhistogram::Histogram as Hdr;
        let new = || Hdr::<u64>::new_with_bounds(1, 3_600_000_000_000, 2).expect("sane bounds");
        let values = &values;
        contest.peer("hdrhistogram", 1, move |w| {
            let mut theirs = new();
            records(w, values, |v| theirs.record(black_box(v)).expect("in bounds"));
            Ok(())
        });
        let shared = std::sync::Mutex::new(new());
        contest.peer("mutexed hdrhistogram", 1, move |w| {
            records(w, values, |v| {
                shared
                    .lock()
                    .expect("nobody panics")
                    .record(black_box(v))
                    .expect("in bounds")
            });
            Ok(())
        });
    }
    contest
        .faster_than(1.4, "hdrhistogram")
        .faster_than(3.0, "mutexed hdrhistogram");
    contest.note(
        "every quantile within 3 % of the exact one, checked before the rounds; hdrhistogram at 2 figures",
    );
    contest.run()
}
