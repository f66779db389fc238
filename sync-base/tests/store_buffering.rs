//! The evidence for what no model checks: membarrier makes a light side with no instruction order as a fence does.
//!
//! Two threads store to a word each and read the other's. Without a barrier on one side the processor lets both read
//! the old value; the first test shows that it does here, the second that the pair of barriers forbids it.
#![cfg(not(any(loom, shuttle)))]

use std::hint::spin_loop;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::time::{Duration, Instant};
use sync_base::{CachePadded, heavy_barrier, light_barrier};

/// Words on lines of their own; a round is over when both sides have written what they read.
#[derive(Default)]
struct Words {
    go: CachePadded<AtomicUsize>,
    done: CachePadded<AtomicUsize>,
    x: CachePadded<AtomicUsize>,
    y: CachePadded<AtomicUsize>,
    saw_y: CachePadded<AtomicUsize>,
}

fn wait_for(word: &AtomicUsize, round: usize) {
    let mut spins = 0u32;
    // Acquire: pairs with the Release of the other side; begins or ends a round.
    while word.load(Ordering::Acquire) != round {
        spins += 1;
        if spins.is_multiple_of(4_096) {
            std::thread::yield_now();
        }
        spin_loop();
    }
}

/// Puts the calling thread on the `nth` processor that it may use: on one processor nothing is reordered.
fn settle(nth: usize) {
    // SAFETY: an empty set is all zeroes; both calls are given the set's own size and the calling thread.
    unsafe {
        let mut allowed: libc::cpu_set_t = std::mem::zeroed();
        libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut allowed);
        let mut usable = (0..libc::CPU_SETSIZE as usize).filter(|&cpu| libc::CPU_ISSET(cpu, &allowed));
        let Some(cpu) = usable.nth(nth) else { return };
        let mut one: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut one);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const one);
    }
}

/// Plays rounds until `most` are over, the time is, or one goes wrong; says whether one did, and how many were played.
fn play(heavy: fn(), most: usize, limit: Duration) -> (bool, usize) {
    let words = &Words::default();
    let end = usize::MAX;
    std::thread::scope(|s| {
        s.spawn(|| {
            settle(1);
            for round in 1.. {
                for idle in 0u32.. {
                    match words.go.load(Ordering::Acquire) {
                        go if go == end => return,
                        go if go == round => break,
                        _ if idle % 4_096 == 4_095 => std::thread::yield_now(),
                        _ => spin_loop(),
                    }
                }
                // Relaxed, both: the light barrier alone is on trial.
                words.x.store(round, Ordering::Relaxed);
                light_barrier();
                let saw = words.y.load(Ordering::Relaxed);
                words.saw_y.store(saw, Ordering::Relaxed);
                words.done.store(round, Ordering::Release);
            }
        });
        let heavy_side = s.spawn(move || {
            settle(0);
            let start = Instant::now();
            let mut played = 0;
            let mut wrong = false;
            while !wrong && played < most && (played % 64 != 0 || start.elapsed() < limit) {
                played += 1;
                words.go.store(played, Ordering::Release);
                // Sweeps the alignment of the two sides.
                for _ in 0..(played * 7) % 193 {
                    spin_loop();
                }
                words.y.store(played, Ordering::Relaxed);
                heavy();
                let saw_x = words.x.load(Ordering::Relaxed);
                wait_for(&words.done, played);
                let saw_y = words.saw_y.load(Ordering::Relaxed);
                wrong = saw_x != played && saw_y != played;
            }
            words.go.store(end, Ordering::Release);
            (wrong, played)
        });
        heavy_side.join().expect("the heavy side does not panic")
    })
}

/// One contest at a time: each needs two processors.
static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

fn has_two_cpus() -> bool {
    std::thread::available_parallelism().is_ok_and(|n| n.get() >= 2)
}

#[test]
fn without_membarrier_the_processor_reorders() {
    if !has_two_cpus() {
        println!("SKIP: one processor orders itself");
        return;
    }
    if sync_base::barrier::mode() == sync_base::barrier::Mode::Fence {
        println!("SKIP: the light side fences here");
        return;
    }
    let _alone = ALONE.lock();
    // The heavy side keeps its own fence: what is removed is the system call.
    let fence_alone = || fence(Ordering::SeqCst);
    let (wrong, played) = play(fence_alone, usize::MAX, Duration::from_secs(60));
    assert!(
        wrong,
        "{played} rounds went well without the barrier: this test cannot fail here"
    );
    println!("reordered in round {played}");
}

#[test]
fn with_membarrier_no_round_goes_wrong() {
    let _alone = ALONE.lock();
    let (wrong, played) = play(heavy_barrier, 200_000, Duration::from_secs(3));
    assert!(!wrong, "round {played}: neither side saw the other");
    println!("{played} rounds");
}
