//! The domain as its users meet it.
#![cfg(not(any(loom, shuttle)))]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use sync_base::Domain;

struct Counted(Arc<AtomicUsize>);
impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn retire(domain: &Domain, drops: &Arc<AtomicUsize>) {
    let object = Box::into_raw(Box::new(Counted(Arc::clone(drops))));
    // SAFETY: never linked anywhere; retired once.
    unsafe { domain.retire_box(object) };
}

#[test]
fn what_is_retired_is_freed_once_and_not_before_the_guard_ends() {
    let domain = Domain::new();
    let drops = Arc::new(AtomicUsize::new(0));
    let guard = domain.pin();
    for _ in 0..1_000 {
        retire(&domain, &drops);
    }
    domain.collect();
    assert_eq!(drops.load(Ordering::Relaxed), 0);
    drop(guard);
    domain.collect();
    assert_eq!(drops.load(Ordering::Relaxed), 1_000);
    assert_eq!(domain.stats().garbage, 0);
}

#[test]
fn dropping_the_last_handle_frees_everything() {
    let drops = Arc::new(AtomicUsize::new(0));
    let domain = Domain::new();
    retire(&domain, &drops);
    std::thread::scope(|s| {
        s.spawn(|| retire(&domain, &drops));
    });
    drop(domain);
    assert_eq!(drops.load(Ordering::Relaxed), 2);
}

#[test]
fn an_exiting_thread_leaves_no_garbage_behind() {
    let drops = Arc::new(AtomicUsize::new(0));
    let domain = Domain::new();
    let guard = domain.pin();
    let (theirs, count) = (domain.clone(), Arc::clone(&drops));
    std::thread::spawn(move || retire(&theirs, &count))
        .join()
        .unwrap();
    assert_eq!(drops.load(Ordering::Relaxed), 0);
    drop(guard);
    domain.collect();
    assert_eq!(drops.load(Ordering::Relaxed), 1);
}

#[test]
fn past_the_limit_a_writer_is_refused_and_told_which_thread_stalls() {
    let domain = Domain::builder()
        .garbage_limit(64)
        .stall_wait(Duration::from_millis(1))
        .build();
    let drops = Arc::new(AtomicUsize::new(0));
    std::thread::scope(|s| {
        let (pinned, is_pinned) = std::sync::mpsc::channel();
        let (wake, sleep) = std::sync::mpsc::channel::<()>();
        let theirs = &domain;
        std::thread::Builder::new()
            .name("sleeper".into())
            .spawn_scoped(s, move || {
                let _guard = theirs.pin();
                pinned.send(()).unwrap();
                let _ = sleep.recv();
            })
            .unwrap();
        is_pinned.recv().unwrap();
        for _ in 0..100 {
            retire(&domain, &drops);
        }
        let stalled = domain.try_admit(8).unwrap_err();
        assert_eq!(stalled.name.as_deref(), Some("sleeper"));
        domain.admit(8);
        assert_eq!(domain.stats().limit_exceeded, 1);
        drop(wake);
    });
    assert!(domain.try_admit(8).is_ok());
    assert_eq!(drops.load(Ordering::Relaxed), 100);
}
