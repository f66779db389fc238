//! What outlives its ring on the real kernel: given back when it is over, and not before.
#![cfg(not(any(loom, shuttle)))]

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use uring_core::op::{Open, Raw};
use uring_core::{Carrier, Core, LocalRing, Options, Ring, abi, totals};

const COUNT: usize = 400;

/// What is left behind is counted for the process, so one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|e| e.into_inner())
}

fn options() -> Options {
    Options::new().depth(COUNT as u32).drain_limit(Duration::ZERO)
}

fn descriptors_below(path: &std::path::Path) -> usize {
    let links = std::fs::read_dir("/proc/self/fd").unwrap();
    links
        .filter_map(|link| std::fs::read_link(link.unwrap().path()).ok())
        .filter(|target| target.starts_with(path))
        .count()
}

/// Waits until everything that rings left behind is freed.
fn until_freed() {
    for _ in 0..2000 {
        if totals().abandoned.sum() == 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("the reaper does not free what is over");
}

/// Drops rings with opens in flight until some outlived their ring; nothing may stay open.
fn opens_of(make: impl Fn() -> Box<dyn std::ops::Deref<Target = Core>>) {
    let _alone = alone();
    let mut outlived = 0;
    for round in 0..1000 {
        let dir = tempfile::tempdir().unwrap();
        let ring = make();
        for i in 0..COUNT {
            // A file that may have to be made is opened by a worker of the kernel.
            let open = Open::new(dir.path().join(i.to_string()), libc::O_CREAT | libc::O_RDWR).unwrap();
            let _ = ring.submit(open).unwrap();
        }
        ring.flush().unwrap();
        drop(ring);
        outlived += totals().abandoned.sum();
        until_freed();
        assert_eq!(
            descriptors_below(dir.path()),
            0,
            "round {round}: descriptors that came late stay open"
        );
        if round >= 20 && outlived > 10 {
            return;
        }
    }
    panic!("only {outlived} opens outlived their rings");
}

#[test]
fn d7_descriptor_that_arrives_when_its_local_ring_is_gone_is_closed() {
    opens_of(|| Box::new(LocalRing::with(&options()).unwrap()));
}

#[test]
fn d7_descriptor_that_arrives_when_its_movable_ring_is_gone_is_closed() {
    opens_of(|| Box::new(Ring::with(&options()).unwrap()));
}

/// Says when the ring lets go of what the kernel had.
struct Memory(Arc<AtomicBool>);

impl Drop for Memory {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A pipe with a name whose opening waits for its other end.
struct Door {
    path: PathBuf,
    freed: Arc<AtomicBool>,
}

impl Door {
    /// Leaves an opening of it behind that outlives its ring.
    fn leave_behind(dir: &Path, name: &str, carrier: Carrier) -> Self {
        for attempt in 0..50 {
            let before = totals().abandoned.sum();
            let door = Self::drop_ring(dir.join(format!("{name}-{attempt}")), carrier);
            // Where the opening had not begun it was called off.
            if totals().abandoned.sum() > before {
                return door;
            }
        }
        panic!("no opening outlives its ring");
    }

    /// Drops a ring with the opening in flight; it waits for nothing.
    fn drop_ring(path: PathBuf, carrier: Carrier) -> Self {
        let given = CString::new(path.as_os_str().as_bytes()).unwrap();
        // SAFETY: a path that ends with a zero.
        assert_eq!(unsafe { libc::mkfifo(given.as_ptr(), 0o600) }, 0);
        let options = Options::new()
            .depth(4)
            .drain_limit(Duration::ZERO)
            .carrier(carrier);
        let ring = LocalRing::with(&options).unwrap();
        let freed = Arc::new(AtomicBool::new(false));
        // Told to wait on a worker of the kernel, which else opens a pipe without waiting.
        let entry = abi::Sqe {
            flags: abi::SQE_ASYNC,
            addr: given.as_ptr() as u64,
            op_flags: (libc::O_RDONLY | libc::O_CLOEXEC) as u32,
            ..abi::Sqe::new(abi::code::OPENAT, libc::AT_FDCWD)
        };
        // SAFETY: the path is kept with the operation.
        let open = unsafe { Raw::new(entry, (given, Memory(Arc::clone(&freed)))) };
        let _ = ring.submit(open).unwrap();
        assert_eq!(
            ring.wait(1, Duration::from_millis(20)),
            Ok(0),
            "nobody opens the other end"
        );
        drop(ring);
        Self { path, freed }
    }

    /// Lets the opening end, and tells whether its memory was freed then.
    fn open(&self) -> bool {
        for _ in 0..2000 {
            if self.freed.load(Ordering::SeqCst) {
                return true;
            }
            // Without a reader this fails: then there is nobody left to be let through.
            let how = std::fs::File::options()
                .write(true)
                .custom_flags(libc::O_NONBLOCK)
                .open(&self.path);
            drop(how);
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

/// The reaper of the parent watches while it forks. Its thread is not there in the child, whose own rings must be seen to.
#[test]
fn d7_what_a_forked_child_leaves_behind_is_freed_by_its_own_reaper() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let watched = Door::leave_behind(dir.path(), "parent", Carrier::Fallback);
    assert!(
        totals().abandoned.sum() > 0,
        "the parent's reaper has something to watch"
    );
    for (carrier, name) in [(Carrier::Fallback, "without"), (Carrier::Uring, "with")] {
        // SAFETY: the child makes rings and threads, which is what is tested, and ends without running the harness.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let freed = || Door::leave_behind(dir.path(), name, carrier).open();
            let freed = std::panic::catch_unwind(freed).unwrap_or(false);
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(i32::from(!freed)) };
        }
        let mut status = 0;
        // SAFETY: waits for the child made above.
        unsafe { libc::waitpid(pid, &mut status, 0) };
        assert!(
            libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0,
            "{name} io_uring"
        );
    }
    assert!(watched.open(), "the parent's is freed in the parent");
    until_freed();
}
