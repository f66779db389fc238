//! Readers in a signal handler that interrupts the writer itself.
#![cfg(not(any(loom, shuttle)))]

use seqstats::{Latch, LatchWriter, SeqLock, Writer};
use std::sync::atomic::{AtomicU64, Ordering};

static LOCK: SeqLock<[u64; 64]> = SeqLock::new([0; 64]);
static LATCH: Latch<[u64; 64]> = Latch::new([0; 64]);
static READS: AtomicU64 = AtomicU64::new(0);
static REFUSED: AtomicU64 = AtomicU64::new(0);
static WRONG: AtomicU64 = AtomicU64::new(0);

fn torn(value: &[u64; 64]) -> bool {
    value.iter().any(|w| *w != value[0])
}

extern "C" fn on_alarm(_: libc::c_int) {
    let mut wrong = torn(&LATCH.read()) || torn(&LATCH.read_announced());
    match LOCK.read_bounded(3) {
        Some(value) => wrong |= torn(&value),
        // Relaxed: tallies of one thread.
        None => drop(REFUSED.fetch_add(1, Ordering::Relaxed)),
    }
    // Relaxed: as above.
    WRONG.fetch_add(wrong.into(), Ordering::Relaxed);
    // Relaxed: as above.
    READS.fetch_add(1, Ordering::Relaxed);
}

#[test]
fn c3_reader_in_a_signal_handler_is_never_torn_and_never_hangs() {
    let handler: extern "C" fn(libc::c_int) = on_alarm;
    // SAFETY: the handler only reads atomics and adds to them.
    let old = unsafe { libc::signal(libc::SIGUSR1, handler as libc::sighandler_t) };
    assert_ne!(old, libc::SIG_ERR);
    // SAFETY: no arguments, no failure.
    let writer_thread = unsafe { libc::pthread_self() } as usize;
    let stop = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Relaxed: only an end is signalled.
            while stop.load(Ordering::Relaxed) == 0 {
                // SAFETY: the thread outlives this one, which its scope joins.
                unsafe { libc::pthread_kill(writer_thread as libc::pthread_t, libc::SIGUSR1) };
                std::thread::yield_now();
            }
        });
        let mut lock = Writer::try_claim(&LOCK).expect("the only writer");
        let mut latch = LatchWriter::try_claim(&LATCH).expect("the only writer");
        let mut i = 0;
        // Relaxed: tallies of one thread. Bounded, in case signals never interrupt a write of this build.
        while (REFUSED.load(Ordering::Relaxed) < 5 || READS.load(Ordering::Relaxed) < 300) && i < 20_000_000 {
            i += 1;
            lock.write([i; 64]);
            latch.write([i; 64]);
        }
        // Relaxed: as above.
        stop.store(1, Ordering::Relaxed);
    });
    // Relaxed: one thread.
    assert_eq!(WRONG.load(Ordering::Relaxed), 0);
    // Relaxed: as above.
    assert!(READS.load(Ordering::Relaxed) > 0, "no signal came");
    // Relaxed: as above.
    assert!(
        REFUSED.load(Ordering::Relaxed) > 0,
        "no signal fell into a write: the test shows nothing"
    );
}
