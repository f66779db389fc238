//! Pinning in a signal handler.

use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::mpsc;
use sync_base::Domain;

static HANDLED: AtomicUsize = AtomicUsize::new(0);

static IN_HANDLER: AtomicPtr<u64> = AtomicPtr::new(std::ptr::null_mut());

extern "C" fn pin_in_handler(_signal: libc::c_int) {
    if let Some(_guard) = Domain::global().pin_registered() {
        let _nested = Domain::global().pin_registered();
        // Acquire: pairs with the Release of the swap below.
        let found = IN_HANDLER.load(Ordering::Acquire);
        // SAFETY: found under a guard; retired only after it was unlinked.
        let value = unsafe { *found };
        HANDLED.fetch_add(usize::from(value % 2 == 1), Ordering::Relaxed);
    }
}

#[test]
fn a_signal_handler_may_pin_at_any_instant() {
    let domain = Domain::global();
    IN_HANDLER.store(Box::into_raw(Box::new(1)), Ordering::Release);
    // SAFETY: the handler pins, loads and stores to atomics.
    unsafe { libc::signal(libc::SIGUSR1, pin_in_handler as *const () as libc::sighandler_t) };
    let (registered, is_registered) = mpsc::channel();
    let stop = Arc::new(AtomicUsize::new(0));
    let stopped = Arc::clone(&stop);
    let target = std::thread::spawn(move || {
        drop(domain.pin());
        // SAFETY: names the calling thread.
        registered.send(unsafe { libc::pthread_self() }).unwrap();
        while stopped.load(Ordering::Relaxed) == 0 {
            let mut guard = domain.pin();
            let nested = domain.pin();
            guard.repin();
            drop(nested);
        }
    });
    let thread = is_registered.recv().unwrap();
    let mut sent = 0;
    for i in 0..50_000_000u64 {
        if HANDLED.load(Ordering::Relaxed) >= 500 {
            break;
        }
        // AcqRel: pairs with the Acquire in the handler.
        let old = IN_HANDLER.swap(Box::into_raw(Box::new(2 * i + 1)), Ordering::AcqRel);
        // SAFETY: unlinked, once.
        unsafe { domain.retire_box(old) };
        if i % 20 == 0 {
            // SAFETY: the thread lives until it is joined.
            sent += usize::from(unsafe { libc::pthread_kill(thread, libc::SIGUSR1) } == 0);
        }
    }
    stop.store(1, Ordering::Relaxed);
    target.join().unwrap();
    let handled = HANDLED.load(Ordering::Relaxed);
    assert!((500..=sent).contains(&handled), "{handled} of {sent}");
}

#[test]
fn a_handler_on_an_unregistered_thread_is_told_so() {
    let domain = Domain::new();
    assert!(domain.pin_registered().is_none());
    drop(domain.pin());
    assert!(domain.pin_registered().is_some());
}
