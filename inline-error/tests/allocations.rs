//! A counting, failing allocator: what allocates, what does not, and what happens when there is no memory.
#![cfg(not(any(loom, shuttle)))]
#![cfg(feature = "std")]

use inline_error::{Context, Errno, InlineString, SyscallError, SyscallKind};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static LIVE: Cell<i64> = const { Cell::new(0) };
    /// Requests above this size are refused.
    static LIMIT: Cell<usize> = const { Cell::new(usize::MAX) };
}

// SAFETY: every call goes to the system's allocator, or fails as an allocator may.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if LIMIT.try_with(Cell::get).is_ok_and(|limit| layout.size() > limit) {
            return std::ptr::null_mut();
        }
        let _ = ALLOCATIONS.try_with(|n| n.set(n.get() + 1));
        let _ = LIVE.try_with(|n| n.set(n.get() + 1));
        // SAFETY: as the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        let _ = LIVE.try_with(|n| n.set(n.get() - 1));
        // SAFETY: as the caller's.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs `body`; returns how many allocations it made, and asserts that it freed them all.
fn allocations(body: impl FnOnce()) -> u64 {
    let (before, live) = (ALLOCATIONS.get(), LIVE.get());
    body();
    assert_eq!(LIVE.get(), live, "something leaked");
    ALLOCATIONS.get() - before
}

#[test]
fn c9_a_short_error_never_allocates() {
    let count = allocations(|| {
        for n in 0..1000u64 {
            let error = SyscallError::new(SyscallKind::NotFound, format_args!("process {n} of {:#x}", n * n));
            let error = black_box(error).with_errno(Errno::ESRCH).context("kill");
            let copy = error.clone();
            assert!(copy.is_not_found() && copy.message().starts_with("kill: process"));
            let result: Result<(), SyscallError> = Err(copy);
            drop(black_box(result.context("sys")));
            drop(black_box(SyscallError::from(std::io::Error::from_raw_os_error(
                2,
            ))));
            drop(black_box(std::io::Error::from(SyscallError::from_errno(
                Errno::EIO,
            ))));
        }
    });
    assert_eq!(count, 0);
}

#[test]
fn c5_an_inline_string_never_allocates() {
    let count = allocations(|| {
        use std::fmt::Write;
        let mut text = InlineString::<64>::new();
        for n in 0..1000 {
            text.clear();
            write!(text, "{n}/ü{n:?}").unwrap();
            black_box(text);
        }
    });
    assert_eq!(count, 0);
}

#[test]
fn c9_a_long_message_allocates_and_frees() {
    let long = "y".repeat(300);
    assert_eq!(
        allocations(|| drop(SyscallError::new(SyscallKind::Io, format_args!("{long}")))),
        1
    );
    assert_eq!(allocations(|| drop(SyscallError::of(SyscallKind::Io).boxed())), 1);
    let count = allocations(|| {
        let cause = SyscallError::of(SyscallKind::Io);
        let error = SyscallError::new(SyscallKind::Io, format_args!("{long}")).with_source(cause);
        drop(error.clone().context("again").boxed());
    });
    assert!(count >= 3);
}

#[test]
fn c9_without_memory_a_long_message_is_cut_visibly() {
    let long = "z".repeat(5000);
    // The first piece fits on the heap, the second does not: what was on the heap is given back.
    for limit in [0, 100, 4999] {
        let count = allocations(|| {
            LIMIT.set(limit);
            let error = SyscallError::new(SyscallKind::Io, format_args!("{}{}", &long[..90], &long[90..]));
            LIMIT.set(usize::MAX);
            assert!(error.is_cut() && error.is_inline());
            let (head, tail) = error.message().split_once("...[+").unwrap();
            let missing: usize = tail.strip_suffix(" bytes]").unwrap().parse().unwrap();
            assert_eq!(head.len() + missing, 5000);
            // The record of it stays when there is memory again.
            assert!(error.clone().context("x".repeat(99)).is_cut() && error.context("x").is_cut());
        });
        assert!(count <= 6, "{count}");
    }
}

#[test]
fn c9_a_display_that_panics_leaks_nothing() {
    struct Panics;
    impl std::fmt::Display for Panics {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(&"p".repeat(200))?;
            std::panic::resume_unwind(Box::new(()))
        }
    }
    let count = allocations(|| {
        let panicked =
            std::panic::catch_unwind(|| SyscallError::new(SyscallKind::Io, format_args!("{Panics}")));
        assert!(panicked.is_err());
    });
    assert!(count >= 2);
}

#[test]
fn c9_an_error_taken_over_or_forgotten_is_sound() {
    let mut slot = Some(SyscallError::new(
        SyscallKind::Io,
        format_args!("{}", "w".repeat(99)),
    ));
    let taken = std::mem::take(&mut slot);
    assert!(slot.is_none() && taken.is_some());
    std::mem::forget(SyscallError::of(SyscallKind::Io));
    std::thread::spawn(move || drop(taken)).join().unwrap();
}

#[test]
fn c9_a_copy_without_memory_is_cut_visibly() {
    let long = "é".repeat(100);
    let plain = SyscallError::msg(SyscallKind::Io, &long).with_errno(Errno::EIO);
    let sourced = plain.clone().with_source(Errno::EPIPE);
    LIMIT.set(0);
    let copies = (plain.clone(), sourced.clone(), sourced.clone().context("c"));
    LIMIT.set(usize::MAX);
    let (plain, sourced, told) = copies;
    assert!(plain.is_cut() && sourced.is_cut() && told.is_cut());
    assert!(plain.message().starts_with('é') && plain.message().ends_with(" bytes]"));
    assert_eq!(sourced.message(), "...[message lost: out of memory]");
    assert_eq!(
        (plain.errno(), sourced.errno()),
        (Some(Errno::EIO), Some(Errno::EIO))
    );
    assert!(std::error::Error::source(&told).is_some());
}
