//! Adds up the bytes of a file with eight threads that share one ring.
//!
//! `cargo run --release -p uring-core --example shared -- FILE`

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use uring_core::SharedRing;
use uring_core::op::Read;

const THREADS: u64 = 8;
const BLOCK: usize = 64 << 10;

/// The sum of all bytes, and the system calls that it took to submit the reads.
pub(crate) fn sum(path: &Path) -> io::Result<(u64, u64)> {
    let ring = SharedRing::new().map_err(io::Error::other)?;
    let file = Arc::new(File::open(path)?);
    let next = AtomicU64::new(0);
    let total: io::Result<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let (ring, file, next) = (ring.clone(), Arc::clone(&file), &next);
                scope.spawn(move || add_up(&ring, &file, next))
            })
            .collect();
        let joined = threads
            .into_iter()
            .map(|thread| thread.join().expect("it panics nowhere"));
        joined.sum()
    });
    Ok((total?, ring.stats().counts().enters))
}

/// Takes one block after another, until one lies behind the end.
fn add_up(ring: &SharedRing, file: &Arc<File>, next: &AtomicU64) -> io::Result<u64> {
    let (mut sum, mut buf) = (0, vec![0; BLOCK]);
    loop {
        // Relaxed: numbers drawn once each; nothing is published with them.
        let start = next.fetch_add(1, Ordering::Relaxed) * BLOCK as u64;
        let mut done = 0;
        // A read may bring less than it was asked for.
        loop {
            let (read, back) = ring.run(Read::new(Arc::clone(file), buf).at(start + done))?;
            buf = back;
            let read = read?.min(BLOCK - done as usize);
            sum += buf[..read].iter().map(|&byte| u64::from(byte)).sum::<u64>();
            done += read as u64;
            if read == 0 || done == BLOCK as u64 {
                break;
            }
        }
        if done < BLOCK as u64 {
            return Ok(sum);
        }
    }
}

#[allow(dead_code)] // as a module of the tests
fn main() -> io::Result<()> {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("usage: shared FILE");
        std::process::exit(2);
    };
    let (sum, calls) = sum(Path::new(&path))?;
    println!("{sum} in {calls} system calls");
    Ok(())
}
