//! `planted DEFECT`: does one thing wrong, to see whether a sanitizer finds it.
//!
//! That a sanitizer is silent about our code means something only if it speaks up here. Each defect is in memory that
//! went through a pool, so that a pool which hid such defects would be found out too.

use pooled_vec::Pool;
use std::process::ExitCode;
use std::sync::OnceLock;

/// Does everything right.
fn none(pool: &'static Pool) {
    let mut buffer = pool.get();
    buffer.push(7);
    drop(buffer);
    pool.trim();
}

/// Reads a buffer that its pool has given back to the allocator.
fn use_after_free(pool: &'static Pool) {
    let mut buffer = pool.get();
    buffer.push(7);
    let at = buffer.as_ptr();
    drop(buffer);
    pool.trim();
    // SAFETY: none, on purpose.
    println!("{}", unsafe { at.read_volatile() });
}

/// Writes one byte behind a buffer.
fn overflow(pool: &'static Pool) {
    let mut buffer = pool.get();
    let capacity = buffer.capacity();
    // SAFETY: none, on purpose.
    unsafe { buffer.as_mut_ptr().add(capacity).write_volatile(7) };
}

/// Forgets a buffer, on a thread whose stack is gone when the leaks are looked for.
fn leak(pool: &'static Pool) {
    let thread = std::thread::spawn(|| std::mem::forget(pool.get()));
    thread.join().expect("nothing panics there");
}

/// Writes to one buffer from two threads at once.
fn race(pool: &'static Pool) {
    let mut buffer = pool.get();
    buffer.push(7);
    let at = buffer.as_mut_ptr() as usize;
    let writers = [1, 2].map(|value| {
        std::thread::spawn(move || {
            for _ in 0..1000 {
                // SAFETY: none, on purpose.
                unsafe { (at as *mut u8).write_volatile(value) };
            }
        })
    });
    for writer in writers {
        writer.join().expect("nothing panics there");
    }
}

fn main() -> ExitCode {
    static POOL: OnceLock<Pool> = OnceLock::new();
    let pool = POOL.get_or_init(Pool::default);
    match std::env::args().nth(1).as_deref() {
        Some("none") => none(pool),
        Some("use-after-free") => use_after_free(pool),
        Some("overflow") => overflow(pool),
        Some("leak") => leak(pool),
        Some("race") => race(pool),
        _ => {
            eprintln!("planted: one of none, use-after-free, overflow, leak, race");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
