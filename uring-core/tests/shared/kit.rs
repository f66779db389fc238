//! Rings on every carrier, and buffers that are counted.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use uring_core::buffer::{IoBuf, IoBufMut};
use uring_core::{Carrier, Options, SharedRing};

/// Longer than any test waits when all is well.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// The carriers with real files and sockets.
pub(crate) fn real() -> Vec<Carrier> {
    if uring_core::probe().refused.is_some() {
        eprintln!("io_uring is refused here: the fallback alone");
        return vec![Carrier::Fallback];
    }
    vec![Carrier::Uring, Carrier::Fallback]
}

pub(crate) fn ring(carrier: Carrier, depth: u32) -> SharedRing {
    SharedRing::with(&Options::new().depth(depth).carrier(carrier)).unwrap()
}

/// A file whose 512-byte blocks are filled with their own number.
pub(crate) fn numbered(blocks: usize) -> Arc<File> {
    let mut file = tempfile::tempfile().unwrap();
    for block in 0..blocks {
        file.write_all(&[block as u8; 512]).unwrap();
    }
    Arc::new(file)
}

/// Both ends of a stream: the first for operations.
pub(crate) fn stream() -> (Arc<UnixStream>, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    (Arc::new(near), far)
}

/// A buffer that is counted for as long as it lives.
#[derive(Debug)]
pub(crate) struct Counted(pub(crate) Box<[u8]>, Arc<AtomicUsize>);

impl Counted {
    pub(crate) fn new(alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::SeqCst);
        Self(vec![0; 8].into(), Arc::clone(alive))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Ordering::SeqCst);
    }
}

// SAFETY: the box's block stays where it is and has one owner.
unsafe impl IoBuf for Counted {
    fn stable_ptr(&self) -> *const u8 {
        self.0.as_ptr()
    }
    fn bytes_init(&self) -> usize {
        self.0.len()
    }
}

// SAFETY: as above.
unsafe impl IoBufMut for Counted {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        self.0.as_mut_ptr()
    }
    fn bytes_total(&self) -> usize {
        self.0.len()
    }
    unsafe fn set_init(&mut self, _: usize) {}
}

/// A buffer that runs the caller's code when it is admitted: under the ring's lock.
pub(crate) struct Calling<F>(pub(crate) Box<[u8]>, pub(crate) F);

// SAFETY: as above.
unsafe impl<F: Fn() + Send + 'static> IoBuf for Calling<F> {
    fn stable_ptr(&self) -> *const u8 {
        self.0.as_ptr()
    }
    fn bytes_init(&self) -> usize {
        self.0.len()
    }
}

// SAFETY: as above.
unsafe impl<F: Fn() + Send + 'static> IoBufMut for Calling<F> {
    fn stable_mut_ptr(&mut self) -> *mut u8 {
        (self.1)();
        self.0.as_mut_ptr()
    }
    fn bytes_total(&self) -> usize {
        self.0.len()
    }
    unsafe fn set_init(&mut self, _: usize) {}
}

/// Pseudo-random numbers, the same for the same seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// Waits for something that another thread brings about.
pub(crate) fn until(what: &str, come: impl Fn() -> bool) {
    for _ in 0..30_000 {
        if come() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("it never came: {what}");
}

/// Threads of this process with that name.
pub(crate) fn threads_named(name: &str) -> usize {
    let all = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = all.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|found| found.trim() == name).count()
}

/// Held by tests that count the threads of the process, and by those that start one.
pub(crate) fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
