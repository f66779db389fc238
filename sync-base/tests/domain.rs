//! The domain under the lives that threads lead: exit, teardown, panic, fork, signals, many that come and go.
//!
//! `SYNC_BASE_SUITE=fenced` marks a run of this binary in which the kernel refuses membarrier: see
//! `the_whole_suite_passes_with_membarrier_refused`.
#![cfg(not(any(loom, shuttle)))]

#[path = "support/seccomp.rs"]
mod seccomp;

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use sync_base::barrier::Mode;
use sync_base::domain::Guard;
use sync_base::{Domain, Reader};

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

#[test]
fn what_is_retired_is_freed_once_and_not_before_the_guard_ends() {
    let (domain, drops) = (Domain::new(), Drops::default());
    let guard = domain.pin();
    for _ in 0..1_000 {
        retire(&domain, &drops);
    }
    domain.collect();
    assert_eq!(drops.count(), 0);
    drop(guard);
    domain.collect();
    assert_eq!(drops.count(), 1_000);
    assert_eq!(domain.stats().garbage, 0);
}

#[test]
fn dropping_the_last_handle_frees_everything() {
    let (domain, drops) = (Domain::new(), Drops::default());
    retire(&domain, &drops);
    std::thread::scope(|s| {
        s.spawn(|| retire(&domain, &drops));
    });
    drop(domain);
    assert!(eventually(|| drops.count() == 2));
}

#[test]
fn an_exiting_thread_hands_over_what_it_could_not_free() {
    let (domain, drops) = (Domain::new(), Drops::default());
    let guard = domain.pin();
    let (theirs, count) = (domain.clone(), drops.clone());
    std::thread::spawn(move || retire(&theirs, &count))
        .join()
        .unwrap();
    assert_eq!(drops.count(), 0);
    drop(guard);
    domain.collect();
    assert_eq!(drops.count(), 1);
}

#[test]
fn nested_guards_protect_until_the_outermost_ends() {
    let (domain, drops) = (Domain::new(), Drops::default());
    let outer = domain.pin();
    let inner = domain.pin();
    retire(&domain, &drops);
    drop(outer);
    domain.collect();
    assert_eq!(drops.count(), 0);
    drop(inner);
    domain.collect();
    assert_eq!(drops.count(), 1);
}

#[test]
fn ten_thousand_guards_at_once_are_counted() {
    let (domain, drops) = (Domain::new(), Drops::default());
    let mut guards: Vec<Guard<'_>> = (0..10_000).map(|_| domain.pin()).collect();
    retire(&domain, &drops);
    while guards.len() > 1 {
        drop(guards.swap_remove(guards.len() / 2));
    }
    domain.collect();
    assert_eq!(drops.count(), 0);
    drop(guards);
    domain.collect();
    assert_eq!(drops.count(), 1);
}

#[test]
fn repin_lets_go_of_what_was_read() {
    let (domain, drops) = (Domain::new(), Drops::default());
    let mut guard = domain.pin();
    retire(&domain, &drops);
    domain.flush();
    assert!(guard.repin());
    domain.collect();
    assert_eq!(drops.count(), 1);
}

#[test]
fn a_guard_knows_its_domain() {
    let (one, other) = (Domain::new(), Domain::new());
    let guard = one.pin();
    assert!(guard.protects(&one) && guard.protects(&one.clone()) && !guard.protects(&other));
}

#[test]
fn more_domains_than_short_cuts_are_kept_apart() {
    let domains: Vec<Domain> = (0..40).map(|_| Domain::new()).collect();
    let drops = Drops::default();
    let guards: Vec<Guard<'_>> = domains.iter().map(Domain::pin).collect();
    domains.iter().for_each(|domain| retire(domain, &drops));
    for (domain, guard) in domains.iter().zip(&guards) {
        assert!(guard.protects(domain));
        domain.collect();
    }
    assert_eq!(drops.count(), 0);
    drop(guards);
    for domain in &domains {
        domain.collect();
    }
    assert_eq!(drops.count(), 40);
}

#[test]
fn a_reader_moves_between_threads_and_pins_on_each() {
    let (domain, drops) = (Domain::new(), Drops::default());
    let mut reader: Reader = domain.reader();
    for _ in 0..10 {
        let (d, n) = (domain.clone(), drops.clone());
        reader = std::thread::spawn(move || {
            let guard = reader.pin();
            retire(&d, &n);
            drop(guard);
            reader
        })
        .join()
        .unwrap();
    }
    domain.collect();
    assert_eq!(drops.count(), 10);
    assert_eq!(domain.stats().oldest_reader, None);
}

#[test]
fn a_forgotten_guard_of_a_reader_ends_with_the_reader() {
    let (domain, drops) = (Domain::new(), Drops::default());
    let reader = domain.reader();
    std::mem::forget(reader.pin());
    retire(&domain, &drops);
    domain.collect();
    assert_eq!(drops.count(), 0);
    drop(reader);
    domain.collect();
    assert_eq!(drops.count(), 1);
}

#[test]
fn a_panic_inside_a_guard_ends_its_section() {
    let (domain, drops) = (Domain::new(), Drops::default());
    let result = catch_unwind(|| {
        let _outer = domain.pin();
        let _inner = domain.pin();
        retire(&domain, &drops);
        panic!("inside");
    });
    assert!(result.is_err());
    domain.collect();
    assert_eq!(drops.count(), 1);
    assert_eq!(domain.stats().oldest_reader, None);
}

#[test]
fn a_panicking_reclaim_function_loses_nothing_else() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("reclaim");
        }
    }
    let (domain, drops) = (Domain::new(), Drops::default());
    let mut panics = 0;
    for i in 0..100 {
        // The panic comes out of whatever call happens to free the bomb.
        let turn = catch_unwind(AssertUnwindSafe(|| {
            retire(&domain, &drops);
            if i % 30 == 7 {
                // SAFETY: linked nowhere, retired once.
                unsafe { domain.retire_box(Box::into_raw(Box::new((Bomb, 1u8)))) };
            }
        }));
        panics += usize::from(turn.is_err());
    }
    for _ in 0..10 {
        panics += usize::from(catch_unwind(AssertUnwindSafe(|| domain.collect())).is_err());
    }
    assert_eq!(panics, 4);
    assert_eq!(drops.count(), 100);
    assert_eq!(domain.stats().garbage, 0);
}

struct Link(Domain, Drops, usize);

impl Drop for Link {
    fn drop(&mut self) {
        self.1.0.fetch_add(1, Ordering::Relaxed);
        if self.2 > 0 {
            let next = Box::into_raw(Box::new(Link(self.0.clone(), self.1.clone(), self.2 - 1)));
            // SAFETY: linked nowhere, retired once.
            unsafe { self.0.retire_box(next) };
        }
    }
}

#[test]
fn a_destructor_may_itself_retire_without_deepening_the_stack() {
    let (domain, drops) = (Domain::builder().batch(1).build(), Drops::default());
    let length = 20_000;
    // SAFETY: linked nowhere, retired once.
    unsafe {
        domain.retire_box(Box::into_raw(Box::new(Link(
            domain.clone(),
            drops.clone(),
            length,
        ))))
    };
    while drops.count() <= length {
        domain.collect();
    }
    assert_eq!(drops.count(), length + 1);
}

#[test]
fn a_hundred_thousand_threads_leave_few_records() {
    let (domain, drops) = (Domain::new(), Drops::default());
    let threads = 100_000;
    for _ in 0..threads / 4 {
        std::thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    let _guard = domain.pin();
                    retire(&domain, &drops);
                });
            }
        });
    }
    assert!(eventually(|| domain.collect() == 0 && drops.count() == threads));
    assert!(eventually(|| domain.stats().garbage == 0));
    let stats = domain.stats();
    // A scoped thread may still be tearing down when the next four begin.
    assert!(
        stats.records <= 16,
        "{} records for 4 threads at a time",
        stats.records
    );
}

struct AtExit(RefCell<Vec<(Domain, Drops)>>);

impl Drop for AtExit {
    fn drop(&mut self) {
        for (domain, drops) in self.0.take() {
            let guard = domain.pin();
            let nested = domain.pin();
            retire(&domain, &drops);
            drop(guard);
            drop(nested);
            retire(&domain, &drops);
            domain.collect();
        }
    }
}

std::thread_local! {
    static BEFORE: AtExit = const { AtExit(RefCell::new(Vec::new())) };
    static AFTER: AtExit = const { AtExit(RefCell::new(Vec::new())) };
    static HELD: RefCell<Option<Guard<'static>>> = const { RefCell::new(None) };
}

#[test]
fn thread_locals_may_pin_and_retire_in_any_order_of_teardown() {
    for domain in [Domain::new(), Domain::global().clone()] {
        let drops = Drops::default();
        let (d, n) = (domain.clone(), drops.clone());
        std::thread::spawn(move || {
            BEFORE.with(|slot| slot.0.borrow_mut().push((d.clone(), n.clone())));
            drop(d.pin());
            AFTER.with(|slot| slot.0.borrow_mut().push((d.clone(), n.clone())));
        })
        .join()
        .unwrap();
        // Others share the global domain: what they hold back for a moment is freed a little later.
        assert!(eventually(|| {
            domain.collect();
            drops.count() == 4
        }));
    }
}

#[test]
fn a_guard_kept_in_a_thread_local_outlives_the_record_keeper() {
    let domain: &'static Domain = Box::leak(Box::new(Domain::new()));
    let drops = Drops::default();
    let count = drops.clone();
    std::thread::spawn(move || {
        HELD.with(|held| *held.borrow_mut() = Some(domain.pin()));
        retire(domain, &count);
    })
    .join()
    .unwrap();
    domain.collect();
    assert_eq!(drops.count(), 1);
    let stats = domain.stats();
    assert_eq!(stats.oldest_reader, None);
    assert_eq!(stats.records_live, 0, "the record of the exited thread came back");
}

#[test]
fn garbage_past_the_limit_is_bounded_visible_and_freed_when_the_sleeper_wakes() {
    let limit = 1 << 16;
    let domain = Domain::builder()
        .garbage_limit(limit)
        .stall_wait(Duration::from_millis(1))
        .build();
    let drops = Drops::default();
    let (wake, thread) = sleeper(&domain, "asleep");
    let mut accepted = 0;
    let stalled = loop {
        match domain.try_admit(size_of::<Counted>()) {
            Ok(()) => retire(&domain, &drops),
            Err(stalled) => break stalled,
        }
        accepted += 1;
        assert!(
            accepted * size_of::<Counted>() <= 2 * limit,
            "the limit was never enforced"
        );
    };
    assert_eq!(stalled.name.as_deref(), Some("asleep"));
    assert!(stalled.garbage <= limit && stalled.limit == limit);
    assert!(stalled.to_string().contains("asleep"));
    assert_eq!(
        domain.stats().oldest_reader.map(|r| r.thread),
        Some(stalled.thread)
    );
    // A refusal costs no barrier while the sleeper has not moved.
    let barriers = domain.stats().heavy_barriers;
    for _ in 0..100 {
        assert!(domain.try_admit(size_of::<Counted>()).is_err());
    }
    assert_eq!(domain.stats().heavy_barriers, barriers);
    assert_eq!(domain.stats().limit_refused, 101);
    // An ordinary writer waits the stated time, then exceeds the limit, counted.
    domain.admit(size_of::<Counted>());
    retire(&domain, &drops);
    assert_eq!(domain.stats().limit_exceeded, 1);
    assert_eq!(drops.count(), 0);
    drop(wake);
    thread.join().unwrap();
    assert!(domain.try_admit(size_of::<Counted>()).is_ok());
    domain.collect();
    assert_eq!(drops.count(), accepted + 1);
}

#[test]
fn a_writer_inside_its_own_guard_never_waits_for_itself() {
    let domain = Domain::builder()
        .garbage_limit(1)
        .stall_wait(Duration::from_secs(3_600))
        .build();
    let drops = Drops::default();
    let _guard = domain.pin();
    retire(&domain, &drops);
    domain.admit(1); // Returns: waiting an hour would not help.
    assert_eq!(domain.stats().limit_exceeded, 1);
    assert!(domain.synchronize(Duration::from_secs(3_600)).is_err());
}

#[test]
fn a_grace_passes_when_the_readers_of_its_moment_have_left() {
    let domain = Domain::new();
    let (wake, thread) = sleeper(&domain, "graceful");
    let grace = domain.grace();
    assert!(!domain.has_passed(grace));
    let stalled = domain.wait(grace, Duration::from_millis(2)).unwrap_err();
    assert_eq!(stalled.name.as_deref(), Some("graceful"));
    drop(wake);
    thread.join().unwrap();
    let _newer = domain.pin();
    assert!(
        domain.has_passed(grace),
        "a newer reader holds back nothing older"
    );
}

#[test]
#[should_panic(expected = "a grace passes in the domain it was taken in")]
fn a_grace_of_another_domain_is_refused() {
    let _ = Domain::new().has_passed(Domain::new().grace());
}

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
    for i in 0..20_000u64 {
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
    assert!(handled > 0 && handled <= sent, "{handled} of {sent}");
}

#[test]
fn a_handler_on_an_unregistered_thread_is_told_so() {
    let domain = Domain::new();
    assert!(domain.pin_registered().is_none());
    drop(domain.pin());
    assert!(domain.pin_registered().is_some());
}

/// Runs `body` in a forked child; true if it returned true.
fn in_child(body: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child runs `body` and exits without unwinding or running exit handlers.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", std::io::Error::last_os_error()),
        0 => {
            let ok = catch_unwind(AssertUnwindSafe(body)).unwrap_or(false);
            // SAFETY: ends the child.
            unsafe { libc::_exit(i32::from(!ok)) }
        }
        child => {
            let mut status = 0;
            // SAFETY: waits for our child.
            let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
            waited == child && libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
        }
    }
}

#[test]
fn after_a_fork_the_guards_of_absent_threads_are_ghosts() {
    let (domain, drops) = (Domain::new(), Drops::default());
    let (wake, thread) = sleeper(&domain, "absent");
    retire(&domain, &drops);
    domain.flush();
    let child = || {
        // The sleeper is not here; this thread's own guards still count, through a second fork too.
        let mine = domain.pin();
        retire(&domain, &drops);
        domain.collect();
        let grandchild = || {
            domain.collect();
            let held = drops.count() == 1;
            drop(mine);
            domain.collect();
            held && drops.count() == 2
        };
        drops.count() == 1 && in_child(grandchild)
    };
    assert!(in_child(child));
    domain.collect();
    assert_eq!(drops.count(), 0, "the parent's sleeper still holds");
    drop(wake);
    thread.join().unwrap();
    domain.collect();
    assert_eq!(drops.count(), 1);
}

#[test]
fn stress_every_object_is_freed_once_and_none_while_it_is_read() {
    let domain = Domain::builder().garbage_limit(1 << 20).build();
    let drops = Drops::default();
    let root = AtomicPtr::new(Box::into_raw(Box::new((42u64, Counted(drops.clone())))));
    let rounds = 20_000;
    std::thread::scope(|s| {
        for reader in 0..4 {
            let (domain, root) = (&domain, &root);
            s.spawn(move || {
                let own = domain.reader();
                for i in 0..rounds {
                    let mut guard = if reader % 2 == 0 { domain.pin() } else { own.pin() };
                    if i % 7 == 0 {
                        guard.repin();
                    }
                    // Acquire: pairs with the swap below.
                    let found = root.load(Ordering::Acquire);
                    // SAFETY: found under a guard.
                    assert_eq!(unsafe { (*found).0 }, 42);
                }
            });
        }
        for _ in 0..2 {
            s.spawn(|| {
                for i in 0..rounds {
                    domain.admit(size_of::<(u64, Counted)>());
                    let new = Box::into_raw(Box::new((42u64, Counted(drops.clone()))));
                    // AcqRel: pairs with the load above.
                    let old = root.swap(new, Ordering::AcqRel);
                    // SAFETY: unlinked, once.
                    unsafe { domain.retire_box(old) };
                    if i % 1_000 == 0 {
                        domain.collect();
                    }
                }
            });
        }
    });
    domain.collect();
    drop(domain);
    assert!(
        eventually(|| drops.count() == 2 * rounds),
        "{} of {}",
        drops.count(),
        2 * rounds
    );
    // SAFETY: every thread is gone.
    drop(unsafe { Box::from_raw(root.into_inner()) });
    assert_eq!(drops.count(), 2 * rounds + 1);
}
