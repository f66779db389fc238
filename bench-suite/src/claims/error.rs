//! Claims about errors.

use crate::{Claim, Contest, Invalid, Row, Task, Worker, allocations_on_this_thread};
use inline_error::{BoxedError, InlineError, SyscallError, SyscallKind};
use std::hint::black_box;
use std::io;

pub(super) const CLAIMS: &[Claim] = &[
    Claim {
        id: "err.short",
        krate: "inline-error",
        what: "build + return + drop an error of a kind and a text of 9 bytes",
        unit: "CPU ns",
        cores: 1,
        run: |task| build(task, "not found"),
    },
    Claim {
        id: "err.40b",
        krate: "inline-error",
        what: "the same with a text of 40 bytes",
        unit: "CPU ns",
        cores: 1,
        run: |task| build(task, "registered slab 7: 4096 bytes not pinned"),
    },
    Claim {
        id: "err.ok",
        krate: "inline-error",
        what: "success through three frames that are not inlined",
        unit: "CPU ns",
        cores: 1,
        run: success,
    },
];

/// Calls `make` as code calls what may fail: the error is looked at where it lies, then dropped.
fn repeat<E>(
    worker: &mut Worker<'_>,
    text: &str,
    make: fn(&str) -> Result<(), E>,
    read: fn(&E) -> &str,
) -> Result<(), Invalid> {
    let made = make(text).err();
    if made.as_ref().map(read) != Some(text) {
        return Err(Invalid("the error does not say what it was told to say".into()));
    }
    worker.measure(|n| {
        for _ in 0..n {
            let result = make(black_box(text));
            black_box(&result);
            // Dropped here, where it lies.
        }
    });
    Ok(())
}

/// What an error with a text looks like without this crate.
struct Plain<S> {
    kind: SyscallKind,
    text: S,
}

#[inline(never)]
fn ours(text: &str) -> Result<(), SyscallError> {
    Err(InlineError::msg(SyscallKind::NotFound, text))
}

#[inline(never)]
fn owned(text: &str) -> Result<(), Plain<String>> {
    let kind = SyscallKind::NotFound;
    let text = text.to_owned();
    Err(Plain { kind, text })
}

/// The least there is: nothing is owned. It can only say what was known when the program was built.
#[inline(never)]
fn borrowed(text: &'static str) -> Result<(), Plain<&'static str>> {
    let kind = SyscallKind::NotFound;
    Err(Plain { kind, text })
}

#[cfg(feature = "peers")]
#[inline(never)]
fn compact(text: &str) -> Result<(), Plain<compact_str::CompactString>> {
    let kind = SyscallKind::NotFound;
    let text = compact_str::CompactString::new(text);
    Err(Plain { kind, text })
}

fn read<S: AsRef<str>>(error: &Plain<S>) -> &str {
    black_box(error.kind);
    error.text.as_ref()
}

fn build(task: &Task<'_>, text: &'static str) -> Result<Row, Invalid> {
    let mut contest = Contest::new(task);
    contest.ours("InlineError", 1, move |worker| {
        let before = allocations_on_this_thread();
        for _ in 0..100 {
            drop(black_box(ours(black_box(text))));
        }
        if allocations_on_this_thread() != before {
            return Err(Invalid("a short error allocated".into()));
        }
        repeat(worker, text, ours, |e| e.message())
    });
    contest.floor("&'static str", 1, move |worker| {
        worker.measure(|n| {
            for _ in 0..n {
                let result = borrowed(black_box(text));
                black_box(&result);
            }
        });
        Ok(())
    });
    contest.peer("String", 1, move |worker| repeat(worker, text, owned, read));
    #[cfg(feature = "peers")]
    contest.peer("compact_str", 1, move |worker| {
        repeat(worker, text, compact, read)
    });
    contest.at_most(1.3, "compact_str");
    contest.faster_than(3.0, "String");
    contest.note("0 allocations, checked; the text is not known to the compiler");
    contest.run()
}

macro_rules! frames {
    ($outer:ident $middle:ident $inner:ident $error:ty, $make:expr) => {
        #[inline(never)]
        fn $inner(n: u64) -> Result<u64, $error> {
            if n == u64::MAX {
                return Err($make);
            }
            Ok(black_box(n))
        }
        #[inline(never)]
        fn $middle(n: u64) -> Result<u64, $error> {
            Ok($inner(n)? ^ 1)
        }
        #[inline(never)]
        fn $outer(n: u64) -> Result<u64, $error> {
            Ok($middle(n)? ^ 2)
        }
    };
}

frames!(boxed3 boxed2 boxed1 BoxedError<SyscallKind>, SyscallKind::Io.into());
frames!(inline3 inline2 inline1 SyscallError, SyscallKind::Io.into());
frames!(io3 io2 io1 io::Error, io::Error::other("x"));

fn success(task: &Task<'_>) -> Result<Row, Invalid> {
    fn lane<E>(worker: &mut Worker<'_>, call: fn(u64) -> Result<u64, E>) -> Result<(), Invalid> {
        if call(7).ok() != Some(7 ^ 3) || call(u64::MAX).is_ok() {
            return Err(Invalid("the frames compute something else".into()));
        }
        worker.measure(|n| (0..n).filter(|&i| call(i).is_ok()).count());
        Ok(())
    }
    let mut contest = Contest::new(task);
    contest.ours("BoxedError", 1, |worker| lane(worker, boxed3));
    contest.ours("InlineError", 1, |worker| lane(worker, inline3));
    contest.peer("io::Error", 1, |worker| lane(worker, io3));
    contest.at_most(1.1, "io::Error");
    contest.run()
}
