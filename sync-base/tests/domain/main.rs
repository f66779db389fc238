//! The domain under the lives that threads lead, one idea a module.
//!
//! `SYNC_BASE_SUITE=fenced` marks a run of this binary in which the kernel refuses membarrier: see
//! `the_whole_suite_passes_with_membarrier_refused`.
#![cfg(not(any(loom, shuttle)))]

#[path = "../support/seccomp.rs"]
mod seccomp;

mod barriers;
mod differential;
mod fork;
mod limit;
mod oracle;
mod reclaim;
mod sections;
mod signals;
mod teardown;
mod threads;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use sync_base::Domain;
use sync_base::barrier::Mode;

#[derive(Clone, Default)]
struct Drops(Arc<AtomicUsize>);

impl Drops {
    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

struct Counted(Drops);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Waits, within bounds, for what a thread that was scoped still does after its scope: its thread-locals end later.
fn eventually(mut holds: impl FnMut() -> bool) -> bool {
    (0..5_000).any(|_| {
        let held = holds();
        if !held {
            std::thread::sleep(Duration::from_millis(1));
        }
        held
    })
}

fn retire(domain: &Domain, drops: &Drops) {
    let object = Box::into_raw(Box::new(Counted(drops.clone())));
    // SAFETY: linked nowhere, retired once.
    unsafe { domain.retire_box(object) };
}

fn retire_scarce(domain: &Domain, drops: &Drops) {
    unsafe fn reclaim(object: *mut ()) {
        // SAFETY: from the box below, once.
        drop(unsafe { Box::from_raw(object.cast::<Counted>()) });
    }
    let object = Box::into_raw(Box::new(Counted(drops.clone())));
    // SAFETY: linked nowhere, retired once; `reclaim` is for its type.
    unsafe { domain.retire_scarce(object.cast(), size_of::<Counted>(), reclaim) };
}

/// A thread that pins, says so, and stays until told.
fn sleeper(domain: &Domain, name: &str) -> (mpsc::Sender<()>, std::thread::JoinHandle<()>) {
    let domain = domain.clone();
    let (pinned, is_pinned) = mpsc::channel();
    let (wake, sleep) = mpsc::channel();
    let thread = std::thread::Builder::new()
        .name(name.into())
        .spawn(move || {
            let _guard = domain.pin();
            pinned.send(()).unwrap();
            let _ = sleep.recv();
        })
        .unwrap();
    is_pinned.recv().unwrap();
    (wake, thread)
}

#[test]
fn the_mode_is_what_the_kernel_grants() {
    let fenced = std::env::var_os("SYNC_BASE_SUITE").is_some();
    let expected = if fenced { Mode::Fence } else { Mode::Membarrier };
    let mode = Domain::global().stats().mode;
    // A kernel built without the call is no defect of ours, but then the suite has shown only one mode.
    if mode != expected {
        println!("SKIP: this kernel has no membarrier: {mode:?}");
        assert_eq!(mode, Mode::Fence);
    }
}

/// Runs this whole binary again where the kernel refuses membarrier.
#[test]
fn the_whole_suite_passes_with_membarrier_refused() {
    use std::os::unix::process::CommandExt;
    if std::env::var_os("SYNC_BASE_SUITE").is_some() {
        return;
    }
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    again.env("SYNC_BASE_SUITE", "fenced");
    // SAFETY: between fork and exec: two system calls, no allocation.
    unsafe { again.pre_exec(seccomp::refuse_membarrier) };
    let output = again.output().expect("the kernel takes a filter");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        text.contains("test the_mode_is_what_the_kernel_grants ... ok"),
        "{text}"
    );
}
