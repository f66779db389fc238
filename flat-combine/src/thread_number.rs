//! A number for each thread, never used again in this process.

use std::cell::Cell;
use sync_base::atomic::{AtomicU64, Ordering};

sync_base::global! {
    static NEXT: AtomicU64 = AtomicU64::new(1);
}

sync_base::thread_local! {
    static MINE: Cell<u64> = const { Cell::new(0) };
}

/// The calling thread's number, never 0. Wait-free; one thread-local read after the first call.
#[inline]
pub(crate) fn thread_number() -> u64 {
    MINE.with(|mine| match mine.get() {
        0 => draw(mine),
        number => number,
    })
}

#[cold]
fn draw(mine: &Cell<u64>) -> u64 {
    // Relaxed: only the uniqueness of the number matters.
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    mine.set(number);
    number
}
