//! `instructions KERNEL TIMES`: runs one operation so many times, to be counted from outside.
//!
//! `cargo xtask instructions` runs each kernel under callgrind at two lengths; the difference divided by the difference
//! in length is instructions per operation, free of start-up and independent of the machine's noise.

use flat_combine::StripedCounter;
use inline_error::{SyscallError, SyscallKind};
use pooled_vec::Pool;
use seqstats::{Histogram, Recorder, SeqLock, Writer};
use std::cell::Cell;
use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::process::ExitCode;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;
use uring_core::op::Nop;
use uring_core::{LocalRing, Op, Options};

type Kernel = (&'static str, fn(u64));

const KERNELS: &[Kernel] = &[
    ("ctr.add", counter_add),
    ("seq.read.64", seqlock_read),
    ("seq.write.64", seqlock_write),
    ("hist.record", histogram_record),
    ("pool.4k", pool_get_and_drop),
    ("err.short", error_build_and_drop),
];

/// Run by name and not part of the gate: they go by what the kernel lets a ring have, and by its clock.
const ON_A_RING: &[Kernel] = &[
    ("ring.alone", ring_alone),
    ("ring.token", ring_tokens),
    ("ring.callback", ring_callbacks),
    ("ring.future", ring_futures),
];

fn counter_add(times: u64) {
    static COUNTER: StripedCounter = StripedCounter::new();
    (0..times).for_each(|n| COUNTER.add(black_box(n)));
    assert_eq!(COUNTER.sum() as u64, times * (times - 1) / 2);
}

fn seqlock_read(times: u64) {
    static LOCK: SeqLock<[u64; 8]> = SeqLock::new([7; 8]);
    (0..times).for_each(|_| assert_eq!(black_box(LOCK.read())[7], 7));
}

fn seqlock_write(times: u64) {
    static LOCK: SeqLock<[u64; 8]> = SeqLock::new([0; 8]);
    let mut writer = Writer::try_claim(&LOCK).expect("the only writer");
    (0..times).for_each(|n| writer.write(black_box([n; 8])));
    assert_eq!(LOCK.read(), [times - 1; 8]);
}

fn histogram_record(times: u64) {
    let histogram = <Histogram>::new();
    let mut recorder = Recorder::try_claim(&histogram).expect("the only recorder");
    (0..times).for_each(|n| recorder.record(black_box(n * 37)));
    assert_eq!(histogram.snapshot().count(), times);
}

fn pool_get_and_drop(times: u64) {
    let pool = Pool::global();
    (0..times).for_each(|_| drop(black_box(pool.with_capacity(4096))));
}

fn error_build_and_drop(times: u64) {
    let build = |n: u64| SyscallError::new(SyscallKind::NotFound, format_args!("inode {n}"));
    (0..times).for_each(|_| assert!(black_box(build(black_box(17))).is_inline()));
}

/// Operations in flight, and those waited for at a time.
const DEPTH: u64 = 128;
const BATCH: u64 = 32;
const LONG: Duration = Duration::from_secs(10);

fn ring() -> LocalRing {
    LocalRing::with(&Options::new().depth(DEPTH as u32)).expect("a ring")
}

/// One operation at a time, waited for.
fn ring_alone(times: u64) {
    let ring = ring();
    for _ in 0..times {
        let token = ring.submit(black_box(Nop::new())).expect("room");
        ring.finish(token, LONG)
            .expect("its completion")
            .expect("success");
    }
}

fn ring_tokens(times: u64) {
    let ring = ring();
    let (mut sent, mut done) = (0, 0);
    while done < times {
        while sent < times && sent - done < DEPTH {
            let _ = ring.submit(black_box(Nop::new())).expect("room");
            sent += 1;
        }
        ring.wait(BATCH.min(times - done) as usize, LONG).expect("a wait");
        ring.reap(|ended| done += u64::from(ended.take::<Nop>().is_ok()));
    }
}

fn ring_callbacks(times: u64) {
    let ring = ring();
    let done = Rc::new(Cell::new(0));
    let mut sent = 0;
    while done.get() < times {
        while sent < times && sent - done.get() < DEPTH {
            let count = Rc::clone(&done);
            let then = move |ended: Result<(), _>| count.set(count.get() + u64::from(ended.is_ok()));
            ring.submit_with(black_box(Nop::new()), then).expect("room");
            sent += 1;
        }
        ring.wait(BATCH.min(times - done.get()) as usize, LONG)
            .expect("a wait");
    }
}

fn ring_futures(times: u64) {
    let ring = ring();
    let mut cx = Context::from_waker(Waker::noop());
    let mut flights: Vec<Option<Op<'_, Nop>>> = (0..DEPTH).map(|_| None).collect();
    let (mut sent, mut done, mut oldest) = (0, 0, 0);
    while done < times {
        while sent < times && sent - done < DEPTH {
            let mut op = ring.run(black_box(Nop::new()));
            assert!(Pin::new(&mut op).poll(&mut cx).is_pending());
            flights[(sent % DEPTH) as usize] = Some(op);
            sent += 1;
        }
        ring.wait(BATCH.min(times - done) as usize, LONG).expect("a wait");
        while oldest < sent
            && let Some(op) = &mut flights[(oldest % DEPTH) as usize]
            && Pin::new(op).poll(&mut cx).is_ready()
        {
            flights[(oldest % DEPTH) as usize] = None;
            oldest += 1;
            done += 1;
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let chosen = match arguments.as_slice() {
        [name, times] => {
            let mut kernels = KERNELS.iter().chain(ON_A_RING);
            kernels.find(|(n, _)| n == name).zip(times.parse().ok())
        }
        _ => None,
    };
    match chosen {
        Some(((_, run), times)) if times > 0 => run(times),
        _ if arguments.is_empty() => KERNELS.iter().for_each(|(name, _)| println!("{name}")),
        _ => {
            eprintln!(
                "instructions: KERNEL TIMES, TIMES at least 1; with no argument the kernels are listed"
            );
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
